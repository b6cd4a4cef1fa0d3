"""What a journal's folder holds when a process opens it: whose it is, how long the chain is, how it ends.

A torn end is cut off, damage is set aside, and an entry that is whole but not the one that was written stops the start.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from headrace.audit.chain import link
from headrace.audit.quarantine import Quarantine, Why
from headrace.audit.segments import UNKNOWN, Damaged, Torn, content, listed, read_segment
from headrace.audit.spool_base import Base
from headrace.errors import refuse


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """`heads` is the hash before each segment, by the sequence that it begins with."""

    size: int
    head: bytes
    heads: dict[int, bytes]
    torn: Torn | None


def recover(directory: Path, writer: str, base: Base, quarantine: Quarantine) -> Recovered:
    """What is on disk. Raises `Refused` where somebody changed it, OSError where it can't be read or kept."""
    size, head = base.size, base.head
    heads: dict[int, bytes] = {}
    torn: Torn | None = None
    for segment, until in listed(directory):
        if segment.first < size:  # dropped in part before a crash: its entries are drained and in the base
            segment.path.unlink()
            continue
        if segment.first != size:
            raise _changed(segment.path, f"begins at {segment.first} instead of {size}")
        heads[segment.first] = head
        for item in read_segment(segment, writer, head, until=until):
            if isinstance(item, Damaged):
                quarantine.keep_damaged(item)
                size, head = item.first + item.count, UNKNOWN
            elif isinstance(item, Torn):
                if until is not None:
                    raise _changed(item.path, f"is broken at byte {item.offset}, and later segments exist")
                _cut(item, size, quarantine)
                torn = item
            else:
                proven = item.previous != UNKNOWN
                if proven and link(writer, item.sequence, item.previous, item.record).hash != item.hash:
                    raise _changed(segment.path, f"has an entry {item.sequence} that does not continue the chain")
                size, head = item.sequence + 1, item.hash
    return Recovered(size=size, head=head, heads=heads, torn=torn)


def _cut(torn: Torn, sequence: int, quarantine: Quarantine) -> None:
    """It was never acknowledged. What is cut off is kept: were it an entry that the disk damaged, it is evidence."""
    quarantine.keep(
        sequence=sequence,
        entries=1,
        why=Why.TORN,
        what=f"{torn.bytes} bytes at the end of {torn.path.name} are no whole entry",
        data=content(torn),
    )
    handle = os.open(torn.path, os.O_RDWR)
    try:
        os.ftruncate(handle, torn.offset)
        os.fsync(handle)
    finally:
        os.close(handle)


def _changed(path: Path, what: str) -> Exception:
    return refuse(
        str(path),
        None,
        f"the journal is damaged: it {what}",
        reason="writing on would hide it",
        next_step="keep the directory as evidence, run headrace audit verify on it, and start with an empty one",
    )


def locked(directory: Path) -> int:
    """The lock of a folder, held by this process until it is closed. Refused where another holds it."""
    handle = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise refuse(
            "--spool",
            str(directory),
            "another router writes there",
            reason="two writers would break the chain",
            next_step="give each replica a directory of its own",
        ) from None
    return handle
