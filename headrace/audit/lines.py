"""A journal as a file of JSON lines: each line is an entry's canonical bytes without their version byte.

Nothing is lost: sequence, hashes and the whole chain follow from the lines. What the chain came to stands in a file
beside them, `<file>.head.json`; a checkpoint in a locked bucket holds it against whoever could change both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from headrace.audit.chain import GENESIS, Checkpoint, Link, link
from headrace.audit.record import FORMAT
from headrace.errors import refuse


def head_file(path: Path) -> Path:
    """Where the head of an exported chain lies."""
    return path.with_name(f"{path.name}.head.json")


def write(links: Iterable[Link], out: IO[bytes]) -> Checkpoint | None:
    """Writes the chain of one writer; how long it was and how it ended, None where there was nothing."""
    last: Link | None = None
    for item in links:
        out.write(item.record[len(FORMAT) :] + b"\n")
        last = item
    if last is None:
        return None
    return Checkpoint(writer=last.writer, size=last.sequence + 1, head=last.hash, at_us=0)


def write_head(path: Path, end: Checkpoint) -> None:
    """The file beside an export."""
    text = json.dumps({"writer": end.writer, "size": end.size, "head": end.head.hex()})
    head_file(path).write_text(text + "\n", encoding="utf-8")


def read(path: Path, writer: str) -> Iterator[Link]:
    """The chain that the lines make. The file is read as it goes; whether it holds is `verify`'s question."""
    previous = GENESIS
    with path.open("rb") as lines:
        for sequence, line in enumerate(lines):
            item = link(writer, sequence, previous, FORMAT + line.rstrip(b"\n"))
            yield item
            previous = item.hash


def read_head(path: Path) -> Checkpoint | None:
    """What the file beside an export says; None where there is none. Refuses one that can't be read."""
    file = head_file(path)
    if not file.exists():
        return None
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        return Checkpoint(
            writer=str(document["writer"]), size=int(document["size"]), head=bytes.fromhex(document["head"]), at_us=0
        )
    except (ValueError, KeyError, TypeError) as error:
        raise refuse(
            str(file), None, f"it is no head of an export ({error})", next_step="export the journal again"
        ) from None
