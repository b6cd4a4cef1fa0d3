"""The router's ledger in Postgres, read back: one row for each request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg  # type: ignore[import-untyped] # asyncpg 0.32 ships no py.typed

from headrace.audit.sinks.postgres import schema

_POLL_S: Final = 0.1
_SELECT: Final = """
SELECT writer, request_id, extract(epoch FROM timestamp)::float8 AS at_s, tenant, project, model,
       COALESCE(pool, '') AS pool, COALESCE(reason, '') AS reason, spilled, cold, COALESCE(outcome, '') AS outcome,
       status, tokens_in, tokens_out,
       wait_s::float8 AS wait_s, first_token_s::float8 AS first_token_s, latency_s::float8 AS latency_s,
       (cost_usd * 1000000000)::bigint AS cost_nano
FROM headrace.requests JOIN unnest($1::text[], $2::bigint[]) AS part(name, since)
  ON writer = part.name AND sequence >= part.since
ORDER BY writer, sequence
"""
_OVERHEAD: Final = """
SELECT COALESCE(body ->> 'pool', '') AS pool, COALESCE((body ->> 'cost_nano')::bigint, 0) AS cost_nano
FROM headrace.entries JOIN unnest($1::text[], $2::bigint[]) AS part(name, since)
  ON writer = part.name AND sequence >= part.since
WHERE kind = 'overhead' ORDER BY writer, sequence
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One request as the ledger holds it. `writer` is the replica that took it; `at_s` is when it ended, in seconds
    since 1970 of the routers' clock."""

    writer: str
    request_id: str
    at_s: float
    tenant: str
    project: str
    model: str
    pool: str
    reason: str
    spilled: bool
    cold: bool
    outcome: str
    status: int
    tokens_in: int
    tokens_out: int
    wait_s: float
    first_token_s: float
    latency_s: float
    cost_nano: int

    @property
    def served(self) -> bool:
        """Whether it was answered to its end."""
        return self.outcome == "ok"

    @property
    def refused(self) -> bool:
        """Whether the router said no; such a row has no pool."""
        return not self.pool


async def prepare(dsn: str) -> None:
    """Make the tables that the router's sink writes to."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        await connection.execute(schema())
    finally:
        await connection.close()


async def sizes(dsn: str, writers: Sequence[str]) -> dict[str, int]:
    """Entries that the ledger holds of each writer."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        found = await connection.fetch(
            "SELECT writer, max(sequence) + 1 AS size FROM headrace.entries WHERE writer = ANY($1) GROUP BY writer",
            list(writers),
        )
    finally:
        await connection.close()
    return dict.fromkeys(writers, 0) | {str(record["writer"]): int(record["size"]) for record in found}


async def overhead(dsn: str, *, since: Mapping[str, int]) -> list[tuple[str, int]]:
    """Pool and cost in nano-dollars of the routers' own requests, of each writer from entry `since` on."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        found = await connection.fetch(_OVERHEAD, list(since), list(since.values()))
    finally:
        await connection.close()
    return [(str(record["pool"]), int(record["cost_nano"])) for record in found]


async def rows(dsn: str, *, since: Mapping[str, int], expected: int, patience_s: float) -> list[Row]:
    """Outcomes of each writer from entry `since` on; waits until there are `expected` in all, at most `patience_s`."""
    deadline = time.monotonic() + patience_s
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        while True:
            records = await connection.fetch(_SELECT, list(since), list(since.values()))
            found = [Row(**dict(record)) for record in records]
            if len(found) >= expected or time.monotonic() >= deadline:
                return found
            await asyncio.sleep(_POLL_S)
    finally:
        await connection.close()
