"""Kubernetes quantities: `500m`, `0.5`, `1Gi`, `1e3` (apimachinery's resource.Quantity)."""

from __future__ import annotations

import re
from fractions import Fraction

from headrace.protocol.values import Value
from headrace_sandbox.plugin import paths

_BINARY: dict[str, int] = {
    suffix: 1024 ** (power + 1) for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))
}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([KMGTPE]i|[numkMGTPE]?))\Z")
# Maps whose values are quantities, and single fields that are one.
_HOLDERS = frozenset(
    {"requests", "limits", "hard", "capacity", "allocatable", "default", "defaultRequest", "max", "min", "overhead"}
    | {"maxLimitRequestRatio", "podFixed", "used", "sizeLimit", "divisor"}
)


def parse(value: Value) -> Fraction | None:
    """The exact number, or None if the value isn't a quantity."""
    if isinstance(value, bool) or value is None:
        return None
    match = _FORM.match(str(value))
    if match is None:
        return None
    number, exponent, suffix = match.groups()
    amount: Fraction = Fraction(number)
    if exponent:
        return amount * _ten_to(int(exponent[1:]))
    if suffix in _BINARY:
        return amount * int(_BINARY[suffix])
    return amount * _ten_to(_DECIMAL[suffix or ""])


def _ten_to(power: int) -> Fraction:
    return Fraction(int(10**power)) if power >= 0 else Fraction(1, int(10**-power))


def same(path: paths.Path, old: Value, new: Value) -> bool:
    """Whether two leaves mean the same to Kubernetes at this place: equal, or equal as quantities."""
    if isinstance(old, bool) or isinstance(new, bool):
        return old is new
    if old == new:
        return True
    if isinstance(old, dict | list) or isinstance(new, dict | list):
        return False
    if not any(step in _HOLDERS for step in path):
        return False
    left, right = parse(old), parse(new)
    return left is not None and left == right
