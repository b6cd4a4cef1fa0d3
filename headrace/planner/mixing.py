"""Mixing forecasters online, with a guarantee that does not depend on the traffic.

Two mixtures run side by side and their answers are averaged:

- `polynomial`: ML-Poly with gradient losses (Gaillard, Stoltz and van Erven 2014, "A second-order bound with excess
  losses", figure 1): in the long run no worse than the best fixed convex combination of the experts, with no rate to
  tune.
- `leaders`: exponential weights over discounted regrets and then the weighted median of the answers, which a few wild
  experts cannot drag away.

Nothing larger is held than what was best in three past hours, so that a single spike is not bought for an hour. A guard
compares what this mixture and three plain rules would have cost so far and follows a plain rule while it leads.
"""

from __future__ import annotations

import heapq
from typing import Final

import numpy as np

from headrace.planner.arrays import DAY_HOURS, Floats, Ints
from headrace.planner.experts import expert_decisions
from headrace.planner.policies import HourlyCosts, floor_plus_ten, rolling_floor_plus_ten, serverless_only

# Memory of the exponential weights: a regret halves in 138 hours. Rate: regrets are measured in standard deviations.
DISCOUNT: Final = 0.995
RATE: Final = 0.1
# The first day teaches nothing: no expert has seen an hour of the day before.
LEARN_FROM: Final = DAY_HOURS
# Hours in which a size must have been best before it is held (chosen on tenants' traces among 2, 3 and 4).
WITNESSES: Final = 3


def polynomial(costs: HourlyCosts, answers: Floats) -> Floats:
    """ML-Poly over real-valued answers [H + 1, E] -> mixed answers [H + 1]."""
    regret = np.zeros(answers.shape[1])
    squares = np.zeros(answers.shape[1])
    mixed = np.zeros(len(answers))
    for hour in range(len(answers)):
        weights = np.maximum(regret, 0.0) / (1e-12 + squares)
        total = weights.sum()
        mixed[hour] = weights @ answers[hour] / total if total > 0 else answers[hour].mean()
        if LEARN_FROM <= hour < costs.hours:
            gain = _slope(costs, hour, mixed[hour]) * (mixed[hour] - answers[hour])
            regret += gain
            squares += gain**2
    return mixed


def _slope(costs: HourlyCosts, hour: int, dedicated: float) -> float:
    """Right derivative of the hour's cost: what one more GPU would have changed, in US dollars."""
    right = int(np.searchsorted(costs.candidates, dedicated, side="right"))
    if right >= len(costs.candidates):
        return costs.tariff.dedicated_usd_hour
    step = float(costs.candidates[right] - costs.candidates[right - 1])
    return float(costs.cost[hour, right] - costs.cost[hour, right - 1]) / step


def leaders(costs: HourlyCosts, answers: Floats) -> Floats:
    """Discounted exponential weights and the weighted median, [H + 1]."""
    hours = np.arange(costs.hours)[:, None]
    paid = costs.at(hours, np.maximum(np.round(answers[:-1]), 0.0)) - costs.cost.min(1)[:, None]
    loss = np.zeros(answers.shape[1])
    spread, weight = 0.0, 0.0
    mixed = np.zeros(len(answers))
    for hour in range(len(answers)):
        scale = np.sqrt(spread / weight) if spread > 0 else np.inf
        share = np.exp(-RATE * (loss - loss.min()) / scale)
        order = np.argsort(answers[hour], kind="stable")
        reached = np.searchsorted(share[order].cumsum(), share.sum() / 2)
        mixed[hour] = answers[hour][order[min(int(reached), len(order) - 1)]]
        if LEARN_FROM <= hour < costs.hours:
            loss = loss * DISCOUNT + paid[hour]
            spread = spread * DISCOUNT + float(paid[hour].var())
            weight = weight * DISCOUNT + 1.0
    return mixed


def whole(answers: Floats) -> Ints:
    """Nearest whole number of GPUs, never negative."""
    return np.maximum(np.round(answers), 0.0).astype(np.int64)


def evidenced(costs: HourlyCosts, wished: Ints) -> Ints:
    """At most what would have been best in `WITNESSES` past hours: one spike is no reason to hold its size for an hour.

    A lasting rise passes after that many hours; until then its top is served serverless, which costs
    1 / break-even - 1 of it. The first day is left alone, since nothing has been seen yet.
    """
    best = costs.best(costs.cost)
    largest: list[int] = []
    capped = wished.copy()
    for hour in range(len(wished)):
        if hour > LEARN_FROM and len(largest) == WITNESSES:
            capped[hour] = min(int(wished[hour]), largest[0])
        if hour < costs.hours:
            heapq.heappush(largest, int(best[hour]))
            if len(largest) > WITNESSES:
                heapq.heappop(largest)
    return capped


def guarded(costs: HourlyCosts, mixed: Ints) -> Ints:
    """The mixture, or the plain rule that has cost less than it so far (mixture first on ties)."""
    rules = [mixed, rolling_floor_plus_ten(costs), floor_plus_ten(costs), serverless_only(costs)]
    # The one-off rule exists from the end of the training on; before that it would know its own future.
    trained = rules[2].copy()
    trained[: costs.history_hours] = rules[1][: costs.history_hours]
    rules[2] = trained
    choices = np.stack(rules, axis=1)
    hours = np.arange(costs.hours)[:, None]
    paid = costs.at(hours, choices[:-1].astype(float))
    paid[:LEARN_FROM] = 0.0
    so_far = np.concatenate((np.zeros((1, choices.shape[1])), paid.cumsum(0)))
    return np.asarray(choices[np.arange(len(choices)), np.argmin(so_far, axis=1)])


def adaptive(costs: HourlyCosts) -> Ints:
    """Headrace's own policy: the bank of experts, mixed both ways, averaged, rounded and guarded. [H + 1] GPUs."""
    _, answers = expert_decisions(costs)
    blend = (polynomial(costs, answers) + leaders(costs, answers)) / 2
    return guarded(costs, evidenced(costs, whole(blend)))
