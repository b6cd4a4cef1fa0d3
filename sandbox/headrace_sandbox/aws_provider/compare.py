"""What differs between the state of a resource and what the program asks for. Pure; never raises for any input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.protocol.values import Unknown, has_unknown
from headrace_sandbox.aws_provider.documents import same_document
from headrace_sandbox.aws_provider.sdk import Declaration, object_type
from headrace_sandbox.aws_provider.spec import ResourceType
from headrace_sandbox.aws_provider.values import is_empty
from headrace_sandbox.plugin.differ import Change, Kind
from headrace_sandbox.plugin.paths import Path


def changes(
    spec: ResourceType,
    decl: Declaration,
    old_inputs: Mapping[str, Any],
    old_state: Mapping[str, Any],
    inputs: Mapping[str, Any],
) -> dict[Path, Change]:
    """Changes by property path. New inputs are compared with the *state*, so that drift found by a refresh shows.

    A property that the program stopped setting is a change if its old value says something and AWS doesn't fill it in
    by itself; one that it never set is a change only where silence means empty (`strict`).
    """
    found: dict[Path, Change] = {}
    for name in sorted({*inputs, *old_inputs, *spec.strict}):
        if name not in decl.inputs or name in ("tags", "tagsAll"):
            continue
        new = inputs.get(name)
        old = old_state.get(name)
        if new is None:
            if _left(spec, name, old_inputs, old):
                found[(name,)] = Change(kind=Kind.DELETE, replace=name in spec.replace)
        elif not same(spec, decl.inputs[name], name, new, old, old_inputs.get(name)):
            kind = Kind.ADD if old is None else Kind.UPDATE
            found[(name,)] = Change(kind=kind, replace=_replaces(spec, decl, name, old, new))
    if spec.tags is not None:
        found.update(_tag_changes(old_state.get("tags"), inputs.get("tags"), "tags"))
        if not any(path[0] == "tags" for path in found):
            # Only the provider's default tags (or a tag set behind our back that carries one of their keys) changed.
            found.update(_tag_changes(old_state.get("tagsAll"), inputs.get("tagsAll"), "tagsAll"))
    return found


def _replaces(spec: ResourceType, decl: Declaration, name: str, old: Any, new: Any) -> bool:
    if name in spec.replace_when:
        if str(decl.inputs[name]).startswith("#"):  # the table's functions may count on objects
            old, new = (value if isinstance(value, Mapping) else {} for value in (old, new))
        return has_unknown(new) or spec.replace_when[name](old, new)
    return name in spec.replace or name == "region"


def _left(spec: ResourceType, name: str, old_inputs: Mapping[str, Any], old: Any) -> bool:
    if name in spec.strict:
        return not is_empty(old)
    return name in old_inputs and name not in spec.computed and name not in spec.local and not is_empty(old)


def _tag_changes(old: Any, new: Any, name: str) -> dict[Path, Change]:
    if isinstance(new, Unknown):
        return {(name,): Change(kind=Kind.UPDATE)}
    before = old if isinstance(old, Mapping) else {}
    after = new if isinstance(new, Mapping) else {}
    found: dict[Path, Change] = {}
    for key in [*before, *(k for k in after if k not in before)]:
        if key not in after:
            found[(name, key)] = Change(kind=Kind.DELETE)
        elif key not in before:
            found[(name, key)] = Change(kind=Kind.ADD)
        elif isinstance(after[key], Unknown) or before[key] != after[key]:
            found[(name, key)] = Change(kind=Kind.UPDATE)
    return found


def same(spec: ResourceType, declared: Any, path: str, new: Any, old: Any, old_input: Any = None) -> bool:
    """Whether `new` asks for nothing that `old` doesn't have already. `path` is dotted, without list positions."""
    if isinstance(new, Unknown):
        return False
    if is_empty(new) and is_empty(old):
        return True
    if isinstance(new, Mapping):
        if not isinstance(old, Mapping):
            return False
        if isinstance(declared, list):  # a map: its keys are the user's, so each counts
            return dict(new) == dict(old)
        return _same_object(spec, declared, path, new, old, old_input)
    if isinstance(new, list):
        return isinstance(old, list) and _same_list(spec, declared, path, new, old, old_input)
    if path in spec.documents or declared == "json":
        return same_document(new, old)
    return bool(new == old) or _plain(new) == _plain(old)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _same_object(
    spec: ResourceType, declared: Any, path: str, new: Mapping[str, Any], old: Mapping[str, Any], old_input: Any
) -> bool:
    properties = object_type(declared).properties if isinstance(declared, str) and declared.startswith("#") else {}
    before = old_input if isinstance(old_input, Mapping) else {}
    for name, value in new.items():
        if value is not None and not same(
            spec, properties.get(name, "any"), f"{path}.{name}", value, old.get(name), before.get(name)
        ):
            return False
    # What the program stopped setting counts; what only AWS says doesn't.
    stopped = (k for k, v in before.items() if new.get(k) is None and not is_empty(v) and not is_empty(old.get(k)))
    return all(f"{path}.{k}" in spec.computed for k in stopped)


def _same_list(spec: ResourceType, declared: Any, path: str, new: list[Any], old: list[Any], old_input: Any) -> bool:
    if len(new) != len(old) or has_unknown(new):
        return False
    inner = declared[1] if isinstance(declared, list) else "any"
    before = old_input if isinstance(old_input, list) and len(old_input) == len(new) else [None] * len(new)
    if not any(isinstance(item, Mapping) for item in new):
        if path in spec.ordered:
            return all(same(spec, inner, path, n, o) for n, o in zip(new, old, strict=True))
        return sorted(map(_plain, new)) == sorted(map(_plain, old))
    if path not in spec.object_sets:
        rows = zip(new, old, before, strict=True)
        return all(same(spec, inner, path, n, o, b) for n, o, b in rows)
    left = list(old)
    for item in new:
        match = next((o for o in left if same(spec, inner, path, item, o)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def refreshed_inputs(
    spec: ResourceType, decl: Declaration, inputs: Mapping[str, Any], state: Mapping[str, Any]
) -> dict[str, Any]:
    """The inputs after a refresh: what the program set, with the values that AWS has now.

    A value that only says the same in other words stays as the program wrote it.
    """
    result: dict[str, Any] = {}
    for name, value in inputs.items():
        if name not in decl.inputs:
            result[name] = value
            continue
        now = state.get(name)
        if now is None and (name in spec.local or name in spec.write_only or is_empty(value)):
            result[name] = value
        elif now is not None:
            equal = same(spec, decl.inputs[name], name, value, now, value)
            result[name] = value if equal else _project(value, now)
    for name in spec.strict:
        if name not in result and not is_empty(state.get(name)):
            result[name] = state[name]
    return result


def _project(value: Any, now: Any) -> Any:
    if isinstance(value, Mapping) and isinstance(now, Mapping):
        return {k: _project(value[k], now[k]) for k in value if k in now}
    return now


def imported_inputs(spec: ResourceType, decl: Declaration, state: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs that would have made this resource: what AWS says of every property that a program can set."""
    skipped = {"tagsAll"}
    if spec.name is not None and spec.name.prefix_property:
        skipped.add(spec.name.prefix_property)
    result = {
        name: state[name]
        for name in decl.inputs
        if name in state and name not in skipped and name not in spec.refused and not is_empty(state[name])
    }
    for name, value in spec.defaults.items():
        result.setdefault(name, state.get(name, value))
    for name in decl.required:
        if name in state:
            result.setdefault(name, state[name])
    return result
