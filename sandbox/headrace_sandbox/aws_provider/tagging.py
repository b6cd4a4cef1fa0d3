"""Tags: the resource's own, the provider's default ones, and what AWS has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headrace.protocol.values import Unknown
from headrace_sandbox.aws_provider import requests
from headrace_sandbox.aws_provider.mapping import pairs_to_map
from headrace_sandbox.aws_provider.query import search
from headrace_sandbox.aws_provider.spec import ResourceType
from headrace_sandbox.aws_provider.values import fill

if TYPE_CHECKING:
    from headrace_sandbox.aws_provider.context import Context

_MEMBERS = ("tags", "Tags", "TagSet", "TagList", "TagsList", "ResourceTags")


def all_tags(default: Mapping[str, str], own: Any) -> Any:
    """`tagsAll`: the defaults with the resource's own over them. Unknown where its own are."""
    if isinstance(own, Unknown):
        return own
    return {**default, **(own or {})}


def own_tags(every: Mapping[str, str], default: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """`tags`: what isn't there because of the defaults alone."""
    return {k: v for k, v in every.items() if k in known or default.get(k) != v}


def read_tags(
    ctx: Context, spec: ResourceType, resource: Mapping[str, Any], values: Mapping[str, Any]
) -> dict[str, str]:
    """Every tag on the resource but AWS's own (`aws:`) and those that the provider was told to ignore."""
    tags = spec.tags
    if tags is None:
        return {}
    if tags.list is not None:
        answer = ctx.call(tags.list.op, fill(tags.list.args, values))
        found = search(tags.list.at, answer)
    elif tags.read:
        found = search(tags.read, dict(resource))
    else:
        found = next((resource[m] for m in _MEMBERS if resource.get(m)), None)
    plain = pairs_to_map(found) if isinstance(found, list) else dict(found or {})
    config = ctx.aws.config
    return {
        k: v
        for k, v in plain.items()
        if not k.startswith("aws:")
        and k not in config.ignored_tags
        and not k.startswith(config.ignored_prefixes or ("\0",))
    }


def change_tags(
    ctx: Context, spec: ResourceType, values: Mapping[str, Any], old: Mapping[str, str], new: Mapping[str, str]
) -> None:
    """Brings the tags from `old` to `new` with as few calls as there are kinds of change."""
    tags = spec.tags
    if tags is None:
        return
    removed = [k for k in old if k not in new]
    written = {k: v for k, v in new.items() if old.get(k) != v}
    target = fill(tags.target, values)
    if removed and tags.untag:
        keys = ctx.aws.input_shape(spec.service, tags.untag).members[tags.untag_member]
        member = getattr(keys, "member", None)
        pairs = member is not None and member.type_name == "structure"
        ctx.call(tags.untag, {**target, tags.untag_member: [{"Key": k} for k in removed] if pairs else removed})
    if written and tags.tag:
        shape = ctx.aws.input_shape(spec.service, tags.tag).members[tags.tag_member]
        ctx.call(tags.tag, {**target, tags.tag_member: requests.tags_as(shape, written)})
