"""EC2 placement groups, which moto lacks."""

from __future__ import annotations

from headrace_sandbox.aws.ec2_common import asked_tags, ec2_error, passes
from headrace_sandbox.aws.identity import arn, ec2_id
from headrace_sandbox.aws.store import Kind
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import Handler, World

GROUP = Kind(service="ec2", name="placement-group")


async def create(world: World, call: Call) -> Doc:
    """CreatePlacementGroup."""
    params = call.params
    name = params.get("GroupName")
    if not name:
        raise ec2_error("MissingParameter", "The request must contain the parameter groupName")
    if any(d["GroupName"] == name for d in world.store.list(GROUP, call.region)):
        raise ec2_error("InvalidPlacementGroup.Duplicate", f"The Placement Group '{name}' already exists.")
    strategy = params.get("Strategy", "cluster")
    if params.get("PartitionCount") and strategy != "partition":
        raise ec2_error("InvalidParameterCombination", "PartitionCount is only for the strategy partition.")
    group_id = ec2_id("pg")
    doc: Doc = {
        "GroupName": name,
        "State": "available",
        "Strategy": strategy,
        "GroupId": group_id,
        "Tags": asked_tags(params, "placement-group"),
        "GroupArn": arn("ec2", call.region, f"placement-group/{name}"),
    }
    if strategy == "partition":
        doc["PartitionCount"] = params.get("PartitionCount", 2)
    if strategy == "spread":
        doc["SpreadLevel"] = params.get("SpreadLevel", "rack")
    world.store.put(GROUP, call.region, group_id, doc)
    return {"PlacementGroup": doc}


async def describe(world: World, call: Call) -> Doc:
    """DescribePlacementGroups."""
    names, ids = call.params.get("GroupNames"), call.params.get("GroupIds")
    docs = world.store.list(GROUP, call.region)
    if missing := set(names or []) - {d["GroupName"] for d in docs}:
        raise ec2_error("InvalidPlacementGroup.Unknown", f"The Placement Group '{sorted(missing)[0]}' is unknown.")
    found = [d for d in docs if (not names or d["GroupName"] in names) and (not ids or d["GroupId"] in ids)]
    return {"PlacementGroups": [d for d in found if passes(d, call.params.get("Filters", []))]}


async def delete(world: World, call: Call) -> Doc:
    """DeletePlacementGroup."""
    for doc in world.store.list(GROUP, call.region):
        if doc["GroupName"] == call.params["GroupName"]:
            world.store.delete(GROUP, call.region, doc["GroupId"])
            return {}
    raise ec2_error("InvalidPlacementGroup.Unknown", f"The Placement Group '{call.params['GroupName']}' is unknown.")


HANDLERS: dict[tuple[str, str], Handler] = {
    ("ec2", "CreatePlacementGroup"): create,
    ("ec2", "DescribePlacementGroups"): describe,
    ("ec2", "DeletePlacementGroup"): delete,
}
