"""UTC of this process, and what depends on the hour: the month of budgets, warm-up windows."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from headrace.router.config import RouterConfig


class Calendar:
    """UTC from the wall clock of the start and the monotonic clock since: a jump of the wall clock changes nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._zero = time.time() - clock()
        self._period, self._period_until = "", 0.0

    def now_us(self) -> int:
        """Microseconds since 1970."""
        return int((self._zero + self._clock()) * 1_000_000)

    def now(self) -> datetime:
        """UTC."""
        return datetime.fromtimestamp(self._zero + self._clock(), tz=UTC)

    def period(self) -> str:
        """Month of the budgets; computed once a second."""
        now = self._clock()
        if not self._period or now >= self._period_until:
            self._period, self._period_until = self.now().strftime("%Y-%m"), now // 1 + 1
        return self._period


def min_instances(policy: RouterConfig, now: datetime) -> dict[str, int]:
    """Instances that warm-up windows and minimums hold now."""
    held = {}
    for name, pool in policy.pools.items():
        if pool.dedicated:
            continue
        least = pool.min_instances
        for window in pool.warm_up:
            local = now.astimezone(ZoneInfo(window.time_zone))
            if local.weekday() * 24 + local.hour in window.hours:
                least = max(least, window.min_instances)
        held[name] = min(least, pool.instances)
    return held
