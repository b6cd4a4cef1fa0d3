"""Traffic of a workload from the ledger's Postgres, an hour at a time, and the record of decisions.

Finished windows are kept in `headrace.demand_windows`; a run reads only what the ledger holds since the last of them,
and the database adds it up. A window is finished when the ledger holds an entry an hour younger than its end: by then
what began in it has ended and has been drained. Until then it is computed anew each time, with what is still in flight
counted from its reservation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped] # asyncpg 0.32 ships no py.typed
import numpy as np

from headrace.errors import Refused, refuse
from headrace.planner.arrays import BIN_S, HOUR_S, Floats
from headrace.planner.hourly import MOST_HOURS, Choice, History, Reason
from headrace.planner.traffic import BINS_PER_WINDOW, WINDOW_S

_WINDOW: Final = timedelta(seconds=WINDOW_S)
CONNECT_S: Final = 15.0
QUERY_S: Final = 120.0
# How much younger than a window's end the ledger is when the window is finished. The clock alone doesn't finish one: a
# ledger that is behind would lack what then ended. A request that lasts longer is missed in its first windows.
SETTLED_S: Final = HOUR_S
# The ledger is read in pieces, so that the first run, over four weeks, is many small queries. What a run that was cut
# off has finished is kept, and the next one goes on there. A piece takes about 20 s where 50 requests come in a second.
PIECE_S: Final = 4 * HOUR_S
# Windows older than what any decision looks at, and a week.
KEPT: Final = timedelta(hours=MOST_HOURS, days=7)

_FIRST: Final = "SELECT min(at) FROM headrace.work WHERE workload = $1 AND kind = 'post' AND at >= $2"
_HEARD: Final = """
SELECT DISTINCT floor(extract(epoch FROM at - $1) / 600)::int AS place FROM headrace.work WHERE at >= $1 AND at < $2
"""
_NEWEST: Final = "SELECT max(at) FROM headrace.work"
_KNOWN: Final = """
SELECT starts_at, arrivals, in_flight, heard FROM headrace.demand_windows
WHERE workload = $1 AND starts_at >= $2 AND starts_at < $3 ORDER BY starts_at
"""
# Spans in which a request held a model server, cut to the piece, as edges by bin: how many, and the sum of where in the
# bin. A cold request held one as long as a warm one does; before that it waited for the start.
_EDGES: Final = """
WITH ended AS (
    SELECT request_id, extract(epoch FROM at)::float8 AS until_s, held_s::float8 AS held_s, cold
    FROM headrace.work WHERE workload = $1 AND kind = 'post' AND at >= $2 AND at < $4
), warm AS (
    SELECT avg(held_s) AS held_s FROM ended WHERE NOT cold
), spans AS (
    SELECT until_s - CASE WHEN cold THEN least(held_s, COALESCE((SELECT held_s FROM warm), held_s)) ELSE held_s END
               AS from_s,
           until_s
    FROM ended
    UNION ALL
    SELECT min(extract(epoch FROM held.at))::float8, extract(epoch FROM $3::timestamptz)::float8
    FROM headrace.work held
    WHERE held.workload = $1 AND held.kind = 'reserve' AND held.at >= $5 AND held.at < $3
      AND NOT EXISTS (SELECT FROM headrace.work done WHERE done.request_id = held.request_id
                      AND done.kind IN ('post', 'void', 'expire', 'refuse'))
    GROUP BY held.request_id
), inside AS (
    SELECT (from_s - extract(epoch FROM $2::timestamptz)::float8) / 10 AS low,
           (until_s - extract(epoch FROM $2::timestamptz)::float8) / 10 AS high,
           extract(epoch FROM $3::timestamptz - $2::timestamptz)::float8 / 10 AS bins
    FROM spans
), edges AS (
    SELECT least(greatest(low, 0), bins) AS at, 1 AS step, low >= 0 AND low < bins AS arrived FROM inside
    UNION ALL
    SELECT least(greatest(high, 0), bins), -1, false FROM inside
)
SELECT floor(at)::int AS bin, step, count(*) AS edges, sum(at - floor(at)) AS parts, count(*) FILTER (WHERE arrived)
    AS arrived
FROM edges GROUP BY 1, 2
"""
_KEEP: Final = """
INSERT INTO headrace.demand_windows (workload, starts_at, arrivals, in_flight, heard) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING
"""
_PRUNE: Final = "DELETE FROM headrace.demand_windows WHERE workload = $1 AND starts_at < $2"
_COLUMNS: Final = (
    "nodes, reason, wanted_replicas, history_hours, gap_windows, mean_replicas, peak_replicas, saved_usd_hour, "
    "compared_hours"
)
_DECIDED: Final = f"SELECT {_COLUMNS} FROM headrace.floor_decisions WHERE pool = $1 AND hour = $2"  # noqa: S608
_DECIDE: Final = f"""
INSERT INTO headrace.floor_decisions (pool, hour, decided_at, floor_nodes, ceiling_nodes, price_version, {_COLUMNS})
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT DO NOTHING
"""  # noqa: S608 - names of columns, all above
# What the fleet was before the first application stays; when it was last made so is renewed.
_APPLIED: Final = """
UPDATE headrace.floor_decisions SET nodes_before = COALESCE(nodes_before, $3), applied_at = $4
WHERE pool = $1 AND hour = $2
"""
_LATEST: Final = "SELECT * FROM headrace.floor_decisions WHERE pool = $1 ORDER BY hour DESC LIMIT $2"


@dataclass(frozen=True, kw_only=True)
class Window:
    """Ten minutes of a workload, in the order of the table's columns; see `History`."""

    starts_at: datetime
    arrivals: int
    in_flight: list[float]
    heard: bool


class Store:
    """A connection for one run. Raises `Refused` in one sentence, and never quotes the address: it holds a password."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, dsn: str) -> Store:
        """Connects."""
        with _told():
            return cls(await asyncpg.connect(dsn, timeout=CONNECT_S, command_timeout=QUERY_S))

    def close(self) -> None:
        """At once."""
        self._connection.terminate()

    async def history(self, workload: str, end: datetime, *, keep: bool) -> History:
        """The windows up to `end`, at most four weeks of them. With `keep` finished ones are kept."""
        with _told():
            return await self._history(workload, end, keep=keep)

    async def _history(self, workload: str, end: datetime, *, keep: bool) -> History:
        earliest = end - timedelta(hours=MOST_HOURS)
        known = await self._connection.fetch(_KNOWN, workload, earliest, end)
        origin = known[0]["starts_at"] if known else await self._begin(workload, earliest)
        if origin is None or origin >= end:
            return joined([], end)
        windows = _unbroken(known, origin)
        newest = await self._connection.fetchval(_NEWEST)
        finished = min(end, newest or origin) - timedelta(seconds=SETTLED_S)
        while (since := origin + len(windows) * _WINDOW) < end:
            piece = await self._piece(workload, since, min(since + timedelta(seconds=PIECE_S), end), end)
            windows += piece
            if keep:
                rows = [(workload, *astuple(one)) for one in piece if one.starts_at + _WINDOW <= finished]
                await self._connection.executemany(_KEEP, rows)
        if keep:
            await self._connection.execute(_PRUNE, workload, end - KEPT)
        return joined(windows, origin)

    async def _begin(self, workload: str, earliest: datetime) -> datetime | None:
        """The first whole window with traffic: what was before it is not known to be silence."""
        first = await self._connection.fetchval(_FIRST, workload, earliest)
        return None if first is None else max(earliest, _window_after(first))

    async def _piece(self, workload: str, since: datetime, until: datetime, end: datetime) -> list[Window]:
        """Windows from the ledger's own entries. What ended up to an hour after the piece may have begun in it; a
        reservation without an outcome is work in flight within an hour of `end`, and else a request that was lost."""
        after, open_since = until + timedelta(seconds=SETTLED_S), end - timedelta(seconds=SETTLED_S)
        rows = await self._connection.fetch(_EDGES, workload, since, until, after, open_since)
        heard = {row["place"] for row in await self._connection.fetch(_HEARD, since, until)}
        arrivals, in_flight = added_up(rows, int((until - since).total_seconds()) // BIN_S)
        return [
            Window(
                starts_at=since + at * _WINDOW, arrivals=int(arrivals[at]), in_flight=busy.tolist(), heard=at in heard
            )
            for at, busy in enumerate(in_flight.reshape(-1, BINS_PER_WINDOW))
        ]

    async def decided(self, pool: str, hour: datetime) -> Choice | None:
        """What was decided for an hour."""
        with _told():
            row = await self._connection.fetchrow(_DECIDED, pool, hour)
        return Choice(**{**dict(row), "reason": Reason(row["reason"])}) if row is not None else None

    async def decide(
        self, pool: str, hour: datetime, choice: Choice, *, bounds: tuple[int, int], price_version: str
    ) -> Choice:
        """Notes a decision down and returns the one that stands: that of whoever was first."""
        values = [getattr(choice, name.strip()) for name in _COLUMNS.split(",")]
        now = datetime.now(tz=UTC)
        with _told():
            await self._connection.execute(_DECIDE, pool, hour, now, *bounds, price_version, *values)
        return await self.decided(pool, hour) or choice

    async def applied(self, pool: str, hour: datetime, *, before: int) -> None:
        """Notes down that the fleet is as decided, and what it was."""
        with _told():
            await self._connection.execute(_APPLIED, pool, hour, before, datetime.now(tz=UTC))

    async def latest(self, pool: str, count: int) -> list[dict[str, Any]]:
        """The last decisions, the newest first."""
        with _told():
            return [dict(row) for row in await self._connection.fetch(_LATEST, pool, count)]


def _window_after(moment: datetime) -> datetime:
    """The first window that begins at or after a moment."""
    return datetime.fromtimestamp(-(-moment.timestamp() // WINDOW_S) * WINDOW_S, tz=UTC)


def _unbroken(rows: Sequence[Any], origin: datetime) -> list[Window]:
    """Kept windows up to the first hole."""
    found = enumerate(Window(**dict(row)) for row in rows)
    return [one for _, one in takewhile(lambda item: item[1].starts_at == origin + item[0] * _WINDOW, found)]


def joined(windows: Sequence[Window], origin: datetime) -> History:
    """Windows one after the other as arrays."""
    return History(
        origin_s=int(origin.timestamp()),
        arrivals=np.array([one.arrivals for one in windows], dtype=np.float64),
        in_flight=np.array([one.in_flight for one in windows], dtype=np.float64).reshape(-1),
        heard=np.array([one.heard for one in windows], dtype=np.bool_),
    )


def added_up(rows: Sequence[Any], bins: int) -> tuple[Floats, Floats]:
    """Edges by bin -> arrivals [windows] and the exact mean in flight of each bin [bins], as `planner.requests` has it:
    an edge at part f of bin b adds 1 - f to it and f to the next."""
    delta, arrivals = np.zeros(bins + 2), np.zeros(bins // BINS_PER_WINDOW)
    for row in rows:
        at, step, edges, parts = row["bin"], row["step"], float(row["edges"]), float(row["parts"])
        delta[at] += step * (edges - parts)
        delta[at + 1] += step * parts
        if row["arrived"]:
            arrivals[at // BINS_PER_WINDOW] += row["arrived"]
    in_flight = delta.cumsum()[:bins]
    in_flight[np.abs(in_flight) < 1e-9] = 0.0  # what is left of fractions that cancel
    return arrivals, np.maximum(in_flight, 0.0)


# SQLSTATE class or code -> what is wrong, what to do. https://www.postgresql.org/docs/current/errcodes-appendix.html
_STATES: Final = {
    "28": ("didn't let this role in", "check HEADRACE_FLOOR_DSN"),
    "3D000": ("has no such database", "check HEADRACE_FLOOR_DSN"),
    "42P01": ("lacks the hourly floor's tables", "run `headrace audit migrate` with --floor-role"),
    "42501": ("doesn't let this role do that", "run `headrace audit migrate` with --floor-role"),
    "57014": ("took too long to answer", "look for what blocks it, or for a missing index on headrace.entries"),
}
_FAULTS: Final = (OSError, ValueError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


def _unavailable(error: Exception) -> Refused:
    """One sentence. An error's own text may quote the address or a statement, so only its kind is told."""
    state = str(getattr(error, "sqlstate", None) or "")
    rule, step = _STATES.get(state) or _STATES.get(state[:2]) or ("", "")
    if not rule:
        rule = f"can't be reached or read ({type(error).__name__} {state}".rstrip() + ")"
        step = "check that the database runs; the next run goes on where this one stopped"
    return refuse("ledger", None, rule, reason="the fleet stays as it is", next_step=step)


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong between here and the database becomes a refusal."""
    try:
        yield
    except _FAULTS as error:
        raise _unavailable(error) from None
