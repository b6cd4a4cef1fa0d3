"""What the ledger says each replica has spent, for a Redis that does not know it. Never on a request's path.

A month's budgets are given out in Redis only once it knows what replicas that may be dead have spent of them: it is
counted from the sink, and stands for every replica that does not speak for itself. A marker in Redis says that this was
done; a Redis that lost its memory has none. Until then replicas keep the shares that they have.

A sink that does not answer holds up budgets for `PATIENCE_S`, one that counts for `COUNT_S`, no longer: then they are
given out without, and counting goes on in the background.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection
from typing import Final

import redis.asyncio as aioredis

from headrace.audit.sinks.base import Counts

PATIENCE_S: Final = 10.0
COUNT_S: Final = 120.0
# How long a round waits for the count, which is long enough for a small ledger: a router that starts needs its shares.
_AWAIT_S: Final = 1.0
_AGAIN_S: Final = 2.0
_KEPT_S: Final = 60 * 86_400
# Writers and scopes that are told at once.
_FEW: Final = 100
_COUNTED: Final = "counted"
_UNCOUNTED: Final = "uncounted"
_LOG: Final = logging.getLogger("headrace.router")

# KEYS: seen, prefix. ARGV: takeover ms, seconds to keep, then per writer and limit: limit@month, writer, spent or open,
# spent. Whoever is alive speaks for itself; of the others the larger number holds.
_SCRIPT: Final = """
local time = redis.call('TIME')
local alive = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(ARGV[1])
for i = 3, #ARGV, 4 do
  local name, writer, used, spent = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local held = KEYS[2] .. 'held:' .. name
  local known = redis.call('HGET', held, writer)
  if tonumber(redis.call('ZSCORE', KEYS[1], writer) or 0) <= alive and tonumber(known or -1) < tonumber(used) then
    redis.call('HSET', held, writer, used)
    redis.call('HSET', KEYS[2] .. 'claim:' .. name, writer, used .. ' 0')
    redis.call('HSET', KEYS[2] .. 'spent:' .. name, writer, spent)
    for _, kind in ipairs({'held:', 'claim:', 'spent:'}) do redis.call('EXPIRE', KEYS[2] .. kind .. name, ARGV[2]) end
  end
end
return 0
"""


class RecordedSpend:
    """Tells Redis what the sink `counts`, where Redis does not know it."""

    def __init__(
        self,
        redis: aioredis.Redis,
        counts: Counts | None,
        *,
        takeover_ms: Callable[[], int],
        failed: Callable[[str], None],
    ) -> None:
        self._redis = redis
        self._counts = counts
        self._script = redis.register_script(_SCRIPT)
        self._takeover_ms = takeover_ms
        self._failed = failed
        self._task: asyncio.Task[None] | None = None
        self._since: float | None = None
        self._again = float("-inf")
        self._failing = False
        self._closed = False
        self.pending = False

    async def step(self, prefix: str, environment: str, period: str, limits: Collection[str]) -> None:
        """One round. Raises what Redis raises; `pending` says whether budgets are held up."""
        marker = marker_of(prefix, period)
        found = await self._redis.get(marker)
        if found == _COUNTED or self._closed:
            self._since, self.pending = None, False
            return
        if self._counts is None:
            await self._redis.set(marker, _COUNTED, ex=_KEPT_S)
            return
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if self._task is None and now >= self._again:
            work = self._tell(self._counts, prefix, environment, period, frozenset(limits))
            self._task = asyncio.create_task(work, name="recorded spend")
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_AWAIT_S if found is None else 0)
            if self._task.done():
                task, self._task = self._task, None
                self._again = time.monotonic() + _AGAIN_S
                error = task.exception()
                if error is None:
                    self._since, self.pending, self._failing = None, False, False
                    return
                self._failed("recorded spend")
                if not self._failing:
                    _LOG.warning("the ledger could not be counted", extra={"fields": {"reason": type(error).__name__}})
                self._failing = True
        if found is None and now - self._since > (PATIENCE_S if self._task is None else COUNT_S):
            _LOG.error("budgets are given out without what the ledger holds of replicas that are away")
            await self._redis.set(marker, _UNCOUNTED, ex=_KEPT_S)
            found = _UNCOUNTED
        self.pending = found is None

    async def _tell(self, counts: Counts, prefix: str, environment: str, period: str, limits: frozenset[str]) -> None:
        balances = await counts.balances(environment, period)
        told: list[str | int] = []
        for (writer, scope), balance in sorted(balances.items()):
            used = balance.spent + balance.reserved
            if f"{scope}/money" in limits and used > 0 and writer and " " not in writer:
                told += [f"{scope}/money@{period}", writer, used, balance.spent]
        for start in range(0, len(told), 4 * _FEW):
            arguments = [self._takeover_ms(), _KEPT_S, *told[start : start + 4 * _FEW]]
            await self._script(keys=[f"{prefix}seen", prefix], args=arguments)
        await self._redis.set(marker_of(prefix, period), _COUNTED, ex=_KEPT_S)
        if told:
            _LOG.info("told Redis what the ledger holds", extra={"fields": {"balances": len(told) // 4}})

    async def close(self) -> None:
        """Stops counting."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._task


def marker_of(prefix: str, period: str) -> str:
    """The key that says that Redis knows what was spent in a month."""
    return f"{prefix}recorded:{period}"
