"""Files of a journal: segments of framed links. Reading never writes; a torn end is told apart from damage.

    frame = length (4 bytes) | CRC-32 of the rest (4 bytes) | hash (32 bytes) | record

A segment's name is the sequence of its first entry. Sequence and previous hash follow from the place. After bytes that
are no frame, reading goes on at the next whole one whose place can be told: the entry behind it was hashed with it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.audit.chain import GENESIS, Link, link
from headrace.audit.record import FORMAT

HEAD: Final = 8
HASH: Final = 32
LARGEST_FRAME: Final = 1 << 20
# Bytes of a file that are read at once.
STEP: Final = 256 << 10
# Previous hash of an entry whose predecessor can't be read.
UNKNOWN: Final = b"\xff" * HASH
_SUFFIX: Final = ".journal"


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreadable:
    """Bytes of a segment that are no whole frame."""

    path: Path
    offset: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Torn(Unreadable):
    """Bytes at the end of a segment: what a crash leaves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Damaged(Unreadable):
    """Bytes that whole frames follow: entries `first` and on, `count` of them."""

    first: int
    count: int


Item = Link | Torn | Damaged
"""What a reader finds, one after the other. A `Torn` is the last item of its segment."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A file and the sequence of its first entry."""

    path: Path
    first: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a reader stands: behind `offset` bytes of the segment that begins with `first`, before entry `sequence`."""

    first: int
    offset: int
    sequence: int
    previous: bytes

    def behind(self, item: Link | Damaged) -> Place:
        """The place behind the next item."""
        if isinstance(item, Link):
            size, sequence, own = HEAD + HASH + len(item.record), item.sequence + 1, item.hash
        else:
            size, sequence, own = item.bytes, item.first + item.count, UNKNOWN
        return Place(first=self.first, offset=self.offset + size, sequence=sequence, previous=own)


def frame(item: Link) -> bytes:
    """The bytes of a link in a segment."""
    body = item.hash + item.record
    return len(body).to_bytes(4) + zlib.crc32(body).to_bytes(4) + body


def segment_path(directory: Path, first: int) -> Path:
    """Where the segment that begins with `first` lies."""
    return directory / f"{first:016d}{_SUFFIX}"


def segments(directory: Path) -> list[Segment]:
    """The segments of a journal in order."""
    found = [
        Segment(path=path, first=int(path.name.removesuffix(_SUFFIX)))
        for path in directory.glob(f"*{_SUFFIX}")
        if path.name.removesuffix(_SUFFIX).isdigit()
    ]
    return sorted(found, key=lambda segment: segment.first)


def listed(directory: Path) -> list[tuple[Segment, int | None]]:
    """The segments of a journal in order, each with the first sequence of the one that follows."""
    found = segments(directory)
    return list(zip(found, [*(one.first for one in found[1:]), None], strict=False))


def content(item: Unreadable) -> bytes:
    """Bad bytes as they are in the file."""
    with item.path.open("rb") as file:
        file.seek(item.offset)
        return file.read(item.bytes)


def read_segment(
    segment: Segment, writer: str, previous: bytes, *, until: int | None = None, place: Place | None = None
) -> Iterator[Item]:
    """Links of one segment, with a `Damaged` where some can't be read; a `Torn` as the last item where it does not end
    with a whole frame. `until` is the first sequence of the segment that follows, if one does. Reads on from `place`,
    and no more of the file than is asked for.
    """
    sequence, base = segment.first, 0
    if place is not None:
        sequence, base, previous = place.sequence, place.offset, place.previous
    data, at = b"", 0  # data[0] is at `base` in the file
    with segment.path.open("rb") as file:
        file.seek(base)
        while True:
            found = _frame_at(data, at)
            if found is not None:
                own, record, at = found
                yield Link(writer=writer, sequence=sequence, previous=previous, record=record, hash=own)
                previous, sequence = own, sequence + 1
                continue
            more = file.read(STEP)
            if more:  # no frame so far; what bad bytes are is told by all that is behind them
                enough = len(data) - at <= HEAD + LARGEST_FRAME
                data, base, at = data[at:] + (more if enough else more + file.read()), base + at, 0
                continue
            if at == len(data):
                return
            gap = _Gap(data=data, offset=at, writer=writer, sequence=sequence, previous=previous, until=until)
            resumed = gap.end()
            if resumed is None:
                yield Torn(path=segment.path, offset=base + at, bytes=len(data) - at)
                return
            end, following, previous = resumed
            yield Damaged(
                path=segment.path, offset=base + at, bytes=end - at, first=sequence, count=following - sequence
            )
            sequence, at = following, end


_Frame = tuple[bytes, bytes, int]


def _frame_at(data: bytes, offset: int) -> _Frame | None:
    """Hash and record of the frame at `offset`, and where it ends; None where there is no whole one."""
    length = int.from_bytes(data[offset : offset + 4])
    end = offset + HEAD + length
    if not HASH <= length <= LARGEST_FRAME or end > len(data):
        return None
    body = data[offset + HEAD : end]
    if zlib.crc32(body) != int.from_bytes(data[offset + 4 : offset + HEAD]):
        return None
    return body[:HASH], body[HASH:], end


@dataclass(frozen=True, kw_only=True, slots=True)
class _Gap:
    """Bad bytes at `offset`, where entry `sequence` should begin."""

    data: bytes
    offset: int
    writer: str
    sequence: int
    previous: bytes
    until: int | None

    def end(self) -> tuple[int, int, bytes] | None:
        """Where whole frames go on: place, sequence, hash before it. None: nowhere, or nothing tells which they are."""
        # Of a single bad entry most often either the hash or the record is still good, and both tell the same.
        body = self.data[
            self.offset + HEAD : self.offset + HEAD + int.from_bytes(self.data[self.offset : self.offset + 4])
        ]
        hashes = (body[:HASH], link(self.writer, self.sequence, self.previous, body[HASH:]).hash)
        for place in self._places():
            found = _frame_at(self.data, place)
            if found is None:
                continue
            for own in hashes:
                if link(self.writer, self.sequence + 1, own, found[1]).hash == found[0]:
                    return place, self.sequence + 1, own
            following = self._sequence_of(place, found)
            if following is not None:
                return place, following, UNKNOWN
        if self.until is not None and self.until > self.sequence:
            return len(self.data), self.until, UNKNOWN
        return None

    def _places(self) -> Iterator[int]:
        """Where the next frame may begin: where this one says that it ends, else wherever a record may be."""
        announced = self.offset + HEAD + int.from_bytes(self.data[self.offset : self.offset + 4])
        if announced < len(self.data):
            yield announced
        start = FORMAT + b"{"
        found = self.data.find(start, self.offset + HEAD + HASH + 1)
        while found >= 0:
            yield found - HEAD - HASH
            found = self.data.find(start, found + 1)

    def _sequence_of(self, place: int, found: _Frame) -> int | None:
        """A reader that names no writer doesn't ask for it; else the entry behind tells, or the segment behind."""
        if not self.writer:
            return self.sequence + 1
        own, _, end = found
        behind = _frame_at(self.data, end)
        if behind is None:
            last = self.until - 1 if self.until is not None and end == len(self.data) else 0
            return last if last > self.sequence else None
        for candidate in range(self.sequence + 1, self.sequence + 2 + (place - self.offset) // (HEAD + HASH)):
            if link(self.writer, candidate + 1, own, behind[1]).hash == behind[0]:
                return candidate
        return None


def read_links(directory: Path, writer: str, *, previous: bytes = GENESIS) -> Iterator[Item]:
    """All links that a journal still holds on disk, oldest first. `previous` is the head before its first segment."""
    for segment, until in listed(directory):
        for item in read_segment(segment, writer, previous, until=until):
            yield item
            if isinstance(item, Link):
                previous = item.hash
            elif isinstance(item, Torn):
                return
