"""Alerts over replicas that crash, fall silent and come back: of used money only, each told, and no budget overshot.

Replicas are the real engine and the real leaser; Redis is its script's rules in Python (`shares`), and a clock that is
moved by hand.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.router.engine import Admission, Engine
from headrace.router.events import Outcome
from headrace.router.lease_redis import RedisLeaser
from headrace.router.thresholds import Alert
from headrace.router.types import Account
from tests.unit.router.shares import Redis, leaser
from tests.unit.router.worlds import config, pool, request

LIMIT = 1000
SHARES = [0.25, 0.5, 0.8, 1.0]
MONEY = "environment/money"
MONTH = "2026-11"
# Nano-dollars that a request reserves: a slot of 100 a second, for a second.
RESERVED = 100
POLICY = config(
    pools={"floor": pool(instances=50, nanoUsdPerInstanceSecond=400, executionTimeoutS=1)},
    limits={"budgetNanoUsd": LIMIT},
    tenants={"search": {"limits": {}, "projects": {"assistant": {}}}},
    alertThresholds=SHARES,
)


def done(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that has nothing to wait for."""
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits for something")


class Replica:
    """One router, and what its journal holds when it crashes."""

    def __init__(self, name: str, store: Redis, told: list[Alert]) -> None:
        self.name, self.store, self.told = name, store, told
        self.clock = 0.0
        self.spent = 0
        self.open: list[Admission] = []
        self.running = True
        self._begin(before=0)

    def _begin(self, *, before: int) -> None:
        self.engine = Engine(
            POLICY,
            clock=lambda: self.clock,
            period=MONTH,
            leases={},
            accounts={scope: Account(spent=self.spent) for scope in request().scopes},
            told=dict.fromkeys(request().scopes, before),
            on_alert=self.told.append,
        )
        self.leaser = self.connect()

    def connect(self) -> RedisLeaser:
        """A leaser that asks the model."""
        return leaser(self.name, self.engine, self.store)

    def step(self) -> None:
        if self.running:
            done(self.leaser.step())

    def admit(self) -> None:
        if self.running:
            placed = done(self.engine.place(request()))
            if isinstance(placed, Admission):
                assert placed.route.reservation == RESERVED
                self.open.append(placed)

    def finish(self, cost: int) -> None:
        if self.running and self.open:
            admission = self.open.pop(0)
            self.clock = max(self.clock, admission.since + cost / 100)
            self.spent += self.engine.finish(admission, outcome=Outcome.OK, tokens=1)

    def crash(self) -> None:
        self.running = False

    def restart(self) -> None:
        """Posts in full what a crash left open."""
        before, self.running = self.spent, True
        self.spent += RESERVED * len(self.open)
        self.open.clear()
        self._begin(before=before)

    def start(self) -> None:
        if not self.running:
            self.restart()
            self.step()
            self.step()
            self.engine.tell_what_a_crash_left()

    @property
    def used(self) -> int:
        """Spent, or reserved for requests on their way: what its journal would post if it crashed now."""
        return self.spent + RESERVED * len(self.open)


ACTIONS = st.one_of(
    st.tuples(st.sampled_from(["admit", "admit", "step", "step", "crash", "fall silent", "start"]), st.integers(0, 2)),
    st.tuples(st.just("finish"), st.integers(0, 2), st.integers(0, 100)),
)
A, B = 0, 1
SPEND_AND_DIE = [*[("step", A)] * 4, ("admit", A), ("finish", A, 60), ("step", A), ("crash", A), ("fall silent", A)]


@settings(max_examples=150, deadline=None)
@given(actions=st.lists(ACTIONS, min_size=20, max_size=120))
# The share that a dead replica held is most of the budget, and was never spent.
@example(actions=[*SPEND_AND_DIE, ("step", B), ("admit", B), ("finish", B, 50), ("step", B)])
# Requests on their way pass a threshold when a crashed replica comes back.
@example(actions=[*[("step", A)] * 4, *[("admit", A)] * 3, ("crash", A), ("fall silent", A), ("step", B), ("start", A)])
def test_alerts_tell_money_that_was_used_and_none_is_missing(actions: list[tuple[Any, ...]]) -> None:
    store, told = Redis(), list[Alert]()
    fleet = [Replica(f"router-{number}", store, told) for number in range(3)]
    for one in fleet:
        one.step()
    most = dict.fromkeys(fleet, 0)  # the most that each ever used: as much, others may have heard of it last
    unheard: dict[Replica, set[Replica]] = {one: set() for one in fleet}  # who has not heard yet that it is back
    for action, number, *rest in actions:
        one, known = fleet[number], len(told)
        match action:
            case "admit":
                one.admit()
            case "finish":
                one.finish(rest[0])
            case "step":
                one.step()
                for others in unheard.values():
                    others.discard(one)
            case "crash":
                one.crash()
            case "fall silent":
                if not one.running:
                    store.silent.add(one.name)
            case "start":
                if one.name in store.silent:
                    unheard[one] = set(fleet)
                one.start()
        most = {each: max(before, each.used) for each, before in most.items()}
        assert sum(each.used for each in fleet) <= LIMIT, "the budget is never overshot"
        used = sum(most[each] if each.name in store.silent or unheard[each] else each.spent for each in fleet)
        for alert in told[known:]:
            assert used >= alert.share * LIMIT, "no alert of money that nobody used"
    for _ in range(2):
        for one in fleet:
            one.start()
            one.step()
    spent = sum(one.spent for one in fleet)
    missing = [share for share in SHARES if share * LIMIT <= spent and share not in {alert.share for alert in told}]
    assert not missing, f"{spent} of {LIMIT} are spent"
