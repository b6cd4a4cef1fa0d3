"""The router's ledger in Postgres, read back: one row for each request."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import asyncpg  # type: ignore[import-untyped] # asyncpg 0.32 ships no py.typed

from headrace.audit.sinks.postgres import schema

_POLL_S: Final = 0.1
_SELECT: Final = """
SELECT request_id, extract(epoch FROM timestamp)::float8 AS at_s, tenant, project, model, COALESCE(pool, '') AS pool,
       COALESCE(reason, '') AS reason, spilled, cold, COALESCE(outcome, '') AS outcome, status, tokens_in, tokens_out,
       wait_s::float8 AS wait_s, first_token_s::float8 AS first_token_s, latency_s::float8 AS latency_s,
       (cost_usd * 1000000000)::bigint AS cost_nano
FROM headrace.requests WHERE writer = $1 AND sequence >= $2 ORDER BY sequence
"""
_OVERHEAD: Final = """
SELECT COALESCE(body ->> 'pool', '') AS pool, COALESCE((body ->> 'cost_nano')::bigint, 0) AS cost_nano
FROM headrace.entries WHERE writer = $1 AND sequence >= $2 AND kind = 'overhead' ORDER BY sequence
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One request as the ledger holds it. `at_s` is when it ended, in seconds since 1970 of the router's clock."""

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


async def size(dsn: str, writer: str) -> int:
    """Entries that the ledger holds of a writer."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        last = await connection.fetchval("SELECT max(sequence) FROM headrace.entries WHERE writer = $1", writer)
    finally:
        await connection.close()
    return 0 if last is None else int(last) + 1


async def overhead(dsn: str, writer: str, *, since: int) -> list[tuple[str, int]]:
    """Pool and cost in nano-dollars of the router's own requests from entry `since` on."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        found = await connection.fetch(_OVERHEAD, writer, since)
    finally:
        await connection.close()
    return [(str(record["pool"]), int(record["cost_nano"])) for record in found]


async def rows(dsn: str, writer: str, *, since: int, expected: int, patience_s: float) -> list[Row]:
    """Outcomes from entry `since` on; waits until there are `expected` of them, for at most `patience_s`."""
    deadline = time.monotonic() + patience_s
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        while True:
            found = [Row(**dict(record)) for record in await connection.fetch(_SELECT, writer, since)]
            if len(found) >= expected or time.monotonic() >= deadline:
                return found
            await asyncio.sleep(_POLL_S)
    finally:
        await connection.close()
