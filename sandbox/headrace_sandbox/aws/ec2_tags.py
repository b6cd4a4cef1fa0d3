"""EC2's tagging calls, which take ids of moto's resources and of ours alike."""

from __future__ import annotations

from headrace_sandbox.aws.capacity import RESERVATION
from headrace_sandbox.aws.capacity_blocks import BLOCK
from headrace_sandbox.aws.ec2_common import ec2_error
from headrace_sandbox.aws.placement_groups import GROUP
from headrace_sandbox.aws.store import Kind
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import Handler, World

_TAGGED = {
    "cr-": (RESERVATION, "capacity-reservation"),
    "cb-": (BLOCK, "capacity-block"),
    "pg-": (GROUP, "placement-group"),
}


def _split(world: World, call: Call) -> tuple[list[tuple[Kind, str, Doc]], list[str]]:
    """The resources of a tagging call that are ours, and the ids that are moto's."""
    ours, theirs = [], []
    for resource in call.params["Resources"]:
        kind = next((kind for prefix, (kind, _) in _TAGGED.items() if resource.startswith(prefix)), None)
        if kind is None:
            theirs.append(resource)
            continue
        doc = world.store.get(kind, call.region, resource)
        if doc is None:
            raise ec2_error("InvalidID", f"The ID '{resource}' is not valid")
        ours.append((kind, resource, doc))
    return ours, theirs


async def create_tags(world: World, call: Call) -> Doc:
    """CreateTags on our resources and moto's alike."""
    ours, theirs = _split(world, call)
    if theirs:
        await world.moto("ec2", "CreateTags", call.region, {**call.params, "Resources": theirs})
    new = {tag["Key"]: tag.get("Value", "") for tag in call.params["Tags"]}
    for kind, key, doc in ours:
        tags = {tag["Key"]: tag["Value"] for tag in doc["Tags"]} | new
        world.store.amend(kind, call.region, key, {"Tags": [{"Key": k, "Value": v} for k, v in tags.items()]})
    return {}


async def delete_tags(world: World, call: Call) -> Doc:
    """DeleteTags; a tag with a value goes only if the value is that."""
    ours, theirs = _split(world, call)
    if theirs:
        await world.moto("ec2", "DeleteTags", call.region, {**call.params, "Resources": theirs})
    gone = call.params.get("Tags")
    for kind, key, doc in ours:
        tags = [
            t
            for t in doc["Tags"]
            if gone and not any(g["Key"] == t["Key"] and g.get("Value") in (None, t["Value"]) for g in gone)
        ]
        world.store.amend(kind, call.region, key, {"Tags": tags})
    return {}


async def with_our_tags(world: World, call: Call, result: Doc) -> Doc:
    """DescribeTags by resource id: moto's tags and ours."""
    wanted = [v for f in call.params.get("Filters", []) if f["Name"] == "resource-id" for v in f.get("Values", [])]
    for resource in wanted:
        for prefix, (kind, name) in _TAGGED.items():
            doc = world.store.get(kind, call.region, resource) if resource.startswith(prefix) else None
            for tag in (doc or {}).get("Tags", []):
                result.setdefault("Tags", []).append({"ResourceId": resource, "ResourceType": name, **tag})
    return result


HANDLERS: dict[tuple[str, str], Handler] = {
    ("ec2", "CreateTags"): create_tags,
    ("ec2", "DeleteTags"): delete_tags,
}
OVERLAYS = {("ec2", "DescribeTags"): (with_our_tags,)}
