"""`observe(state, event, policy) -> State`: what happened, folded into what is known. Pure.

Invariants (tests/unit/router/test_properties.py):
  I1 in-flight work of a pool = Admitted - Finished, never negative
  I2 a floor's phase changes at two thresholds and lasts its minimum stay on the way back
  I3 an account's reserved money = the sum of reservations in flight
  I4 the sum of all requests' costs = live busy instances x price, integrated over time
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from headrace.router import budget, capacity
from headrace.router.config import PoolConfig, RouterConfig
from headrace.router.events import (
    Admitted,
    Event,
    Finished,
    FirstByte,
    LeaseChanged,
    Outcome,
    Queued,
    Scraped,
    Tick,
)
from headrace.router.types import Account, Circuit, Phase, PoolView, State, Window, changed

# Weight of a new observation in the running means: about the last twenty requests count.
_WEIGHT = 0.1
_LONGEST_OPEN_S = 60.0
_LONGEST_PUSHBACK_S = 30.0
_FIRST_PUSHBACK_S = 0.5


def initial(
    policy: RouterConfig, *, now: float, period: str, leases: Mapping[str, int], accounts: Mapping[str, Account]
) -> State:
    """The state of a router that has just started. Without leases nothing is let through."""
    pools = {
        name: PoolView(
            phase_since=now,
            min_instances=pool.min_instances,
            service_s=pool.expected_service_s,
            first_token_s=pool.expected_first_token_s,
            cold_start_s=pool.cold_start_s,
            cost_at=now,
        )
        for name, pool in policy.pools.items()
    }
    return State(now=now, period=period, pools=pools, accounts=dict(accounts), leases=dict(leases))


def reconfigured(state: State, policy: RouterConfig) -> State:
    """The state under a new configuration: pools and accounts that stay keep all that is known of them."""
    fresh = initial(policy, now=state.now, period=state.period, leases={}, accounts={})
    pools = {**state.pools, **{name: state.pools.get(name, view) for name, view in fresh.pools.items()}}
    leases = {name: min(state.leases[name], total) for name, total in policy.totals.items() if name in state.leases}
    return changed(state, pools=pools, leases=leases)


def observe(state: State, event: Event, policy: RouterConfig) -> State:
    """The state after an event. Time never goes back: an earlier `now` counts as the latest known."""
    now = max(state.now, event.now)
    match event:
        case Tick():
            return _tick(state, event, now, policy)
        case Admitted():
            name = event.route.pool
            accounts = budget.reserve(
                state.accounts, event.scopes, now=now, money=event.route.reservation, tokens=event.route.tokens
            )
            view = _move(state.pools[name], policy.pools.get(name), now, 1)
            if view.circuit is not Circuit.CLOSED:
                view = changed(view, circuit=Circuit.HALF_OPEN, probing=True)
            return _with_pool(changed(state, now=now, accounts=accounts), name, view, policy)
        case FirstByte():
            return _first_byte(changed(state, now=now), event, policy)
        case Finished():
            return _finished(state, event, now, policy)
        case Queued():
            view = state.pools[event.pool]
            if event.batch:
                view = changed(view, waiting_batch=max(0, view.waiting_batch + event.change))
            else:
                view = changed(view, waiting=max(0, view.waiting + event.change))
            return _with_pool(changed(state, now=now), event.pool, view, policy)
        case Scraped():
            view = changed(state.pools[event.pool], queue=event.queue, kv_use=event.kv_use, scraped_at=now)
            return _with_pool(changed(state, now=now), event.pool, view, policy)
        case LeaseChanged():
            after = changed(state, now=now, leases={**state.leases, **event.leases})
            return _all_pools(after, policy)
        case _:
            assert_never(event)


def advance(state: State, now: float) -> State:
    """The same state at a later time, for a decision; what time itself changes is folded in by `Tick`."""
    return state if now <= state.now else changed(state, now=now)


def cost_share(state: State, pool: str, now: float, policy: RouterConfig) -> float:
    """Nano-dollars that a request in flight since the beginning would have cost until `now`.

    A request's cost is the difference of this between its end and its start: each moment's price of the busy instances
    is shared evenly among the requests in flight at that moment, so the shares add up to exactly what was busy.
    """
    view, config = state.pools[pool], policy.pools.get(pool)
    return view.cost_per_request + (_price(config, view.in_flight) * (now - view.cost_at) if config else 0.0)


def _price(config: PoolConfig, in_flight: int) -> float:
    """Nano-dollars per second of each request in flight."""
    rate = config.nano_usd_per_instance_second
    if config.dedicated:
        return rate / config.slots_per_instance
    return rate * capacity.busy(config, in_flight) / in_flight if in_flight else 0.0


def _move(view: PoolView, config: PoolConfig | None, now: float, change: int) -> PoolView:
    """One request more or less in flight: cost so far is booked, instances wake or fall idle."""
    after = max(0, view.in_flight + change)
    if config is None:  # a pool that a reload took away finishes what it has
        return changed(view, in_flight=after)
    elapsed = max(0.0, now - view.cost_at)
    idle = tuple(end for end in view.idle if end > now)
    if not config.dedicated:
        difference = capacity.busy(config, after) - capacity.busy(config, view.in_flight)
        if difference > 0:
            idle = idle[: max(0, len(idle) - difference)]
        elif difference < 0:
            idle = (*idle, *(now + config.idle_timeout_s,) * -difference)
    return changed(
        view,
        in_flight=after,
        idle=idle,
        cost_per_request=view.cost_per_request + _price(config, view.in_flight) * elapsed,
        idle_cost=view.idle_cost + len(view.idle) * config.nano_usd_per_instance_second * elapsed,
        cost_at=now,
    )


def _with_pool(state: State, name: str, view: PoolView, policy: RouterConfig) -> State:
    config = policy.pools.get(name)
    if config is not None and config.dedicated:
        view = _phase(name, config, view, state, policy)
    return changed(state, pools={**state.pools, name: view})


def _all_pools(state: State, policy: RouterConfig) -> State:
    for name, config in policy.pools.items():
        if config.dedicated:
            state = _with_pool(state, name, state.pools[name], policy)
    return state


def _phase(name: str, config: PoolConfig, view: PoolView, state: State, policy: RouterConfig) -> PoolView:
    """Two thresholds and a minimum stay. Signals older than their limit are unknown; our own count decides then."""
    spill, now = policy.spill, state.now
    kv, queue = 0.0, 0
    if capacity.fresh(view, now, spill.signal_max_age_s):
        kv, queue = view.kv_use or 0.0, view.queue or 0
    slots = capacity.share_of_slots(name, config, view, state)
    pressure = 1.0 if queue > 0 else max(slots, kv)
    if view.saturated:
        calm = queue == 0 and kv <= spill.stop_at and now - view.saturated_since >= spill.minimum_stay_s
        known = capacity.fresh(view, now, spill.signal_max_age_s)
        if calm or not known:
            view = changed(view, saturated=False)
    elif queue > 0 or kv >= spill.start_at:
        view = changed(view, saturated=True, saturated_since=now)
    if view.phase is Phase.STEADY and pressure >= spill.start_at:
        return changed(view, phase=Phase.SPILLING, phase_since=now)
    if (
        view.phase is Phase.SPILLING
        and pressure <= spill.stop_at
        and not view.waiting
        and now - view.phase_since >= spill.minimum_stay_s
    ):
        return changed(view, phase=Phase.STEADY, phase_since=now)
    return view


def _tick(state: State, event: Tick, now: float, policy: RouterConfig) -> State:
    after = changed(state, now=now)
    if event.period is not None and event.period > state.period:  # a month never comes back, whatever the clock says
        after = changed(after, period=event.period, accounts=budget.new_period(state.accounts))
    pools = dict(after.pools)
    for name, view in pools.items():
        config = policy.pools.get(name)
        if config is None or config.dedicated:
            continue
        least = view.min_instances
        if event.min_instances is not None:
            least = event.min_instances.get(name, config.min_instances)
        pools[name] = changed(_move(view, config, now, 0), min_instances=least)
    return _all_pools(changed(after, pools=pools), policy)


def _first_byte(state: State, event: FirstByte, policy: RouterConfig) -> State:
    view = state.pools[event.pool]
    if event.cold:
        started = max(0.0, event.seconds - view.first_token_s)
        known = view.cold_start_s or started
        view = changed(view, cold_start_s=known + (started - known) * 3 * _WEIGHT)
    else:
        view = changed(view, first_token_s=view.first_token_s + (event.seconds - view.first_token_s) * _WEIGHT)
    return _with_pool(state, event.pool, view, policy)


def _finished(state: State, event: Finished, now: float, policy: RouterConfig) -> State:
    name = event.route.pool
    view = _move(state.pools[name], policy.pools.get(name), now, -1)
    if event.outcome is Outcome.OK:
        seconds = max(0.0, now - event.admitted_at)
        view = changed(view, service_s=view.service_s + (seconds - view.service_s) * _WEIGHT)
    view = _health(view, event, now, policy)
    accounts = budget.settle(
        state.accounts,
        event.scopes,
        now=now,
        reserved_at=event.admitted_at,
        reserved=event.route.reservation,
        cost=event.cost,
        reserved_tokens=event.route.tokens,
        tokens=event.tokens,
    )
    return _with_pool(changed(state, now=now, accounts=accounts), name, view, policy)


def _health(view: PoolView, event: Finished, now: float, policy: RouterConfig) -> PoolView:
    """Breaker: failures in a row, or their share in the last minute. 429 leaves the pool alone without opening it."""
    if event.outcome in (Outcome.CANCELLED, Outcome.CALLER_FAULT):
        return changed(view, probing=False)  # says nothing about the pool
    rules = policy.breaker
    if event.outcome is Outcome.PUSHED_BACK:
        row = view.pushbacks_in_a_row + 1
        pause = event.retry_after_s or min(_LONGEST_PUSHBACK_S, _FIRST_PUSHBACK_S * 2 ** min(row - 1, 10))
        until = now + min(pause, _LONGEST_PUSHBACK_S)
        # A probe that gets 429 met a living pool: the circuit closes, the pause holds.
        circuit = Circuit.CLOSED if view.probing else view.circuit
        return changed(
            view, circuit=circuit, probing=False, pushbacks_in_a_row=row, pushed_back_until=until, failures_in_a_row=0
        )
    results = budget.add(view.results, now, 1)
    if event.outcome is Outcome.OK:
        healed = view.circuit is not Circuit.CLOSED and view.probing
        return changed(
            view,
            circuit=Circuit.CLOSED if healed else view.circuit,
            opened=0 if healed else view.opened,
            probing=False,
            results=results if not healed else Window(),
            failures=view.failures if not healed else Window(),
            failures_in_a_row=0,
            pushbacks_in_a_row=0,
        )
    failures = budget.add(view.failures, now, 1)
    row = view.failures_in_a_row + 1
    total = budget.count(results, now)
    often = total >= rules.minimum_sample and budget.count(failures, now) >= rules.failure_share * total
    view = changed(view, results=results, failures=failures, failures_in_a_row=row)
    if view.circuit is Circuit.OPEN and not view.probing:
        return view
    if view.probing or row >= rules.failures_in_a_row or often:
        opened = view.opened + 1
        pause = min(_LONGEST_OPEN_S, rules.open_s * 2 ** min(opened - 1, 10))
        return changed(view, circuit=Circuit.OPEN, opened=opened, open_until=now + pause, probing=False)
    return view
