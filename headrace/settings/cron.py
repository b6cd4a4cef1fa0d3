"""Cron expressions of five fields, as EC2 Auto Scaling takes them for scheduled actions."""

from __future__ import annotations

from typing import Final

_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS: Final = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)


def cron_fault(expression: str) -> str | None:
    """What is wrong with an expression, or None."""
    parts = expression.split()
    if len(parts) != len(_FIELDS):
        return f"it has {len(parts)} fields instead of 5"
    for part, (field, low, high, names) in zip(parts, _FIELDS, strict=True):
        for item in part.split(","):
            if not _item_holds(item, low, high, names):
                return f"{item!r} is no {field} ({low} to {high})"
    return None


def _item_holds(item: str, low: int, high: int, names: tuple[str, ...]) -> bool:
    span, slash, step = item.partition("/")
    if slash and not (_number(step) and 1 <= int(step) <= high):
        return False
    if span == "*":
        return True
    first, dash, last = span.partition("-")
    start = _value(first, low, names)
    end = _value(last, low, names) if dash else start
    return start is not None and end is not None and low <= start <= end <= high


def _value(text: str, low: int, names: tuple[str, ...]) -> int | None:
    if _number(text):
        return int(text)
    return names.index(text.upper()) + low if text.upper() in names else None


def _number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 3
