"""JMESPath, as botocore brings it along: expressions of the table against answers of AWS."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

_jmespath: Any = importlib.import_module("jmespath")  # it ships no types


@cache
def _compiled(path: str) -> Any:
    return _jmespath.compile(path)


def search(path: str, value: Any) -> Any:
    """What `path` finds in `value`; None where it finds nothing."""
    return _compiled(path).search(value)
