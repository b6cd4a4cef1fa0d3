"""The router's ledger as traffic: journal folders, entries as JSON lines, or the Postgres table that its sink fills.

A request is traffic when it was served: its `post` entry tells when it ended, how long it took and its tokens. What the
ledger holds beside that (refused, never sent, lost in a crash) has no tokens; it is counted in the data-quality summary
and never becomes work. Columns are those of `headrace.audit.record.Entry`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import polars as pl

from headrace.audit.chain import GENESIS
from headrace.audit.record import FORMAT, Entry, Kind
from headrace.audit.segments import Damaged, Segment, Torn, read_segment, segments
from headrace.errors import Refused, refuse
from headrace.planner.sources import Kind as Holds
from headrace.planner.sources import Source

ENVIRONMENT_VARIABLE: Final = "HEADRACE_LEDGER_DSN"
SCHEMES: Final = ("postgres", "postgresql")
# Rows turned into one file of the scratch folder: about 200 MiB of JSON at most.
PART_ROWS: Final = 250_000
CONNECT_S: Final = 15.0
_TYPES: Final = {"int": pl.Int64(), "bool": pl.Boolean()}
SCHEMA: Final[Mapping[str, pl.DataType]] = {
    field.name: _TYPES.get(str(field.type), pl.String()) for field in fields(Entry)
}
# canonical name of requests -> column of `_served`
COLUMNS: Final = {
    "timestamp": "arrived_s",
    "tokens_in": "tokens_in",
    "tokens_out": "tokens_out",
    "id": "request_id",
    "tenant": "tenant",
    "project": "project",
    "feature": "feature",
    "model": "workload",
    "latency_s": "held_s",
}
_LEFT_OUT: Final = {
    Kind.REFUSE: "requests were refused by the router and are not planned for",
    Kind.VOID: "requests were never sent and are left out",
    Kind.EXPIRE: "requests were lost in a crash and left no tokens to plan for",
}


def is_database(traffic: str) -> bool:
    """Whether the argument is a Postgres address."""
    return traffic.partition("://")[0].lower() in SCHEMES and "://" in traffic


def public(address: str) -> str:
    """An address without user, password and (for a database) options, which may hold one too."""
    scheme, separator, _ = address.partition("://")
    if not separator:
        return address
    try:
        parts = urlsplit(address)
        host = parts.netloc.rpartition("@")[2]
        query = f"?{parts.query}" if parts.query and not is_database(address) else ""
    except ValueError:
        return f"{scheme}://…"
    return f"{scheme}://{host}{parts.path}{query}"


def ledger(traffic: str, workload: str, only: Mapping[str, str], scratch: Path) -> Source | None:
    """The ledger's served requests of one workload; None if `traffic` is no ledger.

    scratch: an empty folder that outlives the source; the database's and the journal's entries are laid down there, so
    that a ledger may be larger than memory. With `only` naming a model, that replaces `workload`.
    """
    if is_database(traffic):
        parts = _Parts(scratch)
        asyncio.run(_from_database(traffic, parts))
        entries, notes = parts.frame(), parts.notes
    elif Path(traffic).is_dir():
        parts = _Parts(scratch)
        _from_journals(Path(traffic), parts)
        entries, notes = parts.frame(), parts.notes
    else:
        found = _lines(Path(traffic))
        if found is None:
            return None
        entries, notes = found, []
    shown = public(traffic)
    counts = _counts(entries)
    served = _served(entries)
    served, kept = _of_workload(served, shown, workload, only)
    source = Source(path=Path(shown), kind=Holds.REQUESTS, columns=COLUMNS, frame=served)
    return replace(source, notes=(*notes, *_sentences(counts), *kept))


# -- entries ----------------------------------------------------------------------------------------------------------


@dataclass
class _Parts:
    """Entries laid down as Parquet files, a bounded number of rows at a time."""

    folder: Path
    notes: list[str] = field(default_factory=list)
    unknown: int = 0
    rows: int = 0
    _waiting: list[bytes] = field(default_factory=list)

    def add(self, record: bytes) -> None:
        """Canonical bytes of one entry."""
        if record[:1] != FORMAT:
            self.unknown += 1
            return
        self._waiting.append(record[1:])
        self.rows += 1
        if len(self._waiting) >= PART_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            frame = pl.read_ndjson(b"\n".join(self._waiting), schema=SCHEMA)
            frame.write_parquet(self.folder / f"{self.rows:016d}.parquet")
            self._waiting.clear()

    def frame(self) -> pl.LazyFrame:
        """All entries."""
        self._flush()
        if self.unknown:
            self.notes.append(f"{self.unknown:,} ledger entries in an unknown format left out")
        return pl.scan_parquet(self.folder / "*.parquet") if self.rows else pl.LazyFrame(schema=SCHEMA)


def _from_journals(folder: Path, parts: _Parts) -> None:
    """Entries of a journal, or of one journal in each sub-folder (one per router replica)."""
    folders = [folder] if segments(folder) else [one for one in sorted(folder.iterdir()) if one.is_dir()]
    found = [(one, segments(one)) for one in folders]
    if not any(listed for _, listed in found):
        raise refuse(
            "TRAFFIC",
            str(folder),
            "is a folder without a journal",
            reason="neither it nor a folder in it holds a .journal file",
            next_step="give the router's --spool folder, or a folder of several",
        )
    for one, listed in found:
        if listed and listed[0].first:
            parts.notes.append(
                f"{one.name}: {listed[0].first:,} earlier entries were drained to the router's sink and are not here"
            )
        for segment in listed:
            for record in _records(segment, parts.notes):
                parts.add(record)


def _records(segment: Segment, notes: list[str]) -> Iterator[bytes]:
    for item in read_segment(segment, "", GENESIS):
        if isinstance(item, Damaged):
            notes.append(f"{item.path.name}: {item.bytes:,} bytes in it are damaged and are left out")
            continue
        if isinstance(item, Torn):
            notes.append(f"{item.path.name}: its last {item.bytes:,} bytes are no whole entry and are left out")
            return
        yield item.record


async def _from_database(dsn: str, parts: _Parts) -> None:
    shown = public(dsn)
    try:
        import asyncpg  # type: ignore[import-untyped] # asyncpg 0.32 ships no py.typed
    except ImportError:
        raise refuse("TRAFFIC", shown, "needs the package asyncpg", next_step="install headrace[planner]") from None
    try:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_S)
        try:
            async for record in _rows(connection):
                parts.add(record)
        finally:
            connection.terminate()
    except Refused:
        raise
    except (OSError, ValueError, OverflowError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise _unreadable(shown, error) from None  # its cause may quote the DSN


async def _rows(connection: Any) -> AsyncIterator[bytes]:
    """One snapshot through a server-side cursor, so that neither side holds the table in memory."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        async for row in connection.cursor("SELECT record FROM headrace.entries", prefetch=5000):
            yield row["record"]


# SQLSTATE class or code -> what is wrong, what to do. https://www.postgresql.org/docs/current/errcodes-appendix.html
_STATES: Final = {
    "28": ("didn't let this user in", "check the user, and the password in PGPASSWORD or ~/.pgpass"),
    "3D000": ("has no such database", "check the name after the last slash"),
    "3F000": ("has no schema headrace", "give the database that the router's sink writes to"),
    "42P01": ("has no table headrace.entries", "give the database that the router's sink writes to"),
    "42501": ("doesn't let this user read the ledger", "grant usage on schema headrace and select on headrace.entries"),
}


def _unreadable(shown: str, error: Exception) -> Refused:
    state = str(getattr(error, "sqlstate", None) or "")
    rule, step = _STATES.get(state) or _STATES.get(state[:2]) or ("", "")
    if not rule:
        reachable = isinstance(error, OSError | TimeoutError)
        rule = "can't be reached" if reachable else f"can't be read ({type(error).__name__} {state}".rstrip() + ")"
        step = "check host, port and that the database runs"
    return refuse("TRAFFIC", shown, rule, next_step=step)


def _lines(path: Path) -> pl.LazyFrame | None:
    """A JSON-lines file of entries, bare or under one key of each line (as rows of the table have `body`)."""
    if not path.name.endswith((".jsonl", ".ndjson")) or not path.is_file():
        return None
    try:
        with path.open(encoding="utf-8") as file:
            first: object = json.loads(file.readline())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(first, dict):
        return None
    if _is_entry(first):
        return pl.scan_ndjson(path, schema=SCHEMA, ignore_errors=True)
    under = next((name for name, value in first.items() if _is_entry(value)), None)
    if under is None:
        return None
    return pl.scan_ndjson(path, schema={under: pl.Struct(SCHEMA)}, ignore_errors=True).unnest(under)


def _is_entry(value: object) -> bool:
    """Whether a JSON value has the names that every entry has."""
    return isinstance(value, dict) and {"kind", "request_id", "at_us", "period"} <= value.keys() <= SCHEMA.keys()


# -- requests ---------------------------------------------------------------------------------------------------------


def _counts(entries: pl.LazyFrame) -> dict[str, int]:
    served = pl.col("kind") == Kind.POST.value
    found = entries.select(
        *((pl.col("kind") == kind.value).sum().alias(kind.value) for kind in (Kind.POST, *_LEFT_OUT)),
        pl.col("tokens_cached").filter(served).sum().alias("cached"),
        pl.col("tokens_in").filter(served).sum().alias("prompt"),
    ).collect(engine="streaming")
    return {name: int(value or 0) for name, value in found.row(0, named=True).items()}


def _sentences(counts: Mapping[str, int]) -> list[str]:
    said = [f"{counts[kind.value]:,} {what}" for kind, what in _LEFT_OUT.items() if counts[kind.value]]
    if counts["cached"] and counts["prompt"]:
        share = counts["cached"] / counts["prompt"]
        said.append(f"{share:.0%} of prompt tokens came from a prefix cache; the plan counts them as work")
    return said


def _served(entries: pl.LazyFrame) -> pl.LazyFrame:
    """Requests that were served, by arrival.

    An entry is made at the end of its request; `latency_us` runs from the arrival and includes the wait for a place and
    a cold start. Neither holds a replica's work, so the wait is taken off, and a cold request has the model's time.
    """
    latency = pl.col("latency_us").fill_null(0)
    held = (latency - pl.col("wait_us").fill_null(0)).clip(lower_bound=0) / 1e6
    return entries.filter(pl.col("kind") == Kind.POST.value).select(
        "request_id",
        "workload",
        ((pl.col("at_us") - latency) / 1e6).alias("arrived_s"),
        pl.col("tokens_in", "tokens_out").fill_null(0),
        pl.col("tenant", "project", "feature").fill_null(""),
        pl.when(pl.col("cold").fill_null(value=False)).then(None).otherwise(held).alias("held_s"),
    )


def _of_workload(
    served: pl.LazyFrame, shown: str, workload: str, only: Mapping[str, str]
) -> tuple[pl.LazyFrame, list[str]]:
    """Requests of the workload that is planned; a ledger holds those of all."""
    if "model" in only:
        return served, []
    counted = served.group_by("workload").len().sort("workload").collect(engine="streaming")
    by_name = {str(name): int(count) for name, count in counted.iter_rows() if name}
    if not by_name:
        raise refuse(
            "TRAFFIC",
            shown,
            "holds no request that was served",
            reason="only served requests tell tokens and time",
            next_step="plan when the router has served some traffic",
        )
    if workload not in by_name:
        raise refuse(
            "TRAFFIC",
            shown,
            f"holds no request of the workload {workload!r}",
            reason=f"it has {', '.join(by_name)}",
            next_step="set `name` of the workload file, or give --only model=NAME",
        )
    others = sum(by_name.values()) - by_name[workload]
    note = [f"{others:,} requests of other workloads left out"] if others else []
    return served.filter(pl.col("workload") == workload), note
