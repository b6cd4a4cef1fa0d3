"""The structural difference of two property maps, path by path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from headrace.protocol.values import Secret, Unknown, Value
from headrace_sandbox.plugin import paths


class Kind(Enum):
    """What happened to a property."""

    ADD = "add"
    DELETE = "delete"
    UPDATE = "update"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One property that differs. `replace` says that the change needs a new resource. `input_diff`: both sides are
    inputs (otherwise the old side is state)."""

    kind: Kind
    replace: bool = False
    input_diff: bool = True


Changes = dict[paths.Path, Change]
Equal = Callable[[paths.Path, Value, Value], bool]


def _plain(value: Value) -> Value:
    while isinstance(value, Secret):
        value = value.value
    return value


def _strict(_path: paths.Path, old: Value, new: Value) -> bool:
    # bool is an int in Python, but true and 1 are different properties
    return type(old) is type(new) and bool(old == new) if isinstance(old, bool) or isinstance(new, bool) else old == new


def difference(
    old: Value, new: Value, *, equal: Equal = _strict, ignore: Iterable[str] = (), path: paths.Path = ()
) -> Changes:
    """Every leaf at which `old` and `new` differ.

    A null and an absent property are the same. An unknown differs from everything (its value is not known yet). Secret
    wrappers don't count as a difference. `equal(path, old, new)` may call two leaves the same that aren't identical
    (equivalent JSON, an equal quantity); it is also asked for whole lists and maps before they are entered.
    """
    ignored = tuple(ignore)
    found: Changes = {}
    _compare(_plain(old), _plain(new), path, equal, found)
    return {place: change for place, change in found.items() if not paths.covered(place, ignored)}


def _compare(old: Value, new: Value, path: paths.Path, equal: Equal, found: Changes) -> None:
    if isinstance(new, Unknown):
        found[path] = Change(kind=Kind.ADD if old is None else Kind.UPDATE)
    elif old is None and new is None:
        return
    elif old is None:
        found[path] = Change(kind=Kind.ADD)
    elif new is None:
        found[path] = Change(kind=Kind.DELETE)
    elif isinstance(old, Unknown):
        found[path] = Change(kind=Kind.UPDATE)
    elif isinstance(old, dict) and isinstance(new, dict):
        if not _equal_without_unknown(path, old, new, equal):
            _compare_maps(old, new, path, equal, found)
    elif isinstance(old, list) and isinstance(new, list):
        if not _equal_without_unknown(path, old, new, equal):
            _compare_lists(old, new, path, equal, found)
    elif not equal(path, old, new):
        found[path] = Change(kind=Kind.UPDATE)


def _equal_without_unknown(path: paths.Path, old: Value, new: Value, equal: Equal) -> bool:
    # Only a caller's own notion of equality may decide for a whole container; ours is the comparison of its leaves.
    return equal is not _strict and equal(path, old, new)


def _compare_maps(
    old: Mapping[str, Value], new: Mapping[str, Value], path: paths.Path, equal: Equal, found: Changes
) -> None:
    for key in [*old, *(key for key in new if key not in old)]:
        _compare(_plain(old.get(key)), _plain(new.get(key)), (*path, key), equal, found)


def _compare_lists(old: list[Value], new: list[Value], path: paths.Path, equal: Equal, found: Changes) -> None:
    for index in range(max(len(old), len(new))):
        before = _plain(old[index]) if index < len(old) else None
        after = _plain(new[index]) if index < len(new) else None
        _compare(before, after, (*path, index), equal, found)
