"""Thresholds are of the whole budget: what this replica spends, and what others did."""

from __future__ import annotations

import pytest

from headrace.errors import Refused
from headrace.router.alerts import Webhook
from headrace.router.engine import Admission, Alert, Engine
from headrace.router.events import Outcome
from tests.unit.router.worlds import config, pool, request

LIMIT = 1000


class Clock:
    """Seconds, by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def engine(clock: Clock) -> tuple[Engine, list[Alert]]:
    policy = config(
        pools={"floor": pool(nanoUsdPerInstanceSecond=400, executionTimeoutS=1)},
        limits={"budgetNanoUsd": LIMIT},
        tenants={"search": {"limits": {}, "projects": {"assistant": {}}}},
        alertThresholds=[0.5, 0.9],
    )
    told: list[Alert] = []
    leases = dict(policy.totals)
    return Engine(policy, clock=clock, period="2026-11", leases=leases, accounts={}, on_alert=told.append), told


async def spend(router: Engine, clock: Clock, nano: int) -> None:
    """A request of a slot at 100 nano-dollars a second."""
    placed = await router.place(request())
    assert isinstance(placed, Admission)
    clock.now += nano / 100
    assert router.finish(placed, outcome=Outcome.OK, tokens=1) == nano


async def test_a_threshold_is_told_once_when_spending_passes_it() -> None:
    clock = Clock()
    router, told = engine(clock)
    for _ in range(6):
        await spend(router, clock, 100)
    assert [(one.scope, one.share, one.spent_nano) for one in told] == [("environment", 0.5, 500)]


async def test_what_other_replicas_spend_counts_and_what_was_known_at_first_was_told_by_them() -> None:
    clock = Clock()
    router, told = engine(clock)
    router.spent_elsewhere({"environment": 550})
    assert not told, "the first thing heard of others is history"
    await spend(router, clock, 100)
    assert not told, "650 of 1000, and the half was passed elsewhere"
    router.spent_elsewhere({"environment": 820})
    assert [one.share for one in told] == [0.9], "100 here and 820 there"
    router.spent_elsewhere({"environment": 700})
    router.spent_elsewhere({"environment": 820})
    await spend(router, clock, 50)
    assert [one.share for one in told] == [0.9], "a reservation that comes and goes tells nothing twice"


@pytest.mark.parametrize("url", ["", "ftp://a/b", "http://a b/c", "http://a/\r\nX: y", "file:///etc/passwd"])
async def test_an_address_that_is_none_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(Refused) as refused:
        Webhook(url, lost=lambda: None)
    assert not url or url not in str(refused.value)
