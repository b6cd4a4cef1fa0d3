"""Moves durable entries from a spool to a sink, in order, for ever; nothing leaves the spool before the sink has it."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from headrace.audit.sinks.base import Sink, SinkConflict, SinkUnavailable
from headrace.audit.spool import Spool

_BATCH: Final = 1000
_POLL_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 10.0
_LAST_S: Final = 5.0
_LOG: Final = logging.getLogger("headrace.audit")


class Drain:
    """One spool, one sink."""

    def __init__(self, spool: Spool, sink: Sink) -> None:
        self._spool = spool
        self._sink = sink
        self._position: int | None = None
        self._turn = asyncio.Lock()
        self.behind = 0
        """Durable entries that the sink lacked at the last look."""

    async def run(self) -> None:
        """Drains for ever; an absent sink is asked again after a growing pause."""
        pause = _POLL_S
        while True:
            try:
                moved = await self.step()
                pause = _POLL_S
                if moved:
                    continue
            except SinkUnavailable as error:
                _LOG.warning("the sink does not answer", extra={"fields": {"reason": str(error)}})
                self._position = None
                pause = min(_LONGEST_PAUSE_S, pause * 2)
            except SinkConflict as error:
                _LOG.critical("the sink holds other entries than the journal", extra={"fields": {"at": str(error)}})
                pause = _LONGEST_PAUSE_S
            await asyncio.sleep(pause)

    async def step(self) -> int:
        """Moves one batch; returns how many entries. One step at a time: a connection can't be shared."""
        async with self._turn:
            return await self._step()

    async def _step(self) -> int:
        if self._position is None:
            # The sink may be behind what was dropped here only if it lost entries; then there is nothing to send them.
            self._position = max(await self._sink.size(self._spool.writer), self._spool.base.size)
        links = await asyncio.to_thread(self._spool.links_from, self._position, _BATCH)
        self.behind = self._spool.durable - self._position
        if not links:
            return 0
        await self._sink.write(links)
        self._position = links[-1].sequence + 1
        await asyncio.to_thread(self._spool.drop_before, self._position)
        return len(links)

    async def last(self) -> None:
        """What is left, within a few seconds; the rest stays in the spool. `run` may still be going."""
        try:
            async with asyncio.timeout(_LAST_S):
                while self._spool.waiting or await self._moved():
                    await asyncio.sleep(0.01)
        except (TimeoutError, SinkConflict):
            _LOG.warning("entries stay in the spool until the next start")

    async def _moved(self) -> bool:
        """Whether there may be more to move."""
        try:
            return await self.step() > 0
        except SinkUnavailable:
            self._position = None
            return True

    async def close(self) -> None:
        """Lets go of the sink; `run` has ended."""
        await self._sink.close()
