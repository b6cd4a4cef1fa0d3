"""ElastiCache: replication groups (cluster mode disabled) and their members.

Recorded: no node runs. A replication group's endpoints have the shape of AWS's names and lead nowhere.
"""

from __future__ import annotations

import hashlib
from itertools import cycle, islice
from typing import Final

from headrace_sandbox.aws.cache_common import GROUP, PARAMETERS, SUBNETS, bad_value, cache_page, combination, need
from headrace_sandbox.aws.errors import AwsError, unsupported
from headrace_sandbox.aws.identity import arn, word
from headrace_sandbox.aws.store import Later, public
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import World

# AWS takes 5 to 15 minutes; a waiter has to see each state once.
_CREATING_S: Final = 0.4
_MODIFYING_S: Final = 0.2
_DELETING_S: Final = 0.3


def _check_group(params: Doc, nodes: int) -> None:
    token = params.get("AuthToken")
    if token is not None:
        if not params.get("TransitEncryptionEnabled"):
            raise bad_value("Auth token can be enabled only for replication groups with in-transit encryption enabled")
        if not 16 <= len(token) <= 128 or any(letter in '@"/' for letter in token):
            raise bad_value("Invalid AuthToken provided: 16 to 128 printable characters without '@', '\"' and '/'.")
    if params.get("AutomaticFailoverEnabled") and nodes < 2:
        raise bad_value("Automatic failover is not supported for replication groups with fewer than two nodes.")
    if params.get("MultiAZEnabled") and not params.get("AutomaticFailoverEnabled"):
        raise combination("Must enable automatic failover in order to enable Multi-AZ.")


_REFUSED: Final = (
    "CacheSecurityGroupNames",
    "DataTieringEnabled",
    "GlobalReplicationGroupId",
    "NodeGroupConfiguration",
    "NumNodeGroups",
    "PrimaryClusterId",
    "ReplicasPerNodeGroup",
    "ServerlessCacheSnapshotName",
    "SnapshotArns",
    "SnapshotName",
    "UserGroupIds",
)


async def create_group(world: World, call: Call) -> Doc:
    """CreateReplicationGroup with one node group."""
    params, region = call.params, call.region
    name = params["ReplicationGroupId"].lower()
    if world.store.get(GROUP, region, name) is not None:
        raise AwsError("ReplicationGroupAlreadyExists", f"Replication group {name} already exists.", status=400)
    if given := [member for member in _REFUSED if params.get(member)]:
        raise unsupported("elasticache", f"CreateReplicationGroup with {', '.join(given)}")
    nodes = int(params.get("NumCacheClusters") or 1)
    _check_group(params, nodes)
    engine = params.get("Engine") or "redis"
    version = params.get("EngineVersion") or {"valkey": "8.0"}.get(engine, "7.1")
    subnets = need(world, region, SUBNETS, params["CacheSubnetGroupName"])
    parameters = params.get("CacheParameterGroupName") or f"default.{engine}{version.split('.')[0]}"
    if not parameters.startswith("default."):
        family = need(world, region, PARAMETERS, parameters)["CacheParameterGroupFamily"]
        if family != f"{engine}{version.split('.')[0]}":
            raise combination(f"Expected a parameter group of family {engine}{version.split('.')[0]}, got {family}")
    doc: Doc = {
        "ReplicationGroupId": name,
        "Description": params["ReplicationGroupDescription"],
        "Status": "creating",
        "PendingModifiedValues": {},
        "AutomaticFailover": "enabled" if params.get("AutomaticFailoverEnabled") else "disabled",
        "MultiAZ": "enabled" if params.get("MultiAZEnabled") else "disabled",
        "SnapshotRetentionLimit": int(params.get("SnapshotRetentionLimit") or 0),
        "SnapshotWindow": params.get("SnapshotWindow") or "05:00-06:00",
        "ClusterEnabled": False,
        "ClusterMode": params.get("ClusterMode") or "disabled",
        "CacheNodeType": params.get("CacheNodeType") or "cache.t4g.micro",
        "AuthTokenEnabled": params.get("AuthToken") is not None,
        "TransitEncryptionEnabled": bool(params.get("TransitEncryptionEnabled")),
        "AtRestEncryptionEnabled": bool(params.get("AtRestEncryptionEnabled", engine == "valkey")),
        "ARN": arn("elasticache", region, f"replicationgroup:{name}"),
        "LogDeliveryConfigurations": [
            {**one, "Status": "active"}
            for one in params.get("LogDeliveryConfigurations", [])
            if one.get("Enabled", True)
        ],
        "ReplicationGroupCreateTime": world.now(),
        "AutoMinorVersionUpgrade": params.get("AutoMinorVersionUpgrade", True),
        "DataTiering": "disabled",
        "NetworkType": params.get("NetworkType") or "ipv4",
        "IpDiscovery": params.get("IpDiscovery") or "ipv4",
        "Engine": engine,
        "_version": version,
        "_parameters": parameters,
        "_subnets": subnets["CacheSubnetGroupName"],
        "_zones": [subnet["SubnetAvailabilityZone"]["Name"] for subnet in subnets["Subnets"]],
        "_groups": params.get("SecurityGroupIds", []),
        "_port": int(params.get("Port") or 6379),
        "_window": params.get("PreferredMaintenanceWindow") or "sun:23:00-mon:01:30",
        "_topic": params.get("NotificationTopicArn"),
        "_domain": f"{name}.{word(6)}.{region.replace('-', '')[:4]}.cache.amazonaws.com",
        "_token": _digest(params.get("AuthToken")),
        "_tags": params.get("Tags", []),
    }
    if params.get("KmsKeyId"):
        doc["KmsKeyId"] = params["KmsKeyId"]
    if doc["TransitEncryptionEnabled"]:
        doc["TransitEncryptionMode"] = params.get("TransitEncryptionMode") or "required"
    _members(doc, nodes)
    _put(world, region, doc, _CREATING_S)
    return {"ReplicationGroup": public(doc)}


def _digest(token: str | None) -> str | None:
    """What is kept of a token: AWS never shows it again either."""
    return hashlib.sha256(token.encode()).hexdigest() if token is not None else None


def _members(doc: Doc, nodes: int) -> None:
    name, domain, port = doc["ReplicationGroupId"], doc["_domain"], doc["_port"]
    ids = [f"{name}-{number:03}" for number in range(1, nodes + 1)]
    zones = list(islice(cycle(doc["_zones"]), nodes))
    doc["MemberClusters"] = ids
    doc["NodeGroups"] = [
        {
            "NodeGroupId": "0001",
            "Status": "available",
            "PrimaryEndpoint": {"Address": f"master.{domain}", "Port": port},
            "ReaderEndpoint": {"Address": f"replica.{domain}", "Port": port},
            "NodeGroupMembers": [
                {
                    "CacheClusterId": member,
                    "CacheNodeId": "0001",
                    "ReadEndpoint": {"Address": f"{member}.{domain}", "Port": port},
                    "PreferredAvailabilityZone": zone,
                    "CurrentRole": "primary" if member == ids[0] else "replica",
                }
                for member, zone in zip(ids, zones, strict=True)
            ],
        }
    ]


def _put(world: World, region: str, doc: Doc, seconds: float) -> None:
    later = Later(seconds=seconds, members={"Status": "available"})
    world.store.put(GROUP, region, doc["ReplicationGroupId"], doc, later=later)


async def describe_groups(world: World, call: Call) -> Doc:
    """DescribeReplicationGroups."""
    name = call.params.get("ReplicationGroupId")
    found = [need(world, call.region, GROUP, name)] if name else world.store.list(GROUP, call.region)
    items, more = cache_page([public(doc) for doc in found], call.params)
    return {"ReplicationGroups": items, **more}


def _available(world: World, call: Call) -> Doc:
    doc = need(world, call.region, GROUP, call.params["ReplicationGroupId"])
    if doc["Status"] != "available":
        message = f"Replication group {doc['ReplicationGroupId']} is in {doc['Status']} state."
        raise AwsError("InvalidReplicationGroupState", message, status=400)
    return doc


_CHANGED: Final = {
    "ReplicationGroupDescription": "Description",
    "SnapshotRetentionLimit": "SnapshotRetentionLimit",
    "SnapshotWindow": "SnapshotWindow",
    "AutoMinorVersionUpgrade": "AutoMinorVersionUpgrade",
    "CacheNodeType": "CacheNodeType",
    "CacheParameterGroupName": "_parameters",
    "EngineVersion": "_version",
    "Engine": "Engine",
    "SecurityGroupIds": "_groups",
    "PreferredMaintenanceWindow": "_window",
    "NotificationTopicArn": "_topic",
    "TransitEncryptionMode": "TransitEncryptionMode",
    "IpDiscovery": "IpDiscovery",
}


async def modify_group(world: World, call: Call) -> Doc:
    """ModifyReplicationGroup, applied at once whatever ApplyImmediately says."""
    doc, params = _available(world, call), call.params
    others = {"ReplicationGroupId", "ApplyImmediately", "AutomaticFailoverEnabled", "MultiAZEnabled", "AuthToken"}
    others |= {"AuthTokenUpdateStrategy", "LogDeliveryConfigurations", "TransitEncryptionEnabled"}
    if unknown := params.keys() - _CHANGED.keys() - others:
        raise unsupported("elasticache", f"ModifyReplicationGroup with {', '.join(sorted(unknown))}")
    for member, name in _CHANGED.items():
        if params.get(member) is not None:
            doc[name] = params[member]
    if params.get("TransitEncryptionEnabled") is not None:
        doc["TransitEncryptionEnabled"] = params["TransitEncryptionEnabled"]
    for member, name in (("AutomaticFailoverEnabled", "AutomaticFailover"), ("MultiAZEnabled", "MultiAZ")):
        if params.get(member) is not None:
            doc[name] = "enabled" if params[member] else "disabled"
    _check_group(
        {
            **{key: params[key] for key in ("AuthToken",) if params.get(key) is not None},
            "TransitEncryptionEnabled": doc["TransitEncryptionEnabled"],
            "AutomaticFailoverEnabled": doc["AutomaticFailover"] == "enabled",
            "MultiAZEnabled": doc["MultiAZ"] == "enabled",
        },
        len(doc["MemberClusters"]),
    )
    if params.get("AuthToken") is not None:
        doc |= {"_token": _digest(params["AuthToken"]), "AuthTokenEnabled": True}
    for one in params.get("LogDeliveryConfigurations", []):
        kept = [old for old in doc["LogDeliveryConfigurations"] if old["LogType"] != one["LogType"]]
        doc["LogDeliveryConfigurations"] = [*kept, {**one, "Status": "active"}] if one.get("Enabled", True) else kept
    doc["Status"] = "modifying"
    _put(world, call.region, doc, _MODIFYING_S)
    return {"ReplicationGroup": public(doc)}


async def resize_group(world: World, call: Call) -> Doc:
    """IncreaseReplicaCount and DecreaseReplicaCount."""
    doc, wanted = _available(world, call), call.params.get("NewReplicaCount")
    if wanted is None:
        raise unsupported("elasticache", f"{call.operation.name} without NewReplicaCount")
    if doc["AutomaticFailover"] == "enabled" and wanted < 1:
        raise bad_value("Automatic failover needs at least one replica.")
    _members(doc, wanted + 1)
    doc["Status"] = "modifying"
    _put(world, call.region, doc, _MODIFYING_S)
    return {"ReplicationGroup": public(doc)}


async def delete_group(world: World, call: Call) -> Doc:
    """DeleteReplicationGroup."""
    doc = _available(world, call)
    doc["Status"] = "deleting"
    later = Later(seconds=_DELETING_S, members=None)
    world.store.put(GROUP, call.region, doc["ReplicationGroupId"], doc, later=later)
    return {"ReplicationGroup": public(doc)}


async def describe_clusters(world: World, call: Call) -> Doc:
    """DescribeCacheClusters: the members of replication groups."""
    wanted = call.params.get("CacheClusterId")
    found = [
        _cluster(doc, member)
        for doc in world.store.list(GROUP, call.region)
        for member in doc["MemberClusters"]
        if wanted in (None, member)
    ]
    if wanted is not None and not found:
        raise AwsError("CacheClusterNotFound", f"CacheCluster {wanted} not found.", status=404)
    items, more = cache_page(found, call.params)
    return {"CacheClusters": items, **more}


def _cluster(doc: Doc, member: str) -> Doc:
    parts = str(doc["_version"]).split(".")
    found: Doc = {
        "CacheClusterId": member,
        "CacheNodeType": doc["CacheNodeType"],
        "Engine": doc["Engine"],
        "EngineVersion": ".".join([*parts, "0", "0"][:3]),
        "CacheClusterStatus": doc["Status"],
        "NumCacheNodes": 1,
        "PreferredMaintenanceWindow": doc["_window"],
        "CacheParameterGroup": {"CacheParameterGroupName": doc["_parameters"], "ParameterApplyStatus": "in-sync"},
        "CacheSubnetGroupName": doc["_subnets"],
        "AutoMinorVersionUpgrade": doc["AutoMinorVersionUpgrade"],
        "SecurityGroups": [{"SecurityGroupId": group, "Status": "active"} for group in doc["_groups"]],
        "ReplicationGroupId": doc["ReplicationGroupId"],
        "SnapshotRetentionLimit": doc["SnapshotRetentionLimit"],
        "SnapshotWindow": doc["SnapshotWindow"],
        "AuthTokenEnabled": doc["AuthTokenEnabled"],
        "TransitEncryptionEnabled": doc["TransitEncryptionEnabled"],
        "AtRestEncryptionEnabled": doc["AtRestEncryptionEnabled"],
        "ARN": doc["ARN"].replace(f"replicationgroup:{doc['ReplicationGroupId']}", f"cluster:{member}"),
        "NetworkType": doc["NetworkType"],
        "IpDiscovery": doc["IpDiscovery"],
    }
    if doc["_topic"]:
        found["NotificationConfiguration"] = {"TopicArn": doc["_topic"], "TopicStatus": "active"}
    return found


HANDLERS = {
    ("elasticache", name): handler
    for name, handler in (
        ("CreateReplicationGroup", create_group),
        ("DescribeReplicationGroups", describe_groups),
        ("ModifyReplicationGroup", modify_group),
        ("IncreaseReplicaCount", resize_group),
        ("DecreaseReplicaCount", resize_group),
        ("DeleteReplicationGroup", delete_group),
        ("DescribeCacheClusters", describe_clusters),
    )
}
