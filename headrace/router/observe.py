"""`observe(state, event, policy)`: what happened, folded into what is known. No clock, no I/O.

The state is changed in place and given back: one request moves a dozen numbers in it, and copies of everything around
them were most of what a decision cost. The same state and the same events always give the same state.

Invariants (tests/unit/router/test_properties.py):
  I1 in-flight work of a pool = Admitted - Finished, never negative
  I2 a floor's phase changes at two thresholds and lasts its minimum stay on the way back
  I3 an account's reserved money = the sum of reservations in flight
  I4 the sum of all requests' costs = live busy instances x price, integrated over time
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
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
from headrace.router.types import Account, Circuit, Phase, PoolView, Reason, State, Window

# Weight of a new observation in the running means: about the last twenty requests count.
_WEIGHT = 0.1
# Shares of the expected cold start: a shorter wait was none, a longer one was one that nobody knew of.
_STARTED_AFTER = 0.25
_HIDDEN_AFTER = 0.5
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
    return State(now=now, period=period, pools=pools, accounts=deepcopy(dict(accounts)), leases=dict(leases))


def reconfigured(state: State, policy: RouterConfig, *, before: RouterConfig) -> State:
    """The state under a new configuration: pools and accounts that stay keep all that is known of them.

    What was in flight until now is booked at the price that it had; requests on a pool that goes cost what they did.
    """
    known = {**state.retired, **before.pools}
    for name, config in known.items():
        _move(state.pools[name], config, state.now)
    state.retired = {
        name: config for name, config in known.items() if name not in policy.pools and state.pools[name].in_flight
    }
    fresh = initial(policy, now=state.now, period=state.period, leases={}, accounts={})
    for name, view in fresh.pools.items():
        known_view = state.pools.setdefault(name, view)
        if name not in known:  # new, or back: nothing ran here meanwhile
            known_view.cost_at, known_view.idle = state.now, ()
    state.leases = {
        name: min(state.leases[name], total) for name, total in policy.totals.items() if name in state.leases
    }
    return state


def observe(state: State, event: Event, policy: RouterConfig) -> State:
    """Folds an event in. Time never goes back: an earlier `now` counts as the latest known."""
    now = state.now = max(state.now, event.now)
    match event:
        case Admitted():
            name = event.route.pool
            budget.reserve(
                state.accounts, event.scopes, now=now, money=event.route.reservation, tokens=event.route.tokens
            )
            view = state.pools[name]
            _move(view, _config(state, name, policy), now, 1, event.route.slots)
            if event.route.slots > 1 and name in policy.pools:
                view.over = max(0, view.taken - capacity.slots(name, policy.pools[name], view, state))
            if event.route.cold and not event.route.joins:
                view.starting = (*view.starting, now)
            if view.circuit is not Circuit.CLOSED:
                view.circuit, view.probing = Circuit.HALF_OPEN, True
            _phase(name, view, state, policy)
        case Finished():
            _finished(state, event, now, policy)
        case FirstByte():
            _first_byte(state, event, policy)
        case Queued():
            view = state.pools[event.pool]
            if event.batch:
                view.waiting_batch = max(0, view.waiting_batch + event.change)
            else:
                view.waiting = max(0, view.waiting + event.change)
            _phase(event.pool, view, state, policy)
        case Tick():
            _tick(state, event, now, policy)
        case Scraped():
            view = state.pools[event.pool]
            view.queue = max(0, event.queue - view.extra)  # texts of requests that are here are no sign of others
            view.kv_use, view.servers, view.scraped_at = event.kv_use, event.servers, now
            _phase(event.pool, view, state, policy)
        case LeaseChanged():
            state.leases.update(event.leases)
            _phases(state, policy)
        case _:
            assert_never(event)
    return state


def advance(state: State, now: float) -> State:
    """The same state at a later time, for a decision; what time itself changes is folded in by `Tick`."""
    state.now = max(state.now, now)
    return state


def cost_share(state: State, pool: str, now: float, policy: RouterConfig) -> float:
    """Nano-dollars that a slot taken since the beginning would have cost until `now`.

    A request's cost is the difference of this between its end and its start, for each slot that it takes: each moment's
    price of the busy instances is shared evenly among the slots taken at that moment, so the shares add up to exactly
    what was busy.
    """
    view, config = state.pools[pool], _config(state, pool, policy)
    return view.cost_per_slot + (_price(config, view) * (now - view.cost_at) if config else 0.0)


def _config(state: State, pool: str, policy: RouterConfig) -> PoolConfig | None:
    """What a pool is, or was when a reload took it away."""
    return policy.pools.get(pool) or state.retired.get(pool)


def _price(config: PoolConfig, view: PoolView) -> float:
    """Nano-dollars per second of each slot taken."""
    rate = config.nano_usd_per_instance_second
    if config.dedicated:
        return rate / config.slots_per_instance
    return rate * capacity.busy(config, view.in_flight) / view.taken if view.in_flight else 0.0


def _move(view: PoolView, config: PoolConfig | None, now: float, change: int = 0, slots: int = 1) -> None:
    """One request of so many slots more or less in flight: cost so far is booked, instances wake or fall idle."""
    if config is not None:  # else nobody knows it any more
        elapsed = max(0.0, now - view.cost_at)
        view.cost_per_slot += _price(config, view) * elapsed
        view.cost_at = now
    before = view.in_flight
    after = view.in_flight = max(0, before + change)
    if slots > 1:
        view.extra = max(0, view.extra + change * (slots - 1))
    if config is None or config.dedicated:
        return
    view.idle_cost += len(view.idle) * config.nano_usd_per_instance_second * elapsed
    idle = tuple(end for end in view.idle if end > now)
    difference = capacity.busy(config, after) - capacity.busy(config, before)
    if difference > 0:
        idle = idle[: max(0, len(idle) - difference)]
    elif difference < 0:
        idle = (*idle, *(now + config.idle_timeout_s,) * -difference)
    view.idle = idle


def _phases(state: State, policy: RouterConfig) -> None:
    for name in policy.pools:
        _phase(name, state.pools[name], state, policy)


def _phase(name: str, view: PoolView, state: State, policy: RouterConfig) -> None:
    """Two thresholds and a minimum stay. Signals older than their limit are unknown; our own count decides then."""
    config = policy.pools.get(name)
    if config is None or not config.dedicated or not state.leases:
        return  # before the first shares come, a floor is neither full nor free
    spill, now = policy.spill, state.now
    kv, queue = 0.0, 0
    known = capacity.fresh(view, now, spill.signal_max_age_s)
    if known:
        kv, queue = view.kv_use or 0.0, view.queue or 0
    slots = capacity.share_of_slots(name, config, view, state)
    pressure = 1.0 if queue > 0 else max(slots, kv)
    if view.saturated:
        calm = queue == 0 and kv <= spill.stop_at and now - view.saturated_since >= spill.minimum_stay_s
        if calm or not known:
            view.saturated = False
    elif queue > 0 or kv >= spill.start_at:
        view.saturated, view.saturated_since = True, now
    if view.phase is Phase.STEADY:
        if pressure >= spill.start_at:
            view.phase, view.phase_since = Phase.SPILLING, now
    elif pressure <= spill.stop_at and not view.waiting and now - view.phase_since >= spill.minimum_stay_s:
        view.phase, view.phase_since = Phase.STEADY, now


def _tick(state: State, event: Tick, now: float, policy: RouterConfig) -> None:
    if event.period is not None and event.period > state.period:  # a month never comes back, whatever the clock says
        state.period = event.period
        budget.new_period(state.accounts)
    for name, config in policy.pools.items():
        if config.dedicated:
            continue
        view = state.pools[name]
        _move(view, config, now)
        view.starting = capacity.starting(view, view.cold_start_s or config.cold_start_s, now)
        if event.min_instances is not None:
            view.min_instances = event.min_instances.get(name, config.min_instances)
    _phases(state, policy)


def _first_byte(state: State, event: FirstByte, policy: RouterConfig) -> None:
    view = state.pools[event.pool]
    # A whole answer tells nothing of a first token; a start is what it took beside its service.
    usual = view.service_s if event.whole else capacity.first_token_s(view, event.prompt_tokens)
    started = max(0.0, event.seconds - usual)
    known = view.cold_start_s or started
    # Instances are the provider's: one may have been warm that we took for cold, and the other way round. Neither may
    # pass for an observation of the other kind, or a pool would look slow, get no work, and never be seen otherwise.
    if event.cold:
        view.starting = view.starting[1:]
        if started >= _STARTED_AFTER * known:
            view.cold_start_s = known + (started - known) * 3 * _WEIGHT
    elif not event.whole and (not view.cold_start_s or started < _HIDDEN_AFTER * view.cold_start_s):
        _learn(view, event.prompt_tokens, event.seconds)
    _phase(event.pool, view, state, policy)


def _learn(view: PoolView, prompt_tokens: int, seconds: float) -> None:
    """One more observed first token: running means of both, variance and covariance, all of the same weight."""
    if view.prompt_mean is None:
        view.prompt_mean = prompt_tokens
    longer, slower = prompt_tokens - view.prompt_mean, seconds - view.first_token_s
    view.prompt_mean += longer * _WEIGHT
    view.first_token_s += slower * _WEIGHT
    view.prompt_var = (1 - _WEIGHT) * (view.prompt_var + _WEIGHT * longer * longer)
    view.prompt_cov = (1 - _WEIGHT) * (view.prompt_cov + _WEIGHT * longer * slower)


def _finished(state: State, event: Finished, now: float, policy: RouterConfig) -> None:
    name = event.route.pool
    view = state.pools[name]
    idle = view.idle
    _move(view, _config(state, name, policy), now, -1, event.route.slots)
    view.over = max(0, view.over - event.route.slots)
    if (
        event.route.reason is Reason.START_AHEAD
        and event.outcome is Outcome.OK
        and now - event.admitted_at < _STARTED_AFTER * view.cold_start_s
    ):
        # A free slot answered it: no instance was started that could be idle now. Where we knew of none, that slot is
        # of one that another replica, or an earlier life of this one, has left warm: we know it now. Taken for nothing
        # it would be asked for again and again, and stay warm by that, while work waits.
        known = [end for end in idle if end > now]
        if known or view.in_flight or view.min_instances:
            view.idle = view.idle[: len(known)]
    if event.route.cold and not event.route.joins and event.outcome in (Outcome.FAILED, Outcome.PUSHED_BACK):
        view.starting = view.starting[1:]  # a caller that goes away does not stop the instance it started
    if event.outcome is Outcome.OK and not event.route.cold:  # a start is no service
        view.service_s += (max(0.0, now - event.admitted_at) - view.service_s) * _WEIGHT
    _health(view, event, now, policy)
    budget.settle(
        state.accounts,
        event.scopes,
        now=now,
        reserved_at=event.admitted_at,
        reserved=event.route.reservation,
        cost=event.cost,
        reserved_tokens=event.route.tokens,
        tokens=event.tokens,
    )
    _phase(name, view, state, policy)


def _health(view: PoolView, event: Finished, now: float, policy: RouterConfig) -> None:
    """Breaker: failures in a row, or their share in the last minute. 429 leaves the pool alone without opening it."""
    probing, view.probing = view.probing, False
    if event.outcome in (Outcome.CANCELLED, Outcome.CALLER_FAULT):
        return  # says nothing about the pool
    rules = policy.breaker
    if event.outcome is Outcome.PUSHED_BACK:
        view.pushbacks_in_a_row += 1
        pause = event.retry_after_s or min(
            _LONGEST_PUSHBACK_S, _FIRST_PUSHBACK_S * 2 ** min(view.pushbacks_in_a_row - 1, 10)
        )
        view.pushed_back_until = now + min(pause, _LONGEST_PUSHBACK_S)
        view.failures_in_a_row = 0
        if probing:  # a probe that gets 429 met a living pool: the circuit closes, the pause holds
            view.circuit = Circuit.CLOSED
        return
    budget.add(view.results, now, 1)
    if event.outcome is Outcome.OK:
        view.failures_in_a_row = view.pushbacks_in_a_row = 0
        if view.circuit is not Circuit.CLOSED and probing:
            view.circuit, view.opened = Circuit.CLOSED, 0
            view.results, view.failures = Window(), Window()
        return
    budget.add(view.failures, now, 1)
    view.failures_in_a_row += 1
    total = budget.count(view.results, now)
    often = total >= rules.minimum_sample and budget.count(view.failures, now) >= rules.failure_share * total
    if view.circuit is Circuit.OPEN and not probing:
        return
    if probing or view.failures_in_a_row >= rules.failures_in_a_row or often:
        view.opened += 1
        pause = min(_LONGEST_OPEN_S, rules.open_s * 2 ** min(view.opened - 1, 10))
        view.circuit, view.open_until = Circuit.OPEN, now + pause
