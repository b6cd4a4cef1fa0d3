"""EC2 capacity blocks: offered, bought, and from then on a reservation that nobody can change or cancel."""

from __future__ import annotations

import hashlib

from headrace_sandbox.aws.capacity import RESERVATION, new_reservation
from headrace_sandbox.aws.ec2_common import asked_tags, ec2_error, epoch, need_type, passes
from headrace_sandbox.aws.identity import ec2_id
from headrace_sandbox.aws.store import Kind, Later, public
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import Handler, World, page

BLOCK = Kind(service="ec2", name="capacity-block")
_OFFERING = Kind(service="ec2", name="capacity-block-offering")
_FAMILIES = ("p4d", "p4de", "p5", "p5e", "p5en", "p6-b200", "p6-b300", "p6e-gb200", "trn1", "trn2")
"""Families sold as capacity blocks (EC2 User Guide, Capacity Blocks for ML, supported instance types, 2026-11)."""
_COUNTS = (1, 2, 4, 8, 16, 32, 64)
_DAY = 86400


def _check_terms(params: Doc) -> None:
    hours = params["CapacityDurationHours"]
    # 1-14 days in steps of a day, then to 182 days in steps of a week (EC2 User Guide, Capacity Blocks, 2026-11).
    if hours % 24 or not 24 <= hours <= 182 * 24 or (hours > 14 * 24 and hours % (7 * 24)):
        raise ec2_error(
            "InvalidParameterValue", f"CapacityDurationHours {hours} is not 1-14 days, or whole weeks up to 182 days"
        )
    if params.get("InstanceCount", 1) not in _COUNTS:
        raise ec2_error("InvalidParameterValue", f"InstanceCount must be one of {', '.join(map(str, _COUNTS))}")
    if str(params.get("InstanceType", "")).split(".")[0] not in _FAMILIES:
        raise ec2_error("InvalidParameterValue", f"{params.get('InstanceType')} is not sold as capacity blocks")


async def offerings(world: World, call: Call) -> Doc:
    """DescribeCapacityBlockOfferings: one invented offering per zone. The fee is invented too and says so by being 1.00
    per instance and hour: prices are the catalogue's business, not the stand-in's."""
    params, region = call.params, call.region
    _check_terms(params)
    await need_type(world, region, params["InstanceType"], None)
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
    earliest = epoch(params["StartDateRange"]) if params.get("StartDateRange") else world.now()
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


async def purchase(world: World, call: Call) -> Doc:
    """PurchaseCapacityBlock: payment pending, then scheduled until its start, then active until its end."""
    offering = world.store.get(_OFFERING, call.region, call.params["CapacityBlockOfferingId"])
    if offering is None:
        raise ec2_error(
            "InvalidCapacityBlockOfferingId.NotFound",
            f"The offering {call.params['CapacityBlockOfferingId']} does not exist",
        )
    doc = new_reservation(
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
    return {"CapacityReservation": public(doc), "CapacityBlocks": [block]}


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


HANDLERS: dict[tuple[str, str], Handler] = {
    ("ec2", "DescribeCapacityBlockOfferings"): offerings,
    ("ec2", "PurchaseCapacityBlock"): purchase,
    ("ec2", "DescribeCapacityBlocks"): describe_blocks,
}
