"""When two JSON texts mean the same: IAM policies and other documents that AWS stores in a form of its own."""

from __future__ import annotations

import json
from typing import Any


def same_document(left: object, right: object) -> bool:
    """Whether two texts hold equivalent documents; texts that aren't JSON must be equal."""
    if left == right:
        return True
    if not isinstance(left, str) or not isinstance(right, str):
        return False
    try:
        return bool(canonical(json.loads(left)) == canonical(json.loads(right)))
    except ValueError:
        return False


def canonical(value: Any) -> Any:
    """A form that equivalent documents share.

    In a policy, one text and a list of that one text are the same, a list of texts has no order, and a single
    statement may stand without its list (IAM User Guide, "Grammar of the IAM JSON policy language").
    """
    if isinstance(value, dict):
        result = {key: canonical(item) for key, item in value.items()}
        if isinstance(result.get("Statement"), dict):
            result["Statement"] = [result["Statement"]]
        return result
    if isinstance(value, list):
        items = [canonical(item) for item in value]
        if all(isinstance(item, str) for item in items):
            unique = sorted(set(items))
            return unique[0] if len(unique) == 1 else unique
        return items
    if isinstance(value, bool):
        return "true" if value else "false"  # conditions may say true or "true"
    return value
