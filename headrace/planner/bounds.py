"""What no plan can beat: the bounds every figure is printed beside (docs/planner/cost-model.md, B.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headrace.planner.arrays import BIN_S, HOUR_S, Floats
from headrace.planner.levels import Demand, best_constant, cost_per_hour
from headrace.planner.tariff import Tariff


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Lower bounds in US dollars over the same hours.

    fluid_usd: busy GPU-seconds at the cheaper rate (LB0); a sanity bound.
    hourly_usd: in each hour and level the cheaper of the two (LB1): no plan that holds whole hours can cost less.
    static_usd, static_gpus: the best constant number of dedicated GPUs, known only afterwards.
    """

    fluid_usd: float
    hourly_usd: float
    static_usd: float
    static_gpus: int


def hourly_bound(serverless: Floats, tariff: Tariff) -> Floats:
    """LB1 of each hour: sum over levels of min(p_d, serverless cost), [hours]."""
    return np.asarray(np.minimum(serverless, tariff.dedicated_usd_hour).sum(1))


def bounds(demand: Demand, serverless: Floats, tariff: Tariff) -> Bounds:
    """All bounds of a demand whose serverless cost table is `serverless` [hours, levels]."""
    busy_s = float(np.maximum(demand.gpus, 0).sum()) * BIN_S
    constant = best_constant(serverless, tariff)
    held = np.full(len(serverless), constant, dtype=np.int64)
    return Bounds(
        fluid_usd=busy_s * min(tariff.dedicated_usd_hour / HOUR_S, tariff.serverless_usd_second),
        hourly_usd=float(hourly_bound(serverless, tariff).sum()),
        static_usd=float(cost_per_hour(serverless, held, tariff).sum()),
        static_gpus=constant,
    )
