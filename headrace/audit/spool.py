"""The durable spool: `append` gives a promise that holds once the entry is on disk. Bounded, batched, crash-safe.

Entries get their place in the chain at once and in order. What was appended in one turn of the event loop goes to the
kernel in one write at its end (a little later what is not urgent), or when `flush` asks: from then on it survives the
death of the process. A thread forces it to disk: at once where somebody holds a promise, which is kept after fdatasync
and not before, and within `REST_S` otherwise. So a machine that dies takes at most the last `REST_S` of what nobody
waited for.

When as many entries wait for the disk as fit, or the volume is nearly full, `append` raises `Pushback` until there is
room again: what is left of the volume is for the outcomes of what was let in, and for dropping what was drained. When
the disk fails, every later `append` raises `SpoolBroken` until restart, because after a failed sync nobody knows what
is on disk (the kernel may have dropped the pages).

What can't be read is set aside (see `quarantine`) and reading goes on behind it. Only an entry that is whole and not
the one that was written stops a start: somebody changed it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.audit.chain import Link, link
from headrace.audit.ledger import Ledger
from headrace.audit.quarantine import Quarantine, Why
from headrace.audit.record import Entry, RecordError, canonical, parse, salvage
from headrace.audit.recovery import locked, recover
from headrace.audit.segments import (
    HASH,
    LARGEST_FRAME,
    Damaged,
    Place,
    Torn,
    frame,
    listed,
    read_links,
    read_segment,
    segment_path,
    segments,
)
from headrace.audit.spool_base import Base, Files, read_base, write_base

SEGMENT_BYTES: Final = 16 << 20
MOST_WAITING: Final = 20_000
# Pause between two syncs that nobody waits for.
REST_S: Final = 0.05
# How long an entry that is not urgent waits for others to be written with.
COMPANY_S: Final = 0.005
# What is kept free of the volume, and at most which part of it; how often that is looked at.
RESERVE_BYTES: Final = 32 << 20
_RESERVE_PART: Final = 20
_LOOK_S: Final = 0.5
# A thread that reads a whole segment lets requests go first: after so many entries it rests.
_AT_ONCE: Final = 32
_BREATH_S: Final = 0.001


class Pushback(Exception):
    """As many entries wait for the disk as may, or the volume is nearly full; try later."""


class TooLong(Exception):
    """An entry longer than a reader takes."""


class SpoolBroken(Exception):
    """The disk failed; nothing can be recorded until the router was restarted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """Where an entry stands in its writer's chain."""

    sequence: int
    hash: bytes


class Spool:
    """One writer's journal in a directory of its own. Opened by one process at a time (a lock file holds it)."""

    def __init__(self, directory: Path, writer: str, *, files: Files | None = None) -> None:
        self.directory = directory
        self.writer = writer
        self._files = files or Files()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = locked(directory)
        self.quarantine = Quarantine(directory, writer)
        self._base = read_base(directory)
        found = recover(directory, writer, self._base, self.quarantine)
        self.torn = found.torn
        self._heads = found.heads
        self.durable = self._next = found.size
        self._head = found.head
        self._written = self.durable
        self._pending: list[Link] = []  # have a place, are not written yet; the event loop's own
        self._promises: deque[tuple[int, asyncio.Future[Position], Position]] = deque()
        self._retired: list[int] = []  # full segments that are not on disk yet
        self._wake = threading.Condition()
        self._stopping = False
        self._wanted = False  # somebody waits for the disk
        self._broken: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flushing = self._lingering = False
        self._low = self._empty = False  # the volume has only what is reserved; has half of that
        self._look_at = 0.0
        self._look()
        self._place: Place | None = None  # behind what `links_from` gave last
        self.lost = 0
        """Entries that had a place and could not be written."""
        self._handle, self._size = self._open_last()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._thread.start()

    @property
    def healthy(self) -> bool:
        """Whether entries can be recorded."""
        return self.trouble is None

    @property
    def trouble(self) -> str | None:
        """Why entries can't be recorded."""
        if self._broken is not None:
            return f"{self._broken}; restart it when the disk is well"
        if self._low:
            return "its volume is nearly full: it goes on when entries have reached the sink, or the volume has grown"
        return "the disk is slow" if self._stopping or self.waiting >= MOST_WAITING else None

    @property
    def waiting(self) -> int:
        """Entries that are not on disk yet."""
        return self._next - self.durable

    @property
    def base(self) -> Base:
        """What was dropped before the oldest entry on disk."""
        return self._base

    @property
    def size(self) -> int:
        """Entries in the chain, those that are not on disk yet included."""
        return self._next

    @property
    def head(self) -> bytes:
        """Hash of the last entry."""
        return self._head

    def append(self, entry: Entry | bytes, *, wait: bool = True, soon: bool = True) -> asyncio.Future[Position] | None:
        """Gives an entry (or its canonical bytes) its place. The future is done when it is durable; without `wait`
        there is none. Not `soon`: it may wait `COMPANY_S` for others before it goes to the kernel with them.

        Call it from one event loop only. Raises `Pushback`, `TooLong` or `SpoolBroken`; then the entry has no place.
        """
        if self._broken is not None:
            raise SpoolBroken(f"the journal can't be written ({self._broken})") from self._broken
        if self._next - self.durable >= MOST_WAITING or self._stopping:
            raise Pushback(f"{self.waiting} entries wait for the disk")
        if self._low and (soon or self._empty):
            raise Pushback("the volume is nearly full")
        record = entry if isinstance(entry, bytes) else canonical(entry)
        if len(record) > LARGEST_FRAME - HASH:
            raise TooLong(f"an entry of {len(record)} bytes")
        item = link(self.writer, self._next, self._head, record)
        loop = self._running_loop()
        promise: asyncio.Future[Position] | None = None
        if wait:
            if loop is None:
                raise RuntimeError("only an event loop can wait for the disk")
            promise = loop.create_future()
            self._promises.append((item.sequence, promise, Position(sequence=item.sequence, hash=item.hash)))
        self._next, self._head = item.sequence + 1, item.hash
        self._pending.append(item)
        if loop is None:
            self.flush()
        elif soon and not self._flushing:
            self._flushing = True
            loop.call_soon(self._flush_soon)
        elif not soon and not self._flushing and not self._lingering:
            self._lingering = True
            loop.call_later(COMPANY_S, self._flush_late)
        return promise

    def _running_loop(self) -> asyncio.AbstractEventLoop | None:
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            return None
        return self._loop

    def _flush_soon(self) -> None:
        self._flushing = False
        with contextlib.suppress(SpoolBroken):  # whoever needs to know asks `flush` or holds a promise
            self.flush()

    def _flush_late(self) -> None:
        self._lingering = False
        with contextlib.suppress(SpoolBroken):
            self.flush()

    def flush(self) -> None:
        """Hands everything appended so far to the kernel, where it survives this process. Raises `SpoolBroken`."""
        if self._broken is not None:
            raise SpoolBroken(f"the journal can't be written ({self._broken})") from self._broken
        if not self._pending:
            return
        batch, self._pending = self._pending, []
        try:
            self._write(batch)
        except BaseException as error:
            self.lost += len(batch)
            self._fail(error)
            if not isinstance(error, Exception):
                raise
            raise SpoolBroken(f"the journal can't be written ({error})") from error
        self._written = batch[-1].sequence + 1
        # The thread looks by itself every REST_S; only a promise is worth waking it.
        if self._promises and not self._wanted:
            with self._wake:
                self._wanted = True
                self._wake.notify()

    def links(self) -> Iterator[Link]:
        """All durable links that are still on disk and can be read."""
        for item in read_links(self.directory, self.writer, previous=self._base.head):
            if isinstance(item, Damaged):
                continue
            if isinstance(item, Torn) or item.sequence >= self.durable:
                return
            yield item

    def links_from(self, sequence: int, most: int) -> list[Link | Damaged]:
        """Up to `most` durable links from `sequence` on, and what lies between them. One caller at a time; whoever goes
        on where the last call ended reads only what is new."""
        found: list[Link | Damaged] = []
        for segment, until in listed(self.directory):
            if until is not None and until <= sequence:
                continue
            place = self._place
            if place is None or (place.first, place.sequence) != (segment.first, sequence):
                place = Place(
                    first=segment.first, offset=0, sequence=segment.first, previous=self._heads[segment.first]
                )
            for item in read_segment(segment, self.writer, place.previous, until=until, place=place):
                if isinstance(item, Torn):
                    return found
                if len(found) >= most or (isinstance(item, Link) and item.sequence >= self.durable):
                    return found
                self._place = place = place.behind(item)
                if place.sequence > sequence:
                    found.append(item)
                    sequence = place.sequence
        return found

    def drop_before(self, sequence: int) -> int:
        """Removes whole segments whose entries all lie before `sequence` and were drained. Returns how many."""
        gone = 0
        for segment, until in listed(self.directory):
            if until is None or until > sequence:
                break
            ledger = self._base.ledger
            for item in read_segment(segment, self.writer, self._heads[segment.first], until=until):
                if isinstance(item, Damaged):
                    continue
                if isinstance(item, Torn):
                    return gone
                _apply(ledger, item)
                if item.sequence % _AT_ONCE == 0:
                    time.sleep(_BREATH_S)
            ledger.resolved.clear()
            self._base = Base(size=until, head=self._heads[until], ledger=ledger)
            write_base(self.directory, self._base, self._files)
            del self._heads[segment.first]
            segment.path.unlink()
            gone += 1
        return gone

    def close(self) -> None:
        """Keeps every promise given, then lets go of the directory."""
        with contextlib.suppress(SpoolBroken):
            self.flush()
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()
        for handle in (*self._retired, self._handle):
            os.close(handle)
        os.close(self._lock)

    def _open_last(self) -> tuple[int, int]:
        found = segments(self.directory)
        path = found[-1].path if found else segment_path(self.directory, self.durable)
        if not found:
            self._heads[self.durable] = self._base.head
        handle = self._files.open(path)
        self._files.sync_directory(self.directory)
        return handle, os.fstat(handle).st_size

    # -- writing (event loop) and forcing to disk (thread) ------------------------------------------------------------

    def _write(self, batch: list[Link]) -> None:
        if self._size >= SEGMENT_BYTES:
            handle = self._files.open(segment_path(self.directory, batch[0].sequence))
            self._heads[batch[0].sequence] = batch[0].previous
            with self._wake:
                self._retired.append(self._handle)
                self._handle, self._size = handle, 0
        data = memoryview(b"".join(map(frame, batch)))
        self._size += len(data)
        while data:
            data = data[self._files.write(self._handle, bytes(data)) :]

    def _run(self) -> None:
        try:
            self._force()
        except BaseException as error:  # whatever it is: without this thread nothing reaches the disk
            self._fail(error)

    def _force(self) -> None:
        while True:
            with self._wake:
                if not self._wanted and not self._stopping:
                    self._wake.wait(REST_S)
                stopping = self._stopping
                self._wanted = False
                written, handle = self._written, self._handle
                retired, self._retired = self._retired, []
            if self._broken is not None:
                self._retired += retired
                return
            if time.monotonic() >= self._look_at:
                self._look()
            if written > self.durable:
                self._sync(handle, retired)
                self.durable = written
                self._tell()
            elif stopping:
                return

    def _look(self) -> None:
        """How full the volume is."""
        self._look_at = time.monotonic() + _LOOK_S
        free, total = self._files.free(self.directory)
        reserve = min(RESERVE_BYTES, total // _RESERVE_PART)
        self._low, self._empty = free < reserve, free < reserve // 2

    def _sync(self, handle: int, retired: list[int]) -> None:
        """Forces full segments to disk, then the new one's name, then what it holds: no later entry before these."""
        for old in retired:
            self._files.sync(old)
            os.close(old)
        if retired:
            self._files.sync_directory(self.directory)
        self._files.sync(handle)

    def _tell(self) -> None:
        if self._promises and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is gone, and with it everybody who waited
                self._loop.call_soon_threadsafe(self._keep)

    def _keep(self) -> None:
        while self._promises and self._promises[0][0] < self.durable:
            _, promise, position = self._promises.popleft()
            if not promise.done():
                promise.set_result(position)
        if self._promises and not self._wanted:  # written while the last sync ran
            with self._wake:
                self._wanted = True
                self._wake.notify()

    def _fail(self, error: BaseException) -> None:
        self._broken = error
        if self._promises and self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._break, SpoolBroken(f"the journal can't be written ({error})"))

    def _break(self, error: SpoolBroken) -> None:
        while self._promises:
            _, promise, _ = self._promises.popleft()
            if not promise.done():
                promise.set_exception(error)


def replay(spool: Spool) -> Ledger:
    """What the journal comes to: the dropped part's ledger and every entry on disk. For the start of a router."""
    ledger = Ledger(balances=dict(spool.base.ledger.balances), open=dict(spool.base.ledger.open))
    for item in spool.links():
        fault = _apply(ledger, item)
        if fault is not None:
            spool.quarantine.keep(sequence=item.sequence, entries=1, why=Why.UNREADABLE, what=fault, data=item.record)
    return ledger


def _apply(ledger: Ledger, item: Link) -> str | None:
    """Folds an entry in, as far as it can be read; what is wrong with it, if anything is."""
    try:
        ledger.apply(parse(item.record))
    except RecordError as error:
        known = salvage(item.record)
        if known is not None:
            ledger.apply(known)
        return str(error)
    return None
