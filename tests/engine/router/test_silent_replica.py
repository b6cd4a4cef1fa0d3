"""A replica that falls silent, with a real Redis: what it held stays held, and alerts count only what it had used."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from headrace.router import lease_redis
from headrace.router.lease import Ask
from headrace.router.lease_redis import RedisLeaser
from headrace.router.thresholds import Alert
from headrace_sandbox.supervise_ports import free_port
from tests.engine.router.world import redis_ready, start_redis, wait_for
from tests.unit.router.shares import Redis
from tests.unit.router.test_thresholds import LIMIT, MONEY, RESERVED, Replica

pytestmark = pytest.mark.engine
TAKEOVER_S = 3.0


class Wired(Replica):
    """A replica whose leaser asks a real Redis; the model of the script must answer the same."""

    def __init__(self, name: str, port: int, model: Redis, told: list[Alert]) -> None:
        self.port, self.model = port, model
        super().__init__(name, model, told)

    def connect(self) -> RedisLeaser:
        leaser = RedisLeaser(f"redis://127.0.0.1:{self.port}/0", self.name, self.engine)
        real = leaser._say

        async def say(asked: Sequence[Ask], period: str) -> list[str]:
            answer = await real(asked, period)
            expected = self.model.say(self.name, asked, self.engine.told)
            assert [sorted(text.splitlines()) for text in answer] == [sorted(text.splitlines()) for text in expected]
            return answer

        leaser._say = say  # type: ignore[method-assign] # listens, and passes on what Redis says
        return leaser

    async def steps(self, count: int = 1) -> None:
        for _ in range(count):
            await self.leaser.step()


@pytest.fixture
async def fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Wired, Wired, Redis, list[Alert]]]:
    monkeypatch.setattr(lease_redis, "TAKEOVER_S", TAKEOVER_S)
    monkeypatch.setattr(lease_redis, "GRACE_S", 0.0)
    port, model, told = free_port(), Redis(), list[Alert]()
    with contextlib.ExitStack() as stack:
        stack.enter_context(start_redis(port, tmp_path / "redis"))
        wait_for(redis_ready(port), what="Redis")
        yield Wired("router-0", port, model, told), Wired("router-1", port, model, told), model, told


async def test_alerts_do_not_count_the_share_of_a_silent_replica_and_nobody_else_may_spend_it(
    fleet: tuple[Wired, Wired, Redis, list[Alert]],
) -> None:
    silent, other, model, told = fleet
    await silent.steps(2)
    for cost in (40, 20):
        silent.admit()
        silent.finish(cost)
    silent.admit()
    await silent.steps()
    held = silent.engine.state.leases[MONEY]
    assert held == LIMIT, "it was alone"
    seen = time.monotonic()
    await other.steps(2)
    assert other.engine.state.leases[MONEY] == 0
    while time.monotonic() < seen + TAKEOVER_S + 0.5:
        time.sleep(0.1)
    model.silent.add(silent.name)
    await other.steps(3)
    assert other.engine.state.leases[MONEY] == 0, "what it held stays held"
    assert not told, f"it has spent 60 and reserved {RESERVED} of {LIMIT}"
    silent.crash()
    silent.restart()
    await silent.steps(2)
    await other.steps(2)
    await silent.steps()
    assert other.engine.state.leases[MONEY] > 0, "its journal says what it spent, and the rest is free again"
    other.admit()
    other.finish(80)
    assert not told, "160 posted, and 80"
    other.admit()
    other.finish(10)
    assert [(one.scope, one.share, one.spent_nano) for one in told] == [("environment", 0.25, 250)]
    await silent.leaser.close()
    await other.steps()
    other.admit()
    other.finish(90)
    assert [one.share for one in told] == [0.25], "what a replica that stopped had spent counts once"
    await other.leaser.close()
