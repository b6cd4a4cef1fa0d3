"""The routing decision: `decide(request, state, policy)`. Pure: no clock, no randomness, no I/O.

Stages, each of which removes pools and says why: residency, model release, GPU memory, proof of concept, health,
money, capacity. What is left goes to the least marginal cost: a free slot of the floor is paid already. Nothing left
means waiting or a refusal, never the nearest pool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from headrace.router import budget, capacity
from headrace.router.capacity import Offer
from headrace.router.config import PoolConfig, RouterConfig, Spill, WorkloadConfig
from headrace.router.types import (
    GROUND_TEXT,
    Circuit,
    Decision,
    Ground,
    Phase,
    PoolView,
    Reason,
    Refusal,
    RequestFacts,
    Route,
    State,
    Wait,
)
from headrace.settings.releases import WorkloadClass

_PERCENT: Final = 100
_SHORTEST_WAIT_S: Final = 0.001
_TOO_MANY: Final = 429
_UNAVAILABLE: Final = 503
_FORBIDDEN: Final = 403
_TOO_LARGE: Final = 413
# Grounds that no waiting changes: when every pool was removed by one of these, the answer is final. Of several it is
# that of the pool which came closest: too long is a prompt for one that has its release and lies where it may go.
_FINAL: Final = {
    Ground.TOO_WIDE: (_TOO_LARGE, "too_many_texts", "ask for fewer choices or prompts in one request"),
    Ground.MEMORY: (_TOO_LARGE, "context_too_long", "send a shorter prompt or a smaller max_tokens"),
    Ground.RESIDENCY: (_FORBIDDEN, "residency", "choose a workload whose residency matches, or deploy a pool there"),
    Ground.RELEASE: (_UNAVAILABLE, "no_release", "deploy the release on a pool, or lower its canary share to zero"),
}


# Grounds of a floor that has a line to wait in.
_WAITABLE: Final = frozenset({Ground.FULL, Ground.SATURATED, Ground.LAST_SLOTS})
_ILL: Final = frozenset({Ground.EXCLUDED, Ground.BREAKER, Ground.PUSHED_BACK})


@dataclass(slots=True)
class _Candidate:
    """A pool that may take the request, and the most that it would take there."""

    name: str
    config: PoolConfig
    view: PoolView
    limit_s: float
    cost: int
    slots: int


def release_of(workload: WorkloadConfig, bucket: float) -> str:
    """The release for a conversation: canaries take the low end of [0, 100), each its share, the rest runs the own."""
    start = 0.0
    for release in sorted(workload.canary):
        start += workload.canary[release]
        if bucket < start:
            return release
    return workload.release


def decide(request: RequestFacts, state: State, policy: RouterConfig) -> Decision:
    """Where a request goes now: a pool, the queue of one, or nowhere with the reason."""
    workload = policy.workloads.get(request.workload)
    if workload is None:
        return Refusal(
            status=404,
            code="model_not_found",
            sentence=f"there is no workload {request.workload!r}",
            next_step="ask GET /v1/models for the names",
        )
    removed: list[tuple[str, Ground]] = []
    floors: list[_Candidate] = []
    overflow: list[_Candidate] = []
    lawful = policy.lawful[request.workload]
    needed = capacity.needed_tokens(request, workload.context_tokens)
    for name, config in policy.candidates[request.workload]:
        view = state.pools[name]
        if name not in lawful or (
            request.residency is not None
            and not policy.within(config, workload.allowed_jurisdictions & request.residency)
        ):
            ground: Ground | None = Ground.RESIDENCY
        else:
            ground = _unfit(request, needed, name, config, view, state, policy)
        if ground is not None:
            removed.append((name, ground))
            continue
        limit_s = capacity.time_limit_s(config, request)
        taken = capacity.slots_of(config, request)
        candidate = _Candidate(name, config, view, limit_s, capacity.worst_cost(config, limit_s, taken), taken)
        (floors if config.dedicated else overflow).append(candidate)
    tokens = capacity.reserved_tokens(request, workload.context_tokens)
    short = _unaffordable(request, tokens, floors, overflow, state, policy, removed)
    if short is not None:
        return _over_limit(short, removed)
    if request.workload_class is WorkloadClass.BATCH:
        return _batch(request, tokens, floors, overflow, state, policy, removed)
    return _interactive(request, tokens, workload, floors, overflow, state, policy, removed)


def _unfit(
    request: RequestFacts,
    needed: int,
    name: str,
    config: PoolConfig,
    view: PoolView,
    state: State,
    policy: RouterConfig,
) -> Ground | None:
    if config.release != request.release:
        return Ground.RELEASE
    if needed > config.max_request_tokens:
        return Ground.MEMORY
    if (
        policy.proof_of_concept is not None
        and not config.dedicated
        and request.bucket >= policy.proof_of_concept * _PERCENT
    ):
        return Ground.TRIAL
    if name in request.excluded:
        return Ground.EXCLUDED
    if view.circuit is not Circuit.CLOSED and (
        view.probing or (view.circuit is Circuit.OPEN and state.now < view.open_until)
    ):
        return Ground.BREAKER
    if state.now < view.pushed_back_until:
        return Ground.PUSHED_BACK
    return None


def _unaffordable(
    request: RequestFacts,
    tokens: int,
    floors: list[_Candidate],
    overflow: list[_Candidate],
    state: State,
    policy: RouterConfig,
    removed: list[tuple[str, Ground]],
) -> budget.Shortfall | None:
    """Drops the candidates whose worst case the budget has no room for; the shortfall where that was the last one."""

    def lacks(amount: int) -> budget.Shortfall | None:
        return budget.shortfall(
            state.accounts, state.leases, policy, request.scopes, now=state.now, money=amount, tokens=tokens
        )

    # Only the money differs: where the dearest fits, all do, and that is nearly every request.
    if not floors and not overflow:
        return None
    if lacks(max(candidate.cost for candidate in (*floors, *overflow))) is None:
        return None
    first: budget.Shortfall | None = None
    for side in (floors, overflow):
        for candidate in list(side):
            short = lacks(candidate.cost)
            if short is not None:
                first = first or short
                removed.append((candidate.name, Ground.BUDGET if short.kind == "money" else Ground.LIMIT))
                side.remove(candidate)
    return None if floors or overflow else first


def _over_limit(short: budget.Shortfall, removed: list[tuple[str, Ground]]) -> Refusal:
    words = {
        "money": ("budget_exceeded", "its money budget of the month has no room for the worst case of this request"),
        "requests": ("rate_limited", f"{short.limit} requests per minute are used up"),
        "tokens": (
            "rate_limited",
            f"{short.limit} tokens per minute have no room for the {short.asked} of this request",
        ),
        "parallel": ("rate_limited", f"{short.limit} requests at once are running"),
    }
    code, sentence = words[short.kind]
    return Refusal(
        status=_TOO_MANY,
        code=code,
        sentence=f"{short.scope}: {sentence}",
        next_step="raise the budget, or send a smaller max_tokens" if short.kind == "money" else "try again later",
        retry_after_s=short.retry_after_s,
        removed=tuple(removed),
        lacked=(f"{short.scope}/{short.kind}", short.asked),
    )


def _route(
    chosen: _Candidate,
    tokens: int,
    reason: Reason,
    removed: list[tuple[str, Ground]],
    *,
    cold: bool = False,
    joins: bool = False,
) -> Route:
    return Route(
        pool=chosen.name,
        reason=reason,
        spilled=reason in (Reason.SPILL_FULL, Reason.SPILL_SIGNAL, Reason.SPILL_DOWN),
        cold=cold,
        reservation=chosen.cost,
        tokens=tokens,
        time_limit_s=chosen.limit_s,
        removed=tuple(removed),
        joins=joins,
        slots=chosen.slots,
    )


def _interactive(
    request: RequestFacts,
    tokens: int,
    workload: WorkloadConfig,
    floors: list[_Candidate],
    overflow: list[_Candidate],
    state: State,
    policy: RouterConfig,
    removed: list[tuple[str, Ground]],
) -> Decision:
    """A free slot of the floor; else the sooner of waiting and spilling; else the queue, as long as patience lasts."""
    free = [
        candidate
        for candidate in floors
        if not candidate.view.saturated
        and capacity.free_slots(candidate.name, candidate.config, candidate.view, state) > 0
    ]
    if free:
        chosen = free[0]
        if len(free) > 1:
            chosen = min(free, key=lambda c: (capacity.share_of_slots(c.name, c.config, c.view, state), c.name))
        return _route(chosen, tokens, Reason.FLOOR_FREE, removed)
    removed += [(c.name, _taken(c, state)) for c in floors]
    offers: list[tuple[_Candidate, Offer]] = []
    for candidate in overflow:
        made = _offer(request, candidate, state, policy)
        if isinstance(made, Ground):
            removed.append((candidate.name, made))
        else:
            offers.append((candidate, made))
    queue = _shortest_queue(floors, state, policy.spill)
    patience = policy.spill.patience_s - request.waited_s
    if offers:
        best, made = min(offers, key=lambda item: (item[1].answer_s, item[1].cold, item[0].name))
        if queue is None or patience <= 0 or _spills(request, workload, queue, made, policy.spill):
            reason = _spill_reason(request, floors, removed, state, policy)
            return _route(best, tokens, reason, removed, cold=made.cold, joins=made.joins)
        removed += [(candidate.name, Ground.SLOWER) for candidate, _ in offers]
    if queue is None or patience <= 0:
        return _nowhere(request, removed, policy, patience)
    chosen, wait_s = queue
    longest = patience
    if offers:
        longest = min(patience, max(_slack(request, workload, chosen, policy.spill), wait_s))
    return Wait(pool=chosen.name, seconds=max(_SHORTEST_WAIT_S, longest), removed=tuple(removed))


def _offer(request: RequestFacts, candidate: _Candidate, state: State, policy: RouterConfig) -> Offer | Ground:
    return capacity.offer(
        candidate.name, candidate.config, candidate.view, state, policy, prompt_tokens=request.prompt_tokens
    )


def _taken(floor: _Candidate, state: State) -> Ground:
    """Why no slot of a floor is free."""
    if capacity.slots(floor.name, floor.config, floor.view, state) <= 0:
        return Ground.NO_SLOTS
    return Ground.SATURATED if floor.view.saturated else Ground.FULL


def _slack(request: RequestFacts, workload: WorkloadConfig, floor: _Candidate, spill: Spill) -> float:
    """How long the request may still wait for the floor and keep its SLO, at most the setting's longest wait."""
    allowed = spill.max_wait_s
    if workload.time_to_first_token_s is not None:
        allowed = min(
            allowed, workload.time_to_first_token_s - capacity.first_token_s(floor.view, request.prompt_tokens)
        )
    return allowed - request.waited_s


def _spills(
    request: RequestFacts, workload: WorkloadConfig, queue: tuple[_Candidate, float], made: Offer, spill: Spill
) -> bool:
    """Whether to leave the floor: only while it spills, and only if the other side answers sooner.

    Within the slack a warm slot elsewhere is taken (it is paid for until its timeout), a cold one is not started.
    """
    floor, wait_s = queue
    if floor.view.phase is not Phase.SPILLING:
        return False
    if made.answer_s >= wait_s + capacity.first_token_s(floor.view, request.prompt_tokens):
        return False
    return not made.cold or wait_s > _slack(request, workload, floor, spill)


def _shortest_queue(
    floors: list[_Candidate], state: State, spill: Spill, *, batch: bool = False
) -> tuple[_Candidate, float] | None:
    """The floor with the shortest predicted wait that has room in its queue. Wait = place in line x time per slot.

    Before the line come the texts that wait in the model servers already: those that they tell of, or those that we
    know to have found no slot.
    """
    found: list[tuple[float, str, _Candidate]] = []
    for candidate in floors:
        config, view = candidate.config, candidate.view
        slots = capacity.slots(candidate.name, config, view, state)
        line = view.waiting_batch if batch else view.waiting
        if slots <= 0 or line >= max(1, int(slots * spill.queue_per_slot)):
            continue
        behind = view.queue or 0 if capacity.fresh(view, state.now, spill.signal_max_age_s) else 0
        behind += max(0, view.taken - slots)
        found.append(((line + behind + 1) * view.service_s / slots, candidate.name, candidate))
    if not found:
        return None
    wait_s, _, chosen = min(found, key=lambda item: item[:2])
    return chosen, wait_s


def _spill_reason(
    request: RequestFacts,
    floors: list[_Candidate],
    removed: list[tuple[str, Ground]],
    state: State,
    policy: RouterConfig,
) -> Reason:
    """A floor that is full, reports so, or is ill; one that may never take the request is none for it."""
    if floors:
        full = any(capacity.free_slots(c.name, c.config, c.view, state) <= 0 for c in floors)
        return Reason.SPILL_FULL if full else Reason.SPILL_SIGNAL
    ill = any(ground in _ILL and policy.pools[name].dedicated for name, ground in removed)
    return Reason.SPILL_DOWN if ill else Reason.NO_FLOOR


def _batch(
    request: RequestFacts,
    tokens: int,
    floors: list[_Candidate],
    overflow: list[_Candidate],
    state: State,
    policy: RouterConfig,
    removed: list[tuple[str, Ground]],
) -> Decision:
    """Idle floor below the lower threshold, else the queue. Serverless only where the workload has no floor at all."""
    idle: list[_Candidate] = []
    lines: list[_Candidate] = []
    for candidate in floors:
        config, view = candidate.config, candidate.view
        slots = capacity.slots(candidate.name, config, view, state)
        # On a floor that others use too, batch stays below the lower threshold and goes behind everybody.
        shared, stop_at = _shared(candidate, policy), policy.spill.stop_at
        most = int(slots * stop_at) if shared else slots
        if shared and candidate.slots > int(config.slots * stop_at):
            removed.append((candidate.name, Ground.TOO_WIDE))
            continue
        lines.append(candidate)
        # Other replicas may hold shares of a floor that stands still: then a wide request may begin with theirs.
        begins = shared and not view.taken and candidate.slots <= int(_serving(config, view) * stop_at)
        if view.saturated or view.taken >= slots:
            removed.append((candidate.name, _taken(candidate, state)))
        elif (view.taken + (candidate.slots if shared else 1) > most and not begins) or (
            most < slots and (view.phase is not Phase.STEADY or view.waiting)
        ):
            removed.append((candidate.name, Ground.LAST_SLOTS))
        else:
            idle.append(candidate)
    if idle:
        chosen = min(idle, key=lambda c: (c.config.workload != request.workload, c.view.taken, c.name))
        return _route(chosen, tokens, Reason.FLOOR_IDLE, removed)
    has_floor = any(config.dedicated for _, config in policy.candidates[request.workload])
    for candidate in overflow:
        if has_floor:
            removed.append((candidate.name, Ground.FLOOR_ONLY))
            continue
        made = _offer(request, candidate, state, policy)
        if isinstance(made, Offer):
            return _route(candidate, tokens, Reason.NO_FLOOR, removed, cold=made.cold, joins=made.joins)
        removed.append((candidate.name, made))
    patience = policy.spill.batch_patience_s - request.waited_s
    queue = _shortest_queue(lines, state, policy.spill, batch=True)
    if queue is None or patience <= 0:
        return _nowhere(request, removed, policy, patience)
    return Wait(pool=queue[0].name, seconds=max(_SHORTEST_WAIT_S, patience), removed=tuple(removed))


def _serving(config: PoolConfig, view: PoolView) -> int:
    """Slots of all model servers that serve."""
    return capacity.servers(config, view) * config.slots_per_instance


def _shared(candidate: _Candidate, policy: RouterConfig) -> bool:
    """Whether the floor was made for other than batch work."""
    return policy.workloads[candidate.config.workload].workload_class is not WorkloadClass.BATCH


def _nowhere(
    request: RequestFacts, removed: list[tuple[str, Ground]], policy: RouterConfig, patience_s: float
) -> Refusal:
    """The refusal that names, for each pool, why not; final where no waiting can change it."""
    grounds = [ground for _, ground in removed]
    # What serverless pools leave to a floor comes to nothing with the floor.
    never = {*_FINAL, Ground.FLOOR_ONLY} if Ground.TOO_WIDE in grounds else set(_FINAL)
    for ground, (status, code, next_step) in _FINAL.items():
        if never.issuperset(grounds) and ground in grounds:
            return Refusal(
                status=status, code=code, sentence=_each(removed), next_step=next_step, removed=tuple(removed)
            )
    if not grounds:
        return Refusal(
            status=_UNAVAILABLE,
            code="no_pool",
            sentence=f"no pool is deployed for the workload {request.workload!r}",
            next_step="deploy a pool for it",
        )
    sentence = _each(removed)
    if patience_s <= 0:
        sentence += f"; it has waited {request.waited_s:.3g} s"
    elif any(policy.pools[name].dedicated and ground in _WAITABLE for name, ground in removed):
        sentence += "; the line for it is full"
    return Refusal(
        status=_UNAVAILABLE,
        code="no_capacity",
        sentence=sentence,
        next_step="try again after the time in Retry-After",
        retry_after_s=max(1.0, policy.breaker.open_s if Ground.BREAKER in grounds else policy.spill.patience_s / 2),
        removed=tuple(removed),
    )


def _each(removed: list[tuple[str, Ground]]) -> str:
    return "no pool can take it: " + "; ".join(f"{name}: {GROUND_TEXT[ground]}" for name, ground in removed)
