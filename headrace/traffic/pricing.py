"""The same requests on dedicated GPUs alone and on serverless GPUs alone: the planner's simulation, the same prices.

All-dedicated holds, for each workload, the fewest replicas with which its objective is kept. All-serverless starts an
instance whenever no slot is free, and pays cold starts and idle timeouts; requests that may not enter the provider are
left out and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from headrace.catalog.load import allowed_jurisdictions
from headrace.planner.arrays import Floats
from headrace.planner.simulate import Tiers, simulate
from headrace.planner.tariff import Tariff
from headrace.router.config import PoolConfig, RouterConfig
from headrace.router.types import NANO
from headrace.traffic.day import Ask, Pace

# Serverless alone may take as many instances as it wants: the question is what it would cost, not what is allowed.
UNCAPPED: Final = 256
_HOUR_S: Final = 3600.0
_ROUNDING_S: Final = 1e-9


@dataclass(frozen=True, kw_only=True)
class Objective:
    """First token within `limit_s` for `share` of requests; for batch work the start within its patience."""

    limit_s: float
    share: float


@dataclass(frozen=True, kw_only=True)
class Side:
    """One workload on one side alone. `instances` is what is held all the time, 0 where instances come and go."""

    workload: str
    provider: str
    gpu: str
    usd_per_hour: float
    instances: int
    requests: int
    left_out: int
    attained: float
    instance_s: float
    cold_starts: int
    usd: float


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """All workloads on one side. `missing` names workloads for which no pool of that side exists."""

    sides: tuple[Side, ...]
    missing: tuple[str, ...]

    @property
    def usd(self) -> float:
        """Cost over the replayed time."""
        return sum(side.usd for side in self.sides)

    @property
    def requests(self) -> int:
        """Requests that it serves."""
        return sum(side.requests for side in self.sides)

    @property
    def left_out(self) -> int:
        """Requests that it may not serve."""
        return sum(side.left_out for side in self.sides)

    @property
    def attained(self) -> float:
        """Share of the requests it serves that keep their objective."""
        return sum(side.attained * side.requests for side in self.sides) / max(1, self.requests)


def objectives(policy: RouterConfig, shares: Mapping[str, float]) -> dict[str, Objective]:
    """What each workload is held to; `shares` is the percentile of its SLO as a share."""
    return {
        name: Objective(
            limit_s=config.time_to_first_token_s or policy.spill.batch_patience_s, share=shares.get(name, 0.95)
        )
        for name, config in policy.workloads.items()
    }


def alternatives(
    policy: RouterConfig,
    asks: Sequence[Ask],
    paces: Mapping[str, Pace],
    wanted: Mapping[str, Objective],
    *,
    seconds: float,
) -> tuple[Alternative, Alternative]:
    """All-dedicated and all-serverless over `seconds` of platform time. paces: speed of each pool's servers."""
    sides: dict[bool, list[Side]] = {True: [], False: []}
    missing: dict[bool, list[str]] = {True: [], False: []}
    for workload in policy.workloads:
        mine = [ask for ask in asks if ask.workload == workload]
        if not mine:
            continue
        own = [(name, pool) for name, pool in policy.candidates[workload] if pool.workload == workload]
        for dedicated in (True, False):
            pools = [(name, pool) for name, pool in own if pool.dedicated == dedicated]
            if not pools:
                missing[dedicated].append(workload)
                continue
            name, pool = pools[0]
            run = _dedicated if dedicated else _serverless
            sides[dedicated].append(run(policy, workload, pool, paces[name], mine, wanted[workload], seconds))
    return (
        Alternative(sides=tuple(sides[True]), missing=tuple(missing[True])),
        Alternative(sides=tuple(sides[False]), missing=tuple(missing[False])),
    )


def _arrays(asks: Sequence[Ask], pace: Pace) -> tuple[Floats, Floats, Floats]:
    """Arrival, time to the first token and time to the last one, in seconds, [requests]."""
    arrival = np.array([ask.at_s for ask in asks], dtype=np.float64)
    first = np.array([ask.tokens_in / pace.prefill_tokens_s for ask in asks], dtype=np.float64)
    service = np.array([pace.service_s(ask.tokens_in, ask.answer_tokens) for ask in asks], dtype=np.float64)
    return arrival, first, service


def _dedicated(
    policy: RouterConfig,
    workload: str,
    pool: PoolConfig,
    pace: Pace,
    asks: Sequence[Ask],
    wanted: Objective,
    seconds: float,
) -> Side:
    """The fewest replicas that keep the objective, by halving: attainment only grows with replicas.

    Where long prompts alone break it, as much of it is kept as any number of replicas can.
    """
    del policy
    arrival, first, service = _arrays(asks, pace)
    usd_second = pool.nano_usd_per_instance_second / NANO
    tariff = Tariff(dedicated_usd_hour=usd_second * _HOUR_S, serverless_usd_second=usd_second)
    hours = np.ones(int(arrival[-1] // _HOUR_S) + 1, dtype=np.int64)

    def attained(replicas: int) -> float:
        tiers = Tiers(
            dedicated=hours * replicas,
            warm=hours * 0,
            slots=pool.slots_per_instance,
            serverless_cap=0,
            spill_after_s=float("inf"),
            cold_start_s=0.0,
        )
        return simulate(arrival, service, tiers, tariff).attainment(first, wanted.limit_s)

    share = min(wanted.share, float((first <= wanted.limit_s + _ROUNDING_S).mean()))
    low, high = 1, 1
    while attained(high) < share and high < UNCAPPED:
        low, high = high + 1, high * 2
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if attained(middle) >= share else (middle + 1, high)
    return Side(
        workload=workload,
        provider=pool.provider,
        gpu=pool.gpu,
        usd_per_hour=usd_second * _HOUR_S,
        instances=low,
        requests=len(asks),
        left_out=0,
        attained=attained(low),
        instance_s=low * seconds,
        cold_starts=0,
        usd=low * seconds * usd_second,
    )


def _serverless(
    policy: RouterConfig,
    workload: str,
    pool: PoolConfig,
    pace: Pace,
    asks: Sequence[Ask],
    wanted: Objective,
    seconds: float,
) -> Side:
    del seconds
    admitted = [ask for ask in asks if _may_enter(policy, workload, pool, ask)]
    usd_second = pool.nano_usd_per_instance_second / NANO
    done, attained = None, 1.0
    if admitted:
        arrival, first, service = _arrays(admitted, pace)
        hours = np.zeros(int(arrival[-1] // _HOUR_S) + 1, dtype=np.int64)
        tiers = Tiers(
            dedicated=hours,
            warm=hours + pool.min_instances,
            slots=pool.slots_per_instance,
            serverless_cap=UNCAPPED,
            spill_after_s=0.0,
            cold_start_s=pool.cold_start_s,
        )
        tariff = Tariff(
            dedicated_usd_hour=usd_second * _HOUR_S,
            serverless_usd_second=usd_second,
            idle_timeout_s=pool.idle_timeout_s,
            cold_start_s=pool.cold_start_s,
        )
        done = simulate(arrival, service, tiers, tariff)
        attained = done.attainment(first, wanted.limit_s)
    return Side(
        workload=workload,
        provider=pool.provider,
        gpu=pool.gpu,
        usd_per_hour=usd_second * _HOUR_S,
        instances=0,
        requests=len(admitted),
        left_out=len(asks) - len(admitted),
        attained=attained,
        instance_s=done.serverless_s if done is not None else 0.0,
        cold_starts=done.cold_starts if done is not None else 0,
        usd=done.serverless_s * usd_second if done is not None else 0.0,
    )


def _may_enter(policy: RouterConfig, workload: str, pool: PoolConfig, ask: Ask) -> bool:
    """Whether the request's residency admits the provider: the router's own first stage, for one pool."""
    allowed = policy.workloads[workload].allowed_jurisdictions
    if ask.residency is not None:
        allowed = allowed & allowed_jurisdictions([ask.residency])
    places = (pool.compute_jurisdictions, pool.ingress_jurisdictions, pool.storage_jurisdictions)
    return all(place and place <= allowed for place in places)
