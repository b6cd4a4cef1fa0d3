"""Auto scaling groups: the one behind each EKS node group, and its scheduled actions.

Scheduled actions are kept and shown, not carried out: no clock runs them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import cycle, islice
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from headrace_sandbox.aws.errors import AwsError, unsupported
from headrace_sandbox.aws.identity import arn, ec2_id, uuid
from headrace_sandbox.aws.store import Kind, public
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import World, page

GROUP = Kind(service="autoscaling", name="group")
SCHEDULE = Kind(service="autoscaling", name="scheduled-action")

_CRON_FIELD = re.compile(r"(\*|[0-9A-Za-z]+(-[0-9A-Za-z]+)?)(/\d+)?(,(\*|[0-9A-Za-z]+(-[0-9A-Za-z]+)?)(/\d+)?)*")
_SIZES = {"MinSize": "minSize", "MaxSize": "maxSize", "DesiredCapacity": "desiredSize"}


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message, status=400)


def create_for_nodegroup(world: World, region: str, group: Doc, subnets: list[Doc]) -> str:
    """The group that EKS makes for a node group; returns its name."""
    name = f"eks-{group['nodegroupName']}-{group['nodegroupArn'].rsplit('/', 1)[-1]}"
    cluster = group["clusterName"]
    tags = {
        "eks:cluster-name": cluster,
        "eks:nodegroup-name": group["nodegroupName"],
        f"kubernetes.io/cluster/{cluster}": "owned",
        "k8s.io/cluster-autoscaler/enabled": "true",
        f"k8s.io/cluster-autoscaler/{cluster}": "owned",
    }
    template = group.get("launchTemplate") or {"id": ec2_id("lt"), "name": f"eks-{uuid()}", "version": "1"}
    doc: Doc = {
        "_zones": [(subnet["AvailabilityZone"], subnet["SubnetId"]) for subnet in subnets],
        "_nodegroup": f"{cluster}/{group['nodegroupName']}",
        "AutoScalingGroupName": name,
        "AutoScalingGroupARN": arn("autoscaling", region, f"autoScalingGroup:{uuid()}:autoScalingGroupName/{name}"),
        "MinSize": 0,
        "MaxSize": 0,
        "DesiredCapacity": 0,
        "LaunchTemplate": {
            "LaunchTemplateId": template["id"],
            "LaunchTemplateName": template["name"],
            "Version": template["version"],
        },
        "DefaultCooldown": 300,
        "AvailabilityZones": sorted({subnet["AvailabilityZone"] for subnet in subnets}),
        "VPCZoneIdentifier": ",".join(subnet["SubnetId"] for subnet in subnets),
        "HealthCheckType": "EC2",
        "HealthCheckGracePeriod": 15,
        "CreatedTime": world.now(),
        "Instances": [],
        "TerminationPolicies": ["AllocationStrategy", "OldestLaunchTemplate", "OldestInstance"],
        "NewInstancesProtectedFromScaleIn": False,
        "CapacityRebalance": True,
        "ServiceLinkedRoleARN": arn(
            "iam",
            region,
            "role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
            regional=False,
        ),
        "Tags": [_tag(name, key, value) for key, value in tags.items()],
    }
    _resize(doc, group["scalingConfig"])
    world.store.put(GROUP, region, name, doc)
    return name


def _tag(group: str, key: str, value: str, *, propagate: bool = True) -> Doc:
    return {
        "ResourceId": group,
        "ResourceType": "auto-scaling-group",
        "Key": key,
        "Value": value,
        "PropagateAtLaunch": propagate,
    }


def _resize(doc: Doc, scaling: Doc) -> None:
    for member, name in _SIZES.items():
        doc[member] = scaling[name]
    instances: list[Doc] = doc["Instances"][: doc["DesiredCapacity"]]
    zones = islice(cycle(doc["_zones"]), len(instances), doc["DesiredCapacity"])
    instances += [
        {
            "InstanceId": ec2_id("i"),
            "AvailabilityZone": zone,
            "LifecycleState": "InService",
            "HealthStatus": "Healthy",
            "ProtectedFromScaleIn": False,
            "LaunchTemplate": doc["LaunchTemplate"],
        }
        for zone, _ in zones
    ]
    doc["Instances"] = instances


def resize(world: World, region: str, name: str, scaling: Doc) -> None:
    """Set the sizes of a group as a node group's scalingConfig says."""
    doc = world.store.get(GROUP, region, name)
    if doc is not None:
        _resize(doc, scaling)
        world.store.put(GROUP, region, name, doc)


def sizes(world: World, region: str, name: str) -> Doc:
    """The sizes of a group as a scalingConfig; empty where the group is gone."""
    doc = world.store.get(GROUP, region, name)
    return {ours: doc[theirs] for theirs, ours in _SIZES.items()} if doc else {}


def remove(world: World, region: str, name: str) -> None:
    """Delete a group with its scheduled actions."""
    for action in world.store.list(SCHEDULE, region, parent=name):
        world.store.delete(SCHEDULE, region, f"{name}/{action['ScheduledActionName']}")
    world.store.delete(GROUP, region, name)


def _need(world: World, call: Call) -> Doc:
    name = call.params["AutoScalingGroupName"]
    doc = world.store.get(GROUP, call.region, name)
    if doc is None:
        raise _invalid(
            "AutoScalingGroup name not found - null" if not name else f"AutoScalingGroup name not found - {name}"
        )
    return doc


def _page(items: list[Doc], params: Doc) -> tuple[list[Any], Doc]:
    return page(items, params, members=("MaxRecords", "NextToken"))


def _matches(doc: Doc, filters: list[Doc]) -> bool:
    tags = {tag["Key"]: tag["Value"] for tag in doc["Tags"]}
    for wanted in filters:
        name, values = wanted.get("Name", ""), wanted.get("Values", [])
        if name == "tag-key":
            good = any(value in tags for value in values)
        elif name == "tag-value":
            good = any(value in tags.values() for value in values)
        elif name.startswith("tag:"):
            good = tags.get(name[4:]) in values
        else:
            raise _invalid(f"Filter type {name} is not correct. Allowed Filter types are: tag-key tag-value tag:<key>")
        if not good:
            return False
    return True


async def describe_groups(world: World, call: Call) -> Doc:
    """DescribeAutoScalingGroups."""
    names = call.params.get("AutoScalingGroupNames")
    found = [
        public(doc)
        for doc in world.store.list(GROUP, call.region)
        if (not names or doc["AutoScalingGroupName"] in names) and _matches(doc, call.params.get("Filters", []))
    ]
    items, more = _page(found, call.params)
    return {"AutoScalingGroups": items, **more}


async def update_group(world: World, call: Call) -> Doc:
    """UpdateAutoScalingGroup: sizes only. EKS owns the rest of the groups that exist here."""
    doc = _need(world, call)
    if other := call.params.keys() - {"AutoScalingGroupName", *_SIZES}:
        raise unsupported("autoscaling", f"UpdateAutoScalingGroup with {', '.join(sorted(other))}")
    scaling = {name: call.params.get(member, doc[member]) for member, name in _SIZES.items()}
    _check_sizes({member: scaling[name] for member, name in _SIZES.items()})
    _resize(doc, scaling)
    world.store.put(GROUP, call.region, doc["AutoScalingGroupName"], doc)
    return {}


async def set_desired(world: World, call: Call) -> Doc:
    """SetDesiredCapacity."""
    doc = _need(world, call)
    desired = call.params["DesiredCapacity"]
    if not doc["MinSize"] <= desired <= doc["MaxSize"]:
        below = desired < doc["MinSize"]
        limit = f"below min value {doc['MinSize']}" if below else f"above max value {doc['MaxSize']}"
        raise _invalid(f"New SetDesiredCapacity value {desired} is {limit} for the AutoScalingGroup.")
    _resize(doc, {"minSize": doc["MinSize"], "maxSize": doc["MaxSize"], "desiredSize": desired})
    world.store.put(GROUP, call.region, doc["AutoScalingGroupName"], doc)
    return {}


def _check_sizes(sizes: Doc) -> None:
    low, high, desired = sizes.get("MinSize"), sizes.get("MaxSize"), sizes.get("DesiredCapacity")
    if low is not None and high is not None and low > high:
        raise _invalid("Max bound, null or greater than or equal to min bound is required")
    if desired is not None and ((low is not None and desired < low) or (high is not None and desired > high)):
        raise _invalid(f"Desired capacity:{desired} must be between the specified min size:{low} and max size:{high}")


async def put_action(world: World, call: Call) -> Doc:
    """PutScheduledUpdateGroupAction: creates, or replaces the action of that name."""
    group, params = _need(world, call)["AutoScalingGroupName"], call.params
    given = {member: params[member] for member in _SIZES if params.get(member) is not None}
    if not given:
        raise _invalid("At least one of MinSize, MaxSize or DesiredCapacity must be specified")
    _check_sizes(given)
    recurrence, zone = params.get("Recurrence"), params.get("TimeZone")
    if not recurrence and not params.get("StartTime"):
        raise _invalid("Either a start time or a recurrence must be specified")
    if recurrence and (
        len(recurrence.split()) != 5 or not all(_CRON_FIELD.fullmatch(part) for part in recurrence.split())
    ):
        raise _invalid(f"Given recurrence string:{recurrence} is invalid")
    if zone:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise _invalid(f"Given time zone:{zone} is invalid") from error
    name = params["ScheduledActionName"]
    key = f"{group}/{name}"
    before = world.store.get(SCHEDULE, call.region, key)
    start = params.get("StartTime")
    if isinstance(start, datetime) and start.replace(tzinfo=UTC).timestamp() < world.now():
        raise _invalid(f"Given start time:{start} is in the past")
    action: Doc = {
        "AutoScalingGroupName": group,
        "ScheduledActionName": name,
        "ScheduledActionARN": before["ScheduledActionARN"]
        if before
        else arn(
            "autoscaling",
            call.region,
            f"scheduledUpdateGroupAction:{uuid()}:autoScalingGroupName/{group}:scheduledActionName/{name}",
        ),
        **given,
    }
    for member in ("StartTime", "EndTime"):
        if isinstance(params.get(member), datetime):
            action[member] = params[member].replace(tzinfo=UTC).timestamp()
    if recurrence:
        action |= {"Recurrence": recurrence, "TimeZone": zone or "Etc/UTC"}
    elif zone:
        action["TimeZone"] = zone
    world.store.put(SCHEDULE, call.region, key, action, parent=group)
    return {}


async def describe_actions(world: World, call: Call) -> Doc:
    """DescribeScheduledActions."""
    group, names = call.params.get("AutoScalingGroupName"), call.params.get("ScheduledActionNames")
    if group is not None:
        _need(world, call)
    found = [
        a
        for a in world.store.list(SCHEDULE, call.region, parent=group)
        if not names or a["ScheduledActionName"] in names
    ]
    items, more = _page(found, call.params)
    return {"ScheduledUpdateGroupActions": items, **more}


async def delete_action(world: World, call: Call) -> Doc:
    """DeleteScheduledAction."""
    group = _need(world, call)["AutoScalingGroupName"]
    key = f"{group}/{call.params['ScheduledActionName']}"
    if world.store.get(SCHEDULE, call.region, key) is None:
        raise _invalid("Scheduled action name not found")
    world.store.delete(SCHEDULE, call.region, key)
    return {}


async def put_tags(world: World, call: Call) -> Doc:
    """CreateOrUpdateTags."""
    for tag in call.params["Tags"]:
        doc = world.store.get(GROUP, call.region, tag.get("ResourceId", ""))
        if doc is None:
            raise _invalid(f"AutoScalingGroup name not found - AutoScalingGroup '{tag.get('ResourceId')}' not found")
        doc["Tags"] = [t for t in doc["Tags"] if t["Key"] != tag["Key"]]
        doc["Tags"].append(
            _tag(
                doc["AutoScalingGroupName"],
                tag["Key"],
                tag.get("Value", ""),
                propagate=tag.get("PropagateAtLaunch", False),
            )
        )
        world.store.put(GROUP, call.region, doc["AutoScalingGroupName"], doc)
    return {}


async def delete_tags(world: World, call: Call) -> Doc:
    """DeleteTags."""
    for tag in call.params["Tags"]:
        doc = world.store.get(GROUP, call.region, tag.get("ResourceId", ""))
        if doc is not None:
            doc["Tags"] = [t for t in doc["Tags"] if t["Key"] != tag["Key"]]
            world.store.put(GROUP, call.region, doc["AutoScalingGroupName"], doc)
    return {}


async def describe_tags(world: World, call: Call) -> Doc:
    """DescribeTags."""
    wanted = {f.get("Name"): f.get("Values", []) for f in call.params.get("Filters", [])}
    members = {
        "auto-scaling-group": "ResourceId",
        "key": "Key",
        "value": "Value",
        "propagate-at-launch": "PropagateAtLaunch",
    }
    if bad := wanted.keys() - members.keys():
        raise _invalid(
            f"Filter type {', '.join(map(str, bad))} is not correct. Allowed Filter types are: {' '.join(members)}"
        )
    tags = [
        tag
        for doc in world.store.list(GROUP, call.region)
        for tag in doc["Tags"]
        if all(str(tag[members[str(name)]]).lower() in [v.lower() for v in values] for name, values in wanted.items())
    ]
    items, more = _page(tags, call.params)
    return {"Tags": items, **more}


async def refuse(_: World, call: Call) -> Doc:
    """Groups of one's own aren't part of the sandbox: every group here belongs to a node group."""
    raise unsupported("autoscaling", call.name)


HANDLERS = {
    ("autoscaling", "DescribeAutoScalingGroups"): describe_groups,
    ("autoscaling", "UpdateAutoScalingGroup"): update_group,
    ("autoscaling", "SetDesiredCapacity"): set_desired,
    ("autoscaling", "PutScheduledUpdateGroupAction"): put_action,
    ("autoscaling", "DescribeScheduledActions"): describe_actions,
    ("autoscaling", "DeleteScheduledAction"): delete_action,
    ("autoscaling", "CreateOrUpdateTags"): put_tags,
    ("autoscaling", "DeleteTags"): delete_tags,
    ("autoscaling", "DescribeTags"): describe_tags,
    ("autoscaling", "CreateAutoScalingGroup"): refuse,
    ("autoscaling", "DeleteAutoScalingGroup"): refuse,
}
