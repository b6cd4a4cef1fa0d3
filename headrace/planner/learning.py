"""Predicting each level's saving by recursive least squares over what is known of the level itself.

Cost separates by level (B.1), so the next hour's question is asked for each level alone: what will holding it save? The
answer is a linear rule over what holding it would have saved lately and at this hour of past days. One rule serves all
levels; it is fitted after each hour, forgetting slowly, and levels near the present load weigh most, because far below
and far above it every rule is right.

Savings are in units of the dedicated price: between -1 (nothing was needed) and 1 / break-even - 1 (busy all hour), and
more where starts were many.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from headrace.planner.arrays import DAY_HOURS, Floats
from headrace.planner.policies import SIGNALS_PER_HOUR, HourlyCosts

# Ten-minute windows over which a level's recent saving is averaged: 10, 20 and 60 minutes, three hours, a day.
RECENT: Final = (1, 2, 6, 18, 144)
DAYS: Final = 7
# Weight of an hour falls to half in 346 hours. The penalty keeps the first days from fitting noise.
MEMORY: Final = 0.998
PENALTY: Final = 10.0
# Logarithmic distance from the present load at which a level weighs 0.6 of one at it.
REACH: Final = 0.8
# GPUs below which the present load is taken for this much.
LEAST_LOAD: Final = 0.3
# Hours of learning before the rule is used; the caller's `until` stands in before.
APPRENTICE_H: Final = 2 * DAY_HOURS


def learned(costs: HourlyCosts, *, until: Floats, reach: float = REACH, memory: float = MEMORY) -> Floats:
    """GPUs of which the rule expects a saving, [H + 1]; `until` ([H + 1]) in the first days."""
    levels = costs.candidates[1:] - 0.5
    answers = until.copy()
    if not len(levels):
        return answers
    steps = np.diff(costs.candidates).astype(float)
    price = costs.tariff.dedicated_usd_hour
    saved = -np.diff(costs.cost, axis=1) / (steps * price)
    recent = -np.diff(costs.signal_cost, axis=1) * (SIGNALS_PER_HOUR / price) / steps
    sums = np.concatenate((np.zeros((1, len(levels))), recent.cumsum(0)))
    load = np.maximum(np.concatenate(([0.0], costs.hourly_mean)), LEAST_LOAD)
    width = len(RECENT) + 4
    gram, target = np.eye(width) * PENALTY, np.zeros(width)
    before = np.zeros(len(levels))
    for hour in range(costs.hours + 1):
        usual = _usual(saved, hour)
        known = _known(sums, saved, hour, usual, before)
        before = usual
        if hour >= DAY_HOURS + APPRENTICE_H:
            answers[hour] = steps @ (known @ np.linalg.solve(gram, target) > 0)
        if DAY_HOURS <= hour < costs.hours:
            weighted = known * (np.exp(-0.5 * (np.log(levels / load[hour]) / reach) ** 2) * steps)[:, None]
            gram = gram * memory + weighted.T @ known + np.eye(width) * PENALTY * (1 - memory)
            target = target * memory + weighted.T @ saved[hour]
    return answers


def _usual(saved: Floats, hour: int) -> Floats:
    """Mean saving at this hour of up to seven past days, [M]; zero where there is none."""
    past = [hour - DAY_HOURS * back for back in range(1, DAYS + 1) if hour >= DAY_HOURS * back]
    return np.asarray(saved[past].mean(0)) if past else np.zeros(saved.shape[1])


def _known(sums: Floats, saved: Floats, hour: int, usual: Floats, before: Floats) -> Floats:
    """What is known of each level before the hour, [M, features]: recent savings, yesterday's at this hour, the usual
    one at this hour and at the one before, and one."""
    at = hour * SIGNALS_PER_HOUR
    columns = [(sums[at] - sums[max(at - windows, 0)]) / max(min(windows, at), 1) for windows in RECENT]
    yesterday = saved[hour - DAY_HOURS] if hour >= DAY_HOURS else np.zeros(saved.shape[1])
    return np.stack((*columns, usual, yesterday, before, np.ones(saved.shape[1])), axis=1)
