"""What a spool knows of the part of its chain that was drained and dropped, and its file operations."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from headrace.audit.chain import GENESIS
from headrace.audit.ledger import Balance, Ledger
from headrace.audit.record import canonical, parse


class Files:
    """The file operations of a spool, so that tests can fail or stop each of them."""

    def open(self, path: Path) -> int:
        """A segment, made if absent, for appending."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, handle: int, data: bytes) -> int:
        """Appends; may write less than all."""
        return os.write(handle, data)

    def sync(self, handle: int) -> None:
        """Forces a segment's content to disk."""
        os.fdatasync(handle)

    def sync_directory(self, path: Path) -> None:
        """Forces a directory's names to disk."""
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def free(self, path: Path) -> tuple[int, int]:
        """Bytes of a directory's volume that are free, and all of them."""
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize

    def replace(self, source: Path, target: Path) -> None:
        """Renames over."""
        source.replace(target)


@dataclass(frozen=True, kw_only=True)
class Base:
    """What was drained and dropped before the oldest segment on disk: how much, how it ended, what it came to."""

    size: int
    head: bytes
    ledger: Ledger


def read_base(directory: Path) -> Base:
    file = directory / "base.json"
    if not file.is_file():
        return Base(size=0, head=GENESIS, ledger=Ledger())
    document = json.loads(file.read_text(encoding="utf-8"))
    held = [parse(bytes.fromhex(text)) for text in document["open"]]
    return Base(
        size=int(document["size"]),
        head=bytes.fromhex(document["head"]),
        ledger=Ledger(
            balances={
                (period, scope): Balance(spent=spent, reserved=reserved)
                for period, scope, spent, reserved in document["balances"]
            },
            open={entry.request_id: entry for entry in held},
        ),
    )


def write_base(directory: Path, base: Base, files: Files) -> None:
    partial = directory / ".base.json"
    text = json.dumps(
        {
            "size": base.size,
            "head": base.head.hex(),
            "balances": [
                [period, scope, balance.spent, balance.reserved]
                for (period, scope), balance in base.ledger.balances.items()
            ],
            "open": [canonical(entry).hex() for entry in base.ledger.open.values()],
        }
    )
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        data = text.encode()
        while data:
            data = data[files.write(handle, data) :]
        files.sync(handle)
    finally:
        os.close(handle)
    files.replace(partial, directory / "base.json")
    files.sync_directory(directory)
