"""Nothing that goes on beside requests dies in silence: it goes on, or the router is not ready and says why."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from headrace.audit.checkpoints import Checkpoints, FolderStore
from headrace.audit.record import Entry, Kind, parse
from headrace.audit.spool import Spool, SpoolBroken, replay
from headrace.audit.spool_base import Files
from headrace.errors import Refused
from headrace.router import background, classify, lease_redis
from headrace.router.alerts import Webhook
from headrace.router.background import Background, every
from headrace.router.callers import Callers
from headrace.router.config import RouterConfig
from headrace.router.engine import Engine, RetryBudget
from headrace.router.http_client import Response
from headrace.router.http_server import ServerConnection
from headrace.router.journal import Journal
from headrace.router.lease import Ask, fixed
from headrace.router.lease_redis import RedisLeaser
from headrace.router.metrics import Metrics
from headrace.router.options import Options
from headrace.router.serve import Router
from headrace.router.starter import Starter
from headrace.router.turn import Services, Turn
from headrace.router.types import Refusal
from headrace.router.upstream import Answer, Upstream
from tests.unit.audit.test_chain import entry
from tests.unit.audit.test_spool import fill
from tests.unit.router.test_http import Caller
from tests.unit.router.worlds import config, document, pool, request


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.001)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(background, "LONGEST_ESSENTIAL_PAUSE_S", 0.002)


@pytest.mark.usefixtures("quick")
async def test_work_that_fails_or_ends_begins_again_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    runs, failed = [0], list[str]()
    running = Background(failed.append, clock=lambda: 0.0)

    async def work() -> None:
        runs[0] += 1
        if runs[0] == 1:
            raise ZeroDivisionError("nobody thought of it")
        if runs[0] > 2:
            await asyncio.Event().wait()

    with caplog.at_level(logging.ERROR):
        running.start("signals", work)
        await until(lambda: runs[0] == 3)
    assert failed == ["signals", "signals"]
    assert "nobody thought of it" in caplog.text
    assert running.failing() is None, "the router decides without it"
    await running.stop()


@pytest.mark.usefixtures("quick")
async def test_essential_work_that_failed_must_run_for_a_while_before_it_counts_as_well() -> None:
    now, broken, runs = [100.0], [True], [0]
    running = Background(lambda _: None, clock=lambda: now[0])

    def step() -> None:
        runs[0] += 1
        if broken[0]:
            raise ZeroDivisionError

    running.start("clock", lambda: every(0.001, step), essential=True)
    assert running.failing() is None
    await until(lambda: runs[0] > 3)
    assert running.failing() == "clock"
    broken[0], runs[0] = False, 0
    await until(lambda: runs[0] > 3)
    assert running.failing() == "clock", "it runs, and may fail again at once"
    now[0] += background.HEALED_S
    assert running.failing() is None
    await running.stop()


@pytest.fixture
def files(tmp_path: Path) -> Options:
    (tmp_path / "router.json").write_text(json.dumps(document()))
    (tmp_path / "keys.json").write_text(json.dumps({"version": 1, "keys": []}))
    return Options(config=tmp_path / "router.json", keys=tmp_path / "keys.json", spool=tmp_path / "spool")


@pytest.mark.usefixtures("quick")
async def test_a_router_whose_clock_fails_is_not_ready_and_says_so(
    files: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "HEALED_S", 0.01)
    monkeypatch.setattr("headrace.router.serve._TICK_S", 0.001)
    router = Router(files)
    assert router.not_ready() is None
    tick, broken = router.engine.tick, [True]

    def ticking(**given: Any) -> None:
        if broken[0]:
            raise ZeroDivisionError
        tick(**given)

    monkeypatch.setattr(router.engine, "tick", ticking)
    router._begin_background()
    await until(lambda: router.not_ready() == "background work fails: clock")
    broken[0] = False
    await until(lambda: router.not_ready() is None)
    scraped = router.metrics.scrape(router.engine, router._journal, behind=3).text()
    for line in (
        b'headrace_background_failures_total{task="clock"}',
        b"headrace_sink_behind 3.0",
        b'headrace_journal_set_aside{why="damaged"} 0.0',
    ):
        assert line in scraped
    await router.background.stop()
    router.spool.close()


async def test_a_journal_that_cannot_be_opened_is_a_sentence(files: Options) -> None:
    files.spool.write_text("a file where the folder should be")
    with pytest.raises(Refused, match="the journal can't be opened"):
        Router(files)


@pytest.mark.parametrize("fault", ["answer", "raise"])
async def test_a_replica_that_does_not_understand_redis_stops_at_its_own_limit(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_redis, "STEP_S", 0.001)
    monkeypatch.setattr(lease_redis, "_OWN_LIMIT_S", 0.05)
    policy, failed = config(), list[str]()
    engine = Engine(policy, clock=lambda: 0.0, period="2026-11", leases=fixed(policy), accounts={})
    leaser = RedisLeaser("redis://127.0.0.1:1/0", "router-0", engine, failed=failed.append)

    async def say(asked: Sequence[Ask], period: str) -> list[str]:
        del asked, period
        if fault == "raise":
            raise ZeroDivisionError
        return ["nonsense"]

    monkeypatch.setattr(leaser, "_say", say)
    task = asyncio.create_task(leaser.run())
    await until(lambda: not any(engine.state.leases.values()))
    await until(lambda: len(failed) > 3)
    assert not task.done(), "its rounds go on: Redis may be understood again"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_hundreds_of_limits_are_asked_for_a_few_at_a_time_and_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"budgetNanoUsd": 10**12, "requestsPerMinute": 100, "parallelRequests": 10}
    tenants = {f"t{n}": {"limits": limits, "projects": {"p": limits}} for n in range(100)}
    policy = config(tenants=tenants)
    engine = Engine(policy, clock=lambda: 0.0, period="2026-11", leases={}, accounts={})
    leaser = RedisLeaser("redis://127.0.0.1:1/0", "router-0", engine)
    told: list[list[str]] = []

    async def say(asked: Sequence[Ask], period: str) -> list[str]:
        assert period == "2026-11"
        told.append([ask.name for ask in asked])
        for ask in asked:
            assert engine.state.leases.get(ask.name, 0) <= ask.held, "a smaller share is in force before it is told"
        await asyncio.sleep(0)
        # Another replica needs as much as we do, and holds nothing yet.
        return [text for ask in asked for text in (str(ask.want), "0", "0", "0", "0", f"router-1 0 0 {ask.total} 0")]

    monkeypatch.setattr(leaser, "_say", say)
    await leaser.step()
    await leaser.step()
    rounds = [name for names in told for name in names]
    assert rounds == list(policy.totals) * 2
    assert max(map(len, told)) <= lease_redis.FEW < len(policy.totals) / 10
    assert engine.state.leases["tenant/t7/requests"] > 0
    await leaser.step()
    assert all(engine.state.leases[name] <= total for name, total in policy.totals.items())

    async def failing(asked: Sequence[Ask], period: str) -> list[str]:
        if len(told) > 20:
            raise OSError
        return await say(asked, period)

    monkeypatch.setattr(leaser, "_say", failing)
    await leaser.step()
    assert leaser._others is None, "a round that broke off in its middle heard of nobody"


async def test_an_alert_that_cannot_be_sent_does_not_stop_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    lost, sent = [0], []

    def losing() -> None:
        lost[0] += 1

    webhook = Webhook("http://127.0.0.1:1/hook", lost=losing)

    async def send(message: bytes) -> int:
        sent.append(message)
        if len(sent) == 1:
            raise ZeroDivisionError
        return 200

    monkeypatch.setattr(webhook, "_send", send)
    task = asyncio.create_task(webhook.run())
    webhook.tell({"n": 1})
    webhook.tell({"n": 2})
    await webhook.last()
    assert (len(sent), lost[0]) == (2, 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_checkpoint_that_fails_in_an_unknown_way_is_made_after_the_restart_of_its_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "FIRST_PAUSE_S", 0.001)

    class Moody(FolderStore):
        tries = 0

        def put(self, name: str, data: bytes) -> None:
            self.tries += 1
            if self.tries == 1:
                raise ZeroDivisionError
            super().put(name, data)

    spool, told = Spool(tmp_path / "spool", "w1"), list[str]()
    await fill(spool, 1)
    keeper = Checkpoints(spool, Moody(tmp_path), key=b"k", interval_s=lambda: 0.001, now_us=lambda: 7, told=told.append)
    failed: list[str] = []
    work = Background(failed.append)
    work.start("checkpoints", keeper.run)
    await until(lambda: told == ["kept"])
    assert failed == ["checkpoints"], "a fault of the work is counted once, by whoever keeps it going"
    await work.stop()
    spool.close()


async def test_a_last_checkpoint_that_fails_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    class Broken(FolderStore):
        def put(self, name: str, data: bytes) -> None:
            raise ZeroDivisionError

    spool = Spool(tmp_path / "spool", "w1")
    await fill(spool, 1)
    await Checkpoints(spool, Broken(tmp_path), key=b"k", interval_s=lambda: 60, now_us=lambda: 7).last()
    spool.close()


async def test_a_connection_that_cannot_be_ended_does_not_leave_others_without_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caller, other = Caller(), Caller()
    server = caller.server
    server.connections.add(other.connection)
    expire = ServerConnection.expire

    def failing(connection: ServerConnection) -> None:
        if connection is caller.connection:
            raise ZeroDivisionError
        expire(connection)

    monkeypatch.setattr(ServerConnection, "expire", failing)
    caller.connection.deadline = other.connection.deadline = 0.0
    server._sweep()
    assert caller.wire.aborted
    assert other.wire.closed
    assert server._sweeper is not None
    assert not server._sweeper.cancelled(), "the next look is planned"
    server._sweeper.cancel()


async def test_a_journal_whose_thread_dies_says_that_it_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, "w1")

    def telling() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(spool, "_tell", telling)
    promise = spool.append(entry(1))
    assert promise is not None
    with pytest.raises(SpoolBroken):
        await promise
    assert not spool.healthy, "and readiness follows it"
    spool.close()


class Silent(Upstream):
    """Model servers that answer as a test wants; no connection is made."""

    def __init__(self, answer: Callable[[], None]) -> None:
        super().__init__()
        self.asked = 0
        self._answer = answer
        self.gate = asyncio.Event()

    async def open(self, pool: Any, endpoint: str, body: bytes, traceparent: str) -> Response:
        del pool, endpoint, body, traceparent
        self.asked += 1
        await self.gate.wait()
        self._answer()
        return Response.__new__(Response)

    async def begin(self, response: Response, *, stream: bool) -> Answer:
        raise NotImplementedError


def services(spool: Spool, policy: RouterConfig) -> Services:
    engine = Engine(policy, clock=lambda: 100.0, period="2026-11", leases=fixed(policy), accounts={})
    engine.state.pools["floor"].in_flight = 7
    return Services(
        engine=engine,
        journal=Journal(spool, secret=b"s" * 16, now_us=lambda: 1, period=lambda: "2026-11"),
        metrics=Metrics(),
        retries=RetryBudget(),
        callers=Callers(policy.caller_breaker),
    )


def raising() -> None:
    raise ZeroDivisionError


def recorded(spool: Spool) -> list[Entry]:
    return [parse(item.record) for item in spool.links()]


async def test_a_refusal_is_on_record_before_its_caller_hears_of_it(tmp_path: Path) -> None:
    """Killed in that moment, the router had answered a request that no journal knew of."""
    spool, policy = Spool(tmp_path, "w1"), config()
    made = services(spool, policy)
    caller = classify.Caller(key_id="k1", tenant="search", project="assistant", environment="test")
    parsed = classify.Parsed(facts=request(id="refused-1"), conversation="c", prompt_digest_input=b"p")
    turn = Turn(made, parsed, caller)
    turn.refuse(Refusal(status=429, code="rate_limited", sentence="too many", next_step="wait"))
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"refused-1" in stored, "without another turn of the event loop"
    spool.close()


async def test_a_start_is_reserved_before_it_is_sent_and_settled_whatever_happens(tmp_path: Path) -> None:
    spool, policy = Spool(tmp_path, "w1"), config()
    made, upstream = services(spool, policy), Silent(raising)
    starter = Starter(made, upstream, lambda: "start-1")
    starter.step()
    await until(lambda: upstream.asked == 1)
    account = made.engine.state.accounts["environment"]
    held = account.reserved
    # Whoever is killed here has this on disk, or in the kernel's hands:
    await until(lambda: spool.waiting == 0)
    (reservation,) = recorded(spool)
    assert (reservation.kind, reservation.reserved_nano, reservation.tenant) == (Kind.RESERVE, held, "")
    assert replay(spool).balance("2026-11", "environment").reserved == held > 0
    made.engine.reload(config(pools={"floor": pool()}))  # the pool goes away meanwhile
    upstream.gate.set()
    await starter.close()
    await until(lambda: spool.waiting == 0 and spool.size == 2)
    assert (recorded(spool)[1].kind, recorded(spool)[1].outcome) == (Kind.OVERHEAD, "internal")
    assert account.reserved == 0
    assert replay(spool).balance("2026-11", "environment").reserved == 0
    assert not replay(spool).open
    spool.close()


async def test_a_start_that_a_crash_left_open_is_posted_in_full_and_is_no_request(tmp_path: Path) -> None:
    spool, policy = Spool(tmp_path, "w1"), config()
    made, upstream = services(spool, policy), Silent(raising)
    starter = Starter(made, upstream, lambda: "start-1")
    starter.step()
    await until(lambda: spool.waiting == 0)
    held = made.engine.state.accounts["environment"].reserved
    spool.close()  # the task dies with the process
    again = Spool(tmp_path, "w1")
    journal = Journal(again, secret=b"s" * 16, now_us=lambda: 2, period=lambda: "2026-11")
    ledger = replay(again)
    assert journal.expire(ledger) == 1
    assert ledger.balance("2026-11", "environment").spent == held > 0
    await until(lambda: again.waiting == 0)
    last = recorded(again)[-1]
    assert (last.kind, last.outcome, last.cost_nano) == (Kind.OVERHEAD, "crashed", held)
    assert not last.kind.final, "nobody reads it as traffic"
    again.close()
    for task in list(starter._tasks):
        task.cancel()


async def test_what_cannot_be_recorded_is_not_started(tmp_path: Path) -> None:
    class Broken(Files):
        def write(self, handle: int, data: bytes) -> int:
            raise OSError("no space left")

    spool, policy = Spool(tmp_path, "w1", files=Broken()), config()
    made, upstream = services(spool, policy), Silent(raising)
    starter = Starter(made, upstream, lambda: "start-1")
    starter.step()
    await starter.close()
    assert upstream.asked == 0
    account = made.engine.state.accounts["environment"]
    assert (account.reserved, account.spent) == (0, 0)
    starter.step()
    assert upstream.asked == 0
    spool.close()


@pytest.mark.parametrize("deaf_to", [1, 1_000_000])
async def test_work_that_loses_a_cancellation_does_not_hold_up_the_stop(
    deaf_to: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "LAST_S", 0.5)
    monkeypatch.setattr(background, "CANCEL_AGAIN_S", 0.01)
    heard, over = 0, False

    async def work() -> None:
        nonlocal heard
        while not over:
            try:
                await asyncio.sleep(0.02 if heard else 3600)
            except asyncio.CancelledError:
                heard += 1
                if heard > deaf_to:
                    raise

    tasks = background.Background(lambda _: None)
    tasks.start("deaf", work)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.wait_for(tasks.stop(), 30)
    assert heard >= 2, "it is told again"
    said = [record for record in caplog.records if record.message == "background work does not end"]
    assert bool(said) == (deaf_to > 1), "whoever does not end is named"
    over, deaf_to = True, 0
    await tasks.stop()
