"""Whether the plan keeps its latency objective, request by request, and what each further point would cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from headrace.planner.arrays import BIN_S, DAY_HOURS, HOUR_S, Floats, Ints, in_threads
from headrace.planner.levels import Demand
from headrace.planner.service import ServiceModel
from headrace.planner.simulate import Outcome, Tiers, simulate
from headrace.planner.tariff import Tariff
from headrace.planner.traffic import Log

HOURS_PER_MONTH: Final = 730.0
# Requests simulated; heavier traffic is simulated over its busiest stretch of days or hours.
MOST_REQUESTS: Final = 500_000
EXTRA_FLOOR: Final = (0, 1, 2, 4)
EXTRA_WARM: Final = (0, 1, 4)
# Uncapped serverless is simulated with this many workers beyond the peak.
SPARE_WORKERS: Final = 64
# A variant must attain this many percentage points more to be worth a line.
LEAST_POINTS: Final = 0.01


@dataclass(frozen=True, kw_only=True)
class Requests:
    """Requests in order of time: arrival seconds from the first hour, prefill and total seconds, [requests]."""

    arrival_s: Floats
    first_token_s: Floats
    service_s: Floats
    first_hour: int
    hours: int
    synthesised: bool


@dataclass(frozen=True, kw_only=True)
class Attainment:
    """One variant. Waits in seconds at percentiles of requests; US dollars per month of 730 hours."""

    extra_floor: int
    extra_warm: int
    attained: float
    wait_p50_s: float
    wait_p95_s: float
    wait_p99_s: float
    cold_starts_per_day: float
    overflow_share: float
    usd_per_month: float
    usd_per_further_point: float | None = None


@dataclass(frozen=True, kw_only=True)
class SloResult:
    """The plan's own attainment and the cheapest ladder of variants above it."""

    limit_s: float
    target: float
    plan: Attainment
    ladder: tuple[Attainment, ...]
    requests: int
    synthesised: bool

    @property
    def met(self) -> bool:
        """Whether the plan as it is keeps the objective."""
        return self.plan.attained >= self.target

    @property
    def cheapest_that_meets(self) -> Attainment | None:
        """The cheapest variant that keeps the objective."""
        meeting = [item for item in (self.plan, *self.ladder) if item.attained >= self.target]
        return min(meeting, key=lambda item: item.usd_per_month) if meeting else None


def synthesise(
    demand: Demand, service: ServiceModel, *, tokens_in: float, tokens_out: float, utilization: float, seed: int = 1
) -> Requests:
    """Poisson arrivals whose work adds up to the demand; answer lengths are geometric around the mean.

    Used where the traffic tells rates or GPUs only; the report says so.
    """
    work = service.work_s(tokens_in, tokens_out)
    rate = np.maximum(demand.gpus, 0.0) * utilization / work * BIN_S
    first, hours = 0, demand.hours
    whole = rate
    while rate.sum() > MOST_REQUESTS and hours > 1:  # a shorter stretch at full load, never a thinner load
        hours = hours // 2 if hours <= DAY_HOURS else max(DAY_HOURS, hours // 2 // DAY_HOURS * DAY_HOURS)
        first, rate = _busiest(whole, hours)
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rate)
    start = np.repeat(np.arange(len(rate)) * float(BIN_S), counts)
    arrival = np.sort(start + rng.uniform(0, BIN_S, len(start)))
    answer = rng.geometric(1.0 / max(tokens_out, 1.0), len(arrival)).astype(float)
    prefill = np.full(len(arrival), tokens_in / service.prefill_tokens_s)
    total = prefill + answer * service.batch / service.decode_tokens_s
    return Requests(
        arrival_s=arrival, first_token_s=prefill, service_s=total, first_hour=first, hours=hours, synthesised=True
    )


def replay(log: Log, service: ServiceModel, *, hours: int, demand_factor: float = 1.0) -> Requests | None:
    """The requests of the traffic itself, over their busiest stretch if there are many.

    None where demand was scaled (the log is then of another world) or nothing was logged.
    """
    if demand_factor != 1.0 or not len(log.arrival_s):
        return None
    per_bin = np.bincount((log.arrival_s // BIN_S).astype(np.int64), minlength=hours * HOUR_S // BIN_S).astype(float)
    first, taken, rate = 0, hours, per_bin
    while rate.sum() > MOST_REQUESTS and taken > 1:
        taken = taken // 2 if taken <= DAY_HOURS else max(DAY_HOURS, taken // 2 // DAY_HOURS * DAY_HOURS)
        first, rate = _busiest(per_bin, taken)
    mine = (log.arrival_s >= first * HOUR_S) & (log.arrival_s < (first + taken) * HOUR_S)
    prefill = log.tokens_in[mine] / service.prefill_tokens_s
    total = prefill + log.tokens_out[mine] * service.batch / service.decode_tokens_s
    return Requests(
        arrival_s=log.arrival_s[mine] - first * HOUR_S,
        first_token_s=prefill,
        service_s=np.maximum(total, 1e-3),
        first_hour=first,
        hours=taken,
        synthesised=False,
    )


def _busiest(rate: Floats, hours: int) -> tuple[int, Floats]:
    """First hour and rates of the busiest stretch; stretches of days start at the same hour as the data."""
    per_hour = rate.reshape(-1, HOUR_S // BIN_S).sum(1)
    starts = range(0, len(per_hour) - hours + 1, DAY_HOURS if hours >= DAY_HOURS else 1)
    first = max(starts, key=lambda at: float(per_hour[at : at + hours].sum()))
    return first, rate[first * HOUR_S // BIN_S : (first + hours) * HOUR_S // BIN_S]


def attainment(
    requests: Requests,
    *,
    dedicated: Ints,
    warm: Ints,
    slots: int,
    serverless_cap: int | None,
    peak: int,
    tariff: Tariff,
    limit_s: float,
    target: float,
    spill_after_s: float,
) -> SloResult:
    """Simulate the plan and its variants. dedicated, warm: replicas per hour of the requests, [hours]."""
    cap = serverless_cap if serverless_cap is not None else peak + SPARE_WORKERS
    base = Tiers(
        dedicated=dedicated,
        warm=warm,
        slots=slots,
        serverless_cap=cap,
        spill_after_s=spill_after_s,
        cold_start_s=tariff.cold_start_s,
    )

    def variant(more: tuple[int, int]) -> Attainment:
        floor, warmer = more
        tiers = replace(base, dedicated=base.dedicated + floor, warm=np.minimum(base.warm + warmer, cap))
        done = simulate(requests.arrival_s, requests.service_s, tiers, tariff)
        return _summary(done, requests, limit_s, floor, warmer)

    variants = list(in_threads(variant, [(floor, warmer) for floor in EXTRA_FLOOR for warmer in EXTRA_WARM]))
    plan = variants[0]
    return SloResult(
        limit_s=limit_s,
        target=target,
        plan=plan,
        ladder=_ladder(plan, variants),
        requests=len(requests.arrival_s),
        synthesised=requests.synthesised,
    )


def single_pool(
    requests: Requests, *, dedicated: int, serverless_cap: int, slots: int, tariff: Tariff, limit_s: float
) -> Attainment:
    """One pool alone: `dedicated` replicas all the time and no serverless, or none and serverless up to a cap."""
    hours = np.ones(requests.hours, dtype=np.int64)
    tiers = Tiers(
        dedicated=hours * dedicated,
        warm=hours * 0,
        slots=slots,
        serverless_cap=serverless_cap,
        spill_after_s=float("inf") if not serverless_cap else 0.0,
        cold_start_s=tariff.cold_start_s,
    )
    return _summary(simulate(requests.arrival_s, requests.service_s, tiers, tariff), requests, limit_s, 0, 0)


def _summary(done: Outcome, requests: Requests, limit_s: float, more_floor: int, more_warm: int) -> Attainment:
    finite = np.where(np.isfinite(done.wait_s), done.wait_s, 1e9)
    some = len(finite) > 0
    waits = np.quantile(finite, (0.5, 0.95, 0.99)) if some else np.zeros(3)
    return Attainment(
        extra_floor=more_floor,
        extra_warm=more_warm,
        attained=done.attainment(requests.first_token_s, limit_s),
        wait_p50_s=float(waits[0]),
        wait_p95_s=float(waits[1]),
        wait_p99_s=float(waits[2]),
        cold_starts_per_day=done.cold_starts / max(requests.hours, 1) * DAY_HOURS,
        overflow_share=float((done.tier == 1).mean()) if some else 0.0,
        usd_per_month=done.usd / max(requests.hours, 1) * HOURS_PER_MONTH,
    )


def _ladder(plan: Attainment, variants: list[Attainment]) -> tuple[Attainment, ...]:
    """Variants that attain more than any cheaper one, each with its price per further percentage point."""
    ladder: list[Attainment] = []
    last = plan
    for item in sorted(variants[1:], key=lambda variant: (variant.usd_per_month, -variant.attained)):
        points = (item.attained - last.attained) * 100
        if points >= LEAST_POINTS:
            ladder.append(replace(item, usd_per_further_point=(item.usd_per_month - last.usd_per_month) / points))
            last = item
    return tuple(ladder)
