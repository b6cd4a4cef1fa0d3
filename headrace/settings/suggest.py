"""Did you mean …: the nearest known word, and a list that stays short."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: object, known: Iterable[str]) -> str | None:
    """The known word most like `word`, or None where nothing is near."""
    by_lower = {name.lower(): name for name in known}
    matches = get_close_matches(str(word)[:100].lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def listing(known: Iterable[str], *, limit: int = 8) -> str:
    """Known words in order, cut to `limit`."""
    names = sorted(known)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(names[:limit]) or "none") + more


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Next step for an unknown word: the nearest known one, else the list."""
    names = list(known)
    match = nearest(word, names)
    choice = f"choose one of: {listing(names)}"
    return f"did you mean {match!r}? Otherwise {choice}" if match else choice
