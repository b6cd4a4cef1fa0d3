"""What must be known of a table in text before a reader is let loose on it: that it is text, and its separator."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Final

import polars as pl

from headrace.errors import refuse

SEPARATORS: Final = (",", ";", "\t", "|")
_HEAD: Final = 65_536
_GZIP: Final = b"\x1f\x8b"


def check_file(path: Path, option: str) -> None:
    """Refuse what is no file, or an empty one."""
    if path.is_dir():
        raise refuse(option, str(path), "is a folder", next_step="give one of its files")
    if not path.is_file():
        raise refuse(option, str(path), "no such file", next_step="check the path")
    if path.stat().st_size == 0:
        raise refuse(option, str(path), "is empty", next_step="give a file with a header and at least one row")


def separator(path: Path, option: str) -> str:
    """The character between columns, by the first line: a comma, else the most frequent of the others.

    Refused: gzip by name only, UTF-16 and binary data, which a reader would take for one column of rubbish.
    """
    with path.open("rb") as file:
        zipped = file.read(2) == _GZIP
    if path.name.endswith(".gz") and not zipped:
        raise refuse(option, str(path), "isn't compressed as its name says", next_step="drop .gz, or compress it")
    try:
        with gzip.open(path) if zipped else path.open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, EOFError, zlib.error) as error:
        raise refuse(option, str(path), f"can't be unpacked ({error})", next_step="write the file again") from error
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head:
        raise refuse(
            option, str(path), "is no text in UTF-8 (UTF-16, or binary data)", next_step="save it as CSV in UTF-8"
        )
    first = head.decode("utf-8", errors="replace").lstrip("\ufeff\r\n").partition("\n")[0]
    if "," in first:
        return ","
    best = max(SEPARATORS, key=first.count)
    return best if best in first else ","


def decimal_points() -> pl.Expr:
    """Every column of text with decimal commas turned into points, for files whose columns commas don't separate."""
    return pl.all().str.replace(r"^\s*([+-]?\d+),(\d+)\s*$", "$1.$2")
