"""Postgres as a sink: insert and select only, idempotent by (writer, sequence)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Final

import asyncpg  # type: ignore[import-untyped] # asyncpg 0.32 ships no py.typed

from headrace.audit.chain import Link
from headrace.audit.ledger import Balance, scopes_of
from headrace.audit.record import Entry, RecordError, outline, parse
from headrace.audit.sinks.base import SinkConflict, SinkUnavailable, Unstorable, identifier

_TIMEOUT_S: Final = 10.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_INSERT: Final = """
INSERT INTO headrace.entries (writer, sequence, previous, hash, record, kind, request_id, at, body)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::bytea[], $5::bytea[], $6::text[], $7::text[],
                     $8::timestamptz[], $9::jsonb[])
ON CONFLICT (writer, sequence) DO NOTHING
"""
_DIFFERENT: Final = """
SELECT e.sequence FROM headrace.entries e
JOIN unnest($2::bigint[], $3::bytea[]) AS sent (sequence, hash) USING (sequence)
WHERE e.writer = $1 AND e.hash <> sent.hash LIMIT 1
"""
_OUTCOMES: Final = """
SELECT record FROM headrace.entries
WHERE kind IN ('post', 'void', 'expire', 'refuse') AND ($1::interval IS NULL OR at >= now() - $1::interval)
ORDER BY at, request_id
"""
# A balance as `headrace.audit.ledger` makes it. What is open is the last reservation of a request without an end.
_BALANCES: Final = """
SELECT writer, tenant, project, sum(spent)::bigint AS spent, sum(open)::bigint AS open FROM (
    SELECT writer, COALESCE(body ->> 'tenant', '') AS tenant, COALESCE(body ->> 'project', '') AS project,
           sum((body ->> 'cost_nano')::numeric) AS spent, 0::numeric AS open
    FROM headrace.entries
    WHERE at >= $3 AND kind NOT IN ('reserve', 'void') AND body ->> 'period' = $2 AND body ->> 'environment' = $1
    GROUP BY 1, 2, 3
    UNION ALL
    SELECT writer, COALESCE(body ->> 'tenant', ''), COALESCE(body ->> 'project', ''),
           0, (body ->> 'reserved_nano')::numeric
    FROM (
        SELECT DISTINCT ON (r.request_id) r.writer, r.body FROM headrace.entries r
        WHERE r.at >= $3 AND r.kind = 'reserve' AND r.body ->> 'period' = $2 AND r.body ->> 'environment' = $1
          AND NOT EXISTS (SELECT FROM headrace.entries e
                          WHERE e.at >= $3 AND e.kind <> 'reserve' AND e.request_id = r.request_id)
        ORDER BY r.request_id, r.sequence DESC
    ) AS held
) AS parts GROUP BY 1, 2, 3
"""
# A month of a busy router is some ten million entries.
_BALANCES_S: Final = 120.0
# Entries of a month are written at its time; a clock may be wrong by this much.
_EARLIER: Final = timedelta(days=1)
# What PostgreSQL, or its client, says of a value that no column can hold: out of range, text with a zero character, ….
# A violated constraint is not among them: whoever changed the table must see the way blocked, not a full quarantine.
_UNFIT: Final = (
    asyncpg.DataError,
    asyncpg.exceptions._base.DataError,
    asyncpg.ProgramLimitExceededError,
)
_UNREACHABLE: Final = (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)


def schema() -> str:
    """Tables, index and view; run once by an administrator, or by `headrace audit schema`."""
    return (files("headrace.audit.sinks") / "schema.sql").read_text(encoding="utf-8")


def grants(role: str) -> str:
    """What the router's role may do: insert and select."""
    name = identifier(role)
    return f"GRANT USAGE ON SCHEMA headrace TO {name}; GRANT INSERT, SELECT ON headrace.entries TO {name};"


class PostgresSink:
    """One connection, made when needed. `dsn` holds a password: it is never logged."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def _connected(self) -> asyncpg.Connection[asyncpg.Record]:
        if self._connection is None or self._connection.is_closed():
            try:
                self._connection = await asyncpg.connect(self._dsn, timeout=_TIMEOUT_S, command_timeout=_TIMEOUT_S)
            except (*_UNREACHABLE, asyncpg.PostgresError) as error:
                raise SinkUnavailable(type(error).__name__) from error
        return self._connection

    async def size(self, writer: str) -> int:
        connection = await self._connected()
        try:
            last = await connection.fetchval("SELECT max(sequence) FROM headrace.entries WHERE writer = $1", writer)
        except (*_UNREACHABLE, asyncpg.PostgresError) as error:
            raise await self._lost(error) from error
        return 0 if last is None else int(last) + 1

    async def write(self, links: Sequence[Link]) -> None:
        rows = _rows(links)
        connection = await self._connected()
        try:
            async with connection.transaction():
                await connection.execute(_INSERT, *rows)
            different = await connection.fetchval(
                _DIFFERENT, links[0].writer, [item.sequence for item in links], [item.hash for item in links]
            )
        except _UNFIT as error:
            raise Unstorable(f"{type(error).__name__} {getattr(error, 'sqlstate', '') or ''}".strip()) from error
        except asyncpg.UniqueViolationError as error:
            raise SinkConflict(f"a request has a second outcome ({error.detail})") from error
        except (*_UNREACHABLE, asyncpg.PostgresError) as error:
            raise await self._lost(error) from error
        if different is not None:
            raise SinkConflict(f"{links[0].writer} {different}")

    async def balances(self, environment: str, period: str) -> dict[tuple[str, str], Balance]:
        since = datetime.strptime(period, "%Y-%m").replace(tzinfo=UTC) - _EARLIER
        try:  # a connection of its own: entries go on being written meanwhile
            connection = await asyncpg.connect(self._dsn, timeout=_TIMEOUT_S, command_timeout=_BALANCES_S)
            try:
                rows = await connection.fetch(_BALANCES, environment, period, since)
            finally:
                connection.terminate()
        except (*_UNREACHABLE, asyncpg.PostgresError) as error:
            raise SinkUnavailable(type(error).__name__) from error
        found: dict[tuple[str, str], Balance] = {}
        for row in rows:
            for scope in scopes_of(row["tenant"], row["project"]):
                known = found.get((row["writer"], scope), Balance())
                found[row["writer"], scope] = Balance(
                    spent=known.spent + (row["spent"] or 0), reserved=known.reserved + (row["open"] or 0)
                )
        return found

    async def _lost(self, error: BaseException) -> SinkUnavailable:
        """Drops the connection: after an error nobody knows its state."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
        return SinkUnavailable(type(error).__name__)

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()


def _rows(links: Sequence[Link]) -> tuple[list[object], ...]:
    """The columns of some links. Raises `Unstorable`."""
    try:
        entries = [outline(item.record) for item in links]
        return (
            [item.writer for item in links],
            [item.sequence for item in links],
            [item.previous for item in links],
            [item.hash for item in links],
            [item.record for item in links],
            [kind.value for kind, _, _ in entries],
            [request_id for _, request_id, _ in entries],
            [_EPOCH + timedelta(microseconds=at_us) for _, _, at_us in entries],
            [item.record[1:].decode() for item in links],
        )
    except (RecordError, OverflowError, UnicodeDecodeError) as error:
        raise Unstorable(str(error)) from error


async def read(dsn: str, writer: str) -> list[Link]:
    """The chain of a writer as the database holds it."""
    try:
        connection = await asyncpg.connect(dsn, timeout=_TIMEOUT_S)
    except (*_UNREACHABLE, asyncpg.PostgresError) as error:
        raise SinkUnavailable(type(error).__name__) from error
    try:
        found = await connection.fetch(
            "SELECT sequence, previous, hash, record FROM headrace.entries WHERE writer = $1 ORDER BY sequence", writer
        )
    finally:
        await connection.close()
    return [
        Link(writer=writer, sequence=row["sequence"], previous=row["previous"], record=row["record"], hash=row["hash"])
        for row in found
    ]


async def outcomes(dsn: str, *, days: float | None = None) -> list[Entry]:
    """The one outcome of each request of all writers, in the order of time; of the last `days` where given."""
    try:
        connection = await asyncpg.connect(dsn, timeout=_TIMEOUT_S)
    except (*_UNREACHABLE, asyncpg.PostgresError) as error:
        raise SinkUnavailable(type(error).__name__) from error
    try:
        found = await connection.fetch(_OUTCOMES, timedelta(days=days) if days is not None else None)
    except (*_UNREACHABLE, asyncpg.PostgresError) as error:
        raise SinkUnavailable(type(error).__name__) from error
    finally:
        await connection.close()
    return [parse(row["record"]) for row in found]
