"""EC2 capacity reservations, capacity blocks, placement groups and their tags, none of which moto has."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from headrace_sandbox.aws.errors import AwsError
from headrace_sandbox.aws.identity import ACCOUNT_ID, arn, ec2_id
from headrace_sandbox.aws.store import Kind, Later
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import Handler, World, exists, page

RESERVATION = Kind(service="ec2", name="capacity-reservation")
BLOCK = Kind(service="ec2", name="capacity-block")
GROUP = Kind(service="ec2", name="placement-group")

_TAGGED = {
    "cr-": (RESERVATION, "capacity-reservation"),
    "cb-": (BLOCK, "capacity-block"),
    "pg-": (GROUP, "placement-group"),
}
_OVER = ("cancelled", "expired", "failed")
_BLOCK_FAMILIES = ("p4d", "p4de", "p5", "p5e", "p5en", "p6-b200", "p6-b300", "p6e-gb200", "trn1", "trn2")
"""Families sold as capacity blocks (EC2 User Guide, Capacity Blocks for ML, supported instance types, 2026-11)."""
_BLOCK_COUNTS = (1, 2, 4, 8, 16, 32, 64)
_DAY = 86400


def _error(code: str, message: str) -> AwsError:
    return AwsError(code, message, status=400)


def _epoch(value: Any) -> float:
    return value.replace(tzinfo=UTC).timestamp() if isinstance(value, datetime) else float(value)


def find_reservation(world: World, region: str, reservation_id: str) -> Doc | None:
    """A reservation that is not over."""
    doc = world.store.get(RESERVATION, region, reservation_id)
    return doc if doc and doc["State"] not in _OVER else None


def asked_tags(params: Doc, resource_type: str) -> list[Doc]:
    """The tags that a create call gives to resources of a type."""
    return [
        tag
        for spec in params.get("TagSpecifications", [])
        if spec.get("ResourceType") == resource_type
        for tag in spec.get("Tags", [])
    ]


async def _need_type(world: World, region: str, instance_type: str, zone: str | None) -> None:
    zones = (await world.moto("ec2", "DescribeAvailabilityZones", region))["AvailabilityZones"]
    if zone is not None and zone not in {z["ZoneName"] for z in zones}:
        raise _error("InvalidParameterValue", f"Invalid availability zone: [{zone}]")
    if await exists(world, "ec2", "DescribeInstanceTypes", region, {"InstanceTypes": [instance_type]}) is None:
        raise _error("InvalidInstanceType", f"The instance type '{instance_type}' is not supported.")


async def create(world: World, call: Call) -> Doc:
    """CreateCapacityReservation: on demand, at once."""
    params, region = call.params, call.region
    for doc in world.store.list(RESERVATION, region):
        if params.get("ClientToken") and doc.get("_token") == params["ClientToken"]:
            return {"CapacityReservation": _public(doc)}
    zone = params.get("AvailabilityZone")
    if zone is None and params.get("AvailabilityZoneId"):
        zones = (await world.moto("ec2", "DescribeAvailabilityZones", region))["AvailabilityZones"]
        zone = next((z["ZoneName"] for z in zones if z["ZoneId"] == params["AvailabilityZoneId"]), None)
    if zone is None:
        raise _error(
            "MissingParameter", "The request must contain the parameter AvailabilityZone or AvailabilityZoneId"
        )
    await _need_type(world, region, params["InstanceType"], zone)
    if params["InstanceCount"] < 1:
        raise _error(
            "InvalidParameterValue", f"Value ({params['InstanceCount']}) for parameter instanceCount is invalid."
        )
    ends, kind = (
        params.get("EndDate"),
        params.get("EndDateType") or ("limited" if params.get("EndDate") else "unlimited"),
    )
    if (kind == "limited") != (ends is not None):
        raise _error("InvalidParameterCombination", "EndDate must be given if, and only if, EndDateType is limited.")
    doc = _reservation(world, region, params, zone) | {
        "EndDateType": kind,
        "State": "active",
        "ReservationType": "default",
    }
    if ends is not None:
        if _epoch(ends) <= world.now():
            raise _error("InvalidParameterValue", "EndDate must be in the future.")
        doc["EndDate"] = _epoch(ends)
    if params.get("ClientToken"):
        doc["_token"] = params["ClientToken"]
    later = Later(seconds=doc["EndDate"] - world.now(), members={"State": "expired"}) if ends is not None else None
    world.store.put(RESERVATION, region, doc["CapacityReservationId"], doc, later=later)
    return {"CapacityReservation": _public(doc)}


def _reservation(world: World, region: str, params: Doc, zone: str) -> Doc:
    reservation_id = ec2_id("cr")
    return {
        "CapacityReservationId": reservation_id,
        "CapacityReservationArn": arn("ec2", region, f"capacity-reservation/{reservation_id}"),
        "OwnerId": ACCOUNT_ID,
        "InstanceType": params["InstanceType"],
        "InstancePlatform": params.get("InstancePlatform", "Linux/UNIX"),
        "AvailabilityZone": zone,
        "Tenancy": params.get("Tenancy", "default"),
        "TotalInstanceCount": params["InstanceCount"],
        "AvailableInstanceCount": params["InstanceCount"],
        "EbsOptimized": params.get("EbsOptimized", False),
        "EphemeralStorage": params.get("EphemeralStorage", False),
        "InstanceMatchCriteria": params.get("InstanceMatchCriteria", "open"),
        "StartDate": world.now(),
        "CreateDate": world.now(),
        "Tags": asked_tags(params, "capacity-reservation"),
        **{k: params[k] for k in ("OutpostArn", "PlacementGroupArn") if params.get(k)},
    }


def _public(doc: Doc) -> Doc:
    return {k: v for k, v in doc.items() if not k.startswith("_")}


def _need(world: World, call: Call) -> Doc:
    wanted = call.params["CapacityReservationId"]
    doc = world.store.get(RESERVATION, call.region, wanted)
    if doc is None:
        raise _error("InvalidCapacityReservationId.NotFound", f"The capacity reservation ID '{wanted}' was not found")
    return doc


_FILTERS = {
    "instance-type": "InstanceType",
    "owner-id": "OwnerId",
    "state": "State",
    "availability-zone": "AvailabilityZone",
    "tenancy": "Tenancy",
    "end-date-type": "EndDateType",
    "instance-match-criteria": "InstanceMatchCriteria",
    "instance-platform": "InstancePlatform",
    "group-name": "GroupName",
    "strategy": "Strategy",
    "group-id": "GroupId",
    "capacity-reservation-type": "ReservationType",
}


def passes(doc: Doc, filters: list[Doc]) -> bool:
    """Whether a document passes EC2 filters; an unknown filter is refused."""
    tags = {tag["Key"]: tag["Value"] for tag in doc.get("Tags", [])}
    for wanted in filters:
        name, values = wanted["Name"], wanted.get("Values", [])
        if name.startswith("tag:"):
            good = tags.get(name[4:]) in values
        elif name == "tag-key":
            good = any(value in tags for value in values)
        elif name in _FILTERS:
            good = str(doc.get(_FILTERS[name])) in values
        else:
            raise _error("InvalidParameterValue", f"The filter '{name}' is invalid")
        if not good:
            return False
    return True


async def describe(world: World, call: Call) -> Doc:
    """DescribeCapacityReservations."""
    ids = call.params.get("CapacityReservationIds")
    for wanted in ids or []:
        if world.store.get(RESERVATION, call.region, wanted) is None:
            raise _error(
                "InvalidCapacityReservationId.NotFound", f"The capacity reservation ID '{wanted}' was not found"
            )
    docs = [
        _public(d) for d in world.store.list(RESERVATION, call.region) if not ids or d["CapacityReservationId"] in ids
    ]
    items, more = page(
        [d for d in docs if passes(d, call.params.get("Filters", []))], call.params, members=("MaxResults", "NextToken")
    )
    return {"CapacityReservations": items, **more}


async def modify(world: World, call: Call) -> Doc:
    """ModifyCapacityReservation: count, end and match criteria. A capacity block can't be modified."""
    doc, params = _need(world, call), call.params
    if doc["ReservationType"] == "capacity-block" or doc["State"] in _OVER:
        raise _error(
            "InvalidCapacityReservationState",
            f"A {doc['ReservationType']} reservation in state {doc['State']} can't be modified",
        )
    if (count := params.get("InstanceCount")) is not None:
        used = doc["TotalInstanceCount"] - doc["AvailableInstanceCount"]
        if count < max(used, 1):
            raise _error(
                "InvalidParameterValue", f"InstanceCount {count} is less than the {used} instances in use, or than 1"
            )
        doc |= {"TotalInstanceCount": count, "AvailableInstanceCount": count - used}
    kind = params.get("EndDateType") or ("limited" if params.get("EndDate") else doc["EndDateType"])
    if kind == "unlimited":
        doc.pop("EndDate", None)
    elif params.get("EndDate"):
        doc["EndDate"] = _epoch(params["EndDate"])
    doc["EndDateType"] = kind
    if params.get("InstanceMatchCriteria"):
        doc["InstanceMatchCriteria"] = params["InstanceMatchCriteria"]
    later = Later(seconds=doc["EndDate"] - world.now(), members={"State": "expired"}) if "EndDate" in doc else None
    world.store.put(RESERVATION, call.region, doc["CapacityReservationId"], doc, later=later)
    return {"Return": True}


async def cancel(world: World, call: Call) -> Doc:
    """CancelCapacityReservation. A capacity block is paid for and can't be cancelled."""
    doc = _need(world, call)
    if doc["ReservationType"] == "capacity-block":
        raise _error(
            "InvalidCapacityReservationState", f"The capacity block {doc['CapacityReservationId']} can't be cancelled."
        )
    doc |= {"State": "cancelled", "AvailableInstanceCount": 0}
    world.store.put(RESERVATION, call.region, doc["CapacityReservationId"], doc)
    return {"Return": True}


def _check_block_terms(params: Doc) -> None:
    hours = params["CapacityDurationHours"]
    # 1-14 days in steps of a day, then to 182 days in steps of a week (EC2 User Guide, Capacity Blocks, 2026-11).
    if hours % 24 or not 24 <= hours <= 182 * 24 or (hours > 14 * 24 and hours % (7 * 24)):
        raise _error(
            "InvalidParameterValue", f"CapacityDurationHours {hours} is not 1-14 days, or whole weeks up to 182 days"
        )
    if params.get("InstanceCount", 1) not in _BLOCK_COUNTS:
        raise _error("InvalidParameterValue", f"InstanceCount must be one of {', '.join(map(str, _BLOCK_COUNTS))}")
    if str(params.get("InstanceType", "")).split(".")[0] not in _BLOCK_FAMILIES:
        raise _error("InvalidParameterValue", f"{params.get('InstanceType')} is not sold as capacity blocks")


async def offerings(world: World, call: Call) -> Doc:
    """DescribeCapacityBlockOfferings: one invented offering per zone. The fee is invented too and says so by being 1.00
    per instance and hour: prices are the catalogue's business, not the stand-in's."""
    params, region = call.params, call.region
    _check_block_terms(params)
    await _need_type(world, region, params["InstanceType"], None)
    zones = (
        await world.moto(
            "ec2",
            "DescribeInstanceTypeOfferings",
            region,
            {
                "LocationType": "availability-zone",
                "Filters": [{"Name": "instance-type", "Values": [params["InstanceType"]]}],
            },
        )
    )["InstanceTypeOfferings"]
    earliest = _epoch(params["StartDateRange"]) if params.get("StartDateRange") else world.now()
    # Blocks start at 11:30 UTC and are sold up to eight weeks ahead.
    start = (max(earliest, world.now()) // _DAY + 1) * _DAY + 11.5 * 3600
    hours, count = params["CapacityDurationHours"], params.get("InstanceCount", 1)
    found = []
    for zone in sorted({z["Location"] for z in zones}):
        terms = f"{region}/{params['InstanceType']}/{zone}/{count}/{start}/{hours}"
        offering = {
            "CapacityBlockOfferingId": f"cbr-0{hashlib.sha256(terms.encode()).hexdigest()[:16]}",
            "InstanceType": params["InstanceType"],
            "AvailabilityZone": zone,
            "InstanceCount": count,
            "StartDate": start,
            "EndDate": start + hours * 3600,
            "CapacityBlockDurationHours": hours,
            "UpfrontFee": f"{count * hours:.2f}",
            "CurrencyCode": "USD",
            "Tenancy": "default",
        }
        world.store.put(_OFFERING, region, offering["CapacityBlockOfferingId"], offering)
        found.append(offering)
    return {"CapacityBlockOfferings": found}


_OFFERING = Kind(service="ec2", name="capacity-block-offering")


async def purchase(world: World, call: Call) -> Doc:
    """PurchaseCapacityBlock: payment pending, then scheduled until its start, then active until its end."""
    offering = world.store.get(_OFFERING, call.region, call.params["CapacityBlockOfferingId"])
    if offering is None:
        raise _error(
            "InvalidCapacityBlockOfferingId.NotFound",
            f"The offering {call.params['CapacityBlockOfferingId']} does not exist",
        )
    doc = _reservation(
        world,
        call.region,
        {**offering, **call.params, "InstanceMatchCriteria": "targeted"},
        offering["AvailabilityZone"],
    )
    block_id = ec2_id("cb")
    doc |= {
        "StartDate": offering["StartDate"],
        "EndDate": offering["EndDate"],
        "EndDateType": "limited",
        "ReservationType": "capacity-block",
        "State": "payment-pending",
        "CapacityBlockId": block_id,
    }
    block = {
        "CapacityBlockId": block_id,
        "AvailabilityZone": doc["AvailabilityZone"],
        "CapacityReservationIds": [doc["CapacityReservationId"]],
        "StartDate": doc["StartDate"],
        "EndDate": doc["EndDate"],
        "CreateDate": world.now(),
        "State": "scheduled",
        "Tags": asked_tags(call.params, "capacity-block"),
    }
    world.store.put(BLOCK, call.region, block_id, block)
    world.store.put(
        RESERVATION,
        call.region,
        doc["CapacityReservationId"],
        doc,
        later=Later(seconds=0.3, members={"State": "scheduled"}),
    )
    return {"CapacityReservation": _public(doc), "CapacityBlocks": [block]}


async def describe_blocks(world: World, call: Call) -> Doc:
    """DescribeCapacityBlocks."""
    ids = call.params.get("CapacityBlockIds")
    found = [d for d in world.store.list(BLOCK, call.region) if not ids or d["CapacityBlockId"] in ids]
    items, more = page(
        [d for d in found if passes(d, call.params.get("Filters", []))],
        call.params,
        members=("MaxResults", "NextToken"),
    )
    return {"CapacityBlocks": items, **more}


async def create_group(world: World, call: Call) -> Doc:
    """CreatePlacementGroup."""
    params = call.params
    name = params.get("GroupName")
    if not name:
        raise _error("MissingParameter", "The request must contain the parameter groupName")
    if any(d["GroupName"] == name for d in world.store.list(GROUP, call.region)):
        raise _error("InvalidPlacementGroup.Duplicate", f"The Placement Group '{name}' already exists.")
    strategy = params.get("Strategy", "cluster")
    if params.get("PartitionCount") and strategy != "partition":
        raise _error("InvalidParameterCombination", "PartitionCount is only for the strategy partition.")
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


async def describe_groups(world: World, call: Call) -> Doc:
    """DescribePlacementGroups."""
    names, ids = call.params.get("GroupNames"), call.params.get("GroupIds")
    docs = world.store.list(GROUP, call.region)
    if missing := set(names or []) - {d["GroupName"] for d in docs}:
        raise _error("InvalidPlacementGroup.Unknown", f"The Placement Group '{sorted(missing)[0]}' is unknown.")
    found = [d for d in docs if (not names or d["GroupName"] in names) and (not ids or d["GroupId"] in ids)]
    return {"PlacementGroups": [d for d in found if passes(d, call.params.get("Filters", []))]}


async def delete_group(world: World, call: Call) -> Doc:
    """DeletePlacementGroup."""
    for doc in world.store.list(GROUP, call.region):
        if doc["GroupName"] == call.params["GroupName"]:
            world.store.delete(GROUP, call.region, doc["GroupId"])
            return {}
    raise _error("InvalidPlacementGroup.Unknown", f"The Placement Group '{call.params['GroupName']}' is unknown.")


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
            raise _error("InvalidID", f"The ID '{resource}' is not valid")
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
    ("ec2", "CreateCapacityReservation"): create,
    ("ec2", "DescribeCapacityReservations"): describe,
    ("ec2", "ModifyCapacityReservation"): modify,
    ("ec2", "CancelCapacityReservation"): cancel,
    ("ec2", "DescribeCapacityBlockOfferings"): offerings,
    ("ec2", "PurchaseCapacityBlock"): purchase,
    ("ec2", "DescribeCapacityBlocks"): describe_blocks,
    ("ec2", "CreatePlacementGroup"): create_group,
    ("ec2", "DescribePlacementGroups"): describe_groups,
    ("ec2", "DeletePlacementGroup"): delete_group,
    ("ec2", "CreateTags"): create_tags,
    ("ec2", "DeleteTags"): delete_tags,
}
OVERLAYS = {("ec2", "DescribeTags"): (with_our_tags,)}
