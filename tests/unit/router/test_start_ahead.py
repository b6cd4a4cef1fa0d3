"""An instance is started before the floor is full, once, within every limit; and what a start teaches."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.router import capacity
from headrace.router.decide import decide
from headrace.router.engine import Engine
from headrace.router.events import Admitted, Finished, FirstByte, Outcome
from headrace.router.lease import fixed
from headrace.router.observe import observe
from headrace.router.types import Circuit, Phase, Reason, Route, State
from headrace.settings.releases import WorkloadClass
from tests.unit.router.worlds import config, document, overflow, pool, request, state


def pressed(policy: Any, *, floor: int = 7, burst: int = 0, now: float = 100.0) -> State:
    found = state(policy, now=now)
    found.pools["floor"].in_flight = floor
    found.pools["floor"].phase = Phase.SPILLING
    found.pools["burst"].in_flight = burst
    return found


def test_a_floor_that_fills_up_starts_one_instance() -> None:
    policy = config()
    assert capacity.to_start(pressed(policy, floor=6), policy) == [], "six of eight slots are below 85 %"
    assert capacity.to_start(pressed(policy, floor=7), policy) == ["burst"]


def test_nothing_starts_while_something_warm_is_free_or_already_starts() -> None:
    policy = config()
    warm = pressed(policy, burst=1)
    assert capacity.to_start(warm, policy) == [], "three slots of the warm instance are free"
    full = pressed(policy, burst=4)
    assert capacity.to_start(full, policy) == ["burst"]
    full.pools["burst"].in_flight = 5
    full.pools["burst"].starting = (99.0,)
    assert capacity.to_start(full, policy) == [], "one at a time"


@pytest.mark.parametrize(
    "over",
    [
        {"spill": {**document()["spill"], "startAhead": False}},
        {"pools": {"floor": pool(), "burst": overflow(ingressJurisdictions=["US"])}},
        {"pools": {"floor": pool(), "burst": overflow(release="r2")}},
        {"pools": {"floor": pool(), "burst": overflow(instances=0)}},
        {"proofOfConcept": 0.0},
        {"spendCeilingNanoUsdPerHour": 1},
        {"providerCaps": {"modal": {"gpus": 0}}},
    ],
)
def test_no_limit_is_exceeded_by_a_start(over: dict[str, Any]) -> None:
    policy = config(**over)
    assert capacity.to_start(pressed(policy), policy) == []


def test_a_pool_that_is_down_or_pushed_back_is_left_alone() -> None:
    policy = config()
    down, busy = pressed(policy), pressed(policy)
    down.pools["burst"].circuit = Circuit.OPEN
    busy.pools["burst"].pushed_back_until = 101.0
    assert capacity.to_start(down, policy) == capacity.to_start(busy, policy) == []


def engine(policy: Any, clock: list[float]) -> Engine:
    return Engine(policy, clock=lambda: clock[0], period="2026-11", leases=fixed(policy), accounts={})


def test_a_start_counts_against_the_environment_alone_and_is_settled() -> None:
    policy, clock = config(), [100.0]
    one = engine(policy, clock)
    one.state.pools["floor"].in_flight = 7
    (admission,) = one.start_ahead(lambda: "start-1")
    assert admission.route.reason is Reason.START_AHEAD
    assert set(one.state.accounts) == {"environment"}
    assert one.state.accounts["environment"].reserved == admission.route.reservation > 0
    assert one.start_ahead(lambda: "start-2") == []
    clock[0] = 120.0
    one.first_byte(admission)
    cost = one.finish(admission, outcome=Outcome.OK, tokens=1)
    assert one.state.accounts["environment"].reserved == 0
    assert one.state.accounts["environment"].spent == cost == 20 * 300_000, "one instance, busy for twenty seconds"


def test_a_start_that_the_budget_has_no_room_for_is_not_made() -> None:
    one = engine(config(limits={"budgetNanoUsd": 1000}), [100.0])
    one.state.pools["floor"].in_flight = 7
    assert one.start_ahead(lambda: "start-1") == []


def test_work_is_not_sent_to_an_instance_that_still_starts_as_if_it_were_warm() -> None:
    policy = config()
    found = pressed(policy, floor=8, burst=1, now=105.0)
    found.pools["burst"].starting = (100.0,)
    made = capacity.offer("burst", policy.pools["burst"], found.pools["burst"], found, policy)
    assert isinstance(made, capacity.Offer)
    assert made.cold
    assert made.joins
    assert made.answer_s == pytest.approx(15.0 + found.pools["burst"].first_token_s), "twenty seconds, five have passed"
    decision = decide(request(workload_class=WorkloadClass.LATENCY_SENSITIVE), found, policy)
    assert getattr(decision, "pool", None) == "floor", "a slot of the floor is free sooner"


def route(**over: Any) -> Route:
    values: dict[str, Any] = {
        "pool": "burst",
        "reason": Reason.SPILL_FULL,
        "spilled": True,
        "cold": False,
        "reservation": 0,
        "tokens": 1,
        "time_limit_s": 60.0,
        "removed": (),
    }
    return Route(**{**values, **over})


def test_a_hidden_cold_start_does_not_make_a_pool_look_slow_for_ever() -> None:
    policy = config()
    found = state(policy)
    before = found.pools["burst"].first_token_s
    observe(found, FirstByte(now=30.0, pool="burst", seconds=21.0, cold=False), policy)
    assert found.pools["burst"].first_token_s == before
    observe(found, FirstByte(now=31.0, pool="burst", seconds=1.0, cold=False), policy)
    assert found.pools["burst"].first_token_s > before, "an ordinary wait is learned"


def test_an_instance_that_was_warm_after_all_does_not_shorten_the_expected_start() -> None:
    policy = config()
    found = state(policy)
    observe(found, Admitted(now=0.0, route=route(cold=True), scopes=()), policy)
    observe(found, FirstByte(now=0.3, pool="burst", seconds=0.3, cold=True), policy)
    assert found.pools["burst"].cold_start_s == 20.0
    assert found.pools["burst"].starting == ()
    observe(found, Admitted(now=1.0, route=route(cold=True), scopes=()), policy)
    observe(found, FirstByte(now=31.0, pool="burst", seconds=30.0, cold=True), policy)
    assert found.pools["burst"].cold_start_s > 20.0, "a real start is learned"


def test_a_start_that_failed_is_forgotten_and_one_whose_caller_left_is_not() -> None:
    policy = config()
    for outcome, left in ((Outcome.FAILED, ()), (Outcome.CANCELLED, (0.0,))):
        found = state(policy)
        cold = route(cold=True)
        observe(found, Admitted(now=0.0, route=cold, scopes=()), policy)
        observe(
            found,
            Finished(now=1.0, route=cold, scopes=(), admitted_at=0.0, cost=0, tokens=0, outcome=outcome),
            policy,
        )
        assert found.pools["burst"].starting == left


def test_the_floors_first_token_is_learned_though_a_floor_never_starts_cold() -> None:
    policy = config()
    found = state(policy)
    for at in range(50):
        observe(found, FirstByte(now=float(at), pool="floor", seconds=2.0, cold=False), policy)
    assert found.pools["floor"].first_token_s == pytest.approx(2.0, abs=0.05)


def test_a_warm_slot_that_a_start_finds_is_used_and_not_asked_for_again() -> None:
    """Another replica, or an earlier life of this one, has left the instance warm. Asked for five times a second it
    would stay warm for ever, while work waits."""
    policy, clock = config(), [100.0]
    one = engine(policy, clock)
    one.state.pools["floor"].in_flight = 7
    (admission,) = one.start_ahead(lambda: "start-1")
    clock[0] = 100.2
    one.first_byte(admission)
    one.finish(admission, outcome=Outcome.OK, tokens=1)
    assert one.start_ahead(lambda: "start-2") == [], "there is a warm instance"
    one.state.pools["floor"].in_flight = 8
    one.state.pools["floor"].phase = Phase.SPILLING
    decision = decide(request(), one.state, policy)
    assert isinstance(decision, Route)
    assert (decision.pool, decision.cold) == ("burst", False)


def test_a_free_slot_of_an_instance_that_is_known_does_not_count_as_another_instance() -> None:
    policy, clock = config(), [100.0]
    one = engine(policy, clock)
    one.state.pools["floor"].in_flight = 7
    one.state.pools["burst"].in_flight = 4
    (admission,) = one.start_ahead(lambda: "start-1")
    one.state.pools["burst"].in_flight = 4  # one of the four has ended meanwhile, and its slot answered
    clock[0] = 100.2
    one.first_byte(admission)
    one.finish(admission, outcome=Outcome.OK, tokens=1)
    assert capacity.live(policy.pools["burst"], one.state.pools["burst"], clock[0]) == 1
