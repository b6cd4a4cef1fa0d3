"""Thresholds are of the whole budget: what this replica spends, and what others did."""

from __future__ import annotations

import pytest

from headrace.errors import Refused
from headrace.router.alerts import Webhook
from headrace.router.engine import Admission, Engine
from headrace.router.events import Outcome
from headrace.router.thresholds import Alert, Elsewhere
from headrace.router.types import Account
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
    hear(router, spent=550, told=550)
    assert not told, "others told that"
    await spend(router, clock, 100)
    assert not told, "650 of 1000, and the half was passed elsewhere"
    hear(router, spent=820)
    assert [one.share for one in told] == [0.9], "100 here and 820 there"
    hear(router, spent=700)
    hear(router, spent=820)
    await spend(router, clock, 50)
    assert [one.share for one in told] == [0.9], "what comes and goes tells nothing twice"


async def test_what_a_silent_replica_had_reserved_counts_until_it_says_what_it_spent() -> None:
    clock = Clock()
    router, told = engine(clock)
    hear(router, spent=100)
    hear(router, spent=100, left_open=300)
    await spend(router, clock, 90)
    assert not told, "490"
    hear(router, spent=110)
    await spend(router, clock, 90)
    assert not told, "180 here and 110 there: the requests it had open came to less than they had reserved"
    hear(router, spent=110, left_open=300)
    assert [(one.share, one.spent_nano) for one in told] == [(0.5, 590)]


async def test_what_a_crash_left_open_is_told_at_the_start_and_what_was_spent_before_is_not() -> None:
    for posted, expected in ((0, []), (200, [0.9])):
        clock, told = Clock(), list[Alert]()
        policy = engine(clock)[0].policy
        accounts = {"environment": Account(spent=750 + posted)}
        router = Engine(
            policy,
            clock=clock,
            period="2026-11",
            leases={},
            accounts=accounts,
            told={"environment": 750},
            on_alert=told.append,
        )
        router.tell_what_a_crash_left()
        assert [one.share for one in told] == expected


async def test_a_new_month_begins_at_nothing_and_what_was_asked_in_the_old_one_is_not_heard() -> None:
    clock = Clock()
    router, told = engine(clock)
    hear(router, spent=950, told=950)
    router.tick(period="2026-12")
    hear(router, spent=990)
    assert not told, "that was of November"
    hear(router, spent=400, period="2026-12")
    assert not told
    hear(router, spent=600, period="2026-12")
    assert [one.share for one in told] == [0.5]


def hear(router: Engine, *, spent: int, left_open: int = 0, told: int = 0, period: str = "2026-11") -> None:
    router.spent_elsewhere({"environment": Elsewhere(spent=spent, left_open=left_open, told=told)}, period=period)


@pytest.mark.parametrize("url", ["", "ftp://a/b", "http://a b/c", "http://a/\r\nX: y", "file:///etc/passwd"])
async def test_an_address_that_is_none_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(Refused) as refused:
        Webhook(url, lost=lambda: None)
    assert not url or url not in str(refused.value)
