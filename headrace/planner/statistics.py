"""What the demand is like: floor, peak, season, trend, breaks, and what pooling tenants saves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from headrace.planner.arrays import BIN_S, BINS_PER_HOUR, DAY_HOURS, HOUR_S, WEEK_HOURS, Floats, in_threads
from headrace.planner.levels import Demand, warm_levels
from headrace.planner.tariff import Tariff

PERCENTILES: Final = (1, 5, 25, 50, 75, 95, 99)
# A break must explain this multiple of log(n) times the noise (Bayesian information criterion has 2 per break here).
BREAK_PENALTY: Final = 3.0
SHORTEST_SEGMENT_H: Final = 24
WEEK_DAYS: Final = 7


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Description of a demand. GPUs unless said otherwise; seasons are shares of variance explained (0 to 1)."""

    mean: float
    raw_floor: float
    robust_floor: float
    peak: float
    percentiles: dict[int, float]
    daily_season: float
    weekly_season: float | None
    trend_per_week: float
    breaks_h: tuple[int, ...]


def profile(demand: Demand) -> Profile:
    """Floor, peak, percentiles, seasonality, trend and change points."""
    hourly = demand.gpus.reshape(-1, BINS_PER_HOUR).mean(1)
    return Profile(
        mean=float(demand.gpus.mean()),
        raw_floor=float(hourly.min()),
        # The least of many hours is an extreme value that one gap decides; the first percentile is not.
        robust_floor=float(np.quantile(hourly, 0.01)),
        peak=float(demand.gpus.max()),
        percentiles={share: float(np.quantile(demand.gpus, share / 100)) for share in PERCENTILES},
        daily_season=_season(hourly, DAY_HOURS),
        weekly_season=_season(hourly, WEEK_HOURS) if len(hourly) >= 2 * WEEK_HOURS else None,
        trend_per_week=_trend(hourly),
        breaks_h=tuple(breaks(hourly)),
    )


def _season(hourly: Floats, period: int) -> float:
    """Share of variance that the slot means explain, corrected for their number (adjusted R squared)."""
    n = len(hourly)
    if n < 2 * period or hourly.var() <= 0:
        return 0.0
    slots = np.arange(n) % period
    means = np.bincount(slots, hourly, minlength=period) / np.bincount(slots, minlength=period)
    left = float(((hourly - means[slots]) ** 2).sum()) / (n - period)
    return max(0.0, 1.0 - left / float(hourly.var(ddof=1)))


def _trend(hourly: Floats) -> float:
    """Median slope of daily means, GPUs per week, over pairs of the same weekday (the seasonal estimator of Hirsch,
    Slack and Smith 1982): a trace that ends on a weekend has not fallen. 0 where no weekday came twice."""
    days = len(hourly) // DAY_HOURS
    daily = hourly[: days * DAY_HOURS].reshape(days, DAY_HOURS).mean(1)
    first, second = np.triu_indices(days, WEEK_DAYS)
    same = (second - first) % WEEK_DAYS == 0
    if not same.any():
        return 0.0
    first, second = first[same], second[same]
    return float(np.median((daily[second] - daily[first]) / (second - first)) * WEEK_DAYS)


def breaks(hourly: Floats) -> list[int]:
    """Hours at which the level changes for good: binary segmentation of the de-seasoned log level."""
    log = np.log(hourly + 0.1)
    slots = np.arange(len(log)) % DAY_HOURS
    if len(log) >= 3 * DAY_HOURS:
        log = log - (np.bincount(slots, log, minlength=DAY_HOURS) / np.bincount(slots, minlength=DAY_HOURS))[slots]
    # Neighbouring hours are alike, so each is worth less than one observation: (1 - r) / (1 + r) of one.
    noise = float(np.median(np.abs(np.diff(log)))) / 0.954 if len(log) > 2 else 0.0
    spread = max(noise**2, 1e-6)
    memory = float(np.corrcoef(log[:-1], log[1:])[0, 1]) if len(log) > 3 and log.std() > 1e-9 else 0.0
    worth = max((1 - memory) / (1 + memory), 0.02) if np.isfinite(memory) else 1.0
    found: list[int] = []
    _split(log, 0, len(log), spread, worth, found)
    return sorted(found)


def _split(log: Floats, low: int, high: int, spread: float, worth: float, found: list[int]) -> None:
    n = high - low
    if n < 2 * SHORTEST_SEGMENT_H:
        return
    part = log[low:high]
    sums = part.cumsum()
    at = np.arange(SHORTEST_SEGMENT_H, n - SHORTEST_SEGMENT_H + 1)
    left, right = sums[at - 1] / at, (sums[-1] - sums[at - 1]) / (n - at)
    gain = at * (n - at) / n * (left - right) ** 2 * worth / max(spread, float(part.var()) * 0.25)
    best = int(np.argmax(gain))
    if gain[best] < BREAK_PENALTY * np.log(len(log)):
        return
    found.append(low + int(at[best]))
    _split(log, low, low + int(at[best]), spread, worth, found)
    _split(log, low + int(at[best]), high, spread, worth, found)


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """One shared pool against one plan per group, both at their best constant floor; US dollars of the whole trace."""

    groups: int
    pooled_usd: float
    separate_usd: float

    @property
    def saved(self) -> float:
        """Share of the separate plans' cost that pooling saves."""
        return 1.0 - self.pooled_usd / self.separate_usd if self.separate_usd > 0 else 0.0


def constant_cost(gpus: Floats, tariff: Tariff) -> float:
    """Cost of the best constant floor, from totals per level only (fast: no table by hour)."""
    need = np.maximum(np.ceil(gpus - 1e-9), 0).astype(np.int64)
    warm = warm_levels(need, tariff.idle_timeout_s)
    levels = int(warm.max(initial=0))
    count = np.bincount(warm, minlength=levels + 1)
    billed = count[::-1].cumsum()[::-1][1:] * float(BIN_S)
    before = np.concatenate(([0], warm[:-1]))
    up = warm > before
    edge = np.bincount(before[up], minlength=levels + 1) - np.bincount(warm[up], minlength=levels + 1)
    starts = edge.cumsum()[:levels]
    serverless = (billed + tariff.cold_start_s * starts) * tariff.serverless_usd_second
    tail = np.concatenate((serverless[::-1].cumsum()[::-1], [0.0]))
    hours = len(gpus) * BIN_S / HOUR_S
    return float((tail + np.arange(levels + 1) * tariff.dedicated_usd_hour * hours).min())


def pooling(groups: Mapping[str, Floats], tariff: Tariff) -> Pooling:
    """What sharing one pool saves against a pool for each group."""
    total = np.sum(list(groups.values()), axis=0)
    return Pooling(
        groups=len(groups),
        pooled_usd=constant_cost(total, tariff),
        separate_usd=sum(in_threads(lambda values: constant_cost(values, tariff), groups.values())),
    )
