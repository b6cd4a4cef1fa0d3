"""Managed node groups: create, describe, list, update, delete; an auto scaling group stands behind each."""

from __future__ import annotations

import json
from typing import Any

from headrace_sandbox.aws import autoscaling
from headrace_sandbox.aws.eks.access import has_entry, put_entry
from headrace_sandbox.aws.eks.common import (
    CREATE_SECONDS,
    NODEGROUP,
    UPDATE_SECONDS,
    echo,
    eks_arn,
    in_use,
    invalid,
    merge,
    need_active,
    need_cluster,
    need_role,
    need_subnets,
    not_found,
    start_update,
)
from headrace_sandbox.aws.identity import uuid
from headrace_sandbox.aws.store import Later, public
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import World, exists, page

_RELEASE_DATE = "20260917"
"""Date part of the AMI release a group gets that names none (amazon-eks-ami v20260917)."""


def _key(cluster: str, name: str) -> str:
    return f"{cluster}/{name}"


async def need_launch_template(world: World, region: str, asked: Doc) -> tuple[Doc, Doc]:
    """The reference as EKS stores it (id, name, version) and the data of that version."""
    selector: Doc = (
        {"LaunchTemplateId": asked["id"]} if asked.get("id") else {"LaunchTemplateName": asked.get("name", "")}
    )
    version = str(asked.get("version") or "$Default")
    answer = await exists(world, "ec2", "DescribeLaunchTemplateVersions", region, {**selector, "Versions": [version]})
    versions = (answer or {}).get("LaunchTemplateVersions", [])
    if not versions:
        raise invalid(f"Launch template {asked.get('id') or asked.get('name')} with version {version} was not found")
    found = versions[0]
    reference = {
        "id": found["LaunchTemplateId"],
        "name": found["LaunchTemplateName"],
        "version": str(found["VersionNumber"]),
    }
    return reference, found.get("LaunchTemplateData", {})


async def _need_instance_types(world: World, region: str, types: list[str]) -> None:
    for name in types:
        if await exists(world, "ec2", "DescribeInstanceTypes", region, {"InstanceTypes": [name]}) is None:
            raise invalid(f"The following supplied instance types do not exist: [{name}]")


def check_template(params: Doc, data: Doc) -> None:
    """What a node group and its launch template may not both say, or not say at all.

    Source: EKS User Guide, "Customize managed nodes with launch templates" (read 2026-11).
    """
    if params.get("diskSize"):
        raise invalid("Disk size must be specified within the launch template.")
    if params.get("remoteAccess"):
        raise invalid("Remote access configuration cannot be specified with a launch template.")
    if data.get("InstanceType") and params.get("instanceTypes"):
        raise invalid(
            "Instance type cannot be specified both in the launch template and in the node group's instanceTypes."
        )
    if data.get("IamInstanceProfile"):
        raise invalid("The launch template must not specify an instance profile; give the node group a node role.")
    if any(nic.get("SubnetId") for nic in data.get("NetworkInterfaces", [])):
        raise invalid("The launch template must not specify a subnet; give the node group its subnets.")
    if data.get("ImageId") and (
        params.get("amiType") not in (None, "CUSTOM") or params.get("version") or params.get("releaseVersion")
    ):
        raise invalid("You cannot specify amiType, version or releaseVersion when the launch template has an image id.")


async def check_capacity_block(world: World, call: Call, params: Doc, data: Doc | None, subnets: list[Doc]) -> None:
    """A capacity block needs a launch template that targets it, and the subnets of its zone alone
    (EKS User Guide, Create a managed node group with Capacity Blocks for ML)."""
    market = ((data or {}).get("InstanceMarketOptions") or {}).get("MarketType")
    target = ((data or {}).get("CapacityReservationSpecification") or {}).get("CapacityReservationTarget") or {}
    if params.get("capacityType") != "CAPACITY_BLOCK":
        if market == "capacity-block":
            raise invalid(
                "The launch template's market type is capacity-block; the node group's capacityType must be "
                "CAPACITY_BLOCK."
            )
        return
    if market != "capacity-block" or not target.get("CapacityReservationId"):
        raise invalid(
            "A node group with capacityType CAPACITY_BLOCK needs a launch template with market type "
            "capacity-block and a capacity reservation id."
        )
    from headrace_sandbox.aws.capacity import find_reservation

    block = find_reservation(world, call.region, target["CapacityReservationId"])
    if block is None:
        raise invalid(f"The capacity reservation {target['CapacityReservationId']} does not exist")
    if {subnet["AvailabilityZone"] for subnet in subnets} != {block["AvailabilityZone"]}:
        raise invalid(
            f"The node group's subnets must all be in {block['AvailabilityZone']}, the Availability Zone of the "
            "capacity block."
        )
    types = params.get("instanceTypes") or [(data or {}).get("InstanceType")]
    if types != [block["InstanceType"]]:
        raise invalid(
            f"The instance type must be {block['InstanceType']}, the type of the capacity block, not {types}."
        )


def check_scaling(scaling: Doc) -> None:
    """minSize <= desiredSize <= maxSize."""
    low, desired, high = (scaling.get(k) for k in ("minSize", "desiredSize", "maxSize"))
    if low is not None and high is not None and low > high:
        raise invalid(f"Minimum capacity {low} can't be greater than maximum size {high}")
    if desired is not None and low is not None and desired < low:
        raise invalid(f"desired capacity {desired} can't be less than minimum size {low}")
    if desired is not None and high is not None and desired > high:
        raise invalid(f"desired capacity {desired} can't be greater than max size {high}")


def _check_version(cluster: Doc, version: str, ami_type: str) -> None:
    ours, theirs = int(version.split(".")[1]), int(cluster["version"].split(".")[1])
    if ours > theirs or theirs - ours > 3:
        raise invalid(
            f"Requested nodegroup version {version} is not supported with cluster version {cluster['version']}"
        )
    if ami_type.startswith("AL2_") and ours >= 33:
        # The last release of AL2 images was for 1.32 (EKS User Guide, AL2 AMI deprecation).
        raise invalid(f"AMI Type {ami_type} is only supported for kubernetes versions 1.32 or earlier")


async def create(world: World, call: Call) -> Doc:
    """CreateNodegroup."""
    params, region = call.params, call.region
    cluster, name = need_cluster(world, call), params["nodegroupName"]
    need_active(cluster)
    if world.store.get(NODEGROUP, region, _key(cluster["name"], name)) is not None:
        raise in_use(
            f"NodeGroup already exists with name {name} and cluster name {cluster['name']}", nodegroupName=name
        )
    subnets = await need_subnets(world, region, params["subnets"])
    if {subnet["VpcId"] for subnet in subnets} != {cluster["resourcesVpcConfig"]["vpcId"]}:
        raise invalid("Subnets are not in the VPC of the cluster", nodegroupName=name)
    await need_role(world, params["nodeRole"])
    await _need_instance_types(world, region, params.get("instanceTypes", []))
    scaling = {"minSize": 1, "maxSize": 2, "desiredSize": 2} | (params.get("scalingConfig") or {})
    check_scaling(scaling)
    template: tuple[Doc, Doc] | None = None
    if params.get("launchTemplate"):
        template = await need_launch_template(world, region, params["launchTemplate"])
        check_template(params, template[1])
    await check_capacity_block(world, call, params, template[1] if template else None, subnets)
    group = _document(world, call, cluster, scaling, template)
    _check_version(cluster, group["version"], group["amiType"])
    group["resources"]["autoScalingGroups"] = [
        {"name": autoscaling.create_for_nodegroup(world, region, group, subnets)}
    ]
    principal = params["nodeRole"]
    if cluster["accessConfig"]["authenticationMode"] != "CONFIG_MAP" and not has_entry(
        world, region, cluster["name"], principal
    ):
        kind = "EC2_WINDOWS" if group["amiType"].startswith("WINDOWS") else "EC2_LINUX"
        put_entry(world, region, cluster["name"], principal, {"type": kind})
    _put(world, region, group, Later(seconds=CREATE_SECONDS, members={"status": "ACTIVE"}))
    return {"nodegroup": public(group)}


def _document(world: World, call: Call, cluster: Doc, scaling: Doc, template: tuple[Doc, Doc] | None) -> Doc:
    params = call.params
    data = template[1] if template else {}
    custom = bool(data.get("ImageId"))
    version = params.get("version") or cluster["version"]
    asked = echo("CreateNodegroup", "nodegroup", {k: v for k, v in params.items() if k != "launchTemplate"})
    group: Doc = {
        "nodegroupName": params["nodegroupName"],
        "nodegroupArn": eks_arn(call.region, "nodegroup", cluster["name"], params["nodegroupName"], uuid()),
        "clusterName": cluster["name"],
        "version": version,
        "releaseVersion": data["ImageId"] if custom else f"{version}.0-{_RELEASE_DATE}",
        "createdAt": world.now(),
        "modifiedAt": world.now(),
        "status": "CREATING",
        "capacityType": "ON_DEMAND",
        "amiType": "CUSTOM" if custom else "AL2023_x86_64_STANDARD",
        "labels": {},
        "taints": [],
        "updateConfig": {"maxUnavailable": 1},
        "nodeRepairConfig": {"enabled": False},
        "health": {"issues": []},
        "resources": {"autoScalingGroups": []},
        "tags": {},
    }
    group |= asked
    group["scalingConfig"] = scaling
    if template:
        group["launchTemplate"] = template[0]
    else:
        group.setdefault("diskSize", 20)
    if not data.get("InstanceType"):
        group.setdefault("instanceTypes", ["t3.medium"])
    return group


def _put(world: World, region: str, group: Doc, later: Later | None = None) -> None:
    world.store.put(
        NODEGROUP,
        region,
        _key(group["clusterName"], group["nodegroupName"]),
        group,
        parent=group["clusterName"],
        later=later,
    )


def _need(world: World, call: Call) -> Doc:
    cluster, name = need_cluster(world, call)["name"], call.params["nodegroupName"]
    group = world.store.get(NODEGROUP, call.region, _key(cluster, name))
    if group is None:
        raise not_found(f"No node group found for name: {name}.", clusterName=cluster, nodegroupName=name)
    sizes = autoscaling.sizes(world, call.region, group["resources"]["autoScalingGroups"][0]["name"])
    group["scalingConfig"] |= sizes  # who scales the group behind EKS's back changes what EKS shows
    return group


async def describe(world: World, call: Call) -> Doc:
    """DescribeNodegroup."""
    return {"nodegroup": public(_need(world, call))}


async def list_nodegroups(world: World, call: Call) -> Doc:
    """ListNodegroups."""
    cluster = need_cluster(world, call)["name"]
    items, more = page(
        [group["nodegroupName"] for group in world.store.list(NODEGROUP, call.region, parent=cluster)], call.params
    )
    return {"nodegroups": items, **more}


async def delete(world: World, call: Call) -> Doc:
    """DeleteNodegroup."""
    group = _need(world, call)
    if group["status"] != "DELETING":
        group["status"] = "DELETING"
        autoscaling.remove(world, call.region, group["resources"]["autoScalingGroups"][0]["name"])
        _put(world, call.region, group, Later(seconds=CREATE_SECONDS, members=None))
    return {"nodegroup": public(group)}


def _need_idle(group: Doc) -> None:
    if group["status"] != "ACTIVE":
        raise in_use(
            f"Nodegroup cannot be updated as it is currently in state {group['status']}",
            nodegroupName=group["nodegroupName"],
        )


def _start(world: World, call: Call, group: Doc, kind: str, changes: Doc) -> Doc:
    group |= {"status": "UPDATING", "modifiedAt": world.now()}
    _put(world, call.region, group, Later(seconds=UPDATE_SECONDS, members={"status": "ACTIVE"}))
    return {
        "update": start_update(
            world, call, kind=kind, changes=changes, cluster=group["clusterName"], nodegroup=group["nodegroupName"]
        )
    }


def _update_taints(group: Doc, asked: Doc) -> None:
    def key(taint: Doc) -> tuple[Any, Any]:
        return taint.get("key"), taint.get("effect")

    taints = {key(taint): taint for taint in group["taints"]}
    for taint in asked.get("removeTaints") or []:
        if taints.pop(key(taint), None) is None:
            raise invalid(f"Taint {taint} is not present on the nodegroup")
    taints |= {key(taint): taint for taint in asked.get("addOrUpdateTaints") or []}
    group["taints"] = list(taints.values())


async def update_config(world: World, call: Call) -> Doc:
    """UpdateNodegroupConfig."""
    group, params = _need(world, call), call.params
    _need_idle(group)
    before = json.dumps(group, sort_keys=True)
    changes: Doc = {}
    if labels := params.get("labels"):
        for name in labels.get("removeLabels") or []:
            group["labels"].pop(name, None)
        group["labels"] |= labels.get("addOrUpdateLabels") or {}
        changes |= {
            "LabelsToAdd": labels.get("addOrUpdateLabels") or {},
            "LabelsToRemove": labels.get("removeLabels") or [],
        }
    if taints := params.get("taints"):
        _update_taints(group, taints)
        changes |= {
            "TaintsToAdd": taints.get("addOrUpdateTaints") or [],
            "TaintsToRemove": taints.get("removeTaints") or [],
        }
    if scaling := params.get("scalingConfig"):
        group["scalingConfig"] |= scaling
        check_scaling(group["scalingConfig"])
        changes |= {k[0].upper() + k[1:]: str(v) for k, v in scaling.items()}
    if config := params.get("updateConfig"):
        alternatives = {"maxUnavailable", "maxUnavailablePercentage"}
        kept = {
            k: v for k, v in group["updateConfig"].items() if k not in alternatives or not alternatives & config.keys()
        }
        group["updateConfig"] = kept | config
        changes |= {k[0].upper() + k[1:]: str(v) for k, v in config.items()}
    for member, name in (("nodeRepairConfig", "NodeRepairConfig"), ("warmPoolConfig", "WarmPoolEnabled")):
        if config := params.get(member):
            merge(group, {member: config})
            changes[name] = config
    if json.dumps(group, sort_keys=True) == before:
        raise invalid("No changes were specified for the nodegroup", nodegroupName=group["nodegroupName"])
    autoscaling.resize(world, call.region, group["resources"]["autoScalingGroups"][0]["name"], group["scalingConfig"])
    return _start(world, call, group, "ConfigUpdate", changes)


async def update_version(world: World, call: Call) -> Doc:
    """UpdateNodegroupVersion: Kubernetes version, AMI release or launch template version."""
    group, params, cluster = _need(world, call), call.params, need_cluster(world, call)
    _need_idle(group)
    changes: Doc = {}
    if asked := params.get("launchTemplate"):
        if not group.get("launchTemplate"):
            raise invalid(
                "A launch template can't be added to a nodegroup that was made without one",
                nodegroupName=group["nodegroupName"],
            )
        reference, data = await need_launch_template(world, call.region, asked)
        if reference["id"] != group["launchTemplate"]["id"]:
            raise invalid(
                "The launch template of a nodegroup can't be exchanged for another, only its version",
                nodegroupName=group["nodegroupName"],
            )
        check_template({"instanceTypes": group.get("instanceTypes") if data.get("InstanceType") else None}, data)
        group["launchTemplate"] = reference
        changes["LaunchTemplateVersion"] = reference["version"]
        if data.get("ImageId"):
            group |= {"amiType": "CUSTOM", "releaseVersion": data["ImageId"]}
    if group["amiType"] == "CUSTOM" and (params.get("version") or params.get("releaseVersion")):
        raise invalid(
            "You cannot specify version or releaseVersion for a nodegroup with a custom AMI",
            nodegroupName=group["nodegroupName"],
        )
    version = params.get("version") or (
        group["version"] if params.get("releaseVersion") or asked else cluster["version"]
    )
    release = params.get("releaseVersion")
    if release and not release.startswith(f"{version}."):
        raise invalid(
            f"Requested release version {release} is not valid for kubernetes version {version}.",
            nodegroupName=group["nodegroupName"],
        )
    _check_version(cluster, version, group["amiType"])
    if group["amiType"] != "CUSTOM" and (release or version != group["version"]):
        release = release or f"{version}.0-{_RELEASE_DATE}"
        changes |= {"Version": version, "ReleaseVersion": release}
        group |= {"version": version, "releaseVersion": release}
    changes = changes or {"Version": version, "ReleaseVersion": group["releaseVersion"]}
    return _start(world, call, group, "VersionUpdate", changes)


HANDLERS = {
    ("eks", "CreateNodegroup"): create,
    ("eks", "DescribeNodegroup"): describe,
    ("eks", "ListNodegroups"): list_nodegroups,
    ("eks", "DeleteNodegroup"): delete,
    ("eks", "UpdateNodegroupConfig"): update_config,
    ("eks", "UpdateNodegroupVersion"): update_version,
}
