"""Work that goes on as long as the process. What ends by a fault is logged, counted, and begun again after a pause.

Essential work that ended turns readiness to false until it has run for a while again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 30.0
# Essential work is needed now: its pause does not grow beyond this.
LONGEST_ESSENTIAL_PAUSE_S: Final = 1.0
# So long essential work must run again before it counts as healthy, and any work before its pause is short again.
HEALED_S: Final = 5.0
# How long a stop waits for work to end, and after how long it says so again.
LAST_S: Final = 5.0
CANCEL_AGAIN_S: Final = 0.2
_LOG: Final = logging.getLogger("headrace.router")


async def every(seconds: float, step: Callable[[], None]) -> None:
    """Calls `step` for ever."""
    while True:
        await asyncio.sleep(seconds)
        step()


class Background:
    """Tasks by name. `failed` is told the name of each that ended."""

    def __init__(self, failed: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._failed = failed
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []
        self._down: dict[str, float] = {}  # essential work that ended -> when it counts as healthy again

    def start(self, name: str, work: Callable[[], Awaitable[None]], *, essential: bool = False) -> None:
        """Begins work that is not expected to end."""
        self._tasks.append(asyncio.create_task(self._keep(name, work, essential=essential), name=name))

    def failing(self) -> str | None:
        """Essential work that has ended and does not run well again yet."""
        now = self._clock()
        return next((name for name, until in self._down.items() if until > now), None)

    async def stop(self) -> None:
        """Ends everything. One cancellation can be lost: `asyncio.wait_for` of Python 3.11, which drivers use, answers
        with a result that came in the same moment. So it is said again, and what still goes on holds nobody up."""
        left, until = set(self._tasks), self._clock() + LAST_S
        while left and self._clock() < until:
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)
        for task in left:
            _LOG.error("background work does not end", extra={"fields": {"task": task.get_name()}})

    async def _keep(self, name: str, work: Callable[[], Awaitable[None]], *, essential: bool) -> None:
        longest = LONGEST_ESSENTIAL_PAUSE_S if essential else LONGEST_PAUSE_S
        pause = FIRST_PAUSE_S
        while True:
            began = self._clock()
            try:
                await work()
                _LOG.error("background work has ended, and begins again", extra={"fields": {"task": name}})
            except Exception:
                _LOG.exception("background work failed, and begins again", extra={"fields": {"task": name}})
            self._failed(name)
            if self._clock() - began >= HEALED_S:
                pause = FIRST_PAUSE_S
            if essential:
                self._down[name] = float("inf")
            await asyncio.sleep(pause)
            pause = min(longest, pause * 2)
            if essential:
                self._down[name] = self._clock() + HEALED_S
