"""The breaker of a caller over replicas, with a real Redis: shared within a round, missed by nobody when away."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
import redis
import redis.asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from headrace.router.callers import Callers, fingerprint
from headrace.router.callers_redis import MOST_ENTRIES, CallerNotes
from headrace.router.config import CallerBreaker
from headrace_sandbox.model_servers.behaviour import Behaviour
from headrace_sandbox.supervise_ports import free_port
from tests.engine.router.world import (
    KEYS,
    Replica,
    ask,
    floor_at,
    model_server,
    redis_ready,
    start_redis,
    state_of,
    wait_for,
    write_files,
)

pytestmark = pytest.mark.engine
RULES = CallerBreaker(repeats=8, window_s=60, open_s=30)
MARK = fingerprint("chat", b"the same again")
STREAM = "headrace:{test}:callers"


class One:
    """A replica's counts and its end of the stream; its clock goes by hand."""

    def __init__(self, port: int) -> None:
        self.now = 1000.0 * id(self) % 7919.0  # no two clocks have the same zero
        self.callers = Callers(RULES, secret=b"the same for all")
        self.redis = aioredis.Redis(port=port, decode_responses=True, retry=Retry(NoBackoff(), 0))
        self.notes = CallerNotes(self.redis, lambda: STREAM, self.callers, lambda: self.now)

    def asks(self, times: int = 1, caller: str = "k") -> int:
        """Requests, half a second apart; how many were let in."""
        served = 0
        for _ in range(times):
            self.now += 0.5
            served += self.callers.admit(caller, MARK, self.now) is None
        return served


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    found = free_port()
    with start_redis(found, tmp_path / "redis"):
        wait_for(redis_ready(found), what="Redis")
        yield found


async def steps(*all_of: One) -> None:
    for _ in range(2):
        for one in all_of:
            one.now += 0.25
            await one.notes.step()


async def test_counts_add_up_over_clocks_that_agree_on_nothing(port: int) -> None:
    first, second = One(port), One(port)
    assert first.asks(5) + second.asks(3) == 8
    await steps(first, second)
    assert first.asks() == 0, "the ninth of the same request, here or elsewhere"
    await steps(first, second)
    assert second.asks() == 0, "open for one is open for all"
    assert second.asks(caller="another") == 1
    late = One(port)
    await late.notes.step()
    assert late.asks() == 0, "a replica that starts hears what is open before its first request"
    second.now += 40
    assert second.asks(8) == 8, "and what led to it is used up"


async def test_a_clock_of_redis_that_jumps_makes_nothing_older_or_newer_than_it_can_be(port: int) -> None:
    first, second = One(port), One(port)
    control = redis.Redis(port=port)
    await steps(first, second)
    now_ms = int(time.time() * 1000)
    for sender, at_ms in (("past", now_ms - 3_600_000), ("future", now_ms + 3_600_000)):
        control.xadd(STREAM, {"from": sender, "number": 1, "notes": _notes(first, 4)}, id=f"{at_ms}-0")
    await steps(first, second)
    for one in (first, second):
        assert one.asks() == 0, "both entries came within the last round, whatever their ids say"
    third = One(port)
    control.flushall()
    await steps(third)
    assert third.asks(7, caller="q") == 7
    await steps(third, second)
    assert second.asks(2, caller="q") == 1, "ids that begin anew, lower than those before, are read again"


def _notes(one: One, count: int) -> str:
    return f"r {one.callers._who('k').hex()} {MARK.hex()} {count} 0"


async def test_a_redis_that_is_away_costs_sharing_and_nothing_else(port: int, tmp_path: Path) -> None:
    away = free_port()
    first, second = One(away), One(away)
    with start_redis(away, tmp_path / "another") as running:
        wait_for(redis_ready(away), what="Redis")
        assert first.asks(9) == 8
        await steps(first, second)
        running.kill()
    assert second.asks() == 0
    assert second.asks(4, caller="b") == 4
    await steps(first, second)
    assert second.asks(4, caller="b") == 4, "alone, it counts alone"
    with start_redis(away, tmp_path / "another"):
        wait_for(redis_ready(away), what="Redis")
        await steps(second, first)
        assert first.asks(1, caller="b") == 0, "what was counted meanwhile is told once it is back"
        late = One(away)
        await steps(first, late)
        assert late.asks() == 0, "an empty Redis is told what is open"
        control = redis.Redis(port=away)
        control.delete(STREAM)
        control.set(STREAM, "not a stream")
        await steps(first, second)
        assert second.asks(3, caller="c") == 3, "an answer that makes no sense is no answer"


async def test_the_stream_is_bounded_and_a_full_one_is_read_to_its_end(port: int) -> None:
    first, second = One(port), One(port)
    control = redis.Redis(port=port)
    with control.pipeline() as pipeline:
        for number in range(1, 1500):
            told = _notes(first, 2) if number > 1490 else f"r {number:024x} {MARK.hex()} 2 0"
            pipeline.xadd(STREAM, {"from": "another", "number": number, "notes": told})
        pipeline.execute()
    first.asks(2, caller="z")
    await first.notes.step()
    assert control.xlen(STREAM) <= MOST_ENTRIES + 200
    assert 0 < control.pttl(STREAM) <= 60_000
    await second.notes.step()
    assert second.asks() == 0


async def test_a_loop_that_goes_to_three_routers_is_stopped_as_if_they_were_one(
    session: aiohttp.ClientSession, tmp_path: Path, port: int
) -> None:
    rules = {"repeats": 8, "windowS": 60, "openS": 600, "retries": 1000, "abandoned": 1000}
    async with model_server(Behaviour(servers=1, slots=64, token_s=0.001)) as (_, upstream):
        write_files(tmp_path, pools={"floor": floor_at(upstream, instances=2, slotsPerInstance=8)}, callerBreaker=rules)
        env = {"HEADRACE_REDIS_URL": f"redis://127.0.0.1:{port}/0"}
        replicas = [Replica(folder=tmp_path, name=f"router-{number}", env=env) for number in range(3)]
        with contextlib.ExitStack() as stack:
            running = [stack.enter_context(replica.start()) for replica in replicas[:2]]
            for replica in replicas[:2]:
                wait_for(replica.ready, what="a router")
            await asyncio.sleep(2.5)
            statuses = []
            for number in range(24):
                text, user = f"Step {number}: do it", "anna@example.com"
                statuses.append((await ask(session, replicas[number % 2], text=text, user=user)).status)
                await asyncio.sleep(0.5)
                if statuses[-1] == 429:
                    break
            assert 8 <= statuses.count(200) <= 12, f"two alone would serve 16: {statuses}"
            await asyncio.sleep(1.0)
            stack.enter_context(replicas[2].start())
            wait_for(replicas[2].ready, what="a router that came later")
            running[0].kill()
            await session.close()  # with its connections to the one that is dead
            stack.enter_context(replicas[0].start())
            wait_for(replicas[0].ready, what="a router that was killed")
            async with aiohttp.ClientSession() as later:
                await _all_refuse(later, replicas)
        told = str(redis.Redis(port=port, decode_responses=True).xrange(STREAM))
        assert "o " in told, "what opened is in there"
        for secret in ("anna", "do it", KEYS["search"], "search", "assistant"):
            assert secret not in told, f"{secret} is in Redis"


async def _all_refuse(session: aiohttp.ClientSession, replicas: list[Replica]) -> None:
    for replica in replicas:
        answer = await ask(session, replica, text="Step 99: do it", user="anna@example.com")
        assert (answer.status, answer.code) == (429, "caller_stopped"), replica.name
        assert 0 < int(answer.headers["Retry-After"]) < 600, "counted from when it opened"
        other = await ask(session, replica, text="Step 99: do it", user="bert")
        assert other.status == 200
        assert not (await state_of(session, replica))["pools"]["floor"]["inFlight"]
