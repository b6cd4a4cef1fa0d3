"""Starts serverless instances ahead of the work that will spill: one small request of the router's own for each.

Which and when is decided by `capacity.to_start`. Providers start an instance when a request finds no free one, so a
request is what starts it; its answer of one token tells that the instance is warm. Its worst case is reserved in the
journal before it is sent, so that a crash can't hide what it cost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from headrace.router.config import RouterConfig
from headrace.router.engine import Admission
from headrace.router.events import Outcome
from headrace.router.turn import Services
from headrace.router.upstream import Upstream, UpstreamError, body_for

_LOG: Final = logging.getLogger("headrace.router")
_BODY: Final[dict[str, Any]] = {"prompt": "ready", "max_tokens": 1}
_BAD: Final = 400


class Starter:
    """Sends what the engine wants started; each in a task of its own."""

    def __init__(self, services: Services, upstream: Upstream, identifier: Callable[[], str]) -> None:
        self._services = services
        self._upstream = upstream
        self._identifier = identifier
        self._tasks: set[asyncio.Task[None]] = set()

    def step(self) -> None:
        """Looks whether something should start. What can't be recorded is not started."""
        services = self._services
        if not services.journal.spool.healthy:
            return
        policy = services.engine.policy
        for admission in services.engine.start_ahead(self._identifier):
            if not services.journal.start(admission, policy):
                services.engine.finish(admission, outcome=Outcome.FAILED, tokens=0)
                continue
            services.metrics.started_ahead(admission.route.pool)
            task = asyncio.create_task(self._start(admission, policy))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Lets go of what still starts; its cost is booked."""
        await asyncio.sleep(0)  # a task that has not begun would be cancelled without a trace
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _start(self, admission: Admission, policy: RouterConfig) -> None:
        services = self._services
        pool = policy.pools[admission.route.pool]
        outcome, said = Outcome.CANCELLED, "cancelled"
        retry_after: float | None = None
        try:
            async with asyncio.timeout(admission.route.time_limit_s):
                body = body_for(_BODY, pool, stream=False, endpoint="completions")
                response = await self._upstream.open(pool, "completions", body, "")
                try:
                    answer = await self._upstream.begin(response, stream=False)
                finally:
                    response.release()
            if answer.status < _BAD:
                services.engine.first_byte(admission)
                outcome, said = Outcome.OK, "ok"
            else:
                outcome, said = Outcome.FAILED, f"status-{answer.status}"
        except UpstreamError as error:
            failure = error.failure
            outcome, said, retry_after = failure.outcome, failure.kind, failure.retry_after_s
        except TimeoutError:
            outcome, said = Outcome.FAILED, "time-limit"
        except Exception:
            outcome, said = Outcome.FAILED, "internal"
            _LOG.exception("a start failed in the router")
        finally:
            cost = services.engine.finish(admission, outcome=outcome, tokens=1, retry_after_s=retry_after)
            services.journal.overhead(admission, policy, cost=cost, outcome=said)
        if outcome is not Outcome.OK:
            _LOG.warning("no instance started", extra={"fields": {"pool": admission.route.pool, "reason": said}})
