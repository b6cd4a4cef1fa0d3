"""Notes of one replica for the others about its callers: what they are, and as text. Pure.

A note holds keyed hashes of a caller and of a request, a count and an age, never a text or a name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# Kept at once, should nobody fetch them: about 2 MB. Beyond that what is new is not told.
MOST_KEPT: Final = 10_000
_PARTS: Final = 5


class Sign(StrEnum):
    """What a caller did, or what was done about it."""

    REQUEST = "r"
    FAILED = "f"
    LEFT = "l"
    OPENED = "o"


class Why(StrEnum):
    """Why a caller is stopped."""

    LOOP = "loop"
    RETRIES = "retries"
    ABANDONED = "abandoned"


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """`count` times `sign` of a caller, since `at` (seconds of the local clock).

    `mark` is the fingerprint of a request, or why a breaker opened.
    """

    sign: Sign
    caller: bytes
    mark: bytes
    count: int
    at: float


class Notes:
    """Notes that are still to be told. The same again is counted in its first note."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Sign, bytes, bytes], tuple[int, float]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, sign: Sign, caller: bytes, mark: bytes, count: int, at: float) -> None:
        """One more; an opened breaker stands for itself."""
        key = (sign, caller, mark)
        known = self._kept.get(key)
        if known is not None and sign is not Sign.OPENED:
            self._kept[key] = (known[0] + count, known[1])
        elif known is not None or len(self._kept) < MOST_KEPT or sign is Sign.OPENED:
            self._kept[key] = (count, at)
        if len(self._kept) > MOST_KEPT:  # what is told first matters least by now
            del self._kept[next(iter(self._kept))]

    def take(self, most: int, since: float) -> list[Note]:
        """Up to `most` notes, opened breakers first; those before `since` are dropped."""
        fresh = {key: value for key, value in self._kept.items() if value[1] >= since}
        first = sorted(fresh, key=lambda key: key[0] is not Sign.OPENED)[:most]
        taken = {key: fresh.pop(key) for key in first}
        self._kept = fresh
        return [
            Note(sign=sign, caller=caller, mark=mark, count=count, at=at)
            for (sign, caller, mark), (count, at) in taken.items()
        ]


def encode(notes: Iterable[Note], now: float) -> str:
    """One line for each note: sign, caller, mark, count, age in milliseconds."""
    return "\n".join(
        f"{note.sign.value} {note.caller.hex()} {note.mark.hex() or '-'} {note.count} "
        f"{max(0, round((now - note.at) * 1000))}"
        for note in notes
    )


def decode(text: str, at: float) -> list[Note]:
    """Notes that were written at `at` by the local clock. Lines that this release can't read are left out."""
    found = []
    for line in text.splitlines():
        parts = line.split(" ")
        if len(parts) != _PARTS:
            continue
        try:
            sign, mark = Sign(parts[0]), b"" if parts[2] == "-" else bytes.fromhex(parts[2])
            if sign is Sign.OPENED:
                Why(mark.decode())
            note = Note(
                sign=sign, caller=bytes.fromhex(parts[1]), mark=mark, count=int(parts[3]), at=at - int(parts[4]) / 1000
            )
        except ValueError:
            continue
        if note.count > 0 and note.at <= at:
            found.append(note)
    return found
