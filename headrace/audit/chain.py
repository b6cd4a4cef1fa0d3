"""The hash chain over a writer's entries, and its verification. Pure functions over bytes.

    link hash = SHA-256(0x01 | writer | 0x00 | sequence (8 bytes) | previous link hash | SHA-256(0x00 | record))

Each replica writes a chain of its own, so there is no global lock. A checkpoint says how long a chain was and how it
ended at some time; kept elsewhere (a bucket with object lock), it makes cutting off the end visible.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from headrace.audit.record import LINK_PREFIX, RecordError, parse, record_hash

GENESIS: Final = bytes(32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """One entry in its place. `sequence` counts from 0."""

    writer: str
    sequence: int
    previous: bytes
    record: bytes
    hash: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A chain of `writer` had `size` entries and ended in `head` at `at_us`; `mac` proves who said so."""

    writer: str
    size: int
    head: bytes
    at_us: int
    mac: bytes = b""


@dataclass(frozen=True, kw_only=True, slots=True)
class Intact:
    """The chain holds."""

    writer: str
    size: int
    head: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Broken:
    """The chain does not hold: where, and what was expected and found."""

    writer: str
    position: int
    what: str
    expected: str
    found: str


def link(writer: str, sequence: int, previous: bytes, record: bytes) -> Link:
    """`record` in its place after `previous`."""
    return Link(
        writer=writer,
        sequence=sequence,
        previous=previous,
        record=record,
        hash=_hash(writer, sequence, previous, record),
    )


def _hash(writer: str, sequence: int, previous: bytes, record: bytes) -> bytes:
    head = LINK_PREFIX + writer.encode() + b"\0" + sequence.to_bytes(8)
    return hashlib.sha256(head + previous + record_hash(record)).digest()


def sign(checkpoint: Checkpoint, secret: bytes) -> Checkpoint:
    """The checkpoint with its message authentication code."""
    return Checkpoint(
        writer=checkpoint.writer,
        size=checkpoint.size,
        head=checkpoint.head,
        at_us=checkpoint.at_us,
        mac=hmac.digest(secret, _signed(checkpoint), "sha256"),
    )


def _signed(checkpoint: Checkpoint) -> bytes:
    return b"headrace checkpoint\0" + b"\0".join(
        (
            checkpoint.writer.encode(),
            checkpoint.size.to_bytes(8),
            checkpoint.head,
            checkpoint.at_us.to_bytes(8),
        )
    )


def genuine(checkpoint: Checkpoint, secret: bytes) -> bool:
    """Whether a checkpoint was made with `secret`."""
    return hmac.compare_digest(checkpoint.mac, hmac.digest(secret, _signed(checkpoint), "sha256"))


def verify(
    writer: str,
    links: Iterable[Link],
    checkpoints: Iterable[Checkpoint] = (),
    *,
    form: Callable[[bytes], object] = parse,
) -> Intact | Broken:
    """Whether `links` are the whole chain of `writer` from its beginning, and agree with every checkpoint. `form` reads
    a record or raises `RecordError`.

    Checks in this order: writer, sequence, previous hash, own hash, the record's own form, then each checkpoint's head
    at its size. A checkpoint beyond the end means that entries were cut off.
    """
    wanted: dict[int, Checkpoint] = {}
    for checkpoint in checkpoints:
        known = wanted.get(checkpoint.size)
        if known is not None and known.head != checkpoint.head:
            return _broken(
                writer, checkpoint.size, "two checkpoints of one size differ", known.head.hex(), checkpoint.head.hex()
            )
        wanted[checkpoint.size] = checkpoint
    previous, size = GENESIS, 0
    if (start := wanted.get(0)) is not None and start.head != GENESIS:
        return _broken(writer, 0, "checkpoint of an empty chain", GENESIS.hex(), start.head.hex())
    for item in links:
        fault = _fault(writer, size, previous, item, form)
        if fault is not None:
            return fault
        previous, size = item.hash, size + 1
        known = wanted.get(size)
        if known is not None and known.head != previous:
            return _broken(writer, size - 1, "head differs from checkpoint", known.head.hex(), previous.hex())
    longest = max(wanted, default=0)
    if longest > size:
        return _broken(writer, size, "entries are missing at the end", f"{longest} entries", f"{size} entries")
    return Intact(writer=writer, size=size, head=previous)


def _fault(writer: str, position: int, previous: bytes, item: Link, form: Callable[[bytes], object]) -> Broken | None:
    if item.writer != writer:
        return _broken(writer, position, "another writer", writer, item.writer)
    if item.sequence != position:
        return _broken(writer, position, "sequence", str(position), str(item.sequence))
    if item.previous != previous:
        return _broken(writer, position, "previous hash", previous.hex(), item.previous.hex())
    own = _hash(writer, position, previous, item.record)
    if item.hash != own:
        return _broken(writer, position, "hash of the entry", own.hex(), item.hash.hex())
    try:
        form(item.record)
    except RecordError as error:
        return _broken(writer, position, "form of the entry", "a record", str(error))
    return None


def _broken(writer: str, position: int, what: str, expected: str, found: str) -> Broken:
    return Broken(writer=writer, position=position, what=what, expected=expected, found=found)
