"""Runs a Python program and notes, in the file that WRITES names, every path that it opens to write, makes or moves.

A read-only root would refuse those; this sees them on any machine, without privileges, and also where the program goes
on after the refusal.
"""

import faulthandler
import os
import runpy
import sys
from typing import Any

_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate")
_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def main() -> None:
    """`python watched.py PROGRAM ARGUMENT…`."""
    faulthandler.enable()  # SIGABRT says where every thread is
    notes = os.open(os.environ["WRITES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & _TO_WRITE:
                return
        elif event in _CHANGES:
            path = arguments[0]
        else:
            return
        if isinstance(path, str | bytes):
            os.write(notes, os.path.abspath(os.fsencode(path)) + b"\n")  # noqa: PTH100 # the hook sees raw paths

    sys.addaudithook(note)
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
