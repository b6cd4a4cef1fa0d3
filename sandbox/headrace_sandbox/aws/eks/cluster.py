"""Clusters: create, describe, list, update, delete."""

from __future__ import annotations

import base64
import json
import secrets
from typing import Any

from headrace.catalog.load import eks_versions
from headrace_sandbox.aws.eks.access import create_creator_entry
from headrace_sandbox.aws.eks.common import (
    ADDON,
    CLUSTER,
    CREATE_SECONDS,
    ENTRY,
    IDENTITY,
    NODEGROUP,
    POLICY,
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
    start_update,
)
from headrace_sandbox.aws.errors import AwsError
from headrace_sandbox.aws.store import Later, public
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import World, exists, page

LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")

# Member of UpdateClusterConfig -> (type of the update, type of its parameter). Those of one group may change together.
_UPDATES: dict[str, tuple[str, str]] = {
    "logging": ("LoggingUpdate", "ClusterLogging"),
    "accessConfig": ("AccessConfigUpdate", "AuthenticationMode"),
    "upgradePolicy": ("UpgradePolicyUpdate", "UpgradePolicy"),
    "zonalShiftConfig": ("ZonalShiftConfigUpdate", "ZonalShiftConfig"),
    "computeConfig": ("AutoModeUpdate", "ComputeConfig"),
    "kubernetesNetworkConfig": ("AutoModeUpdate", "KubernetesNetworkConfig"),
    "storageConfig": ("AutoModeUpdate", "StorageConfig"),
    "remoteNetworkConfig": ("RemoteNetworkConfigUpdate", "RemoteNetworkConfig"),
    "deletionProtection": ("DeletionProtectionUpdate", "DeletionProtection"),
    "controlPlaneScalingConfig": ("ControlPlaneScalingConfigUpdate", "UpdatedTier"),
    "kubeApiServerConfig": ("ControlPlaneComponentConfigUpdate", "KubeApiServerConfig"),
    "kubeSchedulerConfig": ("ControlPlaneComponentConfigUpdate", "KubeSchedulerConfig"),
    "kubeControllerManagerConfig": ("ControlPlaneComponentConfigUpdate", "KubeControllerManagerConfig"),
}


def default_version() -> str:
    """The Kubernetes version of a cluster that names none."""
    return next(name for name, row in eks_versions().items() if row.default)


def _logging(asked: Doc) -> Doc:
    """EKS answers with both halves: the types that are on and those that are off."""
    on = {t for setup in asked.get("clusterLogging", []) if setup.get("enabled") for t in setup.get("types", [])}
    halves = [([t for t in LOG_TYPES if t in on], True), ([t for t in LOG_TYPES if t not in on], False)]
    return {"clusterLogging": [{"types": types, "enabled": enabled} for types, enabled in halves if types]}


async def _need_network(world: World, region: str, subnet_ids: list[str]) -> str:
    """Checks the control plane's subnets; returns their VPC."""
    subnets = await need_subnets(world, region, subnet_ids)
    if len({subnet["VpcId"] for subnet in subnets}) != 1:
        raise invalid("Subnets specified must belong to the same VPC")
    if len({subnet["AvailabilityZone"] for subnet in subnets}) < 2:
        raise invalid("Subnets specified must be in at least two different AZs")
    return str(subnets[0]["VpcId"])


async def _need_key(world: World, region: str, asked: list[Doc]) -> None:
    for config in asked:
        key = config.get("provider", {}).get("keyArn", "")
        if await exists(world, "kms", "DescribeKey", region, {"KeyId": key}) is None:
            raise invalid(f"KMS key with arn: {key} doesn't exist or can't be used by EKS")


async def create(world: World, call: Call) -> Doc:
    """CreateCluster."""
    params, region = call.params, call.region
    name = params["name"]
    if world.store.get(CLUSTER, region, name) is not None:
        raise in_use(f"Cluster already exists with name: {name}", clusterName=name)
    version = params.get("version") or default_version()
    if version not in eks_versions():
        raise invalid(f"unsupported Kubernetes version: {version}", clusterName=name)
    vpc_config = params["resourcesVpcConfig"]
    vpc_id = await _need_network(world, region, vpc_config.get("subnetIds", []))
    await need_role(world, params["roleArn"])
    await _need_key(world, region, params.get("encryptionConfig", []))
    cluster = _defaults(region, name, version)
    asked = echo(
        "CreateCluster", "cluster", {k: v for k, v in params.items() if k not in ("logging", "clientRequestToken")}
    )
    merge(cluster, asked)
    cluster["logging"] = _logging(params.get("logging", {}))
    cluster["resourcesVpcConfig"] |= {
        "vpcId": vpc_id,
        "clusterSecurityGroupId": await _security_group(world, region, name, vpc_id),
    }
    cluster["createdAt"] = world.now()
    world.store.put(CLUSTER, region, name, cluster, later=Later(seconds=CREATE_SECONDS, members={"status": "ACTIVE"}))
    if (
        cluster["accessConfig"]["bootstrapClusterCreatorAdminPermissions"]
        and cluster["accessConfig"]["authenticationMode"] != "CONFIG_MAP"
    ):
        await create_creator_entry(world, call, name)
    return {"cluster": _shown(world, cluster)}


def _defaults(region: str, name: str, version: str) -> Doc:
    oidc = secrets.token_hex(16).upper()
    return {
        "name": name,
        "arn": eks_arn(region, "cluster", name),
        "version": version,
        "status": "CREATING",
        "platformVersion": "eks.1",
        "resourcesVpcConfig": {
            "subnetIds": [],
            "securityGroupIds": [],
            "endpointPublicAccess": True,
            "endpointPrivateAccess": False,
            "publicAccessCidrs": ["0.0.0.0/0"],
        },
        "kubernetesNetworkConfig": {
            "serviceIpv4Cidr": "172.20.0.0/16",
            "ipFamily": "ipv4",
            "elasticLoadBalancing": {"enabled": False},
        },
        "identity": {"oidc": {"issuer": f"https://oidc.eks.{region}.amazonaws.com/id/{oidc}"}},
        "accessConfig": {"authenticationMode": "CONFIG_MAP", "bootstrapClusterCreatorAdminPermissions": True},
        "upgradePolicy": {"supportType": "EXTENDED"},
        "zonalShiftConfig": {"enabled": False},
        "computeConfig": {"enabled": False, "nodePools": []},
        "storageConfig": {"blockStorage": {"enabled": False}},
        "controlPlaneScalingConfig": {"tier": "standard"},
        "deletionProtection": False,
        "health": {"issues": []},
        "tags": {},
    }


async def _security_group(world: World, region: str, name: str, vpc_id: str) -> str:
    """The group that EKS puts on the control plane's interfaces and on managed nodes."""
    group = await world.moto(
        "ec2",
        "CreateSecurityGroup",
        region,
        {
            "GroupName": f"eks-cluster-sg-{name}-{secrets.randbelow(10**9)}",
            "Description": "EKS created security group applied to ENI that is attached to EKS Control Plane master "
            "nodes, as well as any managed workloads.",
            "VpcId": vpc_id,
            "TagSpecifications": [
                {
                    "ResourceType": "security-group",
                    "Tags": [
                        {"Key": "aws:eks:cluster-name", "Value": name},
                        {"Key": f"kubernetes.io/cluster/{name}", "Value": "owned"},
                    ],
                }
            ],
        },
    )
    group_id = str(group["GroupId"])
    rule = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group_id}]}
    await world.moto("ec2", "AuthorizeSecurityGroupIngress", region, {"GroupId": group_id, "IpPermissions": [rule]})
    return group_id


def _shown(world: World, cluster: Doc) -> Doc:
    """The cluster as DescribeCluster shows it: with endpoint and CA once it is up."""
    shown = public(cluster)
    if cluster["status"] != "CREATING":
        url, ca_pem = _api_server(world, cluster)
        shown["endpoint"] = url
        shown["certificateAuthority"] = {"data": base64.b64encode(ca_pem).decode()}
    return shown


def _api_server(world: World, cluster: Doc) -> tuple[str, bytes]:
    """URL and CA of the sandbox's real API server; a placeholder of the true shape where none runs."""
    described = world.sandbox_dir / "kubernetes.json"
    try:
        server: dict[str, Any] = json.loads(described.read_text(encoding="utf-8"))
        ca_path = world.sandbox_dir / server["ca_pem_path"]
        return str(server["url"]), ca_path.read_bytes()
    except FileNotFoundError:
        issuer = cluster["identity"]["oidc"]["issuer"].rsplit("/", 1)[-1]
        region = cluster["arn"].split(":")[3]
        return f"https://{issuer}.gr7.{region}.eks.amazonaws.com", b"no API server runs in this sandbox\n"


async def describe(world: World, call: Call) -> Doc:
    """DescribeCluster."""
    return {"cluster": _shown(world, need_cluster(world, call, member="name"))}


async def list_clusters(world: World, call: Call) -> Doc:
    """ListClusters."""
    names = [cluster["name"] for cluster in world.store.list(CLUSTER, call.region)]
    items, more = page(names, call.params)
    return {"clusters": items, **more}


async def delete(world: World, call: Call) -> Doc:
    """DeleteCluster: refused while protected or while node groups exist."""
    cluster = need_cluster(world, call, member="name")
    name, region = cluster["name"], call.region
    if cluster["deletionProtection"]:
        raise AwsError(
            "InvalidRequestException",
            f"Cluster {name} has deletion protection enabled. To delete the cluster, first disable deletion "
            "protection.",
            members={"clusterName": name},
        )
    if world.store.list(NODEGROUP, region, parent=name):
        raise in_use("Cluster has nodegroups attached", clusterName=name)
    if cluster["status"] == "DELETING":
        return {"cluster": _shown(world, cluster)}
    for kind in (ADDON, ENTRY, IDENTITY):
        for child in world.store.list(kind, region, parent=name):
            world.store.delete(kind, region, child["_key"])
    for association in world.store.list(POLICY, region):
        if association["_cluster"] == name:
            world.store.delete(POLICY, region, association["_key"])
    group = cluster["resourcesVpcConfig"]["clusterSecurityGroupId"]
    if await exists(world, "ec2", "DescribeSecurityGroups", region, {"GroupIds": [group]}):
        await world.moto("ec2", "DeleteSecurityGroup", region, {"GroupId": group})
    cluster["status"] = "DELETING"
    world.store.put(CLUSTER, region, name, cluster, later=Later(seconds=CREATE_SECONDS, members=None))
    return {"cluster": _shown(world, cluster)}


def _start(world: World, call: Call, cluster: Doc, kind: str, changes: Doc) -> Doc:
    cluster["status"] = "UPDATING"
    world.store.put(
        CLUSTER,
        call.region,
        cluster["name"],
        cluster,
        later=Later(seconds=UPDATE_SECONDS, members={"status": "ACTIVE"}),
    )
    return {"update": start_update(world, call, kind=kind, changes=changes, cluster=cluster["name"])}


def _need_idle(cluster: Doc) -> None:
    if cluster["status"] == "UPDATING":
        raise in_use(
            "Cannot update because the cluster currently has an update in progress", clusterName=cluster["name"]
        )
    need_active(cluster)


async def update_config(world: World, call: Call) -> Doc:
    """UpdateClusterConfig: one type of change at a time, and never a change to what is so already."""
    cluster = need_cluster(world, call, member="name")
    _need_idle(cluster)
    asked = {k: v for k, v in call.params.items() if k not in ("name", "clientRequestToken") and v is not None}
    if vpc := asked.pop("resourcesVpcConfig", None):
        return await _update_network(world, call, cluster, vpc, alone=not asked)
    kinds = {_UPDATES[member][0] for member in asked}
    if len(kinds) != 1:
        raise invalid(
            "Only one type of update can be allowed." if kinds else "No update was asked for",
            clusterName=cluster["name"],
        )
    before = json.dumps(cluster, sort_keys=True)
    for member, value in asked.items():
        changed = (
            _logging(_merged_logging(cluster, value))
            if member == "logging"
            else echo("CreateCluster", "cluster", {member: value})[member]
        )
        merge(cluster, {member: changed})
    if json.dumps(cluster, sort_keys=True) == before:
        raise invalid(f"No changes needed for the {', '.join(asked)} provided", clusterName=cluster["name"])
    return _start(
        world, call, cluster, kinds.pop(), {_UPDATES[member][1]: _plain(value) for member, value in asked.items()}
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict) and len(value) == 1:
        return _plain(next(iter(value.values())))
    return value


def _merged_logging(cluster: Doc, asked: Doc) -> Doc:
    on = {t for setup in cluster["logging"]["clusterLogging"] if setup["enabled"] for t in setup["types"]}
    for setup in asked.get("clusterLogging", []):
        on = on | set(setup.get("types", [])) if setup.get("enabled") else on - set(setup.get("types", []))
    return {"clusterLogging": [{"types": sorted(on), "enabled": True}]}


async def _update_network(world: World, call: Call, cluster: Doc, asked: Doc, *, alone: bool) -> Doc:
    endpoint = {
        k: v for k, v in asked.items() if k in ("endpointPublicAccess", "endpointPrivateAccess", "publicAccessCidrs")
    }
    placement = {k: v for k, v in asked.items() if k not in endpoint}
    if not alone or (endpoint and placement):
        raise invalid("Only one type of update can be allowed.", clusterName=cluster["name"])
    config = cluster["resourcesVpcConfig"]
    if all(config.get(k) == v for k, v in asked.items()):
        raise invalid(
            "Cluster is already at the desired configuration with " + ", ".join(f"{k}: {v}" for k, v in asked.items()),
            clusterName=cluster["name"],
        )
    if not {**config, **endpoint}["endpointPublicAccess"] and not {**config, **endpoint}["endpointPrivateAccess"]:
        raise invalid("Private and public endpoint access cannot both be disabled", clusterName=cluster["name"])
    if "subnetIds" in asked and await _need_network(world, call.region, asked["subnetIds"]) != config["vpcId"]:
        raise invalid("Subnets specified must belong to the VPC of the cluster", clusterName=cluster["name"])
    config.update(asked)
    names = {"subnetIds": "Subnets", "securityGroupIds": "SecurityGroups"}
    changes = {names.get(k, k[0].upper() + k[1:]): v for k, v in asked.items()}
    return _start(world, call, cluster, "EndpointAccessUpdate" if endpoint else "VpcConfigUpdate", changes)


async def update_version(world: World, call: Call) -> Doc:
    """UpdateClusterVersion: one minor version up at a time."""
    cluster = need_cluster(world, call, member="name")
    _need_idle(cluster)
    target, current = call.params["version"], cluster["version"]
    if target not in eks_versions():
        raise invalid(f"unsupported Kubernetes version: {target}", clusterName=cluster["name"])
    if target == current:
        raise invalid(f"Cluster is already at the desired version {target}", clusterName=cluster["name"])
    if int(target.split(".")[1]) != int(current.split(".")[1]) + 1:
        raise invalid(
            f"Unsupported Kubernetes minor version update from {current} to {target}", clusterName=cluster["name"]
        )
    cluster["version"] = target
    return _start(
        world, call, cluster, "VersionUpdate", {"Version": target, "PlatformVersion": cluster["platformVersion"]}
    )


async def associate_encryption(world: World, call: Call) -> Doc:
    """AssociateEncryptionConfig: once, and for good."""
    cluster = need_cluster(world, call)
    _need_idle(cluster)
    if cluster.get("encryptionConfig"):
        raise invalid("Encryption is already enabled on the cluster", clusterName=cluster["name"])
    asked = call.params["encryptionConfig"]
    await _need_key(world, call.region, asked)
    cluster["encryptionConfig"] = asked
    return _start(world, call, cluster, "AssociateEncryptionConfig", {"EncryptionConfig": asked})


async def describe_versions(world: World, call: Call) -> Doc:
    """DescribeClusterVersions, from the catalogue."""
    params = call.params
    wanted = params.get("clusterVersions") or []
    rows: list[Doc] = []
    for name, row in sorted(eks_versions().items(), reverse=True):
        if (wanted and name not in wanted) or (params.get("defaultOnly") and not row.default):
            continue
        standard = f"{row.end_of_standard_support}T00:00:00Z"
        supported = (
            "STANDARD_SUPPORT"
            if row.end_of_standard_support.toordinal() > world.now() / 86400 + 719163
            else "EXTENDED_SUPPORT"
        )
        rows.append(
            {
                "clusterVersion": name,
                "clusterType": "eks",
                "defaultPlatformVersion": "eks.1",
                "defaultVersion": row.default,
                "endOfStandardSupportDate": standard,
                "endOfExtendedSupportDate": f"{row.end_of_extended_support}T00:00:00Z",
                "versionStatus": supported,
                "status": supported.lower().replace("_", "-"),
                "kubernetesPatchVersion": f"{name}.0",
            }
        )
    items, more = page([row for row in rows if params.get("versionStatus") in (None, row["versionStatus"])], params)
    return {"clusterVersions": items, **more}


HANDLERS = {
    ("eks", "CreateCluster"): create,
    ("eks", "DescribeCluster"): describe,
    ("eks", "ListClusters"): list_clusters,
    ("eks", "DeleteCluster"): delete,
    ("eks", "UpdateClusterConfig"): update_config,
    ("eks", "UpdateClusterVersion"): update_version,
    ("eks", "AssociateEncryptionConfig"): associate_encryption,
    ("eks", "DescribeClusterVersions"): describe_versions,
}
