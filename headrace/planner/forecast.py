"""Forecast of hourly demand with intervals, by statsforecast (MSTL with automatic exponential smoothing).

Imported only when asked for: the library takes seconds to load.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace.planner.arrays import BINS_PER_HOUR, DAY_HOURS, WEEK_HOURS, Floats
from headrace.planner.levels import Demand

LEVEL = 80


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Hourly mean demand ahead, [hours], with the bounds of an 80 % interval; `covered` is how often it held before."""

    mean: Floats
    low: Floats
    high: Floats
    model: str
    covered: float | None


def forecast(demand: Demand, *, hours: int = WEEK_HOURS) -> Forecast:
    """The next hours. The interval is tested on the last two days of the data if there is a week of it."""
    hourly = demand.gpus.reshape(-1, BINS_PER_HOUR).mean(1)
    covered = None
    held_out = 2 * DAY_HOURS
    if len(hourly) >= WEEK_HOURS:
        _, low, high, _ = _predict(hourly[:-held_out], held_out)
        covered = float(((hourly[-held_out:] >= low) & (hourly[-held_out:] <= high)).mean())
    mean, low, high, name = _predict(hourly, hours)
    return Forecast(mean=mean, low=low, high=high, model=name, covered=covered)


def _predict(hourly: Floats, hours: int) -> tuple[Floats, Floats, Floats, str]:
    logging.getLogger("statsforecast").setLevel(logging.ERROR)
    from statsforecast.models import MSTL, AutoETS, SeasonalNaive

    level = np.log1p(np.maximum(hourly, 0.0))
    if len(level) >= 3 * DAY_HOURS:
        seasons = [DAY_HOURS, WEEK_HOURS] if len(level) >= 2 * WEEK_HOURS else [DAY_HOURS]
        widened = _widened(len(level) / seasons[-1])
        model: Any = MSTL(season_length=seasons, trend_forecaster=AutoETS(model="ZZN"))
        name = f"MSTL{seasons} + ETS"
    else:
        widened = 1.0  # its interval is of differences between periods already
        model = SeasonalNaive(season_length=min(DAY_HOURS, max(len(level) // 2, 1)))
        name = "seasonal naive"
    found = model.forecast(y=level, h=hours, level=[LEVEL])
    middle = np.asarray(found["mean"])
    sides = (middle, *(middle + (np.asarray(found[f"{side}-{LEVEL}"]) - middle) * widened for side in ("lo", "hi")))
    mean, low, high = (np.maximum(np.expm1(side), 0.0) for side in sides)
    return mean, low, high, name


def _widened(periods: float) -> float:
    """How much wider an interval must be than the spread around a season's shape that was fitted to so many periods:
    the fit follows the noise of its n values, so the spread around it is (1 - 1/n) of the variance, while the next
    value lies (1 + 1/n) of it around their mean."""
    return float(np.sqrt((periods + 1) / (periods - 1)))
