"""Small things that the pure modules share: emptiness, templates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from headrace.protocol.values import Unknown


def is_empty(value: object) -> bool:
    """Whether a value says no more than its absence: AWS and the official provider treat null, "", 0, false and an
    empty collection of an optional property alike."""
    if isinstance(value, Unknown):
        return False
    if isinstance(value, Mapping):
        return all(is_empty(v) for v in value.values())
    return value is None or value == "" or value == 0 or value == []


_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """`template` with `{name}` replaced by `values[name]`; a text that is one placeholder keeps the value's own type.

    Lists and maps are filled element by element; an element of a map whose value is None disappears.
    """
    if isinstance(template, str):
        whole = _PLACEHOLDER.fullmatch(template)
        if whole:
            return values.get(whole.group(1))
        return _PLACEHOLDER.sub(lambda m: str(values[m.group(1)]), template)
    if isinstance(template, Mapping):
        filled = {k: fill(v, values) for k, v in template.items()}
        return {k: v for k, v in filled.items() if v is not None}
    if isinstance(template, list | tuple):
        return [fill(v, values) for v in template]
    return template
