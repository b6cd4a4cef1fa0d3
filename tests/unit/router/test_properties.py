"""What holds for any state and any order of events. A machine plays the router: decides, admits, finishes, leases."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from headrace.router import capacity
from headrace.router.decide import decide
from headrace.router.events import Admitted, Event, Finished, LeaseChanged, Outcome, Scraped, Tick
from headrace.router.observe import cost_share, observe
from headrace.router.types import NANO, Phase, Refusal, RequestFacts, Route, Wait, explain
from headrace.settings.releases import WorkloadClass
from tests.unit.router.worlds import config, overflow, pool, request, state

HOURLY = 300_000 * 3600
POLICY = config(
    pools={
        "floor": pool(counted=True),
        "burst": overflow(slotsPerInstance=2),
        "abroad": overflow(computeJurisdictions=["US"], minInstances=1),
        "wide": overflow(slotsPerInstance=1, idleTimeoutS=10, spendCeilingNanoUsdPerHour=2 * HOURLY),
    },
    spendCeilingNanoUsdPerHour=4 * HOURLY,
    providerCaps={"modal": {"gpus": 5}},
    tenants={
        "search": {"limits": {"parallelRequests": 9}, "projects": {"assistant": {"budgetNanoUsd": NANO}}},
        "support": {"limits": {}, "projects": {"answers": {"tokensPerMinute": 2000, "requestsPerMinute": 12}}},
    },
)
WHO = st.sampled_from([("search", "assistant"), ("support", "answers")])


class Router(RuleBasedStateMachine):
    """Counts on its own what the state must agree with."""

    def __init__(self) -> None:
        super().__init__()
        self.state = state(POLICY)
        self.flying: list[tuple[RequestFacts, Route, float, float]] = []
        self.received = self.routed = self.refused = self.waiting = self.ended = 0

    @rule(
        who=WHO,
        batch=st.booleans(),
        tokens=st.integers(0, 400),
        bucket=st.floats(0, 99.99),
        texts=st.integers(1, 6),
    )
    def arrive(self, who: tuple[str, str], batch: bool, tokens: int, bucket: float, texts: int) -> None:
        asked = request(
            tenant=who[0],
            project=who[1],
            bucket=bucket,
            max_tokens=tokens,
            sequences=texts,
            workload_class=WorkloadClass.BATCH if batch else WorkloadClass.LATENCY_SENSITIVE,
        )
        decision = decide(asked, self.state, POLICY)
        self.received += 1
        assert "\n" not in explain(asked, decision)
        if isinstance(decision, Route):
            self.routed += 1
            self._check_route(asked, decision, batch=batch)
            started = cost_share(self.state, decision.pool, self.state.now, POLICY)
            self.state = observe(self.state, Admitted(now=self.state.now, route=decision, scopes=asked.scopes), POLICY)
            self.flying.append((asked, decision, self.state.now, started))
        elif isinstance(decision, Wait):
            self.waiting += 1
            assert 0 < decision.seconds <= POLICY.spill.batch_patience_s
        else:
            self.refused += 1
            explained = {name for name, _ in decision.removed}
            assert decision.code != "too_many_texts", "of eight slots batch work may have five, one server has four"
            if decision.status == 503:
                assert explained == set(POLICY.pools), "a refusal says of each pool why not"

    def _check_route(self, asked: RequestFacts, route: Route, *, batch: bool) -> None:
        assert route.pool != "abroad", "never outside the jurisdiction, however full the rest is"
        floor = self.state.pools["floor"]
        slots = capacity.slots("floor", POLICY.pools["floor"], floor, self.state)
        if route.pool == "floor":
            assert floor.taken < slots, "never where none of the model servers that there are has a slot free"
            assert route.slots == min(asked.sequences, 4), "a request takes a slot for each of its texts, of one server"
        if batch:
            assert route.pool == "floor"
            after = floor.taken + route.slots
            serving = capacity.servers(POLICY.pools["floor"], floor) * 4
            most = slots if floor.taken else serving
            assert after <= POLICY.spill.stop_at * most, "batch never takes the last slots"
            assert floor.phase is Phase.STEADY
        if route.spilled:
            freed = replace(floor, in_flight=max(0, slots - 1), extra=0, saturated=False)
            again = decide(asked, replace(self.state, pools={**self.state.pools, "floor": freed}), POLICY)
            paused = self.state.now < floor.pushed_back_until
            if slots > 0 and floor.circuit.value == "closed" and not paused:
                assert isinstance(again, Route)
                assert again.pool == "floor", "a free slot never makes it spill"

    @rule(index=st.integers(0, 1000), outcome=st.sampled_from(list(Outcome)), share=st.floats(0, 1))
    def leave(self, index: int, outcome: Outcome, share: float) -> None:
        if not self.flying:
            return
        asked, route, since, started = self.flying.pop(index % len(self.flying))
        self.ended += 1
        spent = (cost_share(self.state, route.pool, self.state.now, POLICY) - started) * route.slots
        seconds = self.state.now - since
        if seconds <= route.time_limit_s:
            assert spent <= route.reservation + 1, "within its time limit nothing costs more than was reserved"
        self.state = observe(
            self.state,
            Finished(
                now=self.state.now,
                route=route,
                scopes=asked.scopes,
                admitted_at=since,
                cost=min(int(spent), route.reservation),
                tokens=int(route.tokens * share),
                outcome=outcome,
            ),
            POLICY,
        )

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        self.state = observe(self.state, Tick(now=self.state.now + seconds), POLICY)

    @rule(seconds=st.floats(0, 1e6))
    def clock_goes_back(self, seconds: float) -> None:
        before = self.state.now
        self.state = observe(self.state, Tick(now=before - seconds, period="2026-10"), POLICY)
        assert self.state.now == before
        assert self.state.period == "2026-11", "an earlier month gives no money back"

    @rule(queue=st.integers(0, 3), kv=st.floats(0, 1), servers=st.integers(0, 3))
    def scrape(self, queue: int, kv: float, servers: int) -> None:
        found = Scraped(now=self.state.now, pool="floor", queue=queue, kv_use=kv, servers=servers)
        self.state = observe(self.state, found, POLICY)

    @rule(slots=st.integers(0, 8))
    def lease(self, slots: int) -> None:
        held = max(slots, self.state.pools["floor"].taken)  # a replica gives back only what it does not use
        self.state = observe(self.state, LeaseChanged(now=self.state.now, leases={"pool/floor/slots": held}), POLICY)

    @invariant()
    def ceilings_are_exact(self) -> None:
        pools = self.state.pools
        floor = [route.slots for _, route, _, _ in self.flying if route.pool == "floor"]
        assert pools["floor"].taken == sum(floor)
        over = pools["floor"].taken - self.state.leases["pool/floor/slots"]
        assert over < max([*floor, 1]), "never more above the share than the last request takes beside its first slot"
        alive = {
            name: capacity.live(POLICY.pools[name], pools[name], self.state.now) for name in ("burst", "abroad", "wide")
        }
        for name, count in alive.items():
            assert count <= POLICY.pools[name].instances, name
        assert sum(alive.values()) <= 5, "GPUs of the provider's account"
        spend = capacity.run_rates(POLICY, alive)
        assert sum(spend.values()) <= 4 * HOURLY
        assert spend["wide"] <= 2 * HOURLY

    @invariant()
    def counts_agree(self) -> None:
        assert self.received == self.routed + self.refused + self.waiting
        assert self.routed == self.ended + len(self.flying)
        assert sum(view.in_flight for view in self.state.pools.values()) == len(self.flying)

    @invariant()
    def reservations_agree(self) -> None:
        for scope in ("environment", "tenant/search", "project/search/assistant", "project/support/answers"):
            account = self.state.accounts.get(scope)
            held = sum(route.reservation for asked, route, _, _ in self.flying if scope in asked.scopes)
            assert (account.reserved if account else 0) == held
            money = POLICY.limits_by_scope[scope].budget_nano_usd
            if account and money is not None:
                assert account.spent + account.reserved <= money, "concurrent requests never overshoot a budget"
            parallel = POLICY.limits_by_scope[scope].parallel_requests
            if account and parallel is not None:
                assert account.parallel <= parallel


Router.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
TestRouter = Router.TestCase


def test_the_same_events_give_the_same_state() -> None:
    events: list[Event] = [
        Tick(now=1.0),
        Scraped(now=2.0, pool="floor", queue=1, kv_use=0.5, servers=1),
        Tick(now=40.0),
    ]
    first = second = state(POLICY)
    for event in events:
        first, second = observe(first, event, POLICY), observe(second, event, POLICY)
    assert first == second


def test_shares_of_cost_add_up_to_what_was_busy() -> None:
    """Three overlapping requests on instances of two slots: 2 s of one instance, 4 s of two, 2 s of one."""
    current, flying, costs = state(POLICY), [], []
    asked = request(excluded=frozenset({"floor", "wide"}))
    for at in (0.0, 1.0, 2.0):
        current = observe(current, Tick(now=at), POLICY)
        route = decide(asked, current, POLICY)
        assert isinstance(route, Route), explain(asked, route) if isinstance(route, Refusal) else route
        flying.append((route, at, cost_share(current, route.pool, at, POLICY)))
        current = observe(current, Admitted(now=at, route=route, scopes=asked.scopes), POLICY)
    for at, (route, since, started) in zip((6.0, 7.0, 8.0), flying, strict=True):
        costs.append(cost_share(current, route.pool, at, POLICY) - started)
        current = observe(
            current,
            Finished(
                now=at,
                route=route,
                scopes=asked.scopes,
                admitted_at=since,
                cost=int(costs[-1]),
                tokens=0,
                outcome=Outcome.OK,
            ),
            POLICY,
        )
    assert round(sum(costs)) == (2 + 2 * 4 + 2) * 300_000
