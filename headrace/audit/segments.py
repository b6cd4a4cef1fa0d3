"""Files of a journal: segments of framed links. Reading never writes; a torn end is told apart from damage.

    frame = length (4 bytes) | CRC-32 of the rest (4 bytes) | hash (32 bytes) | record

A segment's name is the sequence of its first entry. Sequence and previous hash follow from the place.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.audit.chain import GENESIS, Link

HEAD: Final = 8
HASH: Final = 32
LARGEST_FRAME: Final = 1 << 20
_SUFFIX: Final = ".journal"


@dataclass(frozen=True, kw_only=True, slots=True)
class Torn:
    """Bytes at the end of a segment that are no whole frame: what a crash leaves."""

    path: Path
    offset: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A file and the sequence of its first entry."""

    path: Path
    first: int


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


def read_segment(segment: Segment, writer: str, previous: bytes) -> Iterator[Link | Torn]:
    """Links of one segment; a `Torn` as the last item where it does not end with a whole frame."""
    data = segment.path.read_bytes()
    offset, sequence = 0, segment.first
    while offset < len(data):
        length = int.from_bytes(data[offset : offset + 4])
        end = offset + HEAD + length
        body = data[offset + HEAD : end]
        crc = int.from_bytes(data[offset + 4 : offset + HEAD])
        if not HASH <= length <= LARGEST_FRAME or len(body) < length or zlib.crc32(body) != crc:
            yield Torn(path=segment.path, offset=offset, bytes=len(data) - offset)
            return
        yield Link(writer=writer, sequence=sequence, previous=previous, record=body[HASH:], hash=body[:HASH])
        previous, sequence, offset = body[:HASH], sequence + 1, end


def read_links(directory: Path, writer: str, *, previous: bytes = GENESIS) -> Iterator[Link | Torn]:
    """All links that a journal still holds on disk, oldest first. `previous` is the head before its first segment."""
    for segment in segments(directory):
        for item in read_segment(segment, writer, previous):
            yield item
            if isinstance(item, Torn):
                return
            previous = item.hash
