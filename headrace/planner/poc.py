"""After a trial on a share of the traffic: migrate, go on measuring, or stop, with the confidence of that answer.

Both sides are logs of requests with their cost, latency and errors. Cost per request and error rate are compared by a
bootstrap over hours (hours, not requests: requests of one hour are alike), the latency percentile likewise. The trial
succeeds if the lower end of the interval saves enough, and neither latency nor errors are credibly worse than allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from headrace.planner.arrays import Floats, Ints

RESAMPLES: Final = 2000
CONFIDENCE: Final = 0.90
# The essay's rule: more than 30 % saved with acceptable latency. A default, and an option of the command.
DEFAULT_SAVING: Final = 0.30
FEWEST_HOURS: Final = 24


class Decision(StrEnum):
    """What to do after the trial."""

    MIGRATE = "migrate"
    EXTEND = "extend the trial"
    STOP = "do not migrate"


@dataclass(frozen=True, kw_only=True)
class Side:
    """Requests of one side: hour number, US dollars, seconds, whether it failed; all [requests]."""

    hour: Ints
    usd: Floats
    latency_s: Floats
    failed: Floats


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its interval at `CONFIDENCE`."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The outcome. saving: share of cost per request; slower: share of the percentile; errors: difference of rates."""

    decision: Decision
    sentence: str
    saving: Interval
    slower: Interval
    errors: Interval
    confidence: float
    share: float
    hours: int


def judge(
    control: Side,
    trial: Side,
    *,
    saving: float = DEFAULT_SAVING,
    slower: float = 0.1,
    errors: float = 0.001,
    percentile: float = 95.0,
    seed: int = 1,
) -> Trial:
    """Decide. `saving`: least share saved; `slower`, `errors`: most allowed worsening of latency and error rate."""
    hours = np.intersect1d(np.unique(control.hour), np.unique(trial.hour))
    rng = np.random.default_rng(seed)
    tables = [_by_hour(side, hours) for side in (control, trial)]
    weights = (
        rng.multinomial(len(hours), np.full(len(hours), 1 / max(len(hours), 1)), RESAMPLES) if len(hours) else None
    )
    if weights is None or len(hours) < 2:
        return _short(control, trial, hours, saving)
    costs = [_ratio(weights, table[:, 1], table[:, 0]) for table in tables]
    failures = [_ratio(weights, table[:, 2], table[:, 0]) for table in tables]
    delays = [_percentiles(side, hours, weights[:200], percentile) for side in (control, trial)]
    saved = 1 - costs[1] / costs[0]
    found = {
        "saving": _interval(saved, 1 - _mean(tables[1], 1) / _mean(tables[0], 1)),
        "slower": _interval(delays[1] / delays[0] - 1, float(np.median(delays[1] / delays[0] - 1))),
        "errors": _interval(failures[1] - failures[0], _mean(tables[1], 2) - _mean(tables[0], 2)),
    }
    sure = float((saved >= saving).mean())
    decision, sentence = _decide(found, sure, saving, slower, errors, percentile, len(hours))
    return Trial(
        decision=decision,
        sentence=sentence,
        confidence=sure if decision is Decision.MIGRATE else max(sure, 1 - sure),
        share=len(trial.hour) / max(len(trial.hour) + len(control.hour), 1),
        hours=len(hours),
        **found,
    )


def _decide(
    found: dict[str, Interval], sure: float, saving: float, slower: float, errors: float, percentile: float, hours: int
) -> tuple[Decision, str]:
    spent = found["saving"]
    range_text = f"{spent.value:.1%} saved per request ({spent.low:.1%} to {spent.high:.1%} with {CONFIDENCE:.0%})"
    if spent.high < 0:
        return Decision.STOP, (
            f"Do not migrate: {range_text}; it costs more, so look for retries and prompt bloat before changing pools."
        )
    worse = []
    if found["slower"].low > slower:
        worse.append(f"p{percentile:g} latency is at least {found['slower'].low:.0%} higher")
    if found["errors"].low > errors:
        worse.append(f"the error rate is at least {found['errors'].low:.2%} higher")
    if worse:
        return Decision.STOP, f"Do not migrate: {range_text}, but {' and '.join(worse)}."
    if spent.high < saving:
        return Decision.STOP, f"Do not migrate: {range_text}, surely less than the {saving:.0%} asked for."
    unsure = []
    if spent.low < saving:
        unsure.append(f"saving {saving:.0%} has a probability of {sure:.0%}")
    if found["slower"].high > slower:
        unsure.append(f"latency may be up to {found['slower'].high:.0%} higher")
    if found["errors"].high > errors:
        unsure.append(f"errors may be up to {found['errors'].high:.2%} higher")
    if hours < FEWEST_HOURS:
        unsure.append(f"{hours} common hours are less than a day")
    if unsure:
        return Decision.EXTEND, f"Extend the trial: {range_text}; {'; '.join(unsure)}."
    return Decision.MIGRATE, f"Migrate: {range_text}, latency and errors within what is allowed."


def _short(control: Side, trial: Side, hours: Ints, saving: float) -> Trial:
    nothing = Interval(value=float("nan"), low=-1.0, high=1.0)
    return Trial(
        decision=Decision.EXTEND,
        sentence=f"Extend the trial: both sides share {len(hours)} hours; no interval for {saving:.0%} can be given.",
        saving=nothing,
        slower=nothing,
        errors=nothing,
        confidence=0.0,
        share=len(trial.hour) / max(len(trial.hour) + len(control.hour), 1),
        hours=len(hours),
    )


def _by_hour(side: Side, hours: Ints) -> Floats:
    """Requests, US dollars and failures of each common hour, [hours, 3]."""
    at = np.searchsorted(hours, side.hour)
    known = (at < len(hours)) & (hours[np.minimum(at, len(hours) - 1)] == side.hour) if len(hours) else at < 0
    table = np.zeros((len(hours), 3))
    for column, values in enumerate((np.ones(len(side.hour)), side.usd, side.failed)):
        np.add.at(table[:, column], at[known], values[known])
    return table


def _mean(table: Floats, column: int) -> float:
    return float(table[:, column].sum() / max(table[:, 0].sum(), 1.0))


def _ratio(weights: Ints, top: Floats, bottom: Floats) -> Floats:
    return np.asarray((weights @ top) / np.maximum(weights @ bottom, 1e-12))


def _percentiles(side: Side, hours: Ints, weights: Ints, percentile: float) -> Floats:
    """Percentile of latency in each resample of hours."""
    groups = [np.sort(side.latency_s[side.hour == hour]) for hour in hours.tolist()]
    grid = np.unique(np.quantile(side.latency_s, np.linspace(0, 1, 513)))
    below = np.stack([np.searchsorted(group, grid, side="right") for group in groups])
    size = np.array([len(group) for group in groups])
    shares = (weights @ below) / np.maximum(weights @ size, 1)[:, None]
    return np.asarray(np.maximum(grid[np.argmax(shares >= percentile / 100, axis=1)], 1e-9))


def _interval(draws: Floats, value: float) -> Interval:
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(value=float(value), low=float(low), high=float(high))
