"""What of a journal can't be read, or can't be held by its sink: kept as it was found, so that all behind it goes on.

`quarantine.jsonl` beside the segments, one JSON object a line: `writer`, `sequence` and `entries` (which they would
have been), `why`, `what` in words, and `bytes` in hexadecimal digits. It is for people; nothing is taken back from it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Final

from headrace.audit.segments import Damaged, content

FILE: Final = "quarantine.jsonl"
_LOG: Final = logging.getLogger("headrace.audit")


class Why(StrEnum):
    """What is wrong with a piece. A label of metrics."""

    TORN = "torn"
    """Bytes at the journal's end that were no whole entry at a start: nobody was told that they are kept."""
    DAMAGED = "damaged"
    """Bytes between whole entries that are none: the disk, or somebody, changed them."""
    UNREADABLE = "unreadable"
    """A whole entry that this release can't read."""
    UNSTORABLE = "unstorable"
    """An entry that the sink can't hold for what it is."""


class Quarantine:
    """The quarantine of one journal. One caller at a time."""

    def __init__(self, directory: Path, writer: str) -> None:
        self._directory = directory
        self._writer = writer
        self._known: set[tuple[int, str]] = set()
        self.pieces: Counter[str] = Counter()
        """How many pieces the file holds, by why."""
        if self._file.is_file():
            self._read()

    @property
    def _file(self) -> Path:
        return self._directory / FILE

    def _read(self) -> None:
        for line in self._file.read_bytes().splitlines():
            try:
                found = json.loads(line)
                self._note(int(found["sequence"]), bytes.fromhex(found["bytes"]), str(found["why"]))
            except (ValueError, KeyError, TypeError):
                continue  # a line that a crash cut short: its piece is still in the journal and is kept again

    def _note(self, sequence: int, data: bytes, why: str) -> None:
        self._known.add(_key(sequence, data))
        self.pieces[why] += 1

    def keep(self, *, sequence: int, entries: int, why: Why, what: str, data: bytes) -> None:
        """Keeps a piece, on disk when this returns, and logs it; nothing where it is kept already. Raises OSError."""
        if _key(sequence, data) in self._known:
            return
        line = json.dumps(
            {
                "writer": self._writer,
                "sequence": sequence,
                "entries": entries,
                "why": why,
                "what": what,
                "bytes": data.hex(),
            }
        )
        new = not self._file.exists()
        handle = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(handle).st_size
            whole = not size or os.pread(handle, 1, size - 1) == b"\n"
            left = (b"" if whole else b"\n") + line.encode() + b"\n"
            while left:
                left = left[os.write(handle, left) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        if new:
            folder = os.open(self._directory, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        self._note(sequence, data, why)
        fields = {"writer": self._writer, "sequence": sequence, "entries": entries, "why": why, "what": what}
        level = logging.WARNING if why is Why.TORN else logging.ERROR
        _LOG.log(level, "a piece of the journal was set aside", extra={"fields": {**fields, "file": str(self._file)}})

    def keep_damaged(self, item: Damaged) -> None:
        """Keeps bytes between whole entries. Raises OSError."""
        self.keep(
            sequence=item.first,
            entries=item.count,
            why=Why.DAMAGED,
            what=f"{item.bytes} bytes at {item.offset} of {item.path.name} are no whole entry",
            data=content(item),
        )


def _key(sequence: int, data: bytes) -> tuple[int, str]:
    return sequence, hashlib.sha256(data).hexdigest()
