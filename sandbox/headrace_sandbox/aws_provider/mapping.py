"""Between Pulumi's camelCase properties and the members of AWS's request and response shapes.

Both sides are described elsewhere: the properties by the SDK (`sdk`), the members by botocore's service models. A
name finds its member by letters alone (`vpcId` is `VpcId`, `subnetIds` is `SubnetId` where the API says the singular);
the few that differ are named in the table (`rename`: dotted property path -> member path).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from headrace.protocol.values import Unknown
from headrace_sandbox.aws_provider.sdk import format_number, object_type


class NoMember(Exception):
    """A property that the API shape has no member for."""

    def __init__(self, path: str, shape: str) -> None:
        super().__init__(f"{path}: the API's {shape} has no such member")
        self.path = path
        self.shape = shape


class Pending(Exception):
    """An unknown value was met where a whole request was asked for."""


def _spellings(name: str) -> Iterable[str]:
    low = name.lower()
    yield low
    yield f"{low}s"
    if low.endswith("ies"):
        yield f"{low[:-3]}y"
    if low.endswith("s"):
        yield low[:-1]
    if low.endswith("es"):
        yield low[:-2]
    yield f"{low}set"


def find_member(members: Iterable[str], name: str) -> str | None:
    """The member that means `name`, or None."""
    index = {member.lower(): member for member in members}
    return next((index[s] for s in _spellings(name) if s in index), None)


def to_api(value: Any, shape: Shape, path: str, rename: Mapping[str, str], *, partial: bool = False) -> Any:
    """`value` as a parameter of `shape`.

    `partial` leaves unknown values out (to check at preview what is known); otherwise they raise `Pending`. Raises
    `NoMember` for a nested property that the API doesn't have.
    """
    if isinstance(value, Unknown):
        raise Pending(path)
    if isinstance(shape, StructureShape):
        return _structure(value, shape, path, rename, partial=partial)
    if isinstance(shape, ListShape):
        if isinstance(value, Mapping) and _is_pair(shape.member):
            return map_to_pairs(value, shape)
        items = value if isinstance(value, list) else [value]
        converted = (_maybe(item, shape.member, path, rename, partial=partial) for item in items)
        return [item for item in converted if item is not None]
    if isinstance(shape, MapShape):
        pairs = {k: _maybe(v, shape.value, f"{path}.{k}", rename, partial=partial) for k, v in value.items()}
        return {k: v for k, v in pairs.items() if v is not None}
    return _scalar_to_api(value, shape)


def _is_pair(shape: Shape) -> bool:
    members = sorted(m.lower() for m in getattr(shape, "members", ()))
    return len(members) == 2 and members[0].endswith("key") and members[1].endswith("value")


def _maybe(value: Any, shape: Shape, path: str, rename: Mapping[str, str], *, partial: bool) -> Any:
    if isinstance(value, Unknown) and partial:
        return None
    return to_api(value, shape, path, rename, partial=partial)


def _structure(
    value: Any, shape: StructureShape, path: str, rename: Mapping[str, str], *, partial: bool
) -> dict[str, Any]:
    if isinstance(value, list):  # the SDK's list of at most one element for a block that the API has once
        value = value[0] if value else {}
    result: dict[str, Any] = {}
    for name, item in value.items():
        if item is None or name.startswith("__"):
            continue
        target = rename.get(f"{path}.{name}") or find_member(shape.members, name)
        if target is None:
            raise NoMember(f"{path}.{name}", shape.name)
        if isinstance(item, Unknown) and partial:
            continue
        put(result, shape, target, item, f"{path}.{name}", rename, partial=partial)
    return result


def put(
    params: dict[str, Any],
    shape: Shape,
    target: str,
    value: Any,
    path: str,
    rename: Mapping[str, str],
    *,
    partial: bool = False,
) -> None:
    """Sets the member at the dotted path `target` of `params` (described by `shape`) to `value`."""
    head, _, rest = target.partition(".")
    if not isinstance(shape, StructureShape) or head not in shape.members:
        raise NoMember(path, shape.name)
    member = shape.members[head]
    if rest:
        if isinstance(member, ListShape):
            rows = params.setdefault(head, [{}])
            put(rows[0], member.member, rest, value, path, rename, partial=partial)
        else:
            put(params.setdefault(head, {}), member, rest, value, path, rename, partial=partial)
        return
    params[head] = to_api(value, member, path, rename, partial=partial)


def _scalar_to_api(value: Any, shape: Shape) -> Any:
    match shape.type_name:
        case "boolean":
            return value == "true" if isinstance(value, str) else bool(value)
        case "integer" | "long":
            return int(value)
        case "float" | "double":
            return float(value)
        case "blob":
            return value.encode() if isinstance(value, str) else value
        case "string":
            if isinstance(value, bool):
                return "true" if value else "false"
            if isinstance(value, int | float):
                return format_number(value)
            return json.dumps(value) if isinstance(value, dict | list) else value
    return value


def from_api(value: Any, declared: Any, path: str, rename: Mapping[str, str]) -> Any:
    """An API value as the SDK declares it (`declared` written as in `sdk_generate`); None where there is nothing."""
    if value is None:
        return None
    if isinstance(declared, list):
        kind, inner = declared
        if kind == "list":
            items = value if isinstance(value, list) else [value]
            return [from_api(item, inner, path, rename) for item in items]
        if isinstance(value, list):  # a list of key and value pairs, as EC2 writes its tags
            value = pairs_to_map(value)
        return {k: from_api(v, inner, f"{path}.{k}", rename) for k, v in value.items()}
    if isinstance(value, list) and declared not in ("any", "string", "json"):
        value = value[0] if value else None
        if value is None:
            return None
    if isinstance(declared, str) and declared.startswith("#"):
        return object_from_api(value, object_type(declared).properties, path, rename)
    return _scalar_from_api(value, declared)


def object_from_api(
    value: Mapping[str, Any], properties: Mapping[str, Any], path: str, rename: Mapping[str, str]
) -> dict[str, Any]:
    """The properties that `value` has something for."""
    result: dict[str, Any] = {}
    for name, declared in properties.items():
        full = f"{path}.{name}" if path else name
        found = lookup(value, rename.get(full, ""), name)
        if found is not None:
            converted = from_api(found, declared, full, rename)
            if converted is not None:
                result[name] = converted
    return result


def lookup(value: Mapping[str, Any], target: str, name: str) -> Any:
    """What stands at the dotted path `target`, or else at the member that means `name`."""
    if not target:
        member = find_member(value, name)
        return value[member] if member is not None else None
    current: Any = value
    for part in target.split("."):
        if isinstance(current, list):
            current = current[0] if current else None
        current = current.get(part) if isinstance(current, Mapping) else None
    return current


def pairs_to_map(pairs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """`[{"Key": k, "Value": v}]`, however the service spells the two members, as a map."""
    result: dict[str, Any] = {}
    for pair in pairs:
        key = next(v for k, v in pair.items() if k.lower().endswith("key"))
        result[key] = next((v for k, v in pair.items() if k.lower().endswith("value")), "")
    return result


def map_to_pairs(tags: Mapping[str, str], shape: ListShape) -> list[dict[str, str]]:
    """The reverse, with the member names of `shape`."""
    members = list(getattr(shape.member, "members", ()))
    key = next(m for m in members if m.lower().endswith("key"))
    value = next(m for m in members if m.lower().endswith("value"))
    return [{key: k, value: v} for k, v in tags.items()]


def _scalar_from_api(value: Any, declared: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, bytes):
        value = value.decode()
    match declared:
        case "string" | "json":
            if isinstance(value, bool):
                return "true" if value else "false"
            if isinstance(value, int | float):
                return format_number(value)
            return json.dumps(value) if isinstance(value, dict | list) else str(value)
        case "integer":
            return int(value)
        case "number":
            return float(value)
        case "boolean":
            return value == "true" if isinstance(value, str) else bool(value)
    return value
