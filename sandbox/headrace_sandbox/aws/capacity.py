"""EC2 capacity reservations on demand, which moto lacks. Blocks bought ahead: `capacity_blocks`."""

from __future__ import annotations

from headrace_sandbox.aws.ec2_common import asked_tags, ec2_error, epoch, need_type, passes
from headrace_sandbox.aws.identity import ACCOUNT_ID, arn, ec2_id
from headrace_sandbox.aws.store import Kind, Later, public
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import Handler, World, page

RESERVATION = Kind(service="ec2", name="capacity-reservation")
_OVER = ("cancelled", "expired", "failed")


def find_reservation(world: World, region: str, reservation_id: str) -> Doc | None:
    """A reservation that is not over."""
    doc = world.store.get(RESERVATION, region, reservation_id)
    return doc if doc and doc["State"] not in _OVER else None


async def create(world: World, call: Call) -> Doc:
    """CreateCapacityReservation: on demand, at once."""
    params, region = call.params, call.region
    for doc in world.store.list(RESERVATION, region):
        if params.get("ClientToken") and doc.get("_token") == params["ClientToken"]:
            return {"CapacityReservation": public(doc)}
    zone = params.get("AvailabilityZone")
    if zone is None and params.get("AvailabilityZoneId"):
        zones = (await world.moto("ec2", "DescribeAvailabilityZones", region))["AvailabilityZones"]
        zone = next((z["ZoneName"] for z in zones if z["ZoneId"] == params["AvailabilityZoneId"]), None)
    if zone is None:
        raise ec2_error(
            "MissingParameter", "The request must contain the parameter AvailabilityZone or AvailabilityZoneId"
        )
    await need_type(world, region, params["InstanceType"], zone)
    if params["InstanceCount"] < 1:
        raise ec2_error(
            "InvalidParameterValue", f"Value ({params['InstanceCount']}) for parameter instanceCount is invalid."
        )
    ends, kind = (
        params.get("EndDate"),
        params.get("EndDateType") or ("limited" if params.get("EndDate") else "unlimited"),
    )
    if (kind == "limited") != (ends is not None):
        raise ec2_error("InvalidParameterCombination", "EndDate must be given if, and only if, EndDateType is limited.")
    doc = new_reservation(world, region, params, zone) | {
        "EndDateType": kind,
        "State": "active",
        "ReservationType": "default",
    }
    if ends is not None:
        if epoch(ends) <= world.now():
            raise ec2_error("InvalidParameterValue", "EndDate must be in the future.")
        doc["EndDate"] = epoch(ends)
    if params.get("ClientToken"):
        doc["_token"] = params["ClientToken"]
    later = Later(seconds=doc["EndDate"] - world.now(), members={"State": "expired"}) if ends is not None else None
    world.store.put(RESERVATION, region, doc["CapacityReservationId"], doc, later=later)
    return {"CapacityReservation": public(doc)}


def new_reservation(world: World, region: str, params: Doc, zone: str) -> Doc:
    """A reservation with what every kind of it has; state and end are the caller's."""
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


def _need(world: World, call: Call) -> Doc:
    wanted = call.params["CapacityReservationId"]
    doc = world.store.get(RESERVATION, call.region, wanted)
    if doc is None:
        raise ec2_error(
            "InvalidCapacityReservationId.NotFound", f"The capacity reservation ID '{wanted}' was not found"
        )
    return doc


async def describe(world: World, call: Call) -> Doc:
    """DescribeCapacityReservations."""
    ids = call.params.get("CapacityReservationIds")
    for wanted in ids or []:
        if world.store.get(RESERVATION, call.region, wanted) is None:
            raise ec2_error(
                "InvalidCapacityReservationId.NotFound", f"The capacity reservation ID '{wanted}' was not found"
            )
    docs = [
        public(d) for d in world.store.list(RESERVATION, call.region) if not ids or d["CapacityReservationId"] in ids
    ]
    items, more = page(
        [d for d in docs if passes(d, call.params.get("Filters", []))], call.params, members=("MaxResults", "NextToken")
    )
    return {"CapacityReservations": items, **more}


async def modify(world: World, call: Call) -> Doc:
    """ModifyCapacityReservation: count, end and match criteria. A capacity block can't be modified."""
    doc, params = _need(world, call), call.params
    if doc["ReservationType"] == "capacity-block" or doc["State"] in _OVER:
        raise ec2_error(
            "InvalidCapacityReservationState",
            f"A {doc['ReservationType']} reservation in state {doc['State']} can't be modified",
        )
    if (count := params.get("InstanceCount")) is not None:
        used = doc["TotalInstanceCount"] - doc["AvailableInstanceCount"]
        if count < max(used, 1):
            raise ec2_error(
                "InvalidParameterValue", f"InstanceCount {count} is less than the {used} instances in use, or than 1"
            )
        doc |= {"TotalInstanceCount": count, "AvailableInstanceCount": count - used}
    kind = params.get("EndDateType") or ("limited" if params.get("EndDate") else doc["EndDateType"])
    if kind == "unlimited":
        doc.pop("EndDate", None)
    elif params.get("EndDate"):
        doc["EndDate"] = epoch(params["EndDate"])
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
        raise ec2_error(
            "InvalidCapacityReservationState", f"The capacity block {doc['CapacityReservationId']} can't be cancelled."
        )
    doc |= {"State": "cancelled", "AvailableInstanceCount": 0}
    world.store.put(RESERVATION, call.region, doc["CapacityReservationId"], doc)
    return {"Return": True}


HANDLERS: dict[tuple[str, str], Handler] = {
    ("ec2", "CreateCapacityReservation"): create,
    ("ec2", "DescribeCapacityReservations"): describe,
    ("ec2", "ModifyCapacityReservation"): modify,
    ("ec2", "CancelCapacityReservation"): cancel,
}
