"""Where the product keeps what is expensive to make, and how two processes share it safely."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from headrace.errors import refuse

GIB: Final = 2**30
_POLL_S: Final = 0.2
_REMIND_S: Final = 15.0


def root() -> Path:
    """`$HEADRACE_CACHE`, else `headrace` under the user's cache folder (XDG base directory specification)."""
    own = os.environ.get("HEADRACE_CACHE")
    if own:
        return Path(own).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().resolve() / "headrace"


def say(line: str) -> None:
    """One progress line. Standard error, because standard output belongs to the command's result."""
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def locked(path: Path, *, what: str) -> Iterator[None]:
    """Hold an exclusive lock on `path` for the length of the block; a second process waits and says for whom.

    The kernel releases the lock when its holder dies, however it dies, so there is no stale lock to clean up.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as handle:
        _acquire(handle.fileno(), path, what)
        handle.seek(0)
        handle.truncate()
        handle.write(f"process {os.getpid()}, {what}\n")
        handle.flush()
        try:
            yield
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)


def _acquire(descriptor: int, path: Path, what: str) -> None:
    started = time.monotonic()
    reminded = -_REMIND_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = time.monotonic() - started
            if waited - reminded >= _REMIND_S:
                holder = path.read_text(encoding="utf-8").strip() or "another process"
                say(f"{what}: waiting for {holder} ({waited:.0f} s)")
                reminded = waited
            time.sleep(_POLL_S)
        else:
            return


def need_space(folder: Path, *, gib: float, what: str) -> None:
    """Refuse before the work, rather than fail in the middle of it, when `folder`'s disk has less than `gib` GiB."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free / GIB
    if free < gib:
        raise refuse(
            str(folder),
            f"{free:.1f} GiB free",
            f"{what} needs {gib:g} GiB of free disk space",
            reason="a build that runs out of space half-way leaves nothing usable",
            next_step="free some space or set HEADRACE_CACHE to a folder on a larger disk",
        )


def sync(path: Path) -> None:
    """Force a file or a directory entry to disk, so that a rename after it never shows half-written content."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
