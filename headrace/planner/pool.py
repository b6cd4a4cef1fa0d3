"""The same cost by another road: an explicit pool of workers, one by one, bin by bin.

Slow and plain on purpose. It shares no code with `levels`, so that their agreement means something (the exactness check
of `python -m benchmarks.planner` and of the tests).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.planner.arrays import BIN_S, BINS_PER_HOUR
from headrace.planner.tariff import Tariff


@dataclass
class _Worker:
    """A serverless worker that is up: bins since it was last busy."""

    idle_bins: int = 0


def simulate_pool(need: Sequence[int], dedicated_per_hour: Sequence[int], tariff: Tariff) -> float:
    """US dollars for whole GPUs needed per bin and GPUs held per hour.

    The lowest free level takes the work: dedicated GPUs first, then workers by age, so the last started is the first
    to fall idle and to stop. The pool of workers does not know how many dedicated GPUs there are: worker k exists
    because level k was needed, and when its hour has a dedicated GPU at that level its time is not billed.
    """
    keep = round(tariff.idle_timeout_s / BIN_S)
    workers: list[_Worker] = []
    cost = 0.0
    for index, wanted in enumerate(need):
        hour, first_bin = divmod(index, BINS_PER_HOUR)
        held = dedicated_per_hour[hour]
        if first_bin == 0:
            cost += held * tariff.dedicated_usd_hour
        for level, worker in enumerate(workers):
            worker.idle_bins = 0 if level < wanted else worker.idle_bins + 1
        while workers and workers[-1].idle_bins > keep:
            workers.pop()
        while len(workers) < wanted:
            workers.append(_Worker())
            if len(workers) > held:
                cost += tariff.cold_start_s * tariff.serverless_usd_second
        cost += max(len(workers) - held, 0) * BIN_S * tariff.serverless_usd_second
    return cost
