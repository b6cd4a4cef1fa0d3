"""Which thresholds of the budgets were passed, each told once a month. No clock, no I/O.

What counts is money that is spent: here, by living replicas, and by silent ones as far as they said. What a silent
replica had reserved for requests on their way counts too: they may still run, and its journal posts them in full if it
crashed. The rest of what it holds of a budget counts nowhere: nobody else may spend it, but nobody has spent it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from headrace.router import budget
from headrace.router.config import RouterConfig

_NEVER: Final = float("inf")


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """A budget passed one of its thresholds. Amounts in nano-dollars."""

    scope: str
    share: float
    spent_nano: int
    limit_nano: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Elsewhere:
    """What other replicas used of a budget, in nano-dollars."""

    spent: int
    """Spent, as far as they said."""
    left_open: int
    """Reserved by replicas that are silent since, for requests that may still run."""
    told: int
    """The sum up to which some replica has told every threshold."""


class Thresholds:
    """One replica's view. `told` is the sum, by scope, up to which thresholds were told before it began.

    Thresholds may be told twice, by two replicas in the same moment or after Redis has lost its memory; none is left
    out, because every replica looks at every sum above what was told.
    """

    def __init__(self, period: str, told: Mapping[str, int]) -> None:
        self.period = period
        self._marks = dict(told)  # the highest sum that was looked at
        self._next: dict[str, float] = {}  # the sum at which to look again
        self._elsewhere: dict[str, int] = {}

    def new_period(self, period: str) -> None:
        """A new month: nothing is spent, and nothing was told."""
        self.period = period
        self._marks, self._next, self._elsewhere = {}, {}, {}

    def forget_limits(self) -> None:
        """Budgets or thresholds may be others now."""
        self._next.clear()

    def told(self, scope: str) -> int:
        """The sum up to which every threshold was told."""
        return self._marks.get(scope, 0)

    def due(self, scope: str, spent: int) -> bool:
        """Whether `passed` can have anything to say. Cheap: asked for each request."""
        return spent + self._elsewhere.get(scope, 0) >= self._next.get(scope, 0)

    def passed(self, scope: str, spent: int, policy: RouterConfig) -> list[Alert]:
        """Alerts for a budget of which `spent` was spent here."""
        limit = policy.totals.get(f"{scope}/money")
        if limit is None:
            self._next[scope] = _NEVER
            return []
        before, after = self._marks.get(scope, 0), spent + self._elsewhere.get(scope, 0)
        mark = self._marks[scope] = max(before, after)
        self._next[scope] = min((at for one in policy.alert_thresholds if (at := one * limit) > mark), default=_NEVER)
        return [
            Alert(scope=scope, share=share, spent_nano=after, limit_nano=limit)
            for share in budget.crossed(before, after, limit, policy.alert_thresholds)
        ]

    def heard(self, money: Mapping[str, Elsewhere]) -> None:
        """What others used and told, by scope."""
        for scope, other in money.items():
            if other.told > self._marks.get(scope, 0):
                self._marks[scope] = other.told
                self._next.pop(scope, None)
            self._elsewhere[scope] = other.spent + other.left_open
