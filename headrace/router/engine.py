"""The interpreter's core: holds the state, lets requests in, lets them wait, books what they cost.

Between `decide` and `observe(Admitted)` nothing awaits, so no two requests can take the same slot. An `Admission` is
given back in exactly one place, `finish`, however the request ends.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from headrace.router import budget, capacity
from headrace.router.config import RouterConfig
from headrace.router.decide import decide
from headrace.router.events import Admitted, Event, Finished, FirstByte, LeaseChanged, Outcome, Queued, Scraped, Tick
from headrace.router.lease import shortages
from headrace.router.observe import advance, cost_share, initial, observe, reconfigured
from headrace.router.thresholds import Alert, Elsewhere, Thresholds
from headrace.router.types import Account, Decision, Reason, Refusal, RequestFacts, Route, Window, explain
from headrace.settings.releases import WorkloadClass


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """A request on its way: where to, since when, and what the pool's cost counter said at the time.

    `policy` is the configuration that decided: after waiting it can be a later one than that of the arrival.
    """

    facts: RequestFacts
    policy: RouterConfig
    route: Route
    since: float
    arrived: float
    cost_at_start: float
    explanation: str


@dataclass(kw_only=True, slots=True)
class _Waiter:
    facts: RequestFacts
    arrived: float
    pool: str
    slots: int
    batch: bool
    answer: asyncio.Future[Admission | Refusal | None]
    """None: decide again."""


class Engine:
    """State and queues of one replica. Time comes from `clock` (monotonic seconds), so tests can bring their own.

    `told` is the part of what `accounts` have spent whose alerts were told before; all of it where nothing is said.
    """

    def __init__(
        self,
        policy: RouterConfig,
        *,
        clock: Callable[[], float],
        period: str,
        leases: Mapping[str, int],
        accounts: Mapping[str, Account],
        told: Mapping[str, int] | None = None,
        on_alert: Callable[[Alert], None] = lambda _: None,
        on_decision: Callable[[RequestFacts, Decision], None] = lambda _, __: None,
    ) -> None:
        self.policy = policy
        self.clock = clock
        self.state = initial(policy, now=clock(), period=period, leases=leases, accounts=accounts)
        self.draining = False
        self._on_alert = on_alert
        self._on_decision = on_decision
        self._lines: dict[tuple[str, bool], deque[_Waiter]] = {}
        self._short: dict[str, int] = {}
        if told is None:
            told = {scope: account.spent for scope, account in accounts.items()}
        self._thresholds = Thresholds(period, told)

    @property
    def in_flight(self) -> int:
        """Requests on their way."""
        return sum(view.in_flight for view in self.state.pools.values())

    @property
    def waiting(self) -> int:
        """Requests in queues."""
        return sum(len(line) for line in self._lines.values())

    def waiting_for(self, pool: str) -> int:
        """Requests in the queues of a pool."""
        return sum(len(self._lines.get((pool, batch), ())) for batch in (False, True))

    def observe(self, event: Event) -> None:
        """Folds an event in."""
        observe(self.state, event, self.policy)

    def tick(self, *, period: str | None = None, min_instances: Mapping[str, int] | None = None) -> None:
        """Time passes: timers of phases and breakers move, and whoever waits is asked again."""
        self.observe(Tick(now=self.clock(), period=period, min_instances=min_instances))
        if self._thresholds.period != self.state.period:
            self._thresholds.new_period(self.state.period)
        self._wake_all()

    def scraped(self, pool: str, *, queue: int, kv_use: float, servers: int) -> None:
        """Model servers' own numbers."""
        if pool in self.state.pools:
            self.observe(Scraped(now=self.clock(), pool=pool, queue=queue, kv_use=kv_use, servers=servers))
            self._wake(pool)

    def lease(self, leases: Mapping[str, int]) -> None:
        """This replica's new shares."""
        self.observe(LeaseChanged(now=self.clock(), leases=leases))
        self._wake_all()

    def take_short(self) -> dict[str, int]:
        """What requests lacked of this replica's shares since the last call, by limit."""
        short, self._short = self._short, {}
        return short

    def reload(self, policy: RouterConfig, leases: Mapping[str, int] | None = None) -> None:
        """A new configuration; what is in flight goes on as it was admitted."""
        before, self.policy = self.policy, policy
        self._thresholds.forget_limits()
        advance(self.state, self.clock())
        reconfigured(self.state, policy, before=before)
        if leases is not None:
            self.state.leases = dict(leases)
        for pool, batch in [key for key in self._lines if key[0] not in policy.pools]:
            for waiter in self._lines.pop((pool, batch)):  # nobody will call them there
                self._count(waiter, -1)
                waiter.answer.set_result(None)
        self.tick()

    async def place(self, facts: RequestFacts) -> Admission | Refusal:
        """Lets a request in, at once or after waiting; or says why not."""
        arrived = self.clock()
        answer = self._try(facts, arrived, arrived)
        while isinstance(answer, tuple):
            pool, seconds = answer
            waited = await self._queue(facts, arrived, pool, seconds)
            if waited is not None:
                return waited
            now = self.clock()
            answer = self._try(replace(facts, waited_s=max(0.0, now - arrived)), arrived, now)
        return answer

    def _try(self, facts: RequestFacts, arrived: float, now: float) -> Admission | Refusal | tuple[str, float]:
        """One decision, carried out. A tuple (pool, seconds) means waiting. Nothing in here awaits."""
        if self.draining:
            return Refusal(
                status=503,
                code="draining",
                sentence="this router is stopping",
                next_step="try again",
                retry_after_s=1.0,
            )
        advance(self.state, now)
        decision = decide(facts, self.state, self.policy)
        if decision.removed or isinstance(decision, Refusal):
            for name, amount in shortages(decision, self.state, self.policy).items():
                self._short[name] = self._short.get(name, 0) + amount
        if isinstance(decision, Refusal):
            self._on_decision(facts, decision)
            return decision
        if not isinstance(decision, Route):
            return decision.pool, decision.seconds
        self._on_decision(facts, decision)
        before = cost_share(self.state, decision.pool, self.state.now, self.policy)
        self.observe(Admitted(now=now, route=decision, scopes=facts.scopes))
        return Admission(
            facts=facts,
            policy=self.policy,
            route=decision,
            since=self.state.now,
            arrived=arrived,
            cost_at_start=before,
            explanation=explain(facts, decision),
        )

    async def _queue(
        self, facts: RequestFacts, arrived: float, pool: str, seconds: float
    ) -> Admission | Refusal | None:
        """Waits in line for at most `seconds`. None: nobody called, decide again."""
        waiter = _Waiter(
            facts=facts,
            arrived=arrived,
            pool=pool,
            slots=capacity.slots_of(self.policy.pools[pool], facts),
            batch=facts.workload_class is WorkloadClass.BATCH,
            answer=asyncio.get_running_loop().create_future(),
        )
        line = self._lines.setdefault((pool, waiter.batch), deque())
        line.append(waiter)
        self._count(waiter, 1)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(waiter.answer)
        except TimeoutError:
            if waiter.answer.done():  # called in the very moment
                return waiter.answer.result()
            self._leave(waiter, line)
            return None
        except asyncio.CancelledError:
            if waiter.answer.done():
                answer = waiter.answer.result()
                if isinstance(answer, Admission):
                    self.finish(answer, outcome=Outcome.CANCELLED, tokens=0)
            else:
                self._leave(waiter, line)
            raise

    def _leave(self, waiter: _Waiter, line: deque[_Waiter]) -> None:
        line.remove(waiter)
        waiter.answer.cancel()
        self._count(waiter, -1)

    def _count(self, waiter: _Waiter, change: int) -> None:
        change *= waiter.slots
        self.observe(Queued(now=self.clock(), pool=waiter.pool, change=change, batch=waiter.batch))

    def _wake_all(self) -> None:
        for pool in {pool for pool, _ in self._lines}:
            self._wake(pool)

    def _wake(self, pool: str) -> None:
        """Calls whoever is first in line, as long as there is room: batch work after everybody else."""
        for batch in (False, True):
            line = self._lines.get((pool, batch))
            while line:
                waiter = line[0]
                self._count(waiter, -1)
                now = self.clock()
                answer = self._try(replace(waiter.facts, waited_s=max(0.0, now - waiter.arrived)), waiter.arrived, now)
                if isinstance(answer, tuple):
                    self._count(waiter, 1)
                    break
                line.popleft()
                if waiter.answer.done():  # cannot be: a waiter leaves its line when it goes; a slot must not leak
                    if isinstance(answer, Admission):
                        self.finish(answer, outcome=Outcome.CANCELLED, tokens=0)
                    continue
                waiter.answer.set_result(answer)

    def start_ahead(self, identifier: Callable[[], str]) -> list[Admission]:
        """Instances to start now, each admitted as a small request of the router's own on the environment's account.

        Whoever calls this sends them, and finishes each admission as any other.
        """
        found: list[Admission] = []
        if self.draining:
            return found
        now = self.clock()
        advance(self.state, now)
        for name in capacity.to_start(self.state, self.policy):
            pool = self.policy.pools[name]
            facts = RequestFacts(
                id=identifier(),
                tenant="",
                project="",
                environment=self.policy.environment,
                workload=pool.workload,
                workload_class=self.policy.workloads[pool.workload].workload_class,
                release=pool.release,
                max_tokens=1,
                endpoint="completions",
            )
            limit_s = capacity.time_limit_s(pool, facts)
            route = Route(
                pool=name,
                reason=Reason.START_AHEAD,
                spilled=False,
                cold=True,
                reservation=capacity.worst_cost(pool, limit_s, 1),
                tokens=1,
                time_limit_s=limit_s,
                removed=(),
            )
            state = self.state
            if budget.shortfall(
                state.accounts, state.leases, self.policy, facts.scopes, now=now, money=route.reservation, tokens=1
            ):
                continue
            before = cost_share(self.state, name, now, self.policy)
            self.observe(Admitted(now=now, route=route, scopes=facts.scopes))
            found.append(
                Admission(
                    facts=facts,
                    policy=self.policy,
                    route=route,
                    since=self.state.now,
                    arrived=now,
                    cost_at_start=before,
                    explanation=f"{name} starts an instance: the floor of {pool.workload} is filling up",
                )
            )
        return found

    def first_byte(self, admission: Admission) -> None:
        """The answer begins. After somebody else's start it tells neither how long a start takes nor an answer."""
        if admission.route.joins:
            return
        now, facts = self.clock(), admission.facts
        self.observe(
            FirstByte(
                now=now,
                pool=admission.route.pool,
                seconds=now - admission.since,
                cold=admission.route.cold,
                prompt_tokens=facts.prompt_tokens,
                whole=not facts.stream and facts.max_tokens != 1,
            )
        )

    def finish(self, admission: Admission, *, outcome: Outcome, tokens: int, retry_after_s: float | None = None) -> int:
        """Slot and reservation go back; returns the cost in nano-dollars. Call exactly once per admission."""
        now = max(self.clock(), self.state.now)
        route, scopes = admission.route, admission.facts.scopes
        spent = cost_share(self.state, route.pool, now, self.policy) - admission.cost_at_start
        cost = max(0, round(spent * route.slots))
        self.observe(
            Finished(
                now=now,
                route=route,
                scopes=scopes,
                admitted_at=admission.since,
                cost=cost,
                tokens=tokens,
                outcome=outcome,
                retry_after_s=retry_after_s,
            )
        )
        self._tell(scopes)
        self._wake(route.pool)
        return cost

    def _tell(self, scopes: Iterable[str]) -> None:
        """Tells which thresholds have been passed by now."""
        for scope in scopes:
            account = self.state.accounts.get(scope)
            spent = account.spent if account is not None else 0
            if self._thresholds.due(scope, spent):
                for alert in self._thresholds.passed(scope, spent, self.policy):
                    self._on_alert(alert)

    def tell_what_a_crash_left(self) -> None:
        """Alerts of what was posted at the start."""
        self._tell(tuple(self.state.accounts))

    def told(self, scope: str) -> int:
        """Nano-dollars of a budget up to which every threshold was told this month."""
        return self._thresholds.told(scope)

    def spent_elsewhere(self, money: Mapping[str, Elsewhere], *, period: str) -> None:
        """What other replicas used in a month, by scope: thresholds are of the whole budget."""
        if period != self.state.period:  # a month ended while they were asked
            return
        self._thresholds.heard(money)
        self._tell(money)

    def stop_waiting(self) -> None:
        """Answers everybody in line: the router stops."""
        self.draining = True
        self._wake_all()


class RetryBudget:
    """Retries as a share of requests over the last minute, and at least a few, so that a quiet router can retry."""

    LEAST: Final = 3

    def __init__(self) -> None:
        self._requests, self._retries = Window(), Window()

    def request(self, now: float) -> None:
        """A request came."""
        budget.add(self._requests, now, 1)

    def take(self, now: float, share: float) -> bool:
        """Whether one more retry is within the budget; counts it if so."""
        allowed = max(self.LEAST, int(share * budget.count(self._requests, now)))
        if budget.count(self._retries, now) >= allowed:
            return False
        budget.add(self._retries, now, 1)
        return True


_IDS = itertools.count()


def request_id(instance: str) -> str:
    """A new id: the instance's own random part (made at its start) and a counter; never the caller's."""
    return f"{instance}-{next(_IDS):x}"
