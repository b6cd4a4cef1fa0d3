"""Shares of limits: they always add up to at most the total, and they follow need within seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.router import capacity, lease
from headrace.router.config import RouterConfig
from headrace.router.decide import decide
from headrace.router.engine import Engine
from headrace.router.events import Admitted, Finished, Outcome
from headrace.router.lease import Ask, Other, divide, shortages
from headrace.router.observe import observe
from headrace.router.types import Account, Ground, Refusal, Route, State, Wait
from tests.unit.router.shares import Redis, leaser
from tests.unit.router.worlds import config, pool, request, state

CLAIMS = st.dictionaries(
    st.sampled_from("abcdefgh"), st.tuples(st.integers(0, 50), st.integers(0, 200)), min_size=1, max_size=8
)


@given(total=st.integers(0, 1000), claims=CLAIMS)
def test_parts_add_up_and_meet_every_need_that_fits(total: int, claims: dict[str, tuple[int, int]]) -> None:
    parts = divide(total, claims)
    bases = sum(base for base, _ in claims.values())
    assert sum(parts.values()) == total
    if bases <= total:
        assert all(parts[name] >= base for name, (base, _) in claims.items()), "what is used stays"
    else:
        for name, (base, _) in claims.items():
            if parts[name] < base:
                assert parts[name] >= max(parts.values()) - len(claims), "what is short is short for all alike"
        return
    if bases + sum(need for _, need in claims.values()) <= total:
        assert all(parts[name] >= base + need for name, (base, need) in claims.items())
    met = {name: parts[name] - base for name, (base, _) in claims.items()}
    for name, (_, need) in claims.items():
        if met[name] < need:  # who is short has, but for rounding, no less than anybody else
            assert met[name] >= max(met.values()) - len(claims)


def test_idle_replicas_have_equal_parts_and_a_busy_one_gets_what_they_do_not_need() -> None:
    assert divide(10, {"a": (0, 1), "b": (0, 1)}) == {"a": 5, "b": 5}
    assert divide(10, {"a": (0, 9), "b": (0, 1)}) == {"a": 9, "b": 1}
    assert divide(10, {"a": (0, 9), "b": (0, 9)}) == {"a": 5, "b": 5}
    assert divide(100, {"a": (60, 0), "b": (0, 0)}) == {"a": 80, "b": 20}, (
        "money that is left is divided, not the total"
    )


def test_what_is_used_and_waited_for_goes_before_room_for_more() -> None:
    """Slots in halves would leave some idle at one replica while work waits at the other, whenever callers come to
    them unevenly."""
    assert divide(64, {"a": (37, 16), "b": (27, 14)}) == {"a": 37, "b": 27}
    assert divide(64, {"a": (30, 16), "b": (20, 10)}) == {"a": 37, "b": 27}, "room for more is the same for both"
    assert divide(64, {"a": (60, 1), "b": (40, 1)}) == {"a": 32, "b": 32}, "neither keeps what the other lacks"


@dataclass
class Store:
    """The rules of the script in Redis: a share grows only by what nobody holds."""

    held: dict[str, int] = field(default_factory=dict)
    claims: dict[str, tuple[int, int]] = field(default_factory=dict)
    alive: set[str] = field(default_factory=set)

    def say(self, me: str, ask: Ask) -> int:
        self.alive.add(me)
        others = sum(value for name, value in self.held.items() if name != me)
        granted = max(ask.held, min(ask.want, ask.total - others)) if ask.want > ask.held else ask.held
        self.held[me] = granted
        self.claims[me] = (ask.base, ask.need)
        return granted

    def others(self, me: str) -> list[Other]:
        return [
            Other(name=name, held=self.held[name], base=self.claims[name][0], need=self.claims[name][1])
            for name in sorted(self.alive - {me})
        ]


LIMIT = "pool/floor/slots"
MONEY = "environment/money"


@dataclass
class Replica:
    """One router that uses its share as its callers want."""

    name: str
    policy: RouterConfig
    state: State
    limit: str
    heard: list[Other] | None = None
    claimed: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def share(self) -> int:
        return self.state.leases.get(self.limit, 0)

    def use(self, wanted: int) -> int:
        """Callers want this much at once; what the share does not allow is refused. Returns how much was."""
        if self.limit == LIMIT:
            view = self.state.pools["floor"]
            # What runs above a share that shrank runs on; nothing new starts.
            room = capacity.slots("floor", self.policy.pools["floor"], view, self.state)
            view.in_flight = min(wanted, max(room, view.in_flight))
            return wanted - view.in_flight
        account = self.state.accounts.setdefault("environment", Account())
        take = max(0, min(wanted, self.share - account.spent))
        account.spent += take
        return wanted - take

    def round(self, store: Store, refused: int) -> None:
        others = {self.limit: self.heard} if self.heard is not None else None
        asked = lease.asks(
            self.state, self.policy, me=self.name, others=others, short={self.limit: refused}, before=self.claimed
        )
        self.claimed = {one.name: (one.base, one.need) for one in asked}
        ask = next(one for one in asked if one.name == self.limit)
        assert ask.limit <= self.share or self.share == 0, "a round by itself never enlarges a share"
        self.state.leases[self.limit] = min(self.share, ask.limit)
        granted = store.say(self.name, ask)
        self.heard = store.others(self.name)
        self.state.leases[self.limit] = granted if granted > ask.held else ask.limit


def replicas(count: int, limit: str, total: int) -> list[Replica]:
    policy = config(
        pools={"floor": pool(instances=total, slotsPerInstance=1)}, limits={"budgetNanoUsd": total}, tenants={}
    )
    made = []
    for number in range(count):
        one = state(policy)
        one.leases.clear()
        made.append(Replica(name=f"r{number}", policy=policy, state=one, limit=limit))
    return made


def in_force(fleet: list[Replica]) -> int:
    """What all may use or do use at this moment."""
    return sum(max(one.share, one.state.pools["floor"].in_flight if one.limit == LIMIT else 0) for one in fleet)


STEPS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), min_size=1, max_size=60)


@pytest.mark.parametrize("limit", [LIMIT, "environment/money"])
@given(steps=STEPS, total=st.integers(1, 40))
@example(steps=[(0, 0), (0, 0), (1, 0), (0, 0)], total=10)
def test_no_order_of_rounds_and_requests_exceeds_a_total(limit: str, steps: list[tuple[int, int]], total: int) -> None:
    store, fleet = Store(), replicas(3, limit, total)
    for number, wanted in steps:
        refused = fleet[number].use(wanted)
        fleet[number].round(store, refused)
        assert in_force(fleet) <= total
        assert sum(store.held.values()) <= total


@given(wanted=st.lists(st.integers(0, 30), min_size=2, max_size=4), total=st.integers(4, 40), late=st.booleans())
def test_shares_reach_the_division_by_need_within_seconds(wanted: list[int], total: int, late: bool) -> None:
    """However the shares were before: one replica had everything until the others came."""
    store, fleet = Store(), replicas(len(wanted), LIMIT, total)
    for _ in range(4):
        fleet[0].round(store, fleet[0].use(total if late else 0))
    assert fleet[0].share == total
    for _ in range(40):  # ten seconds: what the first one needed before has faded
        for one, want in zip(fleet, wanted, strict=True):
            # Requests end and others begin: what runs is at most what the share allows by now.
            one.state.pools["floor"].in_flight = min(one.state.pools["floor"].in_flight, one.share)
            one.round(store, one.use(want))
    assert in_force(fleet) <= total
    if sum(wanted) * 3 // 2 + len(wanted) * (1 + total // 10) <= total:
        for one, want in zip(fleet, wanted, strict=True):
            assert one.share >= want, "the total has room for all, so nobody is short"
    fair = total // len(wanted)
    for one, want in zip(fleet, wanted, strict=True):
        assert one.share >= min(want, fair), "nobody who needs it has less than an equal part"


def test_slots_follow_the_line_within_a_second() -> None:
    store, (first, second) = Store(), replicas(2, LIMIT, 64)
    for _ in range(8):
        for one in (first, second):
            one.round(store, one.use(32))
    assert (first.share, second.share) == (32, 32)
    second.state.pools["floor"].in_flight = 24
    first.state.pools["floor"].waiting = 6
    for _ in range(4):
        second.round(store, 0)
        first.round(store, 0)
    assert first.share >= 38, "eight slots were free at one replica while six requests waited at the other"
    assert second.share >= 24


def test_an_idle_replica_keeps_a_slot_while_another_has_a_line() -> None:
    """Without any share it would send its first request away, and take the floor for full."""
    store, (first, second) = Store(), replicas(2, LIMIT, 64)
    for _ in range(20):
        # Requests end, and as many begin as the share allows.
        first.state.pools["floor"].in_flight = first.share
        first.state.pools["floor"].waiting = 100
        first.round(store, 0)
        second.round(store, 0)
    assert (first.share, second.share) == (63, 1)


@given(steps=STEPS, totals=st.lists(st.integers(1, 40), min_size=2, max_size=4), limit=st.sampled_from([LIMIT, MONEY]))
@settings(max_examples=20)
def test_a_limit_that_is_lowered_holds_after_a_round_of_each_replica(
    steps: list[tuple[int, int]], totals: list[int], limit: str
) -> None:
    """Two replicas with 500 of 1000 each kept them when a reload made it 600."""
    store, fleet = Store(), replicas(3, limit, totals[0])
    for total in totals:
        for one in fleet:
            one.policy = config(
                pools={"floor": pool(instances=total, slotsPerInstance=1)}, limits={"budgetNanoUsd": total}, tenants={}
            )
            one.state.leases = {name: min(share, one.policy.totals[name]) for name, share in one.state.leases.items()}
        for number, wanted in steps:
            refused = fleet[number].use(wanted)
            fleet[number].round(store, refused)
        for _ in range(3):
            for one in fleet:
                one.round(store, 0)
        spent = [one.state.accounts["environment"].spent if "environment" in one.state.accounts else 0 for one in fleet]
        used = [one.state.pools["floor"].in_flight if limit == LIMIT else spent[at] for at, one in enumerate(fleet)]
        assert in_force(fleet) <= max(total, sum(used)), "no more than is used already"
        assert sum(max(one.share, use) for one, use in zip(fleet, used, strict=True)) <= max(total, sum(used))


def test_a_replica_that_joins_late_gets_an_equal_part_before_its_first_request() -> None:
    store, (first, second) = Store(), replicas(2, LIMIT, 10)
    for _ in range(4):
        first.round(store, 0)
    assert first.share == 10
    for _ in range(4):
        second.round(store, 0)
        first.round(store, 0)
    assert (first.share, second.share) == (5, 5)


def test_a_replica_that_hears_nothing_keeps_its_share_whatever_it_heard_before() -> None:
    store, (first, second) = Store(), replicas(2, LIMIT, 10)
    for _ in range(8):
        for one in (first, second):
            one.state.pools["floor"].in_flight = min(one.state.pools["floor"].in_flight, one.share)
            one.round(store, one.use(10))
    assert (first.share, second.share) == (5, 5)
    first.use(0)
    asked = lease.asks(first.state, first.policy, me="r0", others=None)
    ask = next(one for one in asked if one.name == LIMIT)
    assert (ask.limit, ask.want) == (5, 5)


def test_money_that_is_left_reaches_whoever_asks_for_it() -> None:
    store, (first, second) = Store(), replicas(2, "environment/money", 1000)
    for _ in range(40):
        first.round(store, 0)
        second.round(store, 0)
    assert (first.share, second.share) == (500, 500)
    spent = 0
    for _ in range(40):
        refused = first.use(70)
        spent += 70 - refused
        first.round(store, refused)
        second.round(store, 0)
    assert spent == 1000 - second.share
    assert second.share <= 20, "an idle replica keeps little when another is refused"


def test_what_a_refused_request_lacked_is_told() -> None:
    policy = config(pools={"floor": pool()}, limits={"budgetNanoUsd": 1})
    refusal = decide(request(), state(policy), policy)
    assert isinstance(refusal, Refusal)
    assert shortages(refusal, state(policy), policy).keys() == {"environment/money"}
    full = Refusal(status=503, code="no_capacity", sentence="", next_step="", removed=(("floor", Ground.FULL),))
    assert shortages(full, state(policy), policy) == {"pool/floor/slots": 1}


@pytest.mark.parametrize("serving", [1, 2, 5, 8])
def test_the_slots_of_few_model_servers_reach_the_replica_whose_callers_want_them(serving: int) -> None:
    policy = config(pools={"floor": pool(instances=8, slotsPerInstance=4, counted=True)}, tenants={})
    fleet = []
    for name in ("r0", "r1"):
        fresh = state(policy)
        fresh.leases.clear()
        fresh.pools["floor"].servers = serving
        fleet.append(Replica(name=name, policy=policy, state=fresh, limit=LIMIT))
    store, live = Store(), serving * 4
    for _ in range(20):
        for one, wanted in zip(fleet, (live, 0), strict=True):
            refused = one.use(wanted)
            one.round(store, capacity.in_shares(policy.pools["floor"], one.state.pools["floor"], refused))
    room = [capacity.slots("floor", policy.pools["floor"], one.state.pools["floor"], one.state) for one in fleet]
    assert sum(room) <= live + 1, "beyond rounding, nobody counts on slots that are not there"
    assert room[0] >= live - max(1, live // 4), "a busy replica gets what the idle one doesn't need"
    wait = Wait(pool="floor", seconds=1.0, removed=(("floor", Ground.FULL), ("burst", Ground.CAP)))
    both = config()
    assert shortages(wait, state(both), both) == {"pool/burst/instances": 1}, (
        "who waits is counted in line for the floor, and lacks an instance elsewhere"
    )


async def test_a_limit_that_is_new_is_shared_in_the_first_round_after_a_reload() -> None:
    """Whoever asked first took all of it, and the other refused its callers until it got some, rounds later."""
    first = config(tenants={"search": {"limits": {}, "projects": {"assistant": {}}}})
    second = config(tenants={"search": {"limits": {"parallelRequests": 10}, "projects": {"assistant": {}}}})
    store = Redis()
    engines = [Engine(first, clock=lambda: 0.0, period="2026-11", leases={}, accounts={}) for _ in range(2)]
    leasers = [leaser(f"r{number}", engine, store) for number, engine in enumerate(engines)]
    for _ in range(4):
        for one in leasers:
            await one.step()
    for engine in engines:
        engine.reload(second)
    for one in leasers:
        await one.step()
    shares = [engine.state.leases["tenant/search/parallel"] for engine in engines]
    assert min(shares) >= 4, shares
    assert sum(shares) <= 10, shares


def test_a_request_of_many_texts_takes_no_share_from_other_replicas() -> None:
    """What is above the share waits in its model server; counted as held, it left the others without a slot."""
    store, fleet = Store(), replicas(2, LIMIT, 8)
    for one in fleet:
        one.policy = config(pools={"floor": pool(instances=1, slotsPerInstance=8)}, tenants={})
        one.state.pools["floor"].service_s = 1.0
    for _ in range(40):
        for one in fleet:
            one.round(store, 0)
    first, second = fleet
    first.state.leases |= {"environment/money": 1 << 60}
    shares = [one.share for one in fleet]
    assert shares == [4, 4]
    routes = []
    for texts in (1, 1, 1, 8):
        route = decide(request(sequences=texts), first.state, first.policy)
        assert isinstance(route, Route)
        routes.append(route)
        first.state = observe(first.state, Admitted(now=0.0, route=route, scopes=()), first.policy)
    view = first.state.pools["floor"]
    assert (view.taken, view.over) == (11, 7)
    for _ in range(8):
        for one in fleet:
            one.round(store, 0)
            assert second.share >= 1
    assert first.share + second.share <= 8
    done = Finished(now=1.0, route=routes[-1], scopes=(), admitted_at=0.0, cost=0, tokens=0, outcome=Outcome.OK)
    first.state = observe(first.state, done, first.policy)
    assert (view.taken, view.over) == (3, 0)
