"""Autonaming as the official provider: the resource's name, a dash and seven hex digits."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from headrace_sandbox.aws_provider.spec import Name
from headrace_sandbox.plugin.provider import Autonaming

_DIGITS = 7


def named(
    rule: Name,
    logical_name: str,
    inputs: Mapping[str, Any],
    old_inputs: Mapping[str, Any] | None,
    *,
    seed: bytes,
    autonaming: Autonaming | None,
) -> dict[str, Any]:
    """`inputs` with a name. A name that was made before stays as long as the program gives none itself."""
    result = dict(inputs)
    if result.get(rule.property) is not None:
        return result
    prefix = result.get(rule.prefix_property) if rule.prefix_property else None
    before = (old_inputs or {}).get(rule.property)
    if isinstance(before, str) and (prefix is None or (isinstance(prefix, str) and before.startswith(prefix))):
        result[rule.property] = before
        return result
    digits = hashlib.sha256(seed).hexdigest()[:_DIGITS] if seed else secrets.token_hex(4)[:_DIGITS]
    if isinstance(prefix, str):
        result[rule.property] = f"{prefix}{digits}"
    elif prefix is None and not (autonaming and autonaming.mode == "disable"):
        if autonaming and autonaming.proposed_name:
            name = autonaming.proposed_name
        else:
            suffix = _suffix(rule, result)
            room = rule.limit - _DIGITS - len(rule.separator) - len(suffix) - len(rule.start)
            name = f"{rule.start}{logical_name[:room]}{rule.separator}{digits}{suffix}"
        result[rule.property] = name.lower() if rule.lower else name
    return result


def _suffix(rule: Name, inputs: Mapping[str, Any]) -> str:
    switch, suffix = rule.suffix_from
    return suffix if switch and inputs.get(switch) is True else ""
