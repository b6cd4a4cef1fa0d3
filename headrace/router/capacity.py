"""What a pool can still take: slots of a floor, instances of a serverless pool, and what they would cost. Pure.

A serverless instance lives from its start until it has been idle for its timeout; all of that is billed. We keep the
count of live instances ourselves (busy = requests / slots, rounded up; idle ones by when they will stop), because
vendors tell it only late. Other replicas' instances are outside our lease, so all replicas together keep every cap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from headrace.router.config import PoolConfig, RouterConfig, WorkloadConfig
from headrace.router.types import Circuit, Ground, PoolView, RequestFacts, State
from headrace.settings.releases import WorkloadClass

HOUR_S: Final = 3600
# Time that any request may take beside its tokens: connecting, queueing in the model server, a slow first token.
ALLOWANCE_S: Final = 30.0
# A prompt token is never slower than this share of an answer token: prefill works on many at once.
PREFILL_SHARE: Final = 0.05
COLD_START_MARGIN: Final = 3.0
# Prompts that differ by less tell nothing of what a longer one takes: their first tokens differ for other reasons.
_ALIKE_TOKENS: Final = 100.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """What a serverless pool can do for one more request: does it wait for a start, and whose; when it is answered."""

    cold: bool
    answer_s: float
    joins: bool = False


def slots_of(config: PoolConfig, request: RequestFacts) -> int:
    """Slots that a request takes: its model server works on each of its texts in one, and it goes to one server."""
    return 1 if request.sequences == 1 else min(request.sequences, config.slots_per_instance)


def busy(config: PoolConfig, in_flight: int) -> int:
    """Instances that work on `in_flight` requests. Vendors scale by requests, however many texts each asks for."""
    return -(-in_flight // config.slots_per_instance)


def live(config: PoolConfig, view: PoolView, now: float) -> int:
    """Instances that are billed: busy, idle within their timeout, or held as minimum."""
    idle = sum(1 for end in view.idle if end > now)
    return max(busy(config, view.in_flight) + idle, view.min_instances)


def slots(name: str, config: PoolConfig, view: PoolView, state: State) -> int:
    """Slots of a floor in this replica's share, as far as there are model servers behind them.

    Shares divide the slots of the most model servers that there can be; each is worth as much of itself as serve now.
    """
    share = min(state.leases.get(f"pool/{name}/slots", 0), config.slots)
    serving = servers(config, view)
    if not share or not serving:
        return 0
    return max(1, share * serving // config.instances)


def servers(config: PoolConfig, view: PoolView) -> int:
    """Model servers of a floor: those counted last, or all of them where nobody counts, or nobody has yet."""
    return min(view.servers, config.instances) if config.counted and view.servers is not None else config.instances


def in_shares(config: PoolConfig, view: PoolView, taken: int) -> int:
    """How much of the divided slots so many slots of serving model servers are, rounded up; never more than there is,
    unless more are taken already."""
    serving = servers(config, view)
    return max(taken, min(config.slots, -(-taken * config.instances // serving))) if serving else taken


def free_slots(name: str, config: PoolConfig, view: PoolView, state: State) -> int:
    """Free slots of a floor in this replica's share; never more than the pool has.

    A request enters where one is free. What it takes beyond waits in the model server, and nobody enters until then: to
    hold it back until there is room for all would leave slots empty meanwhile, or let smaller ones pass it for ever.
    """
    return slots(name, config, view, state) - view.in_flight - view.extra


def share_of_slots(name: str, config: PoolConfig, view: PoolView, state: State) -> float:
    """Used share of a floor's slots, 1 where there are none."""
    share = slots(name, config, view, state)
    return (view.in_flight + view.extra) / share if share > 0 else 1.0


def fresh(view: PoolView, now: float, limit_s: float) -> bool:
    """Whether scraped signals are young enough to count."""
    return now - view.scraped_at <= limit_s


def time_limit_s(config: PoolConfig, request: RequestFacts) -> float:
    """When a request to this pool is cut off, and so what it can cost at most.

    Bounded by the declared max_tokens at the slowest acceptable pace where there is one, else by the pool's own limit.
    """
    if request.max_tokens is None:
        return config.execution_timeout_s
    paced = (request.max_tokens + request.prompt_tokens_bound * PREFILL_SHARE) * config.slowest_token_s
    return min(config.execution_timeout_s, ALLOWANCE_S + COLD_START_MARGIN * config.cold_start_s + paced)


def worst_cost(config: PoolConfig, seconds: float, taken: int) -> int:
    """Most nano-dollars that a request can cost in `seconds`: an instance alone, or its slots' share of a floor."""
    rate = config.nano_usd_per_instance_second
    if config.dedicated:
        return -(-int(seconds * 1000) * rate * taken // (1000 * config.slots_per_instance))
    return -(-int(seconds * 1000) * rate // 1000)


def reserved_tokens(request: RequestFacts, context_tokens: int) -> int:
    """Tokens that a request may use: its prompts and what it may answer, at most the workload's context for each."""
    whole = context_tokens * request.sequences
    most = whole if request.max_tokens is None else request.prompt_tokens + request.max_tokens
    return max(1, min(most, whole))


def needed_tokens(request: RequestFacts, context_tokens: int) -> int:
    """Context that must fit, of the longest of a request's texts: what is declared, else the workload's own."""
    prompt = request.longest_prompt_tokens or request.prompt_tokens
    if request.max_tokens is None:
        return max(prompt + 1, context_tokens)
    return prompt + -(-request.max_tokens // request.sequences)


def first_token_s(view: PoolView, prompt_tokens: int) -> float:
    """Expected seconds to the first token of a prompt: the line of least squares through those seen lately.

    Without it a few long prompts make a pool look slow to short ones, which then wait elsewhere or start an instance.
    """
    if view.prompt_mean is None or view.prompt_cov <= 0:
        return view.first_token_s
    per_token_s = view.prompt_cov / (view.prompt_var + _ALIKE_TOKENS**2)
    return max(0.0, view.first_token_s + per_token_s * (prompt_tokens - view.prompt_mean))


def offer(
    name: str, config: PoolConfig, view: PoolView, state: State, policy: RouterConfig, *, prompt_tokens: int = 0
) -> Offer | Ground:
    """What a serverless pool offers for one more request, or why it can't."""
    needed = busy(config, view.in_flight + 1)
    now_busy = busy(config, view.in_flight)
    alive = live(config, view, state.now)
    if needed > min(state.leases.get(f"pool/{name}/instances", 0), config.instances):
        return Ground.CAP
    cold_start_s = view.cold_start_s or config.cold_start_s
    answer_s = first_token_s(view, prompt_tokens)
    if needed == now_busy or needed <= alive:
        starts = starting(view, cold_start_s, state.now)
        if free_warm(config, view, state.now) > 0 or not starts:
            # Requests of several texts fill an instance before its vendor starts another: the next one waits in it.
            within = alive * config.slots_per_instance
            ahead = max(0, view.taken + 1 - within)
            return Offer(cold=False, answer_s=answer_s + ahead * view.service_s / within)
        left_s = max(0.0, starts[0] + cold_start_s - state.now)
        return Offer(cold=True, joins=True, answer_s=left_s + answer_s)
    ground = _ceilings(name, config, state, policy)
    if ground is not None:
        return ground
    return Offer(cold=True, answer_s=cold_start_s + answer_s)


def starting(view: PoolView, cold_start_s: float, now: float) -> tuple[float, ...]:
    """When instances were started that are not ready yet; one that takes thrice its time is taken for ready or dead."""
    return tuple(at for at in view.starting if now < at + COLD_START_MARGIN * cold_start_s)


def free_warm(config: PoolConfig, view: PoolView, now: float) -> int:
    """Free slots of instances that answer at once. A start's own request waits for it and takes none of them."""
    starts = len(starting(view, view.cold_start_s or config.cold_start_s, now))
    return (live(config, view, now) - starts) * config.slots_per_instance - (view.in_flight - starts)


def to_start(state: State, policy: RouterConfig) -> list[str]:
    """Serverless pools of which an instance should start now, before work has to wait for it.

    A request that finds the floor full waits less for a free slot than for a cold start, and so does the next one: by
    itself none would ever start an instance until the line is as long as a start. So one is started as soon as every
    floor of a workload is above the upper threshold and nothing warm is free beside it; one at a time.
    """
    found = []
    for name, workload in policy.workloads.items():
        if not policy.spill.start_ahead or workload.workload_class is WorkloadClass.BATCH:
            continue
        own = [(key, pool, state.pools[key]) for key, pool in policy.candidates[name] if pool.workload == name]
        floors = [one for one in own if one[1].dedicated]
        others = [one for one in own if not one[1].dedicated]
        if not floors or not all(
            view.saturated or view.waiting or share_of_slots(key, pool, view, state) >= policy.spill.start_at
            for key, pool, view in floors
        ):
            continue
        if any(
            view.starting and starting(view, view.cold_start_s or pool.cold_start_s, state.now)
            for _, pool, view in others
        ) or any(free_warm(pool, view, state.now) > 0 for _, pool, view in others):
            continue
        fitting = [
            (pool.nano_usd_per_instance_second, key)
            for key, pool, view in others
            if _admits(pool, workload, policy)
            and pool.release == workload.release
            and view.circuit is Circuit.CLOSED
            and state.now >= view.pushed_back_until
            and view.in_flight
            < min(state.leases.get(f"pool/{key}/instances", 0), pool.instances) * pool.slots_per_instance
            and _ceilings(key, pool, state, policy) is None
        ]
        if fitting:
            found.append(min(fitting)[1])
    return found


def _admits(pool: PoolConfig, workload: WorkloadConfig, policy: RouterConfig) -> bool:
    """Whether any request of a workload may go there at all; a trial of no share may not."""
    allowed = workload.allowed_jurisdictions
    places = (pool.compute_jurisdictions, pool.ingress_jurisdictions, pool.storage_jurisdictions)
    return all(place and place <= allowed for place in places) and policy.proof_of_concept != 0


def _ceilings(name: str, config: PoolConfig, state: State, policy: RouterConfig) -> Ground | None:
    """Whether one more instance of a pool stays within every ceiling: the pool's, the environment's, the provider's."""
    totals, leases = policy.totals, state.leases
    hourly = config.nano_usd_per_instance_second * HOUR_S
    alive = {key: live(pool, state.pools[key], state.now) for key, pool in policy.pools.items() if not pool.dedicated}
    if alive[name] + 1 > min(leases.get(f"pool/{name}/instances", 0), config.instances):
        return Ground.CAP

    def exceeds(limit: str, used: int, more: int) -> bool:
        return limit in totals and used + more > leases.get(limit, 0)

    spend = run_rates(policy, alive)
    if exceeds(f"pool/{name}/spend", spend[name], hourly) or exceeds("serverless/spend", sum(spend.values()), hourly):
        return Ground.SPEND
    same = [key for key in alive if policy.pools[key].provider == config.provider]
    provider = f"provider/{config.provider}"
    if (
        exceeds(f"{provider}/instances", sum(alive[key] for key in same), 1)
        or exceeds(
            f"{provider}/gpus",
            sum(alive[key] * policy.pools[key].gpus_per_instance for key in same),
            config.gpus_per_instance,
        )
        or exceeds(f"{provider}/spend", sum(spend[key] for key in same), hourly)
    ):
        return Ground.PROVIDER_CAP
    return None


def run_rates(policy: RouterConfig, alive: Mapping[str, int]) -> dict[str, int]:
    """Nano-dollars per hour of each serverless pool with this many live instances."""
    return {key: count * policy.pools[key].nano_usd_per_instance_second * HOUR_S for key, count in alive.items()}
