"""Budget alerts to a webhook: queued, sent one after the other, tried again with growing pauses, never waited for.

A request only puts an alert into a bounded queue. An address that does not take it in `MOST_TRIES` tries loses it; the
metric `headrace_budget_alerts` has it all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from headrace.errors import refuse
from headrace.router.http_client import Broken, Client, ConnectFailed, split
from headrace.router.thresholds import Alert
from headrace.router.types import NANO

MOST_QUEUED: Final = 100
MOST_TRIES: Final = 6
_FIRST_PAUSE_S: Final = 1.0
_TRY_S: Final = 10.0
_LAST_S: Final = 3.0
_OK: Final = range(200, 300)
# Answers that no repetition changes: the address or the message is wrong.
_FINAL: Final = frozenset(range(400, 500)) - {408, 425, 429}
_LOG: Final = logging.getLogger("headrace.router.alerts")


def amounts(alert: Alert) -> dict[str, str | float]:
    """An alert in the fields of a log line."""
    return {
        "scope": alert.scope,
        "share": alert.share,
        "spentNano": alert.spent_nano,
        "limitNano": alert.limit_nano,
    }


def message(alert: Alert, *, environment: str, period: str, replica: str) -> dict[str, str | float]:
    """What the webhook gets."""
    return {
        "type": "budget-threshold",
        # Several replicas may see the same threshold: the same id is the same alert.
        "id": f"{environment}/{period}/{alert.scope}/{alert.share:g}",
        "environment": environment,
        "period": period,
        "replica": replica,
        "spentUsd": alert.spent_nano / NANO,
        "limitUsd": alert.limit_nano / NANO,
        "text": f"{environment}: {alert.scope} has used {alert.share:.0%} of its budget of {period}",
        **amounts(alert),
    }


class Webhook:
    """One address, which may hold a secret: it is never logged."""

    def __init__(self, url: str, *, lost: Callable[[], None], first_pause_s: float = _FIRST_PAUSE_S) -> None:
        if not url.isprintable() or not url.isascii() or " " in url or not url.startswith(("http://", "https://")):
            raise refuse(
                "HEADRACE_ALERT_WEBHOOK", None, "it is no http or https address", next_step="correct the secret"
            )
        self._url = url
        self._lost = lost
        self._first_pause_s = first_pause_s
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(MOST_QUEUED)
        self._client = Client()

    def tell(self, alert: Mapping[str, Any]) -> None:
        """Queues an alert; loses it when the queue is full."""
        try:
            self._queue.put_nowait(orjson.dumps(alert))
        except asyncio.QueueFull:
            self._lost()

    async def run(self) -> None:
        """Sends for ever."""
        try:
            while True:
                message = await self._queue.get()
                try:
                    await self._deliver(message)
                except Exception:  # the next alert is another chance
                    _LOG.exception("an alert could not be sent")
                    self._lost()
                finally:
                    self._queue.task_done()
        finally:
            self._client.close()

    async def last(self) -> None:
        """What is queued, within a few seconds. `run` must be going."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_S):
                await self._queue.join()

    async def _deliver(self, message: bytes) -> None:
        pause = self._first_pause_s
        for attempt in range(1, MOST_TRIES + 1):
            status = await self._send(message)
            if status in _OK:
                return
            if status in _FINAL or attempt == MOST_TRIES:
                _LOG.error("an alert was not taken", extra={"fields": {"status": status, "tries": attempt}})
                self._lost()
                return
            await asyncio.sleep(pause)
            pause *= 2

    async def _send(self, message: bytes) -> int:
        """The status of the answer; 0 where there was none."""
        origin, path = split(self._url)
        query = self._url.partition("?")[2]
        target = f"{path}?{query}" if query else path
        head = (
            f"POST {target} HTTP/1.1\r\nHost: {origin.host}:{origin.port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(message)}\r\n\r\n"
        )
        response = None
        try:
            async with asyncio.timeout(_TRY_S):
                response = await self._client.request(origin, head.encode() + message)
                while await response.read():
                    pass
        except (ConnectFailed, Broken, TimeoutError, OSError, ValueError):
            return response.status if response is not None else 0
        finally:
            if response is not None:
                response.release()
        return response.status
