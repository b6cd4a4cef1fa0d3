"""Two LiteLLM proxies over one Redis and one PostgreSQL: contended caps and budgets, and one of them is killed."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from headrace.audit.chain import Intact, verify
from headrace.audit.record import Entry, Kind, parse
from headrace.audit.sinks.postgres import read
from headrace_sandbox import litellm_environment
from headrace_sandbox.model_servers.behaviour import Behaviour
from headrace_sandbox.supervise_ports import free_port
from tests.contract.world import Engine
from tests.engine.router.world import (
    PATIENT,
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

pytestmark = pytest.mark.engine
START_S = 300.0
SLOTS, INSTANCES = 6, 2
ALONE_S, TOGETHER_S = 3.0, 5.0
TOKENS = {"search": 20, "support": 100}
# The worst case of a request of support is about 60 s (30 s, and its tokens at their slowest) of one of three slots at
# 0.0002 $ a second: each replica's half has room for two.
BUDGET = 4 * 4_200_000


class Callers:
    """Callers of both replicas. `seen` holds request, status, code and key of each answer; others broke off."""

    def __init__(self, session: aiohttp.ClientSession, engines: list[Engine]) -> None:
        self._session = session
        self._engines = engines
        self._end = time.monotonic() + ALONE_S + TOGETHER_S
        self.seen: list[tuple[str, int, str, str]] = []
        self.broken: Counter[str] = Counter()

    async def run(self) -> None:
        """Until the load ends, or the called replica does. The budget is contended first, then the slots too."""
        search = [self._caller(number, "search") for number in range(20)]
        await asyncio.gather(*search, *(self._caller(number, "support") for number in range(10)))

    async def _caller(self, number: int, key: str) -> None:
        engine = self._engines[number % 2]
        await asyncio.sleep(ALONE_S if key == "search" else 0.0)
        while time.monotonic() < self._end:
            answer = await ask(
                self._session, engine, text=f"{number}", tokens=TOKENS[key], stream=number % 4 < 2, key=key
            )
            if answer.status == 0 or (answer.status == 200 and not answer.complete):
                self.broken[engine.name] += 1
                return
            code = "" if answer.status == 200 else answer.code
            self.seen.append((answer.headers["X-Request-Id"], answer.status, code, key))
            if answer.status != 200:
                await asyncio.sleep(0.1)

    async def served_again(self, engine: Engine) -> None:
        """A replica that was restarted serves, as soon as it has shares of its own."""
        deadline = time.monotonic() + 60
        while True:
            answer = await ask(self._session, engine, text="again")
            code = "" if answer.status == 200 else answer.code
            self.seen.append((answer.headers["X-Request-Id"], answer.status, code, "search"))
            if answer.status == 200:
                return
            assert time.monotonic() < deadline, answer
            await asyncio.sleep(0.2)

    def count(self, key: str) -> Counter[tuple[int, str]]:
        """Answers by status and code."""
        return Counter((status, code) for _, status, code, who in self.seen if who == key)


async def test_two_replicas_exceed_no_cap_and_no_budget_and_lose_no_record_when_one_is_killed(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    litellm_environment.make()
    redis, postgres = free_port(), free_port()
    dsn = f"postgresql://router@127.0.0.1:{postgres}/postgres"
    engines = [
        Engine(
            folder=tmp_path,
            name=f"router-{number}",
            kind="litellm",
            env={"HEADRACE_REDIS_URL": f"redis://127.0.0.1:{redis}/0", "HEADRACE_POSTGRES_DSN": dsn},
        )
        for number in range(2)
    ]
    async with (
        model_server(Behaviour(servers=1, slots=64, token_s=0.02)) as (floor, at),
        model_server(Behaviour(servers=64, slots=1, token_s=0.02, cold_start_s=0.05)) as (burst, other),
    ):
        write_files(
            tmp_path,
            pools={
                "floor": floor_at(at, instances=SLOTS // 3, slotsPerInstance=3),
                "burst": burst_at(other, instances=INSTANCES, slotsPerInstance=1, coldStartS=0.1, idleTimeoutS=1),
            },
            tenants={
                "search": {"limits": {}, "projects": {"assistant": {}}},
                "support": {"limits": {}, "projects": {"answers": {"budgetNanoUsd": BUDGET}}},
            },
            callerBreaker=PATIENT,
        )
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(open_folder()) / "postgres"
            stack.enter_context(start_redis(redis, tmp_path / "redis"))
            database = stack.enter_context(start_postgres(postgres, folder))
            stack.callback(database.kill, signal.SIGINT)
            wait_for(redis_ready(redis), what="Redis", seconds=START_S)
            wait_for(postgres_ready(postgres), what="PostgreSQL", seconds=START_S)
            await make_tables(postgres)
            first, second = (stack.enter_context(engine.start()) for engine in engines)
            for engine in engines:
                wait_for(engine.ready, what=f"a router: {engine.log}", seconds=START_S)
            await asyncio.sleep(4)  # shares settle: the grace of an empty Redis, then fair shares
            shares = [(await state_of(session, engine))["leases"] for engine in engines]
            assert sum(share["project/support/answers/money"] for share in shares) <= BUDGET
            assert sum(share["pool/floor/slots"] for share in shares) <= SLOTS
            assert all(share["pool/floor/slots"] > 0 for share in shares), "both have some"

            callers = Callers(session, engines)
            load = asyncio.create_task(callers.run())
            await asyncio.sleep(ALONE_S + TOGETHER_S * 0.7)
            second.kill(signal.SIGKILL)
            await load
            second = stack.enter_context(engines[1].start())
            wait_for(engines[1].ready, what=f"the router: {engines[1].log}", seconds=START_S)
            await callers.served_again(engines[1])
            states = [await idle(session, engine) for engine in engines]
            for process in (first, second):
                process.kill(signal.SIGTERM)
                assert process.child.returncode == 0
            ledgers = [await read(dsn, engine.name) for engine in engines]

    search, support = callers.count("search"), callers.count("support")
    print(f"search {search}, support {support}, broken {callers.broken}, most {floor.servers.most_running}")
    assert floor.servers.most_running <= SLOTS, "slots of the floor over both replicas"
    assert burst.servers.most_running <= INSTANCES, "instances of the overflow over both replicas"
    assert search[200, ""] > 5, f"they serve: {search}"
    assert support[200, ""] > 0 and support[429, "budget_exceeded"] > 0, f"the budget is contended: {support}"
    assert callers.broken.keys() == {"router-1"}, (
        f"the kill hits callers of the killed, and nobody else: {callers.broken}"
    )
    for engine, ledger in zip(engines, ledgers, strict=True):
        assert isinstance(verify(engine.name, ledger), Intact), "the chain goes on over the kill"
    entries = [parse(one.record) for ledger in ledgers for one in ledger]
    _whole(entries, callers)
    spent = [state["accounts"].get("project/support/answers", {"spentNano": 0})["spentNano"] for state in states]
    booked = sum(one.cost_nano for one in entries if one.kind.final and one.project == "answers")
    assert sum(spent) == booked, "the budget after the restart is what the ledger says"
    assert 0 < booked <= BUDGET, "hard over both replicas, what the kill left open included"


def _whole(entries: list[Entry], callers: Callers) -> None:
    """Every request has exactly one outcome; what the kill left open was posted in full."""
    final = [one for one in entries if one.kind.final]
    ids = {one.request_id for one in final}
    assert len(ids) == len(final), "no request has two outcomes"
    ahead = {
        one.request_id for one in entries if one.kind is Kind.OVERHEAD
    }  # instances started before they were needed
    assert {one.request_id for one in entries} - ahead == ids, "every reservation has an outcome"
    answered = {request: status for request, status, _, _ in callers.seen}
    assert answered.keys() <= ids, "whoever got an answer has a record"
    assert len(ids) - len(answered) <= callers.broken.total(), (
        "only who was cut off by the kill may have one beside them"
    )
    crashed = [one for one in final if one.kind is Kind.EXPIRE]
    assert all(one.cost_nano == one.reserved_nano for one in crashed), "in full: a crash hides no spending"
    served = {one.request_id for one in final if one.outcome == "ok"} | {one.request_id for one in crashed}
    assert {request for request, status in answered.items() if status == 200} <= served
