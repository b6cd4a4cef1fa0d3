"""A Redis that forgot while a replica was dead: what the ledger holds of that replica still counts against budgets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import asyncpg  # type: ignore[import-untyped] # asyncpg 0.32 ships no py.typed
import pytest
import redis

from headrace.audit.ledger import Balance, fold
from headrace.audit.record import Entry, Kind, canonical
from headrace.audit.sinks.base import SinkUnavailable
from headrace.audit.sinks.drain import Drain
from headrace.audit.sinks.postgres import PostgresSink
from headrace.audit.spool import Spool
from headrace.router import recorded
from headrace.router.engine import Engine
from headrace.router.lease_redis import RedisLeaser
from headrace.router.types import Account
from headrace_sandbox.supervise_ports import free_port
from tests.engine.router.world import (
    make_tables,
    open_folder,
    postgres_ready,
    redis_ready,
    start_postgres,
    start_redis,
    wait_for,
)
from tests.unit.router.worlds import config

pytestmark = pytest.mark.engine
MONTH = "2026-11"
LIMIT = 1000
POLICY = config(limits={"budgetNanoUsd": LIMIT}, tenants={"search": {"limits": {}, "projects": {"assistant": {}}}})
MONEY = "environment/money"


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    port = free_port()
    with open_folder() as folder, start_postgres(port, folder) as running:
        wait_for(postgres_ready(port), what="PostgreSQL")
        with ThreadPoolExecutor(1) as elsewhere:
            elsewhere.submit(lambda: asyncio.run(make_tables(port))).result()
        yield f"postgresql://router@127.0.0.1:{port}/postgres"
        running.kill(2)


@pytest.fixture
async def port(tmp_path: Path, dsn: str) -> AsyncIterator[int]:
    connection = await asyncpg.connect(dsn.replace("router@", "postgres@"))
    await connection.execute("TRUNCATE headrace.entries")
    await connection.close()
    found = free_port()
    with start_redis(found, tmp_path / "redis"):
        wait_for(redis_ready(found), what="Redis")
        yield found


def entry(request: str, kind: Kind, *, cost: int = 0, held: int = 0, **over: str) -> Entry:
    made = Entry(
        kind=kind,
        request_id=request,
        at_us=1_795_000_000_000_000,  # 2026-11-18
        cost_nano=cost,
        reserved_nano=held,
        tenant="search",
        project="assistant",
        period=MONTH,
        environment="test",
    )
    return replace(made, **over)  # type: ignore[arg-type] # texts for fields of text


ENTRIES = [
    entry("a", Kind.RESERVE, held=500),
    entry("a", Kind.POST, cost=200, held=500),
    entry("b", Kind.RESERVE, held=100),
    entry("b", Kind.RESERVE, held=70),  # a retry: takes the place of the first
    entry("c", Kind.RESERVE, held=90),
    entry("c", Kind.VOID, cost=90),
    entry("d", Kind.RESERVE, held=60),
    entry("d", Kind.REFUSE, cost=5),
    entry("e", Kind.RESERVE, held=60, tenant="", project=""),
    entry("e", Kind.OVERHEAD, cost=25, tenant="", project=""),
    entry("f", Kind.RESERVE, held=40, tenant="", project=""),
    entry("g", Kind.EXPIRE, cost=30),
    entry("h", Kind.POST, cost=7_000, period="2026-10"),
    entry("i", Kind.POST, cost=9_000, environment="another"),
]
SPENT, OPEN = 200 + 5 + 25 + 30, 70 + 40


async def store(dsn: str, folder: Path, writer: str, entries: list[Entry]) -> None:
    spool, sink = Spool(folder, writer), PostgresSink(dsn)
    promises = [spool.append(canonical(one)) for one in entries]
    assert promises[-1] is not None
    await promises[-1]
    drain = Drain(spool, sink)
    while await drain.step():
        pass
    spool.close()
    await sink.close()


async def test_the_ledger_in_postgres_comes_to_what_the_journal_comes_to(dsn: str, port: int, tmp_path: Path) -> None:
    await store(dsn, tmp_path / "spool", "router-1", ENTRIES)
    found = await PostgresSink(dsn).balances("test", MONTH)
    journal = fold(one for one in ENTRIES if one.environment == "test")
    expected = {("router-1", scope): one for (month, scope), one in journal.balances.items() if month == MONTH}
    assert found == expected
    assert found["router-1", "environment"] == Balance(spent=SPENT, reserved=OPEN)
    with pytest.raises(SinkUnavailable):
        await PostgresSink("postgresql://router@127.0.0.1:1/postgres").balances("test", MONTH)


class One:
    """A replica's shares; `spent` is what its own journal says."""

    def __init__(self, name: str, port: int, dsn: str | None, spent: int = 0) -> None:
        self.failed: list[str] = []
        self.engine = Engine(
            POLICY,
            clock=time.monotonic,
            period=MONTH,
            leases={},
            accounts={"environment": Account(spent=spent)} if spent else {},
        )
        self.leaser = RedisLeaser(
            f"redis://127.0.0.1:{port}/0",
            name,
            self.engine,
            counts=PostgresSink(dsn) if dsn else None,
            failed=self.failed.append,
        )

    @property
    def share(self) -> int:
        return self.engine.state.leases.get(MONEY, 0)

    async def given(self) -> list[int]:
        """Rounds until there is a share, and for a second more; all the shares that it had."""
        deadline, seen = time.monotonic() + 60, list[int]()
        while not self.share:
            assert time.monotonic() < deadline
            await self.until(0.25)
        for _ in range(4):
            seen.append(await self.until(0.25))
        return list(dict.fromkeys(seen))

    async def until(self, seconds: float) -> int:
        """Rounds for some time, and five at least; the share then."""
        end, rounds = time.monotonic() + seconds, 0
        while time.monotonic() < end or rounds < 5:
            await self.leaser.step()
            await asyncio.sleep(0.05)
            rounds += 1
        return self.share


async def test_a_redis_that_forgot_gives_out_only_what_the_ledger_leaves(dsn: str, port: int, tmp_path: Path) -> None:
    await store(dsn, tmp_path / "spool", "router-1", ENTRIES)
    living = One("router-0", port, dsn, spent=100)
    assert await living.given() == [LIMIT - SPENT - OPEN], "router-1 is dead: what it spent and held open is gone"
    redis.Redis(port=port).flushall()
    await living.until(0.5)
    assert set(await living.given()) == {LIMIT - SPENT - OPEN}, "at no moment more, while Redis learned it again"
    back = One("router-1", port, dsn, spent=SPENT + OPEN)  # its journal posted what was open
    await back.until(0.5)
    await living.until(0.5)
    await back.until(0.5)
    assert living.share + back.share <= LIMIT
    assert back.share >= SPENT + OPEN, "it speaks for itself again"
    for one in (living, back):
        await one.leaser.close()


async def test_without_a_ledger_what_the_dead_one_spent_is_what_can_be_exceeded(
    dsn: str, port: int, tmp_path: Path
) -> None:
    await store(dsn, tmp_path / "spool", "router-1", ENTRIES)
    living = One("router-0", port, None, spent=100)
    assert await living.given() == [LIMIT], "nobody told it: the bound that docs/router/keys.md names"
    back = One("router-1", port, None, spent=SPENT + OPEN)
    await back.until(0.5)
    assert back.share == 0, "it gets nothing more, so the sum stays below the limit and what it had spent"
    await living.leaser.close()
    await back.leaser.close()


async def test_a_ledger_that_is_away_holds_budgets_up_for_a_while_and_is_counted_later(
    dsn: str, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded, "PATIENCE_S", 1000.0)
    monkeypatch.setattr(recorded, "_AGAIN_S", 0.2)
    await store(dsn, tmp_path / "spool", "router-1", ENTRIES)
    living = One("router-0", port, "postgresql://router@127.0.0.1:1/postgres", spent=100)
    deadline = time.monotonic() + 60
    while not living.engine.state.leases.get("pool/floor/slots"):
        assert time.monotonic() < deadline
        assert await living.until(0.25) == 0
    assert living.leaser.counting, "a router that starts is not ready then"
    assert await living.until(1.0) == 0, "only budgets wait"
    monkeypatch.setattr(recorded, "PATIENCE_S", 0.0)
    while not living.share:
        assert time.monotonic() < deadline
        await living.until(0.25)
    assert living.share == LIMIT, "after a while service goes before the bound"
    assert not living.leaser.counting
    assert "recorded spend" in living.failed
    later = One("router-2", port, dsn)
    while not 0 <= LIMIT - SPENT - OPEN - living.share - later.share <= 2:
        assert time.monotonic() < deadline, "once somebody reached the ledger it holds"
        await later.until(0.25)
        await living.until(0.25)
    for one in (living, later):
        await one.leaser.close()


class Snapshot:
    """Everything that Redis holds now, to be what it holds again, an hour later: as a restored RDB file."""

    def __init__(self, port: int) -> None:
        self._redis = redis.Redis(port=port)
        self._kept = {name: (self._redis.dump(name) or b"", self._redis.pttl(name)) for name in self._redis.scan_iter()}

    def restore(self) -> None:
        self._redis.flushall()
        for name, (value, ttl) in self._kept.items():
            self._redis.restore(name, max(0, ttl), value)
        seen = "headrace:{test}:seen"
        for replica in (b"router-0", b"router-1"):
            if (at := self._redis.zscore(seen, replica)) is not None:
                self._redis.zadd(seen, {replica: float(str(at)) - 3_600_000})


async def test_a_redis_that_was_restored_from_a_snapshot_gives_out_only_what_the_ledger_leaves(
    dsn: str, port: int, tmp_path: Path
) -> None:
    """It knew of all that was spent an hour ago, and was believed: what a replica had spent since and died with was
    given out once more."""
    living = One("router-0", port, dsn, spent=100)
    await living.given()
    snapshot = Snapshot(port)
    await store(dsn, tmp_path / "spool", "router-1", ENTRIES)
    doomed = One("router-1", port, dsn, spent=SPENT + OPEN)
    for _ in range(4):
        await doomed.until(0.1)
        await living.until(0.1)
    await doomed.leaser.close()  # it is not heard of again: what it had spent is lost to the others
    await living.until(0.5)
    assert living.share <= LIMIT - SPENT - OPEN
    snapshot.restore()
    seen = [await living.until(0.1) for _ in range(20)]
    assert max(seen) <= LIMIT - SPENT - OPEN, "at no moment more than the ledger leaves"
    assert seen[-1] == LIMIT - SPENT - OPEN
    await living.leaser.close()
