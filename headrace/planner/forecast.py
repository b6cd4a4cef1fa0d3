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
        seasons = [DAY_HOURS, WEEK_HOURS] if len(level) >= 3 * WEEK_HOURS else [DAY_HOURS]
        model: Any = MSTL(season_length=seasons, trend_forecaster=AutoETS(model="ZZN"))
        name = f"MSTL{seasons} + ETS"
    else:
        model = SeasonalNaive(season_length=min(DAY_HOURS, max(len(level) // 2, 1)))
        name = "seasonal naive"
    found = model.forecast(y=level, h=hours, level=[LEVEL])
    back = [np.maximum(np.expm1(np.asarray(found[key])), 0.0) for key in ("mean", f"lo-{LEVEL}", f"hi-{LEVEL}")]
    return back[0], back[1], back[2], name
