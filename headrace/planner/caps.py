"""Caps on either pool, brought into every policy: what serverless may not serve must be dedicated.

With at most C serverless replicas an hour whose peak needs n must hold n - C dedicated ones. The levels below that are
forced, the ones above stay independent, so each policy remains exact. A dedicated cap comes last; where both caps
together lie under the peak no plan serves it, and the plan says so.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from headrace.planner.arrays import BINS_PER_HOUR, Floats, Ints
from headrace.planner.levels import Demand

# Serving a forced level serverless costs this many dedicated hours: more than any schedule could save.
_NEVER: Final = 1e6


def hour_peaks(demand: Demand) -> Ints:
    """Whole replicas needed at the peak of each hour, [hours]."""
    return np.asarray(demand.need.reshape(-1, BINS_PER_HOUR).max(1), dtype=np.int64)


def least_held(peaks: Ints, serverless_cap: int | None, *, period: int, first_slot: int = 0) -> Ints:
    """Dedicated replicas that each slot needs at least; a slot that was never seen needs what the busiest one does."""
    least = np.full(period, -1, dtype=np.int64)
    if serverless_cap is None or not len(peaks):
        return np.zeros(period, dtype=np.int64)
    slots = (np.arange(len(peaks)) + first_slot) % period
    np.maximum.at(least, slots, np.maximum(peaks - serverless_cap, 0))
    return np.where(least < 0, least.max(), least)


def forced(slot_usd: Floats, least: Ints, dedicated_usd_hour: float) -> Floats:
    """Slot costs, [slots, levels], in which a level that must be dedicated is never worth serving serverless."""
    below = np.arange(slot_usd.shape[1])[None, :] < least[:, None]
    return np.where(below, _NEVER * dedicated_usd_hour, slot_usd)


def shortage(peak: int, dedicated_cap: int | None, serverless_cap: int | None, gpus_per_replica: int = 1) -> str | None:
    """Why no plan serves the peak; None where one does."""
    if dedicated_cap is None or serverless_cap is None or dedicated_cap + serverless_cap >= peak:
        return None
    needed, dedicated, serverless = (count * gpus_per_replica for count in (peak, dedicated_cap, serverless_cap))
    return (
        f"the peak needs {needed} GPUs, but at most {dedicated} dedicated and {serverless} serverless are allowed;"
        f" {needed - dedicated - serverless} are missing"
    )
