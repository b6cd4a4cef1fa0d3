"""Simple hourly policies: the baselines every plan is compared with.

A policy turns an `HourlyCosts` of H hours into H + 1 decisions. Decision h may read hours 0 to h - 1 only; the last one
is for the hour after the data. `tests/unit/planner/test_causality.py` changes the future and watches that no decision
before it moves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from headrace.planner.arrays import BINS_PER_HOUR, DAY_HOURS, WEEK_HOURS, Floats, Ints
from headrace.planner.levels import Demand, LevelTables, level_tables, tails
from headrace.planner.tariff import Tariff

# Ten-minute windows: the finest signal the policies read besides the hour.
SIGNAL_S: Final = 600
SIGNALS_PER_HOUR: Final = 6
# Above this many levels the policies compare candidate fleet sizes on a grid; the evaluation stays exact.
CANDIDATES: Final = 400


@dataclass(frozen=True, kw_only=True)
class HourlyCosts:
    """Everything a policy may look at.

    candidates: fleet sizes compared, [M], 0 first. cost: US dollars of each hour at each of them, [H, M].
    signal_cost: the same per ten minutes, [6 H, M]. signal: mean GPUs per ten minutes, [6 H].
    history_hours: hours that are history only (training).
    """

    tariff: Tariff
    candidates: Ints
    cost: Floats
    signal_cost: Floats
    signal: Floats
    history_hours: int

    @property
    def hours(self) -> int:
        return len(self.cost)

    @property
    def hourly_mean(self) -> Floats:
        """Mean GPUs in use, [H]."""
        return np.asarray(self.signal.reshape(-1, SIGNALS_PER_HOUR).mean(1))

    def at(self, hour: Ints, dedicated: Floats) -> Floats:
        """Cost of real-valued fleet sizes (any shape, broadcast with `hour`), linear between candidates."""
        top = float(self.candidates[-1])
        inside = np.clip(dedicated, 0.0, top)
        right = np.clip(np.searchsorted(self.candidates, inside, side="right"), 1, max(len(self.candidates) - 1, 1))
        if len(self.candidates) == 1:
            return np.asarray(self.cost[hour, 0] + dedicated * self.tariff.dedicated_usd_hour)
        low, high = self.candidates[right - 1], self.candidates[right]
        share = (inside - low) / (high - low)
        inner = self.cost[hour, right - 1] * (1 - share) + self.cost[hour, right] * share
        return np.asarray(inner + np.maximum(dedicated - top, 0.0) * self.tariff.dedicated_usd_hour)

    def best(self, total: Floats) -> Ints:
        """Fleet size with the least total, for totals [..., M]; the smallest on ties."""
        return np.asarray(self.candidates[np.argmin(total, axis=-1)])


def hourly_costs(
    demand: Demand, tariff: Tariff, *, history_hours: int, tables: LevelTables | None = None
) -> HourlyCosts:
    """Cost of every candidate fleet size in every hour and every ten minutes."""
    hourly = tables or level_tables(demand, tariff)
    levels = hourly.levels
    candidates = np.unique(np.linspace(0, levels, min(levels, CANDIDATES) + 1).round().astype(np.int64))
    cost = tails(hourly.serverless_usd(tariff))[:, candidates] + candidates * tariff.dedicated_usd_hour
    fine = level_tables(demand, tariff, window_s=SIGNAL_S)
    price = tariff.dedicated_usd_hour / SIGNALS_PER_HOUR
    signal_cost = tails(fine.serverless_usd(tariff))[:, candidates] + candidates * price
    signal = demand.gpus.reshape(-1, BINS_PER_HOUR // SIGNALS_PER_HOUR).mean(1)
    return HourlyCosts(
        tariff=tariff,
        candidates=candidates,
        cost=cost,
        signal_cost=signal_cost,
        signal=np.asarray(signal),
        history_hours=history_hours,
    )


Policy = Callable[[HourlyCosts], Ints]


def _sums(values: Floats) -> Floats:
    """Running sums with a leading zero row: sum over [a, b) is s[b] - s[a]."""
    return np.concatenate((np.zeros((1, *values.shape[1:])), values.cumsum(0)))


def serverless_only(costs: HourlyCosts) -> Ints:
    """Nothing dedicated."""
    return np.zeros(costs.hours + 1, dtype=np.int64)


def floor_plus_ten(costs: HourlyCosts) -> Ints:
    """The essay's rule, once: the least hourly mean of the training time, plus a tenth, rounded up."""
    trained = costs.hourly_mean[: costs.history_hours]
    gpus = int(np.ceil(trained.min(initial=np.inf) * 1.1 - 1e-9)) if len(trained) else 0
    return np.full(costs.hours + 1, gpus, dtype=np.int64)


def rolling_floor_plus_ten(costs: HourlyCosts) -> Ints:
    """The same rule, renewed every hour on the last seven days."""
    mean = costs.hourly_mean
    floors = [mean[max(0, hour - WEEK_HOURS) : hour].min() if hour else 0.0 for hour in range(costs.hours + 1)]
    return np.ceil(np.array(floors) * 1.1 - 1e-9).clip(0).astype(np.int64)


def newsvendor(costs: HourlyCosts) -> Ints:
    """The constant that would have been cheapest in the training time, kept."""
    gpus = costs.best(costs.cost[: costs.history_hours].sum(0))
    return np.full(costs.hours + 1, gpus, dtype=np.int64)


def rolling_newsvendor(costs: HourlyCosts) -> Ints:
    """The constant that would have been cheapest in the last seven days."""
    sums = _sums(costs.cost)
    starts = np.maximum(np.arange(costs.hours + 1) - WEEK_HOURS, 0)
    return costs.best(sums - sums[starts])


def hour_of_day(costs: HourlyCosts) -> Ints:
    """For each hour of the day the constant that would have been cheapest at that hour of the last seven days."""
    chosen = np.zeros(costs.hours + 1, dtype=np.int64)
    for hour in range(DAY_HOURS, costs.hours + 1):
        days = [hour - DAY_HOURS * back for back in range(1, 8) if hour >= DAY_HOURS * back]
        chosen[hour] = costs.best(costs.cost[days].sum(0))
    return chosen


def last_hour(costs: HourlyCosts) -> Ints:
    """What would have been best in the hour that just ended."""
    return np.concatenate(([0], costs.best(costs.cost)))


def peak(costs: HourlyCosts) -> Ints:
    """All dedicated: the training time's peak, so that nothing overflowed then."""
    busy = costs.cost[: costs.history_hours] - costs.candidates * costs.tariff.dedicated_usd_hour > 1e-12
    gpus = int(costs.candidates[busy.any(0).sum()]) if len(busy) else 0
    return np.full(costs.hours + 1, gpus, dtype=np.int64)


SIMPLE: Final[dict[str, Policy]] = {
    "serverless-only": serverless_only,
    "floor-plus-ten": floor_plus_ten,
    "newsvendor": newsvendor,
    "hour-of-day": hour_of_day,
    "last-hour": last_hour,
}


def follow_the_leader(costs: HourlyCosts, *, trailing: int = WEEK_HOURS) -> Ints:
    """Each hour what the simple policy says that was cheapest over the trailing hours; the first on ties."""
    decided = np.stack([policy(costs) for policy in SIMPLE.values()], axis=1)
    hours = np.arange(costs.hours)
    spent = _sums(costs.at(hours[:, None], decided[:-1].astype(float)))
    starts = np.maximum(np.arange(costs.hours + 1) - trailing, 0)
    leader = np.argmin(spent - spent[starts], axis=1)
    return np.asarray(decided[np.arange(costs.hours + 1), leader])


BASELINES: Final[dict[str, Policy]] = {
    **SIMPLE,
    "follow-the-leader": follow_the_leader,
    "rolling-floor-plus-ten": rolling_floor_plus_ten,
    "rolling-newsvendor": rolling_newsvendor,
    "all-dedicated": peak,
}
