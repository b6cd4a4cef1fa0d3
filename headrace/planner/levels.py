"""The exact cost of a mix, level by level.

Work goes to the lowest free level first and serverless workers are reused last in, first out. Then the cost separates:
level k (the k-th GPU in use at once) is needed while ceil(gpus) >= k; as a serverless worker it is billed while the
maximum of ceil(gpus) over the last `idle` seconds is >= k, plus `cold` seconds at each start. Per hour h with d
dedicated GPUs:

    cost(h, d) = d * p_d + p_s * sum over k > d of (billed[h, k] + cold * starts[h, k])

Arrays are [hours, levels]; column k - 1 belongs to level k.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headrace.planner.arrays import BIN_S, BINS_PER_HOUR, HOUR_S, Floats, Ints
from headrace.planner.tariff import Tariff

# Demand that exceeds a whole number by less than this is that number: a sum of thirds must not open a level.
ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Concurrent GPUs (or replicas) needed, every `BIN_S` seconds from `origin_s`, in whole hours.

    `gpus` has shape [hours * 360]. `observed` marks bins that were measured; the others were filled by a stated method.
    """

    origin_s: int
    gpus: Floats
    observed: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None

    def __post_init__(self) -> None:
        if len(self.gpus) % BINS_PER_HOUR or not len(self.gpus):
            raise ValueError("demand covers whole hours, at least one")

    @property
    def hours(self) -> int:
        return len(self.gpus) // BINS_PER_HOUR

    @property
    def need(self) -> Ints:
        """Whole GPUs needed in each bin."""
        return np.maximum(np.ceil(self.gpus - ROUNDING), 0).astype(np.int64)

    def first(self, hours: int) -> Demand:
        """The first hours only."""
        return Demand(origin_s=self.origin_s, gpus=self.gpus[: hours * BINS_PER_HOUR])

    def scaled(self, factor: float) -> Demand:
        """Every value multiplied (sensitivity)."""
        return Demand(origin_s=self.origin_s, gpus=self.gpus * factor)


@dataclass(frozen=True, kw_only=True)
class LevelTables:
    """Billed seconds and starts of each level in each window, both [windows, levels]."""

    billed: Floats
    starts: Floats
    window_s: int

    @property
    def levels(self) -> int:
        return int(self.billed.shape[1])

    def serverless_usd(self, tariff: Tariff) -> Floats:
        """Cost of serving each level serverless in each window, [windows, levels]."""
        return np.asarray((self.billed + tariff.cold_start_s * self.starts) * tariff.serverless_usd_second)


def warm_levels(need: Ints, idle_s: float) -> Ints:
    """Workers up in each bin: the maximum of `need` over this bin and the last `idle_s` seconds."""
    warm = need.copy()
    steps = round(idle_s / BIN_S)
    reach = 1
    while reach <= steps:  # doubling: log2(steps) passes instead of steps
        span = min(reach, steps + 1 - reach)
        shifted = warm.copy()
        shifted[span:] = np.maximum(warm[span:], warm[:-span])
        warm = shifted
        reach += span
    return warm


def level_tables(demand: Demand, tariff: Tariff, *, window_s: int = HOUR_S) -> LevelTables:
    """Billed seconds and starts per window and level (docs/planner/cost-model.md, B.1)."""
    warm = warm_levels(demand.need, tariff.idle_timeout_s)
    per_window = window_s // BIN_S
    windows = len(warm) // per_window
    warm = warm[: windows * per_window]
    levels = int(warm.max(initial=0))
    window = np.repeat(np.arange(windows), per_window)
    flat = np.bincount(window * (levels + 1) + warm, minlength=windows * (levels + 1))
    count = flat.reshape(windows, levels + 1)
    billed = count[:, ::-1].cumsum(1)[:, ::-1][:, 1:] * float(BIN_S)
    starts = _starts(warm, window, windows, levels)
    if tariff.minimum_billed_s > 0:
        billed = billed + _short_fall(warm, window, windows, levels, tariff.minimum_billed_s)
    return LevelTables(billed=billed, starts=starts, window_s=window_s)


def _starts(warm: Ints, window: Ints, windows: int, levels: int) -> Floats:
    rise = np.diff(np.concatenate(([0], warm)))
    up = np.flatnonzero(rise > 0)
    edge = np.zeros((windows, levels + 2))
    np.add.at(edge, (window[up], warm[up] - rise[up]), 1)
    np.add.at(edge, (window[up], warm[up]), -1)
    return np.asarray(edge.cumsum(1)[:, :levels])


def _short_fall(warm: Ints, window: Ints, windows: int, levels: int, minimum_s: float) -> Floats:
    """Seconds billed beyond use because a busy period is shorter than the minimum, booked where it started."""
    missing = np.zeros((windows, levels))
    open_at: list[int] = []
    padded = np.concatenate((warm, [0]))
    for at in np.flatnonzero(np.diff(np.concatenate(([0], padded)))):
        while len(open_at) > padded[at]:
            start = open_at.pop()
            lack = minimum_s - (int(at) - start) * BIN_S
            if lack > 0:
                missing[window[start], len(open_at)] += lack
        open_at.extend(int(at) for _ in range(int(padded[at]) - len(open_at)))
    return missing


def tails(serverless: Floats) -> Floats:
    """Cost of everything above d for d = 0..levels, [windows, levels + 1]."""
    summed = serverless[:, ::-1].cumsum(1)[:, ::-1]
    return np.concatenate((summed, np.zeros((len(serverless), 1))), axis=1)


def cost_per_hour(serverless: Floats, dedicated: Ints, tariff: Tariff) -> Floats:
    """US dollars of each hour when `dedicated` GPUs are held, [hours]."""
    held = np.minimum(dedicated, serverless.shape[1])
    overflow = tails(serverless)[np.arange(len(serverless)), held]
    return np.asarray(dedicated * tariff.dedicated_usd_hour + overflow)


def best_constant(serverless: Floats, tariff: Tariff) -> int:
    """d* = argmin over constants, exact even where starts make the shares non-monotone (B.1). Smallest on ties."""
    total = np.concatenate((np.cumsum(serverless.sum(0)[::-1])[::-1], [0.0]))
    dedicated = np.arange(serverless.shape[1] + 1) * tariff.dedicated_usd_hour * len(serverless)
    return int(np.argmin(total + dedicated))
