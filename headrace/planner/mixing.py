"""Mixing forecasters online, with a guarantee that does not depend on the traffic.

Three mixtures run side by side; their answers and that of a learner of its own (`learning`) are averaged:

- `polynomial`: ML-Poly with gradient losses (Gaillard, Stoltz and van Erven 2014, "A second-order bound with excess
  losses", figure 1): in the long run no worse than the best fixed convex combination of the experts, with no rate to
  tune.
- `leaders`: exponential weights over discounted regrets and then the weighted median of the answers, which a few wild
  experts cannot drag away;
- `by_level`: the same weights, kept apart for levels far below, near and far above the present one. Cost separates by
  level (B.1), so the bottom of the fleet may follow slow experts while its top follows quick ones.

Nothing larger is held than what was best in three past hours, so that a single spike is not bought for an hour, and a
level that was hardly ever held is held only where holding it has paid; what was worth holding throughout the last hour
needs no other evidence. A guard compares what this mixture and three plain rules would have cost so far and follows a
plain rule while it leads.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Final

import numpy as np

from headrace.planner.arrays import DAY_HOURS, Floats, Ints
from headrace.planner.experts import expert_decisions
from headrace.planner.learning import learned
from headrace.planner.policies import (
    SIGNALS_PER_HOUR,
    HourlyCosts,
    floor_plus_ten,
    rolling_floor_plus_ten,
    serverless_only,
)

# Memory of the exponential weights: a regret halves in 138 hours. Rate: regrets are measured in standard deviations.
DISCOUNT: Final = 0.995
RATE: Final = 0.1
# Rate of the weights kept by level, and the logarithmic width and number of the bands that they are kept in.
LEVEL_RATE: Final = 0.2
BAND_WIDTH: Final = 0.12
BANDS: Final = 9
# GPUs below which the present level is taken for this much, so that idle hours have bands too.
LEAST_LEVEL: Final = 0.3
# Hours of wishing a level after which the mixture is trusted with it: the least of 4, 8, 16 and 32 on tenants' traces,
# all of which kept every series within 0.5 % of floor + 10 %.
PROBATION: Final = 4
# The first day teaches nothing: no expert has seen an hour of the day before.
LEARN_FROM: Final = DAY_HOURS
# Hours in which a size must have been best before it is held (chosen on tenants' traces among 2, 3 and 4).
WITNESSES: Final = 3
# The learned rule has no say while it lost more than this many times what the worst mixture lost over these hours: a
# linear rule errs without bound where traffic stops for good, since it still adds up what was usual at that hour.
LOST_TOO_MUCH: Final = 2.0
LOST_OVER_H: Final = 6


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


def leaders(costs: HourlyCosts, answers: Floats, *, rate: float = RATE, discount: float = DISCOUNT) -> Floats:
    """Discounted exponential weights and the weighted median, [H + 1]."""
    hours = np.arange(costs.hours)[:, None]
    paid = costs.at(hours, np.maximum(np.round(answers[:-1]), 0.0)) - costs.cost.min(1)[:, None]
    loss = np.zeros(answers.shape[1])
    spread, weight = 0.0, 0.0
    mixed = np.zeros(len(answers))
    for hour in range(len(answers)):
        scale = np.sqrt(spread / weight) if spread > 0 else np.inf
        share = np.exp(-rate * (loss - loss.min()) / scale)
        order = np.argsort(answers[hour], kind="stable")
        reached = np.searchsorted(share[order].cumsum(), share.sum() / 2)
        mixed[hour] = answers[hour][order[min(int(reached), len(order) - 1)]]
        if LEARN_FROM <= hour < costs.hours:
            loss = loss * discount + paid[hour]
            spread = spread * discount + float(paid[hour].var())
            weight = weight * discount + 1.0
    return mixed


def by_level(costs: HourlyCosts, answers: Floats, *, rate: float = LEVEL_RATE, discount: float = DISCOUNT) -> Floats:
    """Each level is held if the weighted majority of the experts would hold it, [H + 1]. A level's weights are those of
    its band: the logarithm of its ratio to the mean of the last hour."""
    levels = costs.candidates[1:].astype(float)
    steps = np.diff(costs.candidates).astype(float)
    saved = -np.diff(costs.cost, axis=1)  # by holding one step more, [H, M]
    present = np.maximum(np.concatenate(([0.0], costs.hourly_mean)), LEAST_LEVEL)
    edges = (np.arange(BANDS - 1) - (BANDS - 2) / 2) * BAND_WIDTH
    wished = np.maximum(np.round(answers), 0.0)
    loss = np.zeros((BANDS, answers.shape[1]))
    spread, weight = np.zeros(BANDS), 0.0
    mixed = np.zeros(len(answers))
    for hour in range(len(answers)):
        band = np.searchsorted(edges, np.log((levels - 0.5) / present[hour]))
        holds = wished[hour][None, :] >= levels[:, None]
        scale = np.sqrt(np.maximum(spread / max(weight, 1.0), 1e-18))
        share = np.exp(-rate * (loss - loss.min(1, keepdims=True)) / scale[:, None])
        share /= share.sum(1, keepdims=True)
        mixed[hour] = steps @ ((holds * share[band]).sum(1) > 0.5)
        if LEARN_FROM <= hour < costs.hours:
            members = (np.arange(BANDS)[:, None] == band[None, :]).astype(float)
            paid = -(members @ (holds * saved[hour][:, None]))
            loss = loss * discount + paid
            spread = spread * discount + paid.var(1)
            weight = weight * discount + 1.0
    return mixed


def whole(answers: Floats) -> Ints:
    """Nearest whole number of GPUs, never negative."""
    return np.maximum(np.round(answers), 0.0).astype(np.int64)


def averaged(costs: HourlyCosts, mixtures: Sequence[Floats], rule: Floats, *, weight: int = 1) -> Floats:
    """Mean of the mixtures' answers and the learned rule's, which counts `weight` times, or not at all while it errs
    far more than they; all [H + 1]."""
    answers = np.stack((*mixtures, rule), axis=1)
    hours = np.arange(costs.hours)[:, None]
    lost = costs.at(hours, np.maximum(np.round(answers[:-1]), 0.0)) - costs.cost.min(1)[:, None]
    sums = np.concatenate((np.zeros((1, lost.shape[1])), lost.cumsum(0)))
    lately = sums - sums[np.maximum(np.arange(len(sums)) - LOST_OVER_H, 0)]
    astray = lately[:, -1] > LOST_TOO_MUCH * lately[:, :-1].max(1) + 1e-9
    votes = np.ones(answers.shape)
    votes[:, -1] = np.where(astray, 0.0, float(weight))
    return np.asarray((answers * votes).sum(1) / votes.sum(1))


def lasting(costs: HourlyCosts) -> Ints:
    """The largest size that was worth holding in each ten minutes of the last hour, [H + 1]: a rise that lasts."""
    least = costs.best(costs.signal_cost).reshape(-1, SIGNALS_PER_HOUR).min(1)
    return np.concatenate(([0], least))


def evidenced(costs: HourlyCosts, wished: Ints, *, witnesses: int = WITNESSES) -> Ints:
    """At most what would have been best in `witnesses` past hours, or what lasted through the last one: one spike is no
    reason to hold its size for an hour.

    A rise that comes and goes passes after that many hours; until then its top is served serverless, which costs
    1 / break-even - 1 of it. The first day is left alone, since nothing has been seen yet.
    """
    best, lasted = costs.best(costs.cost), lasting(costs)
    largest: list[int] = []
    capped = wished.copy()
    for hour in range(len(wished)):
        if hour > LEARN_FROM and len(largest) == witnesses:
            capped[hour] = min(int(wished[hour]), max(largest[0], int(lasted[hour])))
        if hour < costs.hours:
            heapq.heappush(largest, int(best[hour]))
            if len(largest) > witnesses:
                heapq.heappop(largest)
    return capped


def proven(costs: HourlyCosts, wished: Ints, *, probation: int = PROBATION) -> Ints:
    """What is wished, up to the first level on probation: above the rolling floor + 10 % and above what lasted through
    the last hour, wished in fewer than `probation` past hours, and holding it then would not have paid. Waiting costs
    1 / break-even - 1 of such an hour; holding a level for a spike that is over costs all of it, which for a small
    tenant is a percent of a week."""
    saved = -np.diff(costs.cost, axis=1)
    top = np.searchsorted(costs.candidates, wished, side="left")
    known = np.maximum(rolling_floor_plus_ten(costs), lasting(costs))
    floor = np.searchsorted(costs.candidates, known, side="left")
    gain = np.zeros(saved.shape[1])
    seen = np.zeros(saved.shape[1])
    held = wished.copy()
    for hour in range(len(wished)):
        if hour > LEARN_FROM and top[hour] > floor[hour]:
            above = slice(floor[hour], top[hour])
            doubtful = np.flatnonzero((gain[above] <= 0) & (seen[above] < probation))
            if len(doubtful):
                held[hour] = costs.candidates[floor[hour] + doubtful[0]]
        if hour < costs.hours:
            gain[: top[hour]] += saved[hour, : top[hour]]
            seen[: top[hour]] += 1
    return held


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
    """Headrace's own policy: the bank of experts, mixed three ways, averaged with what is learned of each level,
    rounded and guarded. [H + 1] GPUs."""
    _, answers = expert_decisions(costs)
    mixtures = (polynomial(costs, answers), leaders(costs, answers), by_level(costs, answers))
    rule = learned(costs, until=np.asarray(np.mean(mixtures, axis=0)))
    blend = averaged(costs, mixtures, rule)
    return guarded(costs, proven(costs, evidenced(costs, whole(blend))))
