"""What the handlers of EC2's own resources share: errors, tags of a create call, filters, instance types."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from headrace_sandbox.aws.errors import AwsError
from headrace_sandbox.aws.wire import Doc
from headrace_sandbox.aws.world import World, exists


def ec2_error(code: str, message: str) -> AwsError:
    """An error as EC2 words it."""
    return AwsError(code, message, status=400)


def epoch(value: Any) -> float:
    """A time of a request as seconds since 1970."""
    return value.replace(tzinfo=UTC).timestamp() if isinstance(value, datetime) else float(value)


def asked_tags(params: Doc, resource_type: str) -> list[Doc]:
    """The tags that a create call gives to resources of a type."""
    return [
        tag
        for spec in params.get("TagSpecifications", [])
        if spec.get("ResourceType") == resource_type
        for tag in spec.get("Tags", [])
    ]


async def need_type(world: World, region: str, instance_type: str, zone: str | None) -> None:
    """Refuse an instance type that the region lacks, or a zone that isn't one of it."""
    zones = (await world.moto("ec2", "DescribeAvailabilityZones", region))["AvailabilityZones"]
    if zone is not None and zone not in {z["ZoneName"] for z in zones}:
        raise ec2_error("InvalidParameterValue", f"Invalid availability zone: [{zone}]")
    if await exists(world, "ec2", "DescribeInstanceTypes", region, {"InstanceTypes": [instance_type]}) is None:
        raise ec2_error("InvalidInstanceType", f"The instance type '{instance_type}' is not supported.")


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
            raise ec2_error("InvalidParameterValue", f"The filter '{name}' is invalid")
        if not good:
            return False
    return True
