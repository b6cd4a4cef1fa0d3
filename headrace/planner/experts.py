"""A bank of forecasters of the next hour's best fleet size.

Most of them are one idea with different settings: the next hour will look like a weighted sample of past hours. A past
hour j weighs more the more recent it is, the nearer its hour of the day, and the more alike its last minutes were to
the last minutes before hour h. Either the past cost curves are averaged as they are (`plain`), or each is first divided
by a reference level known at its start, averaged, and multiplied by the present reference (`scaled`): then a busy day
teaches a quiet one. The expert's answer is the size with the least weighted cost: a conditional newsvendor ("From
predictive to prescriptive analytics", Bertsimas and Kallus 2020, section 2).

Nothing here knows the future: row h uses signals before hour h and cost curves of hours j < h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from headrace.planner.arrays import DAY_HOURS, WEEK_HOURS, Floats, Ints
from headrace.planner.policies import (
    SIGNALS_PER_HOUR,
    HourlyCosts,
    rolling_floor_plus_ten,
)

# Hours of history an expert looks at: four weeks. Older hours weigh less than 1/16 at every half-life used here.
REACH: Final = 672
# Rows worked on at once, so that memory stays at BLOCK x (BLOCK + REACH) whatever the length of the trace.
BLOCK: Final = 168
# GPUs added to a reference before dividing by it, so that near-idle hours do not produce infinite ratios.
SOFTENING: Final = 0.3
# Multiples of the reference level that scaled experts compare.
MULTIPLES: Final = np.linspace(0.0, 3.0, 121)


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """How past hours are weighted. Widths are Gaussian; None means that the property does not matter."""

    half_life_h: float
    hour_width_h: float | None = None
    week_width_h: float | None = None
    like: tuple[tuple[str, float], ...] = ()
    background: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Signals:
    """What is known at the start of each hour, every array [H + 1]; logarithms of GPUs, softened."""

    last10: Floats
    last20: Floats
    last60: Floats
    last180: Floats
    least60: Floats
    season: Floats
    season_before: Floats
    volatility: Floats

    def feature(self, name: str) -> Floats:
        """A named comparison of two signals, used for likeness."""
        pairs = {
            "jump": (self.last10, self.last60),
            "drift": (self.last20, self.last60),
            "season": (self.last60, self.season_before),
            "ramp": (self.season, self.season_before),
            "spike": (self.last20, self.least60),
        }
        if name in pairs:
            return np.asarray(pairs[name][0] - pairs[name][1])
        return {"level": self.last20, "volatility": self.volatility}[name]


def signals(costs: HourlyCosts) -> Signals:
    """Signals from the ten-minute means."""
    level = costs.signal
    hours = costs.hours
    at = np.arange(hours + 1) * SIGNALS_PER_HOUR
    sums = np.concatenate(([0.0], level.cumsum()))
    log = np.log(level + SOFTENING)
    log_sums = np.concatenate(([0.0], log.cumsum()))
    square_sums = np.concatenate(([0.0], (log**2).cumsum()))

    def mean(windows: int) -> Floats:
        start = np.maximum(at - windows, 0)
        return np.asarray(np.log((sums[at] - sums[start]) / np.maximum(at - start, 1) + SOFTENING))

    three = np.maximum(at - 3 * SIGNALS_PER_HOUR, 0)
    count = np.maximum(at - three, 1)
    variance = (square_sums[at] - square_sums[three]) / count - ((log_sums[at] - log_sums[three]) / count) ** 2
    least = np.array([level[max(0, end - SIGNALS_PER_HOUR) : end].min() if end else 0.0 for end in at])
    season = _season(costs.hourly_mean, mean(6))
    return Signals(
        last10=mean(1),
        last20=mean(2),
        last60=mean(6),
        last180=mean(18),
        least60=np.log(least + SOFTENING),
        season=season,
        season_before=np.concatenate((season[:1], season[:-1])),
        volatility=np.sqrt(np.maximum(variance, 0.0)),
    )


def _season(hourly: Floats, fallback: Floats) -> Floats:
    """Mean log level at this hour of the day over up to seven past days, [H + 1]."""
    log = np.log(hourly + SOFTENING)
    season = fallback.copy()
    for hour in range(DAY_HOURS, len(log) + 1):
        days = [hour - DAY_HOURS * back for back in range(1, 8) if hour >= DAY_HOURS * back]
        season[hour] = log[days].mean()
    return season


def _usual_ramp(reference: Floats, hourly: Floats, *, days: int = 14) -> Floats:
    """Log change from the reference to this hour's mean that most past days agree on, else 0, [H + 1].

    Shrinks towards zero by taking 0 where it lies between the 30th and the 70th percentile of past days: a ramp counts
    only if it is usual.
    """
    change = np.log(hourly + SOFTENING) - reference[:-1]
    ramp = np.zeros(len(reference))
    for hour in range(4 * DAY_HOURS, len(reference)):
        past = [change[hour - DAY_HOURS * back] for back in range(1, days + 1) if hour - DAY_HOURS * back >= DAY_HOURS]
        low, high = np.quantile(past, [0.3, 0.7])
        ramp[hour] = np.clip(np.clip(0.0, low, high), -1.0, 1.0)
    return ramp


def _references(costs: HourlyCosts, known: Signals) -> dict[str, Floats]:
    """Reference levels in GPUs, [H + 1]: guesses of the coming hour's level to scale past curves to."""
    recent = (known.last20 + known.last60) / 2
    careful = (known.last20 + known.least60) / 2
    logs = {
        "last20": known.last20,
        "last60": known.last60,
        "recent": recent,
        "careful": careful,
        "season": known.season,
        "half-season": (recent + known.season) / 2,
        "recent-ramp": recent + _usual_ramp(recent, costs.hourly_mean),
        "last20-ramp": known.last20 + _usual_ramp(known.last20, costs.hourly_mean),
        "careful-ramp": careful + _usual_ramp(careful, costs.hourly_mean),
    }
    return {name: np.exp(log) for name, log in logs.items()}


_WEEK: Final = float(WEEK_HOURS)
_BY_TIME = Kernel(half_life_h=336, hour_width_h=2.0, like=(("jump", 0.25), ("season", 0.3)), background=0.03)
_BY_SEASON = Kernel(half_life_h=336, like=(("season", 0.3), ("ramp", 0.1)), background=0.03)
_BY_SPIKE = Kernel(half_life_h=336, like=(("spike", 0.12), ("jump", 0.25)), background=0.03)
_BY_MOOD = Kernel(half_life_h=336, hour_width_h=3.0, like=(("volatility", 0.15),), background=0.03)
_ALL = Kernel(half_life_h=336)

PLAIN: Final[dict[str, Kernel]] = {
    "same-hour": Kernel(half_life_h=_WEEK, hour_width_h=0.5),
    "near-hour": Kernel(half_life_h=_WEEK, hour_width_h=1.0, background=0.01),
    "same-hour-of-week": Kernel(half_life_h=1000, hour_width_h=0.5, week_width_h=2.0),
    "rolling": Kernel(half_life_h=120),
    "few-hours": Kernel(half_life_h=3),
    "like-level": Kernel(half_life_h=336, like=(("level", 0.12),), background=0.005),
    "like-level-and-hour": Kernel(half_life_h=336, hour_width_h=2.0, like=(("level", 0.2),), background=0.003),
}
SCALED: Final[tuple[tuple[str, Kernel], ...]] = (
    ("last20", _BY_TIME),
    ("recent", _BY_SEASON),
    ("season", _BY_TIME),
    ("half-season", _BY_TIME),
    ("last60", _BY_SEASON),
    ("recent-ramp", _BY_SPIKE),
    ("last20-ramp", _BY_MOOD),
    ("careful", _BY_MOOD),
    ("careful-ramp", _ALL),
    ("careful-ramp", _BY_SPIKE),
    ("careful-ramp", _BY_MOOD),
)


def expert_decisions(costs: HourlyCosts) -> tuple[list[str], Floats]:
    """Names and answers of all experts; answers are real-valued GPUs, [H + 1, experts]."""
    known = signals(costs)
    answers: dict[str, Floats] = {
        "serverless-only": np.zeros(costs.hours + 1),
        "rolling-floor-plus-ten": rolling_floor_plus_ten(costs).astype(float),
        "last-20-minutes": _best_of_last(costs, windows=2).astype(float),
        "last-hour": _best_of_last(costs, windows=6).astype(float),
    }
    references = _references(costs, known)
    curves = {name: _scaled_curves(costs, reference) for name, reference in references.items()}
    jobs: dict[Kernel, list[tuple[str, str | None]]] = {}
    for name, kernel in PLAIN.items():
        jobs.setdefault(kernel, []).append((name, None))
    for index, (scale, kernel) in enumerate(SCALED):
        jobs.setdefault(kernel, []).append((f"scaled-{index}-{scale}", scale))
    for targets in jobs.values():
        for name, _ in targets:
            answers[name] = np.zeros(costs.hours + 1)
    for low in range(1, costs.hours + 1, BLOCK):
        high = min(low + BLOCK, costs.hours + 1)
        for kernel, targets in jobs.items():
            first, weights = _weights(kernel, known, low, high)
            for name, reference_name in targets:
                if reference_name is None:
                    answers[name][low:high] = costs.best(weights @ costs.cost[first : high - 1])
                else:
                    mean = weights @ curves[reference_name][first : high - 1]
                    answers[name][low:high] = MULTIPLES[mean.argmin(1)] * references[reference_name][low:high]
    return list(answers), np.stack(list(answers.values()), axis=1)


def _best_of_last(costs: HourlyCosts, *, windows: int) -> Ints:
    """The size that would have been cheapest over the last ten-minute windows, [H + 1]."""
    sums = np.concatenate((np.zeros((1, costs.signal_cost.shape[1])), costs.signal_cost.cumsum(0)))
    at = np.arange(costs.hours + 1) * SIGNALS_PER_HOUR
    return costs.best(sums[at] - sums[np.maximum(at - windows, 0)])


def _scaled_curves(costs: HourlyCosts, reference: Floats) -> Floats:
    """Cost at multiples of the reference, per unit of reference, [H, multiples]."""
    level = reference[:-1]
    sizes = level[:, None] * MULTIPLES
    return np.asarray(costs.at(np.arange(costs.hours)[:, None], sizes) / level[:, None])


def _weights(kernel: Kernel, known: Signals, low: int, high: int) -> tuple[int, Floats]:
    """Weights of past hours for the rows low..high-1; columns are the hours first..high-2, rows sum to one."""
    first = max(0, low - REACH)
    row = np.arange(low, high)[:, None]
    column = np.arange(first, high - 1)[None, :]
    ago = row - column
    allowed = (ago >= 1) & (ago <= REACH) & ((column >= DAY_HOURS) | (row <= 2 * DAY_HOURS))
    exponent = np.zeros(ago.shape)
    if kernel.hour_width_h is not None:
        exponent += (np.minimum(ago % DAY_HOURS, -ago % DAY_HOURS) / kernel.hour_width_h) ** 2
    for name, width in kernel.like:
        feature = known.feature(name)
        exponent += ((feature[low:high, None] - feature[None, first : high - 1]) / width) ** 2
    likeness = np.exp(-0.5 * exponent)
    if kernel.week_width_h is not None:
        distance = np.minimum(ago % WEEK_HOURS, -ago % WEEK_HOURS)
        likeness *= 0.02 + 0.98 * np.exp(-0.5 * (distance / kernel.week_width_h) ** 2)
    likeness = np.where(allowed, likeness, 0.0)
    likeness /= np.maximum(likeness.max(1, keepdims=True), 1e-12)
    weights = np.where(allowed, np.exp2(-ago / kernel.half_life_h) * (likeness + kernel.background), 0.0)
    return first, np.asarray(weights / np.maximum(weights.sum(1, keepdims=True), 1e-300))
