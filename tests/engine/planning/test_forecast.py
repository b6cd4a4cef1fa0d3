"""The forecast of `headrace plan --forecast`; here because its library takes seconds to load."""

from __future__ import annotations

import numpy as np
import pytest

from headrace.planner.forecast import forecast
from headrace.planner.levels import Demand

pytestmark = pytest.mark.engine


def test_two_weeks_tell_weekends_from_workdays_and_the_interval_holds() -> None:
    hour = np.arange(21 * 24)
    office = (hour % 24 >= 8) & (hour % 24 < 18) & (hour // 24 % 7 < 5)
    hourly = np.random.default_rng(5).gamma(40, np.where(office, 14.0, 1.5) / 40)
    ahead = forecast(Demand(origin_s=0, gpus=np.repeat(hourly[: 14 * 24], 360)))
    real, days = hourly[14 * 24 :], ahead.mean.reshape(7, 24).max(1)
    assert days[5:].max() < days[:5].min() / 3, "two weeks show that Saturday and Sunday are quiet"
    inside = float(((real >= ahead.low) & (real <= ahead.high)).mean())
    assert 0.7 <= inside <= 0.95, f"an interval of 80 % held {inside:.0%} of the week that followed"
