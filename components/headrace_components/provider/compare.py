"""The difference of two property maps by the table of fields: what changed, and what of it needs a new resource."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from headrace.protocol.values import Props, Unknown, Value, bare, reveal
from headrace_components.provider.fields import Field, Kind


class Operation(Enum):
    """What happened to a property."""

    ADD = "add"
    DELETE = "delete"
    UPDATE = "update"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One property that differs."""

    operation: Operation
    replace: bool


def changes(fields: Mapping[str, Field], old: Props, new: Props, ignore: Iterable[str] = ()) -> dict[str, Change]:
    """Every place at which `old` and `new` differ, by its path in the engine's form.

    Null and absent are the same; an unknown differs from everything; secret wrappers don't count. A list that the
    vendor treats as a set is compared as one."""
    found: dict[str, Change] = {}
    _compare_fields(fields, old, new, "", found, replace=False)
    patterns = tuple(ignore)
    return {path: change for path, change in found.items() if not _ignored(path, patterns)}


def _ignored(path: str, patterns: tuple[str, ...]) -> bool:
    return any(path == one or path.startswith((f"{one}.", f"{one}[")) for one in patterns)


def _compare_fields(
    fields: Mapping[str, Field], old: Props, new: Props, prefix: str, found: dict[str, Change], *, replace: bool
) -> None:
    for name, spec in fields.items():
        _compare(spec, old.get(name), new.get(name), prefix + name, found, replace=replace or spec.replace)


def _compare(spec: Field, old: Value, new: Value, path: str, found: dict[str, Change], *, replace: bool) -> None:
    old, new = bare(old), bare(new)
    if isinstance(new, Unknown) or isinstance(old, Unknown):
        found[path] = Change(operation=Operation.ADD if old is None else Operation.UPDATE, replace=replace)
    elif old is None or new is None:
        if old is not new:
            operation = Operation.ADD if old is None else Operation.DELETE
            found[path] = Change(operation=operation, replace=replace)
    elif spec.kind is Kind.OBJECT and isinstance(old, dict) and isinstance(new, dict):
        _compare_fields(spec.fields, old, new, f"{path}.", found, replace=replace)
    elif spec.kind is Kind.MAP and spec.items is not None and isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            _compare(spec.items, old.get(key), new.get(key), f'{path}["{key}"]', found, replace=replace)
    elif not equal(spec, old, new):
        found[path] = Change(operation=Operation.UPDATE, replace=replace)


def equal(spec: Field, old: Value, new: Value) -> bool:
    """Whether two known values of a field are the same to the vendor."""
    old, new = reveal(old), reveal(new)
    if spec.order_free and isinstance(old, list) and isinstance(new, list):
        return sorted(map(_key, old)) == sorted(map(_key, new))
    # True and 1 are equal in Python and different properties.
    return isinstance(old, bool) == isinstance(new, bool) and bool(old == new)


def _key(item: Value) -> str:
    return "unknown" if isinstance(item, Unknown) else json.dumps(item, sort_keys=True, default=repr)
