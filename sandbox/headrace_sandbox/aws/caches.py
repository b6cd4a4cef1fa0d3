"""ElastiCache: subnet groups, parameter groups and replication groups (cluster mode disabled), with their members.

Recorded: no node runs. A replication group's endpoints have the shape of AWS's names and lead nowhere.
"""

from __future__ import annotations

import hashlib
from itertools import cycle, islice
from typing import Any, Final

from headrace_sandbox.aws.errors import AwsError, unsupported
from headrace_sandbox.aws.identity import arn, word
from headrace_sandbox.aws.store import Kind, Later
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import World, page

SUBNETS: Final = Kind(service="elasticache", name="subnet-group")
PARAMETERS: Final = Kind(service="elasticache", name="parameter-group")
GROUP: Final = Kind(service="elasticache", name="replication-group")
# AWS takes 5 to 15 minutes; a waiter has to see each state once.
_CREATING_S: Final = 0.4
_MODIFYING_S: Final = 0.2
_DELETING_S: Final = 0.3
# Parameters of Valkey and Redis that we know the type of; AWS has more. ElastiCache user guide, 2026-11.
_KNOWN_PARAMETERS: Final = {
    "activedefrag": "string",
    "appendonly": "string",
    "cluster-enabled": "string",
    "lfu-decay-time": "integer",
    "lazyfree-lazy-eviction": "string",
    "maxmemory-policy": "string",
    "maxmemory-samples": "integer",
    "notify-keyspace-events": "string",
    "reserved-memory-percent": "integer",
    "slowlog-log-slower-than": "integer",
    "slowlog-max-len": "integer",
    "tcp-keepalive": "integer",
    "timeout": "integer",
}
_TAGGED: Final = {"subnetgroup": SUBNETS, "parametergroup": PARAMETERS, "replicationgroup": GROUP}


def _combination(message: str) -> AwsError:
    return AwsError("InvalidParameterCombination", message, status=400)


def _value(message: str) -> AwsError:
    return AwsError("InvalidParameterValue", message, status=400)


def _public(doc: Doc) -> Doc:
    return {key: value for key, value in doc.items() if not key.startswith("_")}


def _page(items: list[Doc], params: Doc) -> tuple[list[Doc], Doc]:
    return page(items, params, members=("MaxRecords", "Marker"))


def _need(world: World, region: str, kind: Kind, name: str) -> Doc:
    doc = world.store.get(kind, region, name.lower())
    if doc is None:
        code, what, status = {
            SUBNETS.name: ("CacheSubnetGroupNotFoundFault", "Cache Subnet Group", 400),
            PARAMETERS.name: ("CacheParameterGroupNotFound", "CacheParameterGroup", 404),
            GROUP.name: ("ReplicationGroupNotFoundFault", "ReplicationGroup", 404),
        }[kind.name]
        raise AwsError(code, f"{what} {name} not found.", status=status)
    return doc


# -- subnet groups -----------------------------------------------------------------------------------------------------


async def _subnets(world: World, region: str, ids: list[str]) -> Doc:
    described = (await world.moto("ec2", "DescribeSubnets", region, {"SubnetIds": ids}))["Subnets"]
    networks = {subnet["VpcId"] for subnet in described}
    if len(networks) != 1:
        raise AwsError("InvalidSubnet", "The subnets of a subnet group must lie in one VPC", status=400)
    return {
        "VpcId": networks.pop(),
        "Subnets": [
            {
                "SubnetIdentifier": subnet["SubnetId"],
                "SubnetAvailabilityZone": {"Name": subnet["AvailabilityZone"]},
                "SupportedNetworkTypes": ["ipv4"],
            }
            for subnet in described
        ],
        "SupportedNetworkTypes": ["ipv4"],
    }


async def create_subnet_group(world: World, call: Call) -> Doc:
    """CreateCacheSubnetGroup."""
    params, name = call.params, call.params["CacheSubnetGroupName"].lower()
    if world.store.get(SUBNETS, call.region, name) is not None:
        raise AwsError(
            "CacheSubnetGroupAlreadyExists", f"CacheSubnetGroup with the name {name} already exists.", status=400
        )
    doc: Doc = {
        "CacheSubnetGroupName": name,
        "CacheSubnetGroupDescription": params["CacheSubnetGroupDescription"],
        "ARN": arn("elasticache", call.region, f"subnetgroup:{name}"),
        **await _subnets(world, call.region, params["SubnetIds"]),
        "_tags": params.get("Tags", []),
    }
    world.store.put(SUBNETS, call.region, name, doc)
    return {"CacheSubnetGroup": _public(doc)}


async def describe_subnet_groups(world: World, call: Call) -> Doc:
    """DescribeCacheSubnetGroups."""
    name = call.params.get("CacheSubnetGroupName")
    found = [_need(world, call.region, SUBNETS, name)] if name else world.store.list(SUBNETS, call.region)
    items, more = _page([_public(doc) for doc in found], call.params)
    return {"CacheSubnetGroups": items, **more}


async def modify_subnet_group(world: World, call: Call) -> Doc:
    """ModifyCacheSubnetGroup."""
    doc = _need(world, call.region, SUBNETS, call.params["CacheSubnetGroupName"])
    if call.params.get("CacheSubnetGroupDescription") is not None:
        doc["CacheSubnetGroupDescription"] = call.params["CacheSubnetGroupDescription"]
    if call.params.get("SubnetIds"):
        doc |= await _subnets(world, call.region, call.params["SubnetIds"])
    world.store.put(SUBNETS, call.region, doc["CacheSubnetGroupName"], doc)
    return {"CacheSubnetGroup": _public(doc)}


async def delete_subnet_group(world: World, call: Call) -> Doc:
    """DeleteCacheSubnetGroup; refused while a replication group lies in it."""
    name = _need(world, call.region, SUBNETS, call.params["CacheSubnetGroupName"])["CacheSubnetGroupName"]
    for group in world.store.list(GROUP, call.region):
        if group["_subnets"] == name:
            message = f"Cache subnet group {name} is currently in use by a cache cluster."
            raise AwsError("CacheSubnetGroupInUse", message, status=400)
    world.store.delete(SUBNETS, call.region, name)
    return {}


# -- parameter groups --------------------------------------------------------------------------------------------------


async def create_parameter_group(world: World, call: Call) -> Doc:
    """CreateCacheParameterGroup."""
    params, name = call.params, call.params["CacheParameterGroupName"].lower()
    if world.store.get(PARAMETERS, call.region, name) is not None:
        raise AwsError("CacheParameterGroupAlreadyExists", f"Cache parameter group {name} already exists.", status=400)
    if not params["CacheParameterGroupFamily"].startswith(("redis", "valkey")):
        raise unsupported("elasticache", f"CreateCacheParameterGroup of family {params['CacheParameterGroupFamily']}")
    doc: Doc = {
        "CacheParameterGroupName": name,
        "CacheParameterGroupFamily": params["CacheParameterGroupFamily"],
        "Description": params["Description"],
        "IsGlobal": False,
        "ARN": arn("elasticache", call.region, f"parametergroup:{name}"),
        "_values": {},
        "_tags": params.get("Tags", []),
    }
    world.store.put(PARAMETERS, call.region, name, doc)
    return {"CacheParameterGroup": _public(doc)}


async def describe_parameter_groups(world: World, call: Call) -> Doc:
    """DescribeCacheParameterGroups."""
    name = call.params.get("CacheParameterGroupName")
    found = [_need(world, call.region, PARAMETERS, name)] if name else world.store.list(PARAMETERS, call.region)
    items, more = _page([_public(doc) for doc in found], call.params)
    return {"CacheParameterGroups": items, **more}


async def modify_parameter_group(world: World, call: Call) -> Doc:
    """ModifyCacheParameterGroup."""
    doc = _need(world, call.region, PARAMETERS, call.params["CacheParameterGroupName"])
    for one in call.params["ParameterNameValues"]:
        name, value = one["ParameterName"], one["ParameterValue"]
        kind = _KNOWN_PARAMETERS.get(name)
        if kind is None:
            raise _value(f"Could not find parameter with name: {name}")
        if kind == "integer" and not value.lstrip("-").isdigit():
            raise _value(f"The parameter value {value} for parameter {name} is invalid.")
        doc["_values"][name] = value
    world.store.put(PARAMETERS, call.region, doc["CacheParameterGroupName"], doc)
    return {"CacheParameterGroupName": doc["CacheParameterGroupName"]}


async def reset_parameter_group(world: World, call: Call) -> Doc:
    """ResetCacheParameterGroup."""
    doc = _need(world, call.region, PARAMETERS, call.params["CacheParameterGroupName"])
    if call.params.get("ResetAllParameters"):
        doc["_values"] = {}
    for one in call.params.get("ParameterNameValues", []):
        doc["_values"].pop(one["ParameterName"], None)
    world.store.put(PARAMETERS, call.region, doc["CacheParameterGroupName"], doc)
    return {"CacheParameterGroupName": doc["CacheParameterGroupName"]}


async def describe_parameters(world: World, call: Call) -> Doc:
    """DescribeCacheParameters of `Source=user`: those that were set. The engine's own defaults are not known here."""
    doc = _need(world, call.region, PARAMETERS, call.params["CacheParameterGroupName"])
    if call.params.get("Source") != "user":
        raise unsupported("elasticache", "DescribeCacheParameters without Source=user")
    items, more = _page(
        [
            {
                "ParameterName": name,
                "ParameterValue": value,
                "Source": "user",
                "DataType": _KNOWN_PARAMETERS[name],
                "IsModifiable": True,
                "ChangeType": "immediate",
            }
            for name, value in sorted(doc["_values"].items())
        ],
        call.params,
    )
    return {"Parameters": items, **more}


async def delete_parameter_group(world: World, call: Call) -> Doc:
    """DeleteCacheParameterGroup; refused while a replication group uses it."""
    name = _need(world, call.region, PARAMETERS, call.params["CacheParameterGroupName"])["CacheParameterGroupName"]
    for group in world.store.list(GROUP, call.region):
        if group["_parameters"] == name:
            message = f"One or more cache clusters are still members of this parameter group {name}."
            raise AwsError("InvalidCacheParameterGroupState", message, status=400)
    world.store.delete(PARAMETERS, call.region, name)
    return {}


# -- replication groups ------------------------------------------------------------------------------------------------


def _check_group(params: Doc, nodes: int) -> None:
    token = params.get("AuthToken")
    if token is not None:
        if not params.get("TransitEncryptionEnabled"):
            raise _value("Auth token can be enabled only for replication groups with in-transit encryption enabled")
        if not 16 <= len(token) <= 128 or any(letter in '@"/' for letter in token):
            raise _value("Invalid AuthToken provided: 16 to 128 printable characters without '@', '\"' and '/'.")
    if params.get("AutomaticFailoverEnabled") and nodes < 2:
        raise _value("Automatic failover is not supported for replication groups with fewer than two nodes.")
    if params.get("MultiAZEnabled") and not params.get("AutomaticFailoverEnabled"):
        raise _combination("Must enable automatic failover in order to enable Multi-AZ.")


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
    subnets = _need(world, region, SUBNETS, params["CacheSubnetGroupName"])
    parameters = params.get("CacheParameterGroupName") or f"default.{engine}{version.split('.')[0]}"
    if not parameters.startswith("default."):
        family = _need(world, region, PARAMETERS, parameters)["CacheParameterGroupFamily"]
        if family != f"{engine}{version.split('.')[0]}":
            raise _combination(f"Expected a parameter group of family {engine}{version.split('.')[0]}, got {family}")
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
    return {"ReplicationGroup": _public(doc)}


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
    found = [_need(world, call.region, GROUP, name)] if name else world.store.list(GROUP, call.region)
    items, more = _page([_public(doc) for doc in found], call.params)
    return {"ReplicationGroups": items, **more}


def _available(world: World, call: Call) -> Doc:
    doc = _need(world, call.region, GROUP, call.params["ReplicationGroupId"])
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
    return {"ReplicationGroup": _public(doc)}


async def resize_group(world: World, call: Call) -> Doc:
    """IncreaseReplicaCount and DecreaseReplicaCount."""
    doc, wanted = _available(world, call), call.params.get("NewReplicaCount")
    if wanted is None:
        raise unsupported("elasticache", f"{call.operation.name} without NewReplicaCount")
    if doc["AutomaticFailover"] == "enabled" and wanted < 1:
        raise _value("Automatic failover needs at least one replica.")
    _members(doc, wanted + 1)
    doc["Status"] = "modifying"
    _put(world, call.region, doc, _MODIFYING_S)
    return {"ReplicationGroup": _public(doc)}


async def delete_group(world: World, call: Call) -> Doc:
    """DeleteReplicationGroup."""
    doc = _available(world, call)
    doc["Status"] = "deleting"
    later = Later(seconds=_DELETING_S, members=None)
    world.store.put(GROUP, call.region, doc["ReplicationGroupId"], doc, later=later)
    return {"ReplicationGroup": _public(doc)}


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
    items, more = _page(found, call.params)
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


# -- tags --------------------------------------------------------------------------------------------------------------


def _tagged(world: World, call: Call) -> tuple[Kind, str, Doc]:
    parts = call.params["ResourceName"].split(":")
    kind = _TAGGED.get(parts[5]) if len(parts) == 7 else None
    if kind is None:
        raise AwsError("InvalidARN", f"{call.params['ResourceName']} is not the ARN of a resource", status=400)
    return kind, parts[6], _need(world, call.region, kind, parts[6])


def _tag_list(doc: Doc) -> Doc:
    return {"TagList": sorted(doc["_tags"], key=lambda tag: str(tag["Key"]))}


async def list_tags(world: World, call: Call) -> Doc:
    """ListTagsForResource."""
    return _tag_list(_tagged(world, call)[2])


async def add_tags(world: World, call: Call) -> Doc:
    """AddTagsToResource."""
    kind, name, doc = _tagged(world, call)
    added: list[dict[str, Any]] = call.params["Tags"]
    keys = {tag["Key"] for tag in added}
    doc["_tags"] = [*(tag for tag in doc["_tags"] if tag["Key"] not in keys), *added]
    world.store.amend(kind, call.region, name, {"_tags": doc["_tags"]})
    return _tag_list(doc)


async def remove_tags(world: World, call: Call) -> Doc:
    """RemoveTagsFromResource."""
    kind, name, doc = _tagged(world, call)
    doc["_tags"] = [tag for tag in doc["_tags"] if tag["Key"] not in call.params["TagKeys"]]
    world.store.amend(kind, call.region, name, {"_tags": doc["_tags"]})
    return _tag_list(doc)


HANDLERS = {
    ("elasticache", name): handler
    for name, handler in (
        ("CreateCacheSubnetGroup", create_subnet_group),
        ("DescribeCacheSubnetGroups", describe_subnet_groups),
        ("ModifyCacheSubnetGroup", modify_subnet_group),
        ("DeleteCacheSubnetGroup", delete_subnet_group),
        ("CreateCacheParameterGroup", create_parameter_group),
        ("DescribeCacheParameterGroups", describe_parameter_groups),
        ("ModifyCacheParameterGroup", modify_parameter_group),
        ("ResetCacheParameterGroup", reset_parameter_group),
        ("DescribeCacheParameters", describe_parameters),
        ("DeleteCacheParameterGroup", delete_parameter_group),
        ("CreateReplicationGroup", create_group),
        ("DescribeReplicationGroups", describe_groups),
        ("ModifyReplicationGroup", modify_group),
        ("IncreaseReplicaCount", resize_group),
        ("DecreaseReplicaCount", resize_group),
        ("DeleteReplicationGroup", delete_group),
        ("DescribeCacheClusters", describe_clusters),
        ("ListTagsForResource", list_tags),
        ("AddTagsToResource", add_tags),
        ("RemoveTagsFromResource", remove_tags),
    )
}
