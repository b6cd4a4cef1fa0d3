"""Builds requests from the table: pure, given botocore's models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from headrace.protocol.values import Unknown
from headrace_sandbox.aws_provider.mapping import NoMember, find_member, map_to_pairs, put
from headrace_sandbox.aws_provider.spec import Call, ResourceType, Tags
from headrace_sandbox.aws_provider.values import fill

_NOT_SENT = frozenset({"tags", "tagsAll", "region"})


def target_shape(shape: StructureShape, under: str) -> StructureShape:
    """The structure that properties travel in."""
    for part in under.split(".") if under else ():
        shape = shape.members[part]  # type: ignore[assignment]  # `under` always leads through structures
    return shape


def member_of(spec: ResourceType, call: Call, shape: StructureShape, name: str) -> str | None:
    """The member path that carries property `name` in this call, or None if the call has none."""
    explicit = call.rename.get(name) or spec.rename.get(name)
    inner = target_shape(shape, call.under)
    if explicit:
        return explicit if explicit.split(".")[0] in inner.members else None
    return find_member(inner.members, name)


def carried(spec: ResourceType, call: Call, shape: StructureShape, names: frozenset[str] | set[str]) -> set[str]:
    """Which of `names` this call carries."""
    skip = _NOT_SENT | spec.hooked | spec.local | spec.refused
    wanted = names if call.props is None else names & set(call.props)
    return {n for n in wanted if (n not in skip or n in (call.props or ())) and member_of(spec, call, shape, n)}


def build(
    spec: ResourceType,
    call: Call,
    shape: StructureShape,
    values: Mapping[str, Any],
    props: Mapping[str, Any],
    *,
    partial: bool = False,
) -> dict[str, Any]:
    """The parameters of `call`: its templates filled from `values`, and `props` in their members.

    Raises `NoMember` for a nested property without a member. With `partial`, unknown values become placeholders of the
    right shape, so that what is known can be validated.
    """
    params: dict[str, Any] = {k: v for k, v in fill(call.args, values).items() if v is not None}
    inner = target_shape(shape, call.under)
    rename = {**spec.rename, **call.rename}
    for name, value in props.items():
        if value is None:
            continue
        target = member_of(spec, call, shape, name)
        if target is None:
            raise NoMember(name, shape.name)
        into = params
        for part in call.under.split(".") if call.under else ():
            into = into.setdefault(part, {})
        if partial and isinstance(value, Unknown):
            _place(into, inner, target)
            continue
        put(into, inner, target, value, name, rename, partial=partial)
    if partial:
        _complete(params, shape)
    return params


def _place(into: dict[str, Any], shape: Shape, target: str) -> None:
    head, _, rest = target.partition(".")
    member = shape.members[head]  # type: ignore[attr-defined]  # targets lead through structures
    if rest and isinstance(member, StructureShape):
        _place(into.setdefault(head, {}), member, rest)
    else:
        into[head] = placeholder(member)


def placeholder(shape: Shape) -> Any:
    """A value that botocore's validation accepts for `shape`."""
    match shape:
        case StructureShape():
            return {name: placeholder(shape.members[name]) for name in shape.required_members}
        case ListShape():
            return [placeholder(shape.member)] * int(shape.metadata.get("min", 0))
        case MapShape():
            return {}
    least = shape.metadata.get("min", 0)
    match shape.type_name:
        case "string":
            return "x" * max(int(least), 1)
        case "integer" | "long":
            return int(max(least, 1))
        case "float" | "double":
            return float(max(least, 1))
        case "boolean":
            return True
        case "timestamp":
            return 0
    return b"x"


def _complete(value: Any, shape: Shape) -> None:
    """Placeholders for required members that aren't known yet, at any depth."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        for name in shape.required_members:
            value.setdefault(name, placeholder(shape.members[name]))
        for name, item in value.items():
            if name in shape.members:
                _complete(item, shape.members[name])
    elif isinstance(shape, ListShape) and isinstance(value, list):
        for item in value:
            _complete(item, shape.member)


def creation_tags(tags: Tags, shape: StructureShape, values: Mapping[str, str]) -> dict[str, Any]:
    """The members that give a new resource its tags, or nothing."""
    if not values:
        return {}
    if tags.resource_type:
        pairs = [{"Key": k, "Value": v} for k, v in values.items()]
        return {"TagSpecifications": [{"ResourceType": tags.resource_type, "Tags": pairs}]}
    return {tags.create: tags_as(shape.members[tags.create], values)} if tags.create else {}


def tags_as(shape: Shape, values: Mapping[str, str]) -> Any:
    """Tags as a map or as pairs, whichever `shape` is."""
    return map_to_pairs(values, shape) if isinstance(shape, ListShape) else dict(values)


def idempotency_member(shape: StructureShape) -> str | None:
    """The member that makes a repeated request return what the first one made."""
    for name, member in shape.members.items():
        if member.metadata.get("idempotencyToken") or name in ("ClientToken", "clientRequestToken"):
            return str(name)
    return None


def result_shape(shape: Shape | None, at: str) -> Shape | None:
    """The shape at a simple JMESPath (`a.b[0].c`) of a response; None where the path isn't simple."""
    current = shape
    for part in at.split(".") if at else ():
        name, bracket, _ = part.partition("[")
        if not isinstance(current, StructureShape) or name not in current.members:
            return None
        current = current.members[name]
        if bracket:
            if not isinstance(current, ListShape):
                return None
            current = current.member
    return current
