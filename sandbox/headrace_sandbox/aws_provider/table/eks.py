"""EKS: clusters, node groups, add-ons, access, pod identity."""

from __future__ import annotations

from typing import Any

from headrace_sandbox.aws_provider.context import Context
from headrace_sandbox.aws_provider.spec import Call, Name, Read, Ready, ResourceType, State, Update
from headrace_sandbox.aws_provider.table.parts import arn_tags, words

_GONE = ("ResourceNotFoundException",)
_CLUSTER = {"name": "{name}"}
# IAM needs a moment until a role that was just made can be assumed (messages of the EKS API).
_NEW_ROLE = (
    "InvalidParameterException~trust",
    "InvalidParameterException~not have the required",
    "InvalidRequestException~role cannot be assumed",
)

# -- Cluster -----------------------------------------------------------------------------------------------------------

_ENDPOINT_MEMBERS = words("endpointPublicAccess endpointPrivateAccess publicAccessCidrs")
_SUBNET_MEMBERS = words("subnetIds securityGroupIds")


def _logging(params: State, _state: State, inputs: State) -> None:
    kinds = inputs.get("enabledClusterLogTypes")
    if kinds:
        params["logging"] = {"clusterLogging": [{"types": sorted(kinds), "enabled": True}]}


def _change_logging(params: State, state: State, inputs: State) -> None:
    before, after = set(state.get("enabledClusterLogTypes") or ()), set(inputs.get("enabledClusterLogTypes") or ())
    rows = [{"types": sorted(after), "enabled": True}] if after else []
    if before - after:
        rows.append({"types": sorted(before - after), "enabled": False})
    params["logging"] = {"clusterLogging": rows}


def _only(members: frozenset[str]) -> Any:
    """EKS changes the endpoints and the subnets of a cluster in calls of their own."""

    def finish(params: State, state: State, _inputs: State) -> bool:
        wanted = params["resourcesVpcConfig"]
        old = state.get("vpcConfig") or {}
        kept = {k: v for k, v in wanted.items() if k in members}
        changed = any(_plain(v) != _plain(old.get(k)) for k, v in kept.items())
        params["resourcesVpcConfig"] = kept
        return changed

    return finish


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value or None


def _only_mode(params: State, _state: State, _inputs: State) -> None:
    params["accessConfig"] = {"authenticationMode": params["accessConfig"]["authenticationMode"]}


def _encrypt(ctx: Context, old: State, inputs: State, _changed: frozenset[str]) -> None:
    config = inputs["encryptionConfig"]
    ctx.call("AssociateEncryptionConfig", {"clusterName": old["id"], "encryptionConfig": [config]})


def _cluster_details(_ctx: Context, resource: State, state: State, known: State) -> None:
    issuer = (resource.get("identity") or {}).get("oidc", {}).get("issuer")
    if issuer:
        state["identities"] = [{"oidcs": [{"issuer": issuer}]}]
    # Not part of DescribeCluster: it only counts at creation.
    told = known.get("accessConfig") or {}
    if "bootstrapClusterCreatorAdminPermissions" in told and "accessConfig" in state:
        state["accessConfig"].setdefault(
            "bootstrapClusterCreatorAdminPermissions", told["bootstrapClusterCreatorAdminPermissions"]
        )


def _cluster_update(*on: str, finish: Any = None) -> Update:
    return Update(op="UpdateClusterConfig", args=_CLUSTER, on=on, finish=finish)


def _bootstrap_changed(old: Any, new: Any) -> bool:
    key = "bootstrapClusterCreatorAdminPermissions"
    return key in new and (old or {}).get(key) is not None and old[key] != new[key]


_CLUSTER_TYPE = ResourceType(
    type="aws:eks/cluster:Cluster",
    service="eks",
    create=Call(op="CreateCluster", props=None, finish=_logging),
    id="{name}",
    import_id=("name",),
    read=Read(op="DescribeCluster", args=_CLUSTER, at="cluster", missing=_GONE),
    ready=Ready(status="status", good=("ACTIVE",), bad=("FAILED",), reason="health.issues"),
    updates=(
        Update(
            op="UpdateClusterVersion",
            args=_CLUSTER,
            on=("version",),
            finish=lambda params, _state, inputs: (
                params.update(force=True) if inputs.get("forceUpdateVersion") else None
            ),
        ),
        _cluster_update("accessConfig", finish=_only_mode),
        _cluster_update("vpcConfig", finish=_only(_ENDPOINT_MEMBERS)),
        _cluster_update("vpcConfig", finish=_only(_SUBNET_MEMBERS)),
        Update(op="UpdateClusterConfig", args=_CLUSTER, on=("enabledClusterLogTypes",), finish=_change_logging),
        _cluster_update("upgradePolicy"),
        _cluster_update("zonalShiftConfig"),
        _cluster_update("deletionProtection"),
        _cluster_update("computeConfig", "kubernetesNetworkConfig", "storageConfig"),
        _cluster_update("remoteNetworkConfig"),
        _cluster_update("controlPlaneScalingConfig"),
    ),
    delete=Call(op="DeleteCluster", args=_CLUSTER),
    wait_deleted=True,
    busy=("ResourceInUseException~in progress",),
    settle=_NEW_ROLE,
    rename={
        "vpcConfig": "resourcesVpcConfig",
        "clusterId": "id",
        "enabledClusterLogTypes": "logging",
    },
    outputs={
        "enabledClusterLogTypes": "logging.clusterLogging[?enabled].types[]",
        "createdAt": "createdAt",
        "certificateAuthority": "certificateAuthority",
    },
    replace=words("bootstrapSelfManagedAddons name outpostConfig roleArn"),
    replace_when={
        "encryptionConfig": lambda old, _new: bool(old),
        "accessConfig": _bootstrap_changed,
        "kubernetesNetworkConfig": lambda old, new: any(
            k in new and (old or {}).get(k) != new[k] for k in ("ipFamily", "serviceIpv4Cidr")
        ),
    },
    computed=words(
        "name accessConfig computeConfig controlPlaneScalingConfig deletionProtection kubernetesNetworkConfig"
        " kubernetesNetworkConfig.elasticLoadBalancing storageConfig upgradePolicy version"
        " vpcConfig.clusterSecurityGroupId vpcConfig.vpcId vpcConfig.publicAccessCidrs"
        " kubernetesNetworkConfig.serviceIpv4Cidr kubernetesNetworkConfig.ipFamily accessConfig.authenticationMode"
        " accessConfig.bootstrapClusterCreatorAdminPermissions zonalShiftConfig"
    ),
    defaults={"bootstrapSelfManagedAddons": True},
    strict=words("enabledClusterLogTypes"),
    hooked=words("enabledClusterLogTypes"),
    hook_updates=words("encryptionConfig"),
    local=words("forceUpdateVersion"),
    refused=words("defaultAddonsToRemoves kubeApiServerConfig kubeControllerManagerConfig kubeSchedulerConfig"),
    write_only=words("bootstrapSelfManagedAddons"),
    unknown=words("platformVersion"),
    on_update=_encrypt,
    name=Name(limit=100),
    tags=arn_tags(),
    amend=_cluster_details,
)

# -- Node group --------------------------------------------------------------------------------------------------------

_GROUP = {"clusterName": "{clusterName}", "nodegroupName": "{nodeGroupName}"}
_GROUP_OBJECTS = ("scalingConfig", "updateConfig", "nodeRepairConfig", "warmPoolConfig")


def _taints(taints: Any) -> dict[tuple[str, str], dict[str, str]]:
    return {(t["key"], t["effect"]): t for t in taints or ()}


def _group_config(params: State, state: State, inputs: State) -> None:
    """Only what changes; labels and taints as what comes and what goes."""
    for name in _GROUP_OBJECTS:
        if inputs.get(name) == state.get(name):
            params.pop(name, None)
    before, after = state.get("labels") or {}, inputs.get("labels") or {}
    if before != after:
        params["labels"] = {
            "addOrUpdateLabels": {k: v for k, v in after.items() if before.get(k) != v},
            "removeLabels": sorted(before.keys() - after.keys()),
        }
    old_taints, new_taints = _taints(state.get("taints")), _taints(inputs.get("taints"))
    if old_taints != new_taints:
        params["taints"] = {
            "addOrUpdateTaints": [t for k, t in new_taints.items() if old_taints.get(k) != t],
            "removeTaints": [t for k, t in old_taints.items() if k not in new_taints],
        }


def _group_version(params: State, state: State, inputs: State) -> None:
    if inputs.get("forceUpdateVersion"):
        params["force"] = True
    template = params.get("launchTemplate")
    if template and template.get("id") and template.get("name"):
        del template["name"]  # EKS takes one of the two
    if "version" in params and inputs.get("version") == state.get("version"):
        del params["version"]


def _other_template(old: Any, new: Any) -> bool:
    return any(new.get(k) and (old or {}).get(k) and old[k] != new[k] for k in ("id", "name")) or not old


def _sizes(inputs: State) -> list[tuple[str, str]]:
    sizes = inputs.get("scalingConfig")
    if not isinstance(sizes, dict):
        return []
    low, wanted, high = (sizes.get(k) for k in ("minSize", "desiredSize", "maxSize"))
    problems = []
    if isinstance(high, int) and high < 1:
        problems.append(("scalingConfig.maxSize", f"expected to be at least 1, got {high}"))
    if isinstance(low, int) and isinstance(high, int) and low > high:
        problems.append(("scalingConfig.minSize", f"{low} is more than maxSize, {high}"))
    if isinstance(wanted, int) and isinstance(low, int) and isinstance(high, int) and not low <= wanted <= high:
        problems.append(("scalingConfig.desiredSize", f"{wanted} is not between minSize, {low}, and maxSize, {high}"))
    return problems


_NODE_GROUP = ResourceType(
    type="aws:eks/nodeGroup:NodeGroup",
    service="eks",
    create=Call(op="CreateNodegroup", props=None),
    id="{clusterName}:{nodeGroupName}",
    import_id=("clusterName", "nodeGroupName"),
    read=Read(op="DescribeNodegroup", args=_GROUP, at="nodegroup", missing=_GONE),
    ready=Ready(status="status", good=("ACTIVE",), bad=("CREATE_FAILED", "DEGRADED"), reason="health.issues"),
    updates=(
        Update(
            op="UpdateNodegroupVersion",
            args=_GROUP,
            on=("version", "releaseVersion", "launchTemplate"),
            finish=_group_version,
        ),
        Update(
            op="UpdateNodegroupConfig",
            args=_GROUP,
            on=(*_GROUP_OBJECTS, "labels", "taints"),
            props=_GROUP_OBJECTS,
            finish=_group_config,
        ),
    ),
    delete=Call(op="DeleteNodegroup", args=_GROUP),
    wait_deleted=True,
    busy=("ResourceInUseException~in progress",),
    settle=_NEW_ROLE,
    rename={
        "nodeGroupName": "nodegroupName",
        "nodeRoleArn": "nodeRole",
        "subnetIds": "subnets",
        "arn": "nodegroupArn",
        "remoteAccess.ec2SshKey": "ec2SshKey",
        "remoteAccess.sourceSecurityGroupIds": "sourceSecurityGroups",
        "resources.remoteAccessSecurityGroupId": "remoteAccessSecurityGroup",
    },
    replace=words(
        "amiType capacityType clusterName diskSize instanceTypes nodeGroupName nodeGroupNamePrefix nodeRoleArn"
        " remoteAccess subnetIds"
    ),
    replace_when={"launchTemplate": _other_template},
    computed=words(
        "amiType capacityType diskSize instanceTypes launchTemplate.id launchTemplate.name nodeGroupName"
        " nodeRepairConfig releaseVersion updateConfig version warmPoolConfig"
        " updateConfig.maxUnavailable updateConfig.updateStrategy"
    ),
    strict=words("labels taints"),
    ordered=words("instanceTypes"),
    object_sets=words("taints"),
    local=words("forceUpdateVersion nodeGroupNamePrefix"),
    unknown=words("status"),
    name=Name(property="nodeGroupName", prefix_property="nodeGroupNamePrefix", limit=63),
    on_check=_sizes,
    tags=arn_tags(),
)

# -- Add-on ------------------------------------------------------------------------------------------------------------

_ADDON_KEY = {"clusterName": "{clusterName}", "addonName": "{addonName}"}


def _addon_details(ctx: Context, resource: State, state: State, _known: State) -> None:
    """DescribeAddon names its pod identity associations by ARN only."""
    rows = []
    for arn in resource.get("podIdentityAssociations") or []:
        params = {"clusterName": state["clusterName"], "associationId": arn.rpartition("/")[2]}
        found = ctx.call("DescribePodIdentityAssociation", params)["association"]
        rows.append({"roleArn": found["roleArn"], "serviceAccount": found["serviceAccount"]})
    state["podIdentityAssociations"] = rows


_ADDON = ResourceType(
    type="aws:eks/addon:Addon",
    service="eks",
    create=Call(op="CreateAddon", props=None, rename={"resolveConflictsOnCreate": "resolveConflicts"}),
    id="{clusterName}:{addonName}",
    import_id=("clusterName", "addonName"),
    read=Read(op="DescribeAddon", args=_ADDON_KEY, at="addon", missing=_GONE),
    ready=Ready(
        status="status",
        good=("ACTIVE",),
        bad=("CREATE_FAILED", "UPDATE_FAILED", "DEGRADED"),
        reason="health.issues",
        timeout_s=1200,
    ),
    updates=(
        Update(
            op="UpdateAddon",
            args={**_ADDON_KEY, "resolveConflicts": "{resolveConflictsOnUpdate}"},
            on=("addonVersion", "configurationValues", "serviceAccountRoleArn", "podIdentityAssociations"),
        ),
    ),
    delete=Call(op="DeleteAddon", args={**_ADDON_KEY, "preserve": "{preserve}"}),
    wait_deleted=True,
    settle=_NEW_ROLE,
    rename={"arn": "addonArn"},
    outputs={"podIdentityAssociations": "`null`"},
    replace=words("addonName clusterName namespaceConfig"),
    computed=words("addonVersion configurationValues namespaceConfig"),
    documents=words("configurationValues"),
    object_sets=words("podIdentityAssociations"),
    local=words("preserve resolveConflictsOnUpdate"),
    write_only=words("resolveConflictsOnCreate"),
    unknown=words("modifiedAt"),
    tags=arn_tags(),
    amend=_addon_details,
)

# -- Access ------------------------------------------------------------------------------------------------------------

_ENTRY_KEY = {"clusterName": "{clusterName}", "principalArn": "{principalArn}"}

_ACCESS_ENTRY = ResourceType(
    type="aws:eks/accessEntry:AccessEntry",
    service="eks",
    create=Call(op="CreateAccessEntry", props=None),
    id="{clusterName}:{principalArn}",
    import_id=("clusterName", "principalArn"),
    read=Read(op="DescribeAccessEntry", args=_ENTRY_KEY, at="accessEntry", missing=_GONE),
    updates=(Update(op="UpdateAccessEntry", args=_ENTRY_KEY, on=("kubernetesGroups", "userName")),),
    delete=Call(op="DeleteAccessEntry", args=_ENTRY_KEY),
    settle=("InvalidParameterException~does not exist",),
    replace=words("clusterName principalArn type"),
    computed=words("kubernetesGroups userName"),
    defaults={"type": "STANDARD"},
    tags=arn_tags(arn="{accessEntryArn}"),
)


def _find_policy(ctx: Context, state: State) -> State | None:
    parts = str(state["id"]).split("#")
    cluster, principal, policy = parts
    params = {"clusterName": cluster, "principalArn": principal}
    for row in ctx.pages("ListAssociatedAccessPolicies", params, "associatedAccessPolicies"):
        if row["policyArn"] == policy:
            return {**row, **params}
    return None


_ACCESS_POLICY = ResourceType(
    type="aws:eks/accessPolicyAssociation:AccessPolicyAssociation",
    service="eks",
    create=Call(op="AssociateAccessPolicy", props=None),
    id="{clusterName}#{principalArn}#{policyArn}",
    import_id=("clusterName", "principalArn", "policyArn"),
    separator="#",
    on_read=_find_policy,
    read=Read(op="ListAssociatedAccessPolicies", missing=_GONE),
    delete=Call(op="DisassociateAccessPolicy", args={**_ENTRY_KEY, "policyArn": "{policyArn}"}),
    replace=words("accessScope clusterName policyArn principalArn"),
)

_ASSOCIATION_KEY = {"clusterName": "{clusterName}", "associationId": "{associationId}"}

_POD_IDENTITY = ResourceType(
    type="aws:eks/podIdentityAssociation:PodIdentityAssociation",
    service="eks",
    create=Call(op="CreatePodIdentityAssociation", props=None),
    created={"associationId": "association.associationId"},
    id="{associationId}",
    import_id=("clusterName", "associationId"),
    separator=",",
    read=Read(op="DescribePodIdentityAssociation", args=_ASSOCIATION_KEY, at="association", missing=_GONE),
    updates=(
        Update(
            op="UpdatePodIdentityAssociation",
            args=_ASSOCIATION_KEY,
            on=("roleArn", "targetRoleArn", "disableSessionTags", "policy"),
        ),
    ),
    delete=Call(op="DeletePodIdentityAssociation", args=_ASSOCIATION_KEY),
    settle=("InvalidParameterException~does not exist", *_NEW_ROLE),
    replace=words("clusterName namespace serviceAccount"),
    computed=words("disableSessionTags"),
    documents=words("policy"),
    tags=arn_tags(arn="{associationArn}"),
)

ROWS = (_CLUSTER_TYPE, _NODE_GROUP, _ADDON, _ACCESS_ENTRY, _ACCESS_POLICY, _POD_IDENTITY)
