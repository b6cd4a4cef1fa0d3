"""Moves durable entries from a spool to a sink, in order, for ever; nothing leaves the spool before the sink has it.

What can't be read, or what the sink can't hold for what it is, goes to the spool's quarantine instead, and what is
behind it moves on. Nothing ends the drain: a fault of ours is logged, counted, and tried again after a growing pause.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from headrace.audit.chain import Link
from headrace.audit.quarantine import Why
from headrace.audit.segments import Damaged
from headrace.audit.sinks.base import Sink, SinkConflict, SinkUnavailable, Unstorable
from headrace.audit.spool import Spool

# Small: what is done with a batch on the event loop holds up requests, about 10 us an entry.
_BATCH: Final = 100
_POLL_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 10.0
_LAST_S: Final = 5.0
_LOG: Final = logging.getLogger("headrace.audit")


class Drain:
    """One spool, one sink. `failed` is told of each step that moved nothing for a fault, with its kind."""

    def __init__(self, spool: Spool, sink: Sink, *, failed: Callable[[str], None] = lambda _: None) -> None:
        self._spool = spool
        self._sink = sink
        self._failed = failed
        self._position: int | None = None
        self._turn = asyncio.Lock()

    @property
    def behind(self) -> int:
        """Durable entries that the sink lacks, as far as is known."""
        return self._spool.durable - (self._spool.base.size if self._position is None else self._position)

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
                self._failed("unavailable")
                _LOG.warning("the sink does not answer", extra={"fields": {"reason": str(error)}})
                pause = min(_LONGEST_PAUSE_S, pause * 2)
            except SinkConflict as error:
                self._failed("conflict")
                _LOG.critical("the sink holds other entries than the journal", extra={"fields": {"at": str(error)}})
                pause = _LONGEST_PAUSE_S
            except Exception:
                self._failed("unexpected")
                _LOG.exception("the journal could not be drained")
                pause = min(_LONGEST_PAUSE_S, pause * 2)
            await asyncio.sleep(pause)

    async def step(self) -> int:
        """Moves one batch; returns how many pieces. One step at a time: a connection can't be shared."""
        async with self._turn:
            try:
                return await self._step()
            except BaseException:
                self._position = None
                raise

    async def _step(self) -> int:
        if self._position is None:
            held = await self._sink.size(self._spool.writer)
            if held > self._spool.durable:
                raise SinkConflict(
                    f"{self._spool.writer}: {held} entries, the journal has {self._spool.durable}: it was begun anew"
                )
            # The sink may be behind what was dropped here only if it lost entries; then there is nothing to send them.
            self._position = max(held, self._spool.base.size)
        items = await asyncio.to_thread(self._spool.links_from, self._position, _BATCH)
        if not items:
            return 0
        for item in items:
            if isinstance(item, Damaged):
                await asyncio.to_thread(self._spool.quarantine.keep_damaged, item)
        await self._write([item for item in items if isinstance(item, Link)])
        last = items[-1]
        self._position = last.sequence + 1 if isinstance(last, Link) else last.first + last.count
        await asyncio.to_thread(self._spool.drop_before, self._position)
        return len(items)

    async def _write(self, links: Sequence[Link]) -> None:
        """Sends links; of those that the sink can't hold it finds each one by halves and sets it aside."""
        if not links:
            return
        try:
            await self._sink.write(links)
        except Unstorable as error:
            if len(links) > 1:
                half = len(links) // 2
                await self._write(links[:half])
                await self._write(links[half:])
                return
            await asyncio.to_thread(self._set_aside, links[0], str(error))

    def _set_aside(self, item: Link, what: str) -> None:
        self._spool.quarantine.keep(sequence=item.sequence, entries=1, why=Why.UNSTORABLE, what=what, data=item.record)

    async def last(self) -> None:
        """What is left, within a few seconds; the rest stays in the spool. `run` may still be going."""
        try:
            async with asyncio.timeout(_LAST_S):
                while self._spool.waiting or await self._moved():
                    await asyncio.sleep(0.01)
        except Exception as error:
            _LOG.warning(
                "entries stay in the spool until the next start", extra={"fields": {"reason": type(error).__name__}}
            )

    async def _moved(self) -> bool:
        """Whether there may be more to move."""
        try:
            return await self.step() > 0
        except SinkUnavailable:
            return True

    async def close(self) -> None:
        """Lets go of the sink; `run` has ended."""
        await self._sink.close()
