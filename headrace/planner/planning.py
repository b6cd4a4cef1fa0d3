"""Demand, tariff and limits in; the plan out, with its bound, its regret and every alternative it was chosen over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from headrace.planner.arrays import BINS_PER_HOUR, DAY_HOURS, HOUR_S, WEEK_HOURS, Floats, Ints
from headrace.planner.bounds import Bounds, bounds
from headrace.planner.caps import forced, hour_peaks, least_held, shortage
from headrace.planner.levels import Demand, LevelTables, best_constant, cost_per_hour, level_tables
from headrace.planner.mixing import adaptive
from headrace.planner.policies import BASELINES, hourly_costs
from headrace.planner.prewarm import WarmPlan, warm_plan
from headrace.planner.schedule import best_schedule, changes, expand, later_starts, slot_costs, switch_cost_usd
from headrace.planner.tariff import Tariff
from headrace.planner.verdict import Verdict, decide

HOURS_PER_MONTH: Final = 730.0
DEMAND_FACTORS: Final = (0.7, 1.0, 1.3)
PRICE_FACTORS: Final = (0.8, 1.0, 1.2)
# Days of the data's own past that a rolling back-test may use at most as history before the first decision.
TRAIN_DAYS: Final = 7
# Policies within half a percent of each other cost the same; the simpler one is taken.
SAME: Final = 1.005
# The policy that `headrace plan hourly` carries out: re-planned every hour by `mixing.adaptive`.
HOURLY: Final = "hourly"


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """A number the plan stands on, where it comes from and when that was looked at."""

    name: str
    value: str
    source: str
    as_of: str = ""


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """Limits and manners of the platform; counts are replicas. hourly: whether a floor that follows its traffic every
    hour may be deployed."""

    lead_time_s: float = 600.0
    dedicated_cap: int | None = None
    serverless_cap: int | None = None
    cold_start_worth_usd: float = 0.0
    operations_usd_per_month: float = 0.0
    batch_replica_hours_per_day: float = 0.0
    gpus_per_replica: int = 1
    hourly: bool = False


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A policy walked over the data's own past. USD per month of 730 hours; `ratio` against the hourly lower bound."""

    name: str
    usd_per_month: float
    ratio: float | None
    deployable: bool
    changes_per_day: float


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """The same plan in another world, and what planning anew for it, nothing dedicated and the bound would cost,
    USD per month of the data's hours. The verdict is on the mix that was planned anew."""

    demand: float
    dedicated_price: float
    serverless_price: float
    plan_usd: float
    replanned_usd: float
    serverless_usd: float
    bound_usd: float
    verdict: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The answer. `schedule` has one entry per slot: 1 (a constant, or the least of an hourly floor), 24 (hour of the
    day) or 168 (hour of the week, UTC). `dedicated` is what would have been held in each hour of the data.

    `serverless_peak` is what the data would have overflowed at most, `serverless_most` what a serverless pool must be
    allowed: the same if demand were 30 % more, within the cap, since an instance that is allowed and not used is free.

    Costs are US dollars per month of 730 hours over the evaluated hours. `shortage` says why the caps on both pools
    leave part of the peak waiting; None where they don't.
    """

    policy: str
    schedule: Ints
    ceiling: int
    peak_replicas: int
    serverless_peak: int
    serverless_most: int
    usd_per_month: float
    bound: Bounds
    bound_usd_per_month: float
    candidates: tuple[Candidate, ...]
    baselines: dict[str, float]
    sensitivity: tuple[Sensitivity, ...]
    warm: WarmPlan
    verdict: Verdict
    tariff: Tariff
    demand: Demand
    dedicated: Ints
    evaluated_hours: int
    level_shares: Floats
    batch_free_share: float | None
    next_hour: int
    shortage: str | None
    assumptions: tuple[Assumption, ...] = field(default_factory=tuple)

    @property
    def regret_usd_per_month(self) -> float:
        """What perfect foresight would save a month."""
        return self.usd_per_month - self.bound_usd_per_month

    @property
    def hourly(self) -> bool:
        """Whether the floor follows its traffic every hour."""
        return self.policy == HOURLY

    @property
    def most(self) -> int:
        """The most that is held."""
        return self.ceiling if self.hourly else int(self.schedule.max(initial=0))

    @property
    def hourly_saves_usd_per_month(self) -> float:
        """What re-planning every hour would save a month; 0 where the plan does it, or where it would save nothing."""
        hourly = next(item.usd_per_month for item in self.candidates if item.name == HOURLY)
        return max(self.usd_per_month - hourly, 0.0)


def make_plan(demand: Demand, tariff: Tariff, limits: Constraints, assumptions: tuple[Assumption, ...] = ()) -> Plan:
    """Choose between static, scheduled and hourly by a rolling back-test, and describe the choice."""
    tables = level_tables(demand, tariff)
    train = min(TRAIN_DAYS * DAY_HOURS, demand.hours // 2)
    serverless = tables.serverless_usd(tariff)
    costs = hourly_costs(demand, tariff, history_hours=max(train, 1), tables=tables)
    evaluation = _Evaluation(serverless=serverless[train:], tariff=tariff, limits=limits)
    peaks = hour_peaks(demand)
    walked, least = _walk(demand, tariff, limits, serverless, peaks, train)
    reactive = adaptive(costs)
    reactive[train:] = np.maximum(reactive[train:], least)
    reactive = _within(reactive, limits)
    decisions = {**walked, HOURLY: reactive[train:-1]}
    baselines = {name: evaluation.monthly(rule(costs)[train:-1]) for name, rule in BASELINES.items()}
    limit = bounds(_from_hour(demand, train), serverless[train:], tariff)
    bound_month = limit.hourly_usd / evaluation.hours * HOURS_PER_MONTH
    candidates = tuple(
        Candidate(
            name=name,
            usd_per_month=evaluation.monthly(held),
            ratio=evaluation.monthly(held) / bound_month if bound_month > 0 else None,
            deployable=name != HOURLY or limits.hourly,
            changes_per_day=changes(held) / evaluation.hours * DAY_HOURS,
        )
        for name, held in decisions.items()
    )
    policy = _simplest_of_the_cheapest(candidates)
    if policy == HOURLY:
        schedule = np.array([reactive[train:].min()], dtype=np.int64)
        held = reactive[:-1]
    else:
        schedule = _final_schedule(policy, demand, tariff, limits, serverless, peaks)
        held = expand(schedule, demand)
    peak = int(demand.need.max())
    lacking = shortage(peak, limits.dedicated_cap, limits.serverless_cap, limits.gpus_per_replica)
    overflow_peak = _overflow_peak(demand, held)
    shares = np.asarray(serverless.sum(0) / (tariff.serverless_usd_second * HOUR_S * demand.hours))
    plan_month = evaluation.monthly(decisions[policy])
    return Plan(
        policy=policy,
        schedule=schedule,
        ceiling=max(int(schedule.max(initial=0)), int(np.quantile(reactive, 0.99)) if len(reactive) else 0),
        peak_replicas=peak,
        serverless_peak=overflow_peak,
        serverless_most=_most_overflow(demand, held, limits),
        usd_per_month=plan_month,
        bound=limit,
        bound_usd_per_month=bound_month,
        candidates=candidates,
        baselines=baselines,
        sensitivity=_sensitivity(demand, tables, tariff, limits, policy, held if policy != HOURLY else train),
        warm=warm_plan(demand, tables, tariff, held, worth_usd=limits.cold_start_worth_usd),
        verdict=decide(
            hybrid_usd=plan_month,
            serverless_usd=_allowed(baselines["serverless-only"], peak, limits.serverless_cap),
            dedicated_usd=_allowed(_dedicated_only(evaluation, peak), peak, limits.dedicated_cap),
            dedicated_gpus=float(decisions[policy].mean()),
            overflow=overflow_peak > 0,
            operations_usd=limits.operations_usd_per_month,
            break_even=tariff.break_even,
            shortage=lacking,
        ),
        tariff=tariff,
        demand=demand,
        dedicated=held,
        evaluated_hours=evaluation.hours,
        level_shares=shares,
        batch_free_share=_batch_share(demand, held, limits),
        next_hour=int(reactive[-1]),
        shortage=lacking,
        assumptions=assumptions,
    )


def _simplest_of_the_cheapest(candidates: tuple[Candidate, ...]) -> str:
    """The first deployable policy (they stand from simple to fine) within half a percent of the cheapest."""
    deployable = [item for item in candidates if item.deployable]
    least = min(item.usd_per_month for item in deployable)
    return next(item.name for item in deployable if item.usd_per_month <= least * SAME)


@dataclass(frozen=True, kw_only=True)
class _Evaluation:
    """Prices decisions over the evaluated hours, changes included."""

    serverless: Floats
    tariff: Tariff
    limits: Constraints

    @property
    def hours(self) -> int:
        return len(self.serverless)

    def monthly(self, held: Ints) -> float:
        """US dollars per month."""
        paid = float(cost_per_hour(self.serverless, held, self.tariff).sum())
        started = later_starts(held)
        paid += max(started, 0) * switch_cost_usd(self.tariff, self.limits.lead_time_s)
        return paid / max(self.hours, 1) * HOURS_PER_MONTH


def _from_hour(demand: Demand, hour: int) -> Demand:
    return Demand(origin_s=demand.origin_s + hour * HOUR_S, gpus=demand.gpus[hour * BINS_PER_HOUR :])


def _allowed(usd: float, peak: int, cap: int | None) -> float:
    """What one pool alone costs; infinite where its cap doesn't let it serve the peak."""
    return usd if cap is None or peak <= cap else float("inf")


def _walk(
    demand: Demand, tariff: Tariff, limits: Constraints, serverless: Floats, peaks: Ints, train: int
) -> tuple[dict[str, Ints], Ints]:
    """Static and scheduled policies, re-planned at each midnight of the walk from the hours before it.

    The second answer is what the serverless cap asks every policy to hold, for the walked hours and the one after them.
    """
    hours = np.arange(train, demand.hours)
    static, daily, weekly = (np.zeros(len(hours), dtype=np.int64) for _ in range(3))
    least = np.zeros(len(hours) + 1, dtype=np.int64)
    for start in range(train, demand.hours, DAY_HOURS):
        known = serverless[max(0, start - 4 * WEEK_HOURS) : start]
        past = known[-WEEK_HOURS:]
        window = slice(start - train, min(start + DAY_HOURS, demand.hours) - train)
        moment = demand.origin_s // HOUR_S + start
        if not len(past):
            continue
        static[window] = _constant(past, peaks[:start], tariff, limits)
        for target, period, rows in ((daily, DAY_HOURS, past), (weekly, WEEK_HOURS, known)):
            plan = _slots(rows, peaks[:start], tariff, limits, period=period, end_hour=moment)
            slots = _slot_numbers(moment, period, len(target[window]))
            target[window] = plan[slots]
        by_day = _least(peaks[:start], limits, period=DAY_HOURS, end_hour=moment)
        after = slice(window.start, window.stop + 1)  # the hour after the last one: overwritten by the next midnight
        least[after] = by_day[_slot_numbers(moment, DAY_HOURS, len(least[after]))]
    chosen = {"serverless-only": np.zeros(len(hours), dtype=np.int64), "static": static, "daily schedule": daily}
    if not _constant_allowed(0, peaks, limits):
        del chosen["serverless-only"]
    if train >= WEEK_HOURS:
        chosen["weekly schedule"] = weekly
    return chosen, least


def _constant_allowed(held: int, peaks: Ints, limits: Constraints) -> bool:
    """Whether the serverless cap leaves a constant a choice, or the dedicated cap leaves no other."""
    least = int(least_held(peaks, limits.serverless_cap, period=1)[0])
    return held >= int(_within(np.array([least]), limits)[0])


def _constant(rows: Floats, peaks: Ints, tariff: Tariff, limits: Constraints) -> int:
    """The best constant within the caps."""
    least = min(int(least_held(peaks, limits.serverless_cap, period=1)[0]), rows.shape[1])
    return int(_within(np.array([least + best_constant(rows[:, least:], tariff)]), limits)[0])


def _least(peaks: Ints, limits: Constraints, *, period: int, end_hour: int) -> Ints:
    """What the serverless cap asks each slot to hold; `peaks` end at clock hour `end_hour`."""
    first = int(_slot_numbers(end_hour - len(peaks), period, 1)[0])
    return least_held(peaks, limits.serverless_cap, period=period, first_slot=first)


def _slots(rows: Floats, peaks: Ints, tariff: Tariff, limits: Constraints, *, period: int, end_hour: int) -> Ints:
    """Best cyclic schedule for the mean past within the caps; `rows` and `peaks` end at clock hour `end_hour`."""
    first = int(_slot_numbers(end_hour - len(rows), period, 1)[0])
    table = slot_costs(rows, period=period, first_slot=first)
    missing = np.bincount((np.arange(len(rows)) + first) % period, minlength=period) == 0
    if missing.any():  # a slot that was never seen costs what the mean slot costs
        table[missing] = rows.mean(0)
    table = forced(table, _least(peaks, limits, period=period, end_hour=end_hour), tariff.dedicated_usd_hour)
    return _within(best_schedule(table, tariff, lead_time_s=limits.lead_time_s, cyclic=True), limits)


def _slot_numbers(clock_hour: int, period: int, count: int) -> Ints:
    shift = 3 * DAY_HOURS if period == WEEK_HOURS else 0
    return np.asarray((clock_hour + shift + np.arange(count)) % period, dtype=np.int64)


def _within(held: Ints, limits: Constraints) -> Ints:
    return np.minimum(held, limits.dedicated_cap) if limits.dedicated_cap is not None else held


def _final_schedule(
    policy: str, demand: Demand, tariff: Tariff, limits: Constraints, serverless: Floats, peaks: Ints
) -> Ints:
    """The schedule to deploy now: the chosen policy planned from all data up to its end."""
    end = demand.origin_s // HOUR_S + demand.hours
    if policy == "serverless-only":
        return np.zeros(1, dtype=np.int64)
    if policy == "static":
        return np.array([_constant(serverless[-WEEK_HOURS:], peaks, tariff, limits)], dtype=np.int64)
    weekly = policy == "weekly schedule"
    rows = serverless[-4 * WEEK_HOURS :] if weekly else serverless[-WEEK_HOURS:]
    return _slots(rows, peaks, tariff, limits, period=WEEK_HOURS if weekly else DAY_HOURS, end_hour=end)


def _anew(policy: str, demand: Demand) -> tuple[str, ...]:
    """Policies to try where something changed: a constant, a day's schedule once a day is known, and the plan's own."""
    daily = ("daily schedule",) if demand.hours >= DAY_HOURS else ()
    own = (policy,) if policy == "weekly schedule" else ()
    return ("static", *daily, *own)


def _overflow_peak(demand: Demand, held: Ints) -> int:
    """The most serverless replicas needed at once under the schedule."""
    return int(np.maximum(demand.need - np.repeat(held, BINS_PER_HOUR), 0).max(initial=0))


def _most_overflow(demand: Demand, held: Ints, limits: Constraints) -> int:
    """The most serverless replicas needed at once at the sensitivity's highest demand, within the cap."""
    most = _overflow_peak(demand.scaled(max(DEMAND_FACTORS)), held)
    return most if limits.serverless_cap is None else min(most, limits.serverless_cap)


def _dedicated_only(evaluation: _Evaluation, peak: int) -> float:
    return evaluation.monthly(np.full(evaluation.hours, peak, dtype=np.int64))


def _batch_share(demand: Demand, held: Ints, limits: Constraints) -> float | None:
    """Share of the batch work that fits into idle floor of the same day; idle levels are free."""
    wanted = limits.batch_replica_hours_per_day
    if wanted <= 0:
        return None
    idle = np.maximum(np.repeat(held, BINS_PER_HOUR) - demand.need, 0).reshape(-1, BINS_PER_HOUR).mean(1)
    days = max(len(idle) // DAY_HOURS, 1)
    daily = idle[: days * DAY_HOURS].reshape(days, -1).sum(1)
    return float(np.minimum(daily / wanted, 1.0).mean())


def _sensitivity(
    demand: Demand, tables: LevelTables, tariff: Tariff, limits: Constraints, policy: str, held: Ints | int
) -> tuple[Sensitivity, ...]:
    """The plan in other worlds: what it holds, or what an hourly floor would hold there after so many hours of history,
    which then don't count."""
    worlds = [(factor, 1.0, 1.0) for factor in DEMAND_FACTORS]
    worlds += [(1.0, factor, 1.0) for factor in PRICE_FACTORS if factor != 1.0]
    worlds += [(1.0, 1.0, factor) for factor in PRICE_FACTORS if factor != 1.0]
    return tuple(_world(demand, tables, tariff, limits, policy, held, *world) for world in worlds)


def _world(
    demand: Demand,
    tables: LevelTables,
    tariff: Tariff,
    limits: Constraints,
    policy: str,
    held: Ints | int,
    factor: float,
    dedicated: float,
    serverless: float,
) -> Sensitivity:
    prices = tariff.scaled(dedicated=dedicated, serverless=serverless)
    other = demand
    if factor != 1.0:  # else the plan's own tables hold: they count seconds and starts, whatever these cost
        other = demand.scaled(factor)
        tables = level_tables(other, prices)
    table, peaks = tables.serverless_usd(prices), hour_peaks(other)
    anew = [expand(_final_schedule(name, other, prices, limits, table, peaks), other) for name in _anew(policy, other)]
    seen = other
    if isinstance(held, int):
        decided = adaptive(hourly_costs(other, prices, history_hours=max(held, 1), tables=tables))[held:-1]
        table, seen, held = table[held:], _from_hour(other, held), _within(decided, limits)
        anew = [*(plan[-len(table) :] for plan in anew), held]  # it plans itself anew every hour
    evaluation = _Evaluation(serverless=table, tariff=prices, limits=limits)
    best = min(anew, key=evaluation.monthly)
    nothing = evaluation.monthly(np.zeros(len(table), dtype=np.int64))
    replanned = evaluation.monthly(best)
    peak = int(other.need.max())
    verdict = decide(
        hybrid_usd=replanned,
        serverless_usd=_allowed(nothing, peak, limits.serverless_cap),
        dedicated_usd=_allowed(_dedicated_only(evaluation, peak), peak, limits.dedicated_cap),
        dedicated_gpus=float(best.mean()),
        overflow=_overflow_peak(seen, best) > 0,
        operations_usd=limits.operations_usd_per_month,
        break_even=prices.break_even,
        shortage=shortage(peak, limits.dedicated_cap, limits.serverless_cap, limits.gpus_per_replica),
    )
    return Sensitivity(
        demand=factor,
        dedicated_price=dedicated,
        serverless_price=serverless,
        plan_usd=evaluation.monthly(held),
        replanned_usd=replanned,
        serverless_usd=nothing,
        bound_usd=float(np.minimum(table, prices.dedicated_usd_hour).sum()) / len(table) * HOURS_PER_MONTH,
        verdict=verdict.kind.value,
    )
