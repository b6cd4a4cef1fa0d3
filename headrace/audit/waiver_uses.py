"""The record of waivers: one line for each time that a waiver let a finding through, in the journal's hash chain.

A line is JSON with the use, its sequence and its hash (`chain.link` over the use's canonical bytes), so that anyone can
read it and `headrace audit waivers` can prove that nothing was changed or taken out. The head that each run prints
makes cutting off the end visible to whoever kept the output.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from headrace.audit import chain
from headrace.audit.record import RecordError

# Every checkout's record is one chain.
WRITER: Final = "waivers"
FILE: Final = "waiver-uses.jsonl"
DIRECTORY_VARIABLE: Final = "HEADRACE_AUDIT_DIR"


class NotRecorded(Exception):
    """A use can't be recorded: why. Whoever asked must not go on as if the waiver held."""


@dataclass(frozen=True, kw_only=True)
class Use:
    """One use. `run` is preview, update or live; `policy_version` is the pack's, `commit` the checkout's, and
    `waivers_sha256` the reviewed file's. `at` and `expires` are ISO dates."""

    at: str
    run: str
    stack: str
    policy: str
    resource: str
    finding: str
    reason: str
    approver: str
    ticket: str
    expires: str
    policy_version: str
    commit: str
    waivers_sha256: str


def canonical(use: Use) -> bytes:
    """The bytes that are hashed: compact JSON with sorted keys behind a version byte."""
    return b"\x01" + json.dumps(vars(use), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def parse(record: bytes) -> Use:
    """The use in canonical bytes. Raises `RecordError`."""
    try:
        return Use(**json.loads(record[1:]))
    except (ValueError, TypeError) as error:
        raise RecordError(f"not a use of a waiver ({error})") from None


def path(root: Path) -> Path:
    """Where the record lies: `$HEADRACE_AUDIT_DIR`, else `.headrace/audit` of the checkout."""
    given = os.environ.get(DIRECTORY_VARIABLE)
    return (Path(given).expanduser() if given else root / ".headrace" / "audit") / FILE


def append(file: Path, use: Use) -> chain.Link:
    """Adds a use and returns it in its place once it is on disk. Raises `NotRecorded`.

    Two processes take turns. Half a line at the end is what a crash left of a use that nobody was told of: it goes.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a+b") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            last, whole = _end(handle.fileno())
            handle.truncate(whole)
            sequence, head = (
                (last["sequence"] + 1, bytes.fromhex(last["hash"])) if last is not None else (0, chain.GENESIS)
            )
            link = chain.link(WRITER, sequence, head, canonical(use))
            handle.write(_line(link, use))
            handle.flush()
            os.fsync(handle.fileno())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotRecorded(f"{file}: {type(error).__name__}: {error}") from error
    return link


def _line(link: chain.Link, use: Use) -> bytes:
    document = {"sequence": link.sequence, **vars(use), "hash": link.hash.hex()}
    return json.dumps(document, ensure_ascii=False).encode() + b"\n"


def _end(handle: int) -> tuple[Mapping[str, Any] | None, int]:
    """The last whole line, and where it ends."""
    size = os.fstat(handle).st_size
    tail = os.pread(handle, min(size, 1 << 16), max(0, size - (1 << 16)))
    whole = tail.rfind(b"\n") + 1
    lines = tail[:whole].splitlines()
    return (json.loads(lines[-1]) if lines else None), size - len(tail) + whole


def read(file: Path) -> Iterator[tuple[chain.Link, Use]]:
    """Every use in its place. Raises `RecordError` where a line is none; an unfinished last line is left out."""
    previous = chain.GENESIS
    for number, line in enumerate(file.read_bytes().split(b"\n")[:-1], 1):
        try:
            document = json.loads(line)
            sequence, own = int(document.pop("sequence")), bytes.fromhex(document.pop("hash"))
            use = Use(**document)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RecordError(f"line {number} is not a use of a waiver ({error})") from None
        yield chain.Link(writer=WRITER, sequence=sequence, previous=previous, record=canonical(use), hash=own), use
        previous = own


def verify(file: Path) -> chain.Intact | chain.Broken:
    """Whether the record is whole from its beginning."""
    return chain.verify(WRITER, (link for link, _ in read(file)), form=parse)
