"""Updates and tags of everything in EKS."""

from __future__ import annotations

from headrace_sandbox.aws.eks.common import ADDON, CLUSTER, ENTRY, IDENTITY, NODEGROUP, UPDATE, need_cluster, not_found
from headrace_sandbox.aws.errors import AwsError
from headrace_sandbox.aws.store import Kind, public
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import World, page

_ARNS = {
    CLUSTER: "arn",
    NODEGROUP: "nodegroupArn",
    ADDON: "addonArn",
    ENTRY: "accessEntryArn",
    IDENTITY: "associationArn",
}
_MOST_TAGS = 50


async def describe_update(world: World, call: Call) -> Doc:
    """DescribeUpdate."""
    need_cluster(world, call, member="name")
    update = world.store.get(UPDATE, call.region, call.params["updateId"])
    if update is None or update["_cluster"] != call.params["name"]:
        raise not_found(f"No update found for id: {call.params['updateId']}")
    return {"update": public(update)}


async def list_updates(world: World, call: Call) -> Doc:
    """ListUpdates of a cluster, node group or add-on."""
    need_cluster(world, call, member="name")
    params = call.params
    parent = "/".join((params["name"], params.get("nodegroupName") or "", params.get("addonName") or ""))
    items, more = page([update["id"] for update in world.store.list(UPDATE, call.region, parent=parent)], params)
    return {"updateIds": items, **more}


def _find(world: World, call: Call) -> tuple[Kind, str, Doc]:
    """Kind, key and document of the resource that an ARN names."""
    wanted = call.params["resourceArn"]
    for kind, member in _ARNS.items():
        for doc in world.store.list(kind, call.region):
            if doc.get(member) == wanted:
                key = {CLUSTER: doc.get("name"), NODEGROUP: f"{doc.get('clusterName')}/{doc.get('nodegroupName')}"}.get(
                    kind
                ) or doc["_key"]
                return kind, key, doc
    raise AwsError("NotFoundException", f"Could not find the resource {wanted}")


async def tag(world: World, call: Call) -> Doc:
    """TagResource."""
    kind, key, doc = _find(world, call)
    tags = doc.get("tags", {}) | call.params["tags"]
    if len(tags) > _MOST_TAGS:
        raise AwsError("BadRequestException", f"A resource can't have more than {_MOST_TAGS} tags")
    world.store.amend(kind, call.region, key, {"tags": tags})
    return {}


async def untag(world: World, call: Call) -> Doc:
    """UntagResource."""
    kind, key, doc = _find(world, call)
    tags = {k: v for k, v in doc.get("tags", {}).items() if k not in call.params["tagKeys"]}
    world.store.amend(kind, call.region, key, {"tags": tags})
    return {}


async def list_tags(world: World, call: Call) -> Doc:
    """ListTagsForResource."""
    return {"tags": _find(world, call)[2].get("tags", {})}


HANDLERS = {
    ("eks", "DescribeUpdate"): describe_update,
    ("eks", "ListUpdates"): list_updates,
    ("eks", "TagResource"): tag,
    ("eks", "UntagResource"): untag,
    ("eks", "ListTagsForResource"): list_tags,
}
