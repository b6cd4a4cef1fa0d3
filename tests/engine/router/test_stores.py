"""The router with a real Redis and a real PostgreSQL: away, back, forgetful, and contended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import asyncpg  # type: ignore[import-untyped] # asyncpg 0.32 ships no py.typed
import pytest

from headrace.audit.chain import Intact, Link, verify
from headrace.audit.quarantine import FILE
from headrace.audit.record import FORMAT, canonical, parse
from headrace.audit.sinks.base import MemorySink, Sink, SinkConflict, SinkUnavailable
from headrace.audit.sinks.drain import Drain
from headrace.audit.sinks.postgres import PostgresSink, outcomes
from headrace.audit.spool import Spool
from headrace.router.types import NANO
from headrace.router.waste import waste
from headrace_sandbox.model_servers.behaviour import Behaviour
from headrace_sandbox.supervise_ports import free_port
from tests.engine.router.world import (
    PATIENT,
    Replica,
    ask,
    burst_at,
    floor_at,
    idle,
    make_tables,
    model_server,
    open_folder,
    postgres_ready,
    redis_ready,
    start_postgres,
    start_redis,
    state_of,
    wait_for,
    write_files,
)
from tests.unit.audit.test_chain import chain, entry

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def postgres() -> Iterator[int]:
    """A port with a PostgreSQL, its tables made."""
    port = free_port()
    with open_folder() as folder, start_postgres(port, folder) as running:
        wait_for(postgres_ready(port), what="PostgreSQL")
        with ThreadPoolExecutor(1) as elsewhere:  # a fixture may run inside a test's event loop
            elsewhere.submit(lambda: asyncio.run(make_tables(port))).result()
        yield port
        running.kill(signal.SIGINT)


def dsn(port: int, user: str = "postgres") -> str:
    return f"postgresql://{user}@127.0.0.1:{port}/postgres"


async def rows(port: int, writer: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn(port))
    found = await connection.fetch("SELECT * FROM headrace.entries WHERE writer = $1 ORDER BY sequence", writer)
    await connection.close()
    return list(found)


def links_of(found: list[asyncpg.Record]) -> list[Link]:
    return [
        Link(
            writer=row["writer"],
            sequence=row["sequence"],
            previous=row["previous"],
            record=row["record"],
            hash=row["hash"],
        )
        for row in found
    ]


@pytest.fixture(params=["memory", "postgres"])
async def sink(request: pytest.FixtureRequest) -> AsyncIterator[Sink]:
    """Every sink keeps one contract."""
    if request.param == "memory":
        yield MemorySink()
        return
    port = request.getfixturevalue("postgres")
    connection = await asyncpg.connect(dsn(port))
    await connection.execute("TRUNCATE headrace.entries")
    await connection.close()
    opened = PostgresSink(dsn(port, "router"))
    yield opened
    await opened.close()


async def test_a_sink_takes_the_same_links_again_and_refuses_others(sink: Sink) -> None:
    links = chain(6)
    assert await sink.size("w1") == 0
    await sink.write(links[:4])
    await sink.write(links[2:])
    await sink.write(links)
    assert await sink.size("w1") == 6
    forged = [Link(writer="w1", sequence=3, previous=links[3].previous, record=links[3].record, hash=bytes(32))]
    with pytest.raises(SinkConflict):
        await sink.write(forged)
    assert await sink.size("w1") == 6


_REST = b'"environment":"test","kind":"post","period":"2026-11","request_id":"z"}'
UNFIT = {
    "a zero character": b'{"at_us":1,"feature":"\\u0000",' + _REST,
    "half a surrogate": b'{"at_us":1,"feature":"\\ud800",' + _REST,
    "a time beyond all calendars": b'{"at_us":99999999999999999999,' + _REST,
    "no record": b"{}",
}


@pytest.mark.parametrize("unfit", UNFIT)
async def test_what_a_sink_cannot_hold_is_set_aside_and_the_rest_arrives(
    sink: Sink, tmp_path: Path, unfit: str
) -> None:
    spool = Spool(tmp_path, "w1")
    promise = None
    for number in range(20):
        record = FORMAT + UNFIT[unfit] if number == 11 else canonical(entry(number))
        promise = spool.append(record)
    assert promise is not None
    await promise
    drain = Drain(spool, sink)
    while await drain.step():
        pass
    assert await sink.size("w1") == 20
    assert drain.behind == 0
    kept = (tmp_path / FILE).read_text().splitlines() if (tmp_path / FILE).exists() else []
    if isinstance(sink, PostgresSink) or unfit != "a zero character":
        assert [(json.loads(line)["sequence"], json.loads(line)["why"]) for line in kept] == [(11, "unstorable")]
    else:
        assert not kept, "memory holds any text"
    spool.close()


async def test_the_role_of_the_router_can_neither_change_nor_delete(postgres: int) -> None:
    connection = await asyncpg.connect(dsn(postgres, "router"))
    for statement in ("UPDATE headrace.entries SET kind = 'void'", "DELETE FROM headrace.entries"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()
    with pytest.raises(SinkUnavailable):
        await PostgresSink("postgresql://router@127.0.0.1:1/postgres").size("w1")


async def test_postgres_killed_and_back_under_load_has_every_record_once(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    port = free_port()
    async with model_server(Behaviour(servers=2, slots=8, token_s=0.002)) as (_, upstream):
        write_files(tmp_path, pools={"floor": floor_at(upstream, slotsPerInstance=8)}, callerBreaker=PATIENT)
        replica = Replica(folder=tmp_path, env={"HEADRACE_POSTGRES_DSN": dsn(port, "router")})
        statuses: list[int] = []

        async def load(seconds: float) -> None:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                batch = await asyncio.gather(*(ask(session, replica, tokens=2, stream=True) for _ in range(8)))
                statuses.extend(answer.status for answer in batch)

        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(open_folder())
            first = stack.enter_context(start_postgres(port, folder))
            wait_for(postgres_ready(port), what="PostgreSQL")
            await make_tables(port)
            process = stack.enter_context(replica.start())
            wait_for(replica.ready, what="the router")
            await load(1.5)
            first.kill(signal.SIGQUIT)  # PostgreSQL's immediate shutdown: as a crash, children included
            await load(2.0)
            assert replica.ready(), "without its sink the router serves on; the spool keeps the records"
            second = stack.enter_context(start_postgres(port, folder))
            wait_for(postgres_ready(port), what="PostgreSQL")
            await load(1.0)
            await idle(session, replica)
            process.child.send_signal(signal.SIGTERM)
            assert process.child.wait(timeout=120) == 0
            found = links_of(await rows(port, "router-0"))
            told = await outcomes(dsn(port, "router"), days=1)
            second.kill(signal.SIGQUIT)
        assert set(statuses) == {200}
        assert isinstance(verify("router-0", found), Intact)
        final = [entry.request_id for entry in map(parse, (item.record for item in found)) if entry.kind.final]
        assert len(final) == len(set(final)) == len(statuses), "each request exactly once"
    assert sorted(entry.request_id for entry in told) == sorted(final)
    assert waste(told).total.requests == len(statuses)


async def test_two_replicas_never_exceed_a_cap_or_a_budget(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    port = free_port()
    budget = NANO // 50
    async with (
        model_server(Behaviour(servers=1, slots=64, token_s=0.01)) as (floor, upstream),
        model_server(Behaviour(servers=64, slots=1, token_s=0.01, cold_start_s=0.05)) as (burst, other),
    ):
        write_files(
            tmp_path,
            pools={
                "floor": floor_at(upstream, instances=2, slotsPerInstance=5, expectedServiceS=30),
                "burst": burst_at(
                    other, instances=4, slotsPerInstance=1, coldStartS=0.1, executionTimeoutS=1.0, idleTimeoutS=1
                ),
            },
            tenants={
                "search": {"limits": {"parallelRequests": 13}, "projects": {"assistant": {"budgetNanoUsd": budget}}},
                "support": {"limits": {}, "projects": {"answers": {"requestsPerMinute": 30}}},
            },
            callerBreaker=PATIENT,
        )
        replicas = [
            Replica(folder=tmp_path, name=f"router-{n}", env={"HEADRACE_REDIS_URL": f"redis://127.0.0.1:{port}/0"})
            for n in range(2)
        ]
        with contextlib.ExitStack() as stack:
            stack.enter_context(start_redis(port, tmp_path / "redis"))
            wait_for(redis_ready(port), what="Redis")
            for replica in replicas:
                stack.enter_context(replica.start())
            for replica in replicas:
                wait_for(replica.ready, what="a router")
            await asyncio.sleep(4)  # shares settle: the grace of an empty Redis, then fair shares
            deadline = time.monotonic() + 60
            shares: list[dict[str, int]] = []
            while not shares or any(not share.get("pool/floor/slots") for share in shares):
                assert time.monotonic() < deadline, f"both have some: {shares}"
                await asyncio.sleep(0.2)
                shares = [(await state_of(session, replica))["leases"] for replica in replicas]
            for name in shares[0]:
                assert shares[0][name] + shares[1].get(name, 0) <= _total(name, budget), name
            end = time.monotonic() + 6
            results: list[int] = []

            async def caller(number: int) -> None:
                while time.monotonic() < end:
                    # The load is uneven, and changes sides half-way: shares must follow it.
                    side = (number % 5 == 0) ^ (time.monotonic() > end - 3)
                    answer = await ask(session, replicas[side], tokens=10, stream=True, text=f"{number}")
                    results.append(answer.status)
                    if answer.status != 200:
                        await asyncio.sleep(0.05)

            async def quick(number: int) -> int:
                return (await ask(session, replicas[number % 2], tokens=1, key="support")).status

            limited = asyncio.gather(*(quick(number) for number in range(80)))
            await asyncio.gather(*(caller(number) for number in range(40)))
            allowed = sum(status == 200 for status in await limited)
            states = [await idle(session, replica) for replica in replicas]
        assert floor.servers.most_running <= 10, "slots of the floor over both replicas"
        assert burst.servers.most_running <= 4, "instances of the overflow over both replicas"
        assert 0 < allowed <= 30, "requests per minute over both replicas"
        assert results.count(200) > 20, results
        spent = sum(
            state["accounts"].get("project/search/assistant", {"spentNano": 0})["spentNano"] for state in states
        )
        assert 0 < spent <= budget


def _total(name: str, budget: int) -> int:
    known = {
        "pool/floor/slots": 10,
        "pool/burst/instances": 4,
        "environment/money": 1000 * NANO,
        "tenant/search/parallel": 13,
        "project/search/assistant/money": budget,
        "project/support/answers/requests": 30,
    }
    return known[name]


async def test_redis_killed_and_back_empty_keeps_serving_within_the_last_shares(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    port = free_port()
    async with model_server(Behaviour(servers=1, slots=64, token_s=0.005)) as (floor, upstream):
        write_files(
            tmp_path, pools={"floor": floor_at(upstream, instances=2, slotsPerInstance=5)}, callerBreaker=PATIENT
        )
        replicas = [
            Replica(folder=tmp_path, name=f"router-{n}", env={"HEADRACE_REDIS_URL": f"redis://127.0.0.1:{port}/0"})
            for n in range(2)
        ]

        async def load(seconds: float) -> list[int]:
            end = time.monotonic() + seconds
            statuses: list[int] = []

            async def caller(number: int) -> None:
                while time.monotonic() < end:
                    statuses.append((await ask(session, replicas[number % 2], tokens=10, stream=True)).status)

            await asyncio.gather(*(caller(number) for number in range(24)))
            return statuses

        with contextlib.ExitStack() as stack:
            first = stack.enter_context(start_redis(port, tmp_path / "redis"))
            wait_for(redis_ready(port), what="Redis")
            for replica in replicas:
                stack.enter_context(replica.start())
                wait_for(replica.ready, what="a router")
            await asyncio.sleep(4)
            before = await load(1.5)
            first.kill(signal.SIGKILL)
            without = await load(2.0)
            stack.enter_context(start_redis(port, tmp_path / "redis"))
            wait_for(redis_ready(port), what="Redis")
            after = await load(4.0)
            deadline = time.monotonic() + 60
            while True:
                leases = [(await state_of(session, replica))["leases"] for replica in replicas]
                shares = [one.get("pool/floor/slots", 0) for one in leases]
                money = [one.get("environment/money", 0) for one in leases]
                if (min(shares) >= 4 and min(money) >= 400 * NANO) or time.monotonic() > deadline:
                    break
                after += await load(1.0)  # a share follows the load, so there has to be one
        assert min(shares) >= 4, f"both are equally busy, so both have about half: {shares}"
        assert min(money) >= 400 * NANO, f"and about half of the money: {money}"
        for phase, statuses in {"before": before, "without": without, "after": after}.items():
            assert statuses.count(200) == len(statuses) > 10, phase
        assert sum(shares) <= 10
        assert floor.servers.most_running <= 10, "not even while an empty Redis learned the shares again"
