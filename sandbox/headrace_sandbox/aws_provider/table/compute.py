"""Launch templates, capacity, placement, scheduled scaling."""

from __future__ import annotations

from typing import Any

from headrace_sandbox.aws_provider import requests
from headrace_sandbox.aws_provider.context import Context
from headrace_sandbox.aws_provider.spec import Call, Name, Read, Ready, ResourceType, State, Update
from headrace_sandbox.aws_provider.table.parts import EC2_ARN as _ARN
from headrace_sandbox.aws_provider.table.parts import ec2_tags, words

# -- Launch template ---------------------------------------------------------------------------------------------------

_NOT_IN_DATA = words("name namePrefix description tags tagsAll region defaultVersion updateDefaultVersion")


def _find_template(ctx: Context, state: State) -> State | None:
    found = ctx.call("DescribeLaunchTemplates", {"LaunchTemplateIds": [state["id"]]}).get("LaunchTemplates", [])
    if not found:
        return None
    latest = {"LaunchTemplateId": state["id"], "Versions": [str(found[0]["LatestVersionNumber"])]}
    version = ctx.call("DescribeLaunchTemplateVersions", latest)["LaunchTemplateVersions"][0]
    data = dict(version["LaunchTemplateData"])
    # Some servers file the template's own tags with those of what it launches.
    data["TagSpecifications"] = [
        t for t in data.get("TagSpecifications", []) if t.get("ResourceType") != "launch-template"
    ]
    return {**data, **found[0], "VersionDescription": version.get("VersionDescription")}


def _new_version(ctx: Context, old: State, inputs: State, changed: frozenset[str]) -> None:
    template = {"LaunchTemplateId": old["id"]}
    version = old.get("latestVersion")
    if changed - {"defaultVersion", "updateDefaultVersion"}:
        call = Call(op="CreateLaunchTemplateVersion", props=None, under="LaunchTemplateData")
        shape = ctx.aws.input_shape("ec2", call.op)
        data = {k: v for k, v in inputs.items() if k not in _NOT_IN_DATA}
        params = requests.build(_LAUNCH_TEMPLATE, call, shape, {}, data)
        params |= template | ({"VersionDescription": inputs["description"]} if inputs.get("description") else {})
        params.setdefault("LaunchTemplateData", {})
        version = ctx.call(call.op, params)["LaunchTemplateVersion"]["VersionNumber"]
    default = version if inputs.get("updateDefaultVersion") else inputs.get("defaultVersion")
    if default and default != old.get("defaultVersion"):
        ctx.call("ModifyLaunchTemplate", {**template, "DefaultVersion": str(default)})


_DATA = words(
    "blockDeviceMappings capacityReservationSpecification cpuOptions creditSpecification disableApiStop"
    " disableApiTermination ebsOptimized enclaveOptions hibernationOptions iamInstanceProfile imageId"
    " instanceInitiatedShutdownBehavior instanceMarketOptions instanceRequirements instanceType kernelId keyName"
    " licenseSpecifications maintenanceOptions metadataOptions monitoring networkInterfaces networkPerformanceOptions"
    " placement privateDnsNameOptions ramDiskId securityGroupNames tagSpecifications userData vpcSecurityGroupIds"
)


def _one_default(inputs: State) -> list[tuple[str, str]]:
    if inputs.get("defaultVersion") is not None and inputs.get("updateDefaultVersion") is not None:
        return [("defaultVersion", "conflicts with updateDefaultVersion")]
    return []


_LAUNCH_TEMPLATE = ResourceType(
    type="aws:ec2/launchTemplate:LaunchTemplate",
    service="ec2",
    create=Call(
        op="CreateLaunchTemplate",
        args={"LaunchTemplateName": "{name}", "VersionDescription": "{description}", "LaunchTemplateData": {}},
        props=tuple(sorted(_DATA)),
        under="LaunchTemplateData",
    ),
    created={"id": "LaunchTemplate.LaunchTemplateId"},
    on_read=_find_template,
    read=Read(op="DescribeLaunchTemplates", missing=("InvalidLaunchTemplateId*", "InvalidLaunchTemplateName*")),
    delete=Call(op="DeleteLaunchTemplate", args={"LaunchTemplateId": "{id}"}),
    arn=_ARN + "launch-template/{id}",
    rename={
        "name": "LaunchTemplateName",
        "description": "VersionDescription",
        "vpcSecurityGroupIds": "SecurityGroupIds",
        "securityGroupNames": "SecurityGroups",
        "networkInterfaces.securityGroups": "Groups",
        "networkInterfaces.ipv4Addresses": "PrivateIpAddresses",
        "networkInterfaces.ipv4AddressCount": "SecondaryPrivateIpAddressCount",
        "latestVersion": "LatestVersionNumber",
        "defaultVersion": "DefaultVersionNumber",
    },
    replace=words("name namePrefix"),
    computed=words("name defaultVersion"),
    hooked=words("name description defaultVersion updateDefaultVersion"),
    hook_updates=_DATA | words("description defaultVersion updateDefaultVersion"),
    local=words("namePrefix updateDefaultVersion"),
    refused=words("secondaryInterfaces"),
    unknown=words("latestVersion defaultVersion"),
    name=Name(prefix_property="namePrefix", limit=128),
    tags=ec2_tags("launch-template", asked=True),
    on_check=_one_default,
    on_update=_new_version,
)

# -- Capacity ----------------------------------------------------------------------------------------------------------

_RESERVATION = Read(
    op="DescribeCapacityReservations",
    args={"CapacityReservationIds": ["{id}"]},
    at="CapacityReservations[0]",
    missing=("InvalidCapacityReservationId.NotFound",),
    status="State",
    gone=("cancelled", "expired"),
)

_CAPACITY_RESERVATION = ResourceType(
    type="aws:ec2/capacityReservation:CapacityReservation",
    service="ec2",
    create=Call(op="CreateCapacityReservation", props=None),
    created={"id": "CapacityReservation.CapacityReservationId"},
    read=_RESERVATION,
    ready=Ready(status="State", good=("active", "assessing", "scheduled"), bad=("failed",), timeout_s=600),
    updates=(
        Update(
            op="ModifyCapacityReservation",
            args={"CapacityReservationId": "{id}"},
            on=("instanceCount", "endDate", "endDateType"),
        ),
    ),
    delete=Call(op="CancelCapacityReservation", args={"CapacityReservationId": "{id}"}),
    wait_deleted=True,
    rename={"arn": "CapacityReservationArn"},
    outputs={"instanceCount": "TotalInstanceCount"},
    replace=words(
        "availabilityZone ebsOptimized ephemeralStorage instanceMatchCriteria instancePlatform instanceType outpostArn"
        " placementGroupArn tenancy"
    ),
    defaults={
        "ebsOptimized": False,
        "ephemeralStorage": False,
        "endDateType": "unlimited",
        "instanceMatchCriteria": "open",
        "tenancy": "default",
    },
    tags=ec2_tags("capacity-reservation"),
)

# A purchase: it can't be given back, so deleting the resource only forgets it, as with the official provider.
_CAPACITY_BLOCK = ResourceType(
    type="aws:ec2/capacityBlockReservation:CapacityBlockReservation",
    service="ec2",
    create=Call(op="PurchaseCapacityBlock", props=None),
    created={"id": "CapacityReservation.CapacityReservationId"},
    read=_RESERVATION,
    ready=Ready(
        status="State",
        good=("active", "scheduled"),
        bad=("payment-failed", "failed"),
        timeout_s=600,
    ),
    on_delete=lambda _ctx, _state: None,
    rename={"arn": "CapacityReservationArn"},
    outputs={"instanceCount": "TotalInstanceCount", "createdDate": "CreateDate"},
    replace=words("capacityBlockOfferingId instancePlatform"),
    write_only=words("capacityBlockOfferingId"),
    local=words("timeouts"),
    tags=ec2_tags("capacity-reservation"),
)

_PLACEMENT_GROUP = ResourceType(
    type="aws:ec2/placementGroup:PlacementGroup",
    service="ec2",
    create=Call(op="CreatePlacementGroup", props=None),
    id="{name}",
    import_id=("name",),
    read=Read(
        op="DescribePlacementGroups",
        args={"GroupNames": ["{name}"]},
        at="PlacementGroups[0]",
        missing=("InvalidPlacementGroup.Unknown",),
        status="State",
        gone=("deleted",),
    ),
    ready=Ready(status="State", good=("available",), timeout_s=300),
    delete=Call(op="DeletePlacementGroup", args={"GroupName": "{name}"}),
    busy=("InvalidPlacementGroup.InUse",),
    arn=_ARN + "placement-group/{name}",
    rename={"name": "GroupName", "placementGroupId": "GroupId"},
    replace=words("name partitionCount spreadLevel strategy"),
    computed=words("name partitionCount spreadLevel"),
    name=Name(),
    tags=ec2_tags("placement-group", "{placementGroupId}"),
)

# -- Auto scaling ------------------------------------------------------------------------------------------------------


def _unset_sizes(params: State, _state: State, _inputs: State) -> None:
    for member in ("MinSize", "MaxSize", "DesiredCapacity"):
        if params.get(member) == -1:  # the official way to say "leave this one as it is"
            del params[member]


_SCHEDULE_PROPS = ("desiredCapacity", "endTime", "maxSize", "minSize", "recurrence", "startTime", "timeZone")
_SCHEDULE_KEY = {"AutoScalingGroupName": "{autoscalingGroupName}", "ScheduledActionName": "{scheduledActionName}"}


def _schedule_details(_ctx: Context, _resource: State, state: State, known: State) -> None:
    for name in ("minSize", "maxSize", "desiredCapacity"):
        if known.get(name) == -1 and state.get(name) is None:
            state[name] = -1


_SCHEDULE = ResourceType(
    type="aws:autoscaling/schedule:Schedule",
    service="autoscaling",
    create=Call(op="PutScheduledUpdateGroupAction", props=None, finish=_unset_sizes),
    id="{scheduledActionName}",
    import_id=("autoscalingGroupName", "scheduledActionName"),
    separator="/",
    read=Read(
        op="DescribeScheduledActions",
        args={"AutoScalingGroupName": "{autoscalingGroupName}", "ScheduledActionNames": ["{scheduledActionName}"]},
        at="ScheduledUpdateGroupActions[0]",
        missing=("ValidationError~not found",),
    ),
    updates=(
        Update(
            op="PutScheduledUpdateGroupAction",
            args=_SCHEDULE_KEY,
            on=_SCHEDULE_PROPS,
            props=_SCHEDULE_PROPS,
            finish=_unset_sizes,
        ),
    ),
    delete=Call(op="DeleteScheduledAction", args=_SCHEDULE_KEY),
    absent=("ValidationError~not found",),
    rename={"arn": "ScheduledActionARN"},
    replace=words("autoscalingGroupName scheduledActionName"),
    computed=words("desiredCapacity endTime maxSize minSize recurrence startTime timeZone"),
    amend=_schedule_details,
)


def _tag_rows(state: State, **more: Any) -> dict[str, Any]:
    row = {
        "ResourceId": state["autoscalingGroupName"],
        "ResourceType": "auto-scaling-group",
        "Key": state["tag"]["key"],
    }
    return {"Tags": [row | more]}


def _put_group_tag(ctx: Context, state: State) -> State:
    tag = state["tag"]
    ctx.call(
        "CreateOrUpdateTags", _tag_rows(state, Value=tag["value"], PropagateAtLaunch=bool(tag["propagateAtLaunch"]))
    )
    return {"id": f"{state['autoscalingGroupName']},{tag['key']}"}


def _find_group_tag(ctx: Context, state: State) -> State | None:
    group, _, key = str(state["id"]).partition(",")
    filters = [{"Name": "auto-scaling-group", "Values": [group]}, {"Name": "key", "Values": [key]}]
    for tag in ctx.pages("DescribeTags", {"Filters": filters}, "Tags"):
        return {"AutoScalingGroupName": group, "Tag": tag}
    return None


_GROUP_TAG = ResourceType(
    type="aws:autoscaling/tag:Tag",
    service="autoscaling",
    on_create=_put_group_tag,
    on_read=_find_group_tag,
    on_update=lambda ctx, old, inputs, _changed: _put_group_tag(ctx, {**old, **inputs}),
    on_delete=lambda ctx, state: ctx.call("DeleteTags", _tag_rows(state)),
    replace=words("autoscalingGroupName"),
    replace_when={"tag": lambda old, new: (old or {}).get("key") != new.get("key")},
    hooked=words("autoscalingGroupName tag"),
)

ROWS = (
    _LAUNCH_TEMPLATE,
    _CAPACITY_RESERVATION,
    _CAPACITY_BLOCK,
    _PLACEMENT_GROUP,
    _SCHEDULE,
    _GROUP_TAG,
)
