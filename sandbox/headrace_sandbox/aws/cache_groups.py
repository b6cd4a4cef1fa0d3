"""ElastiCache: subnet groups and parameter groups."""

from __future__ import annotations

from typing import Final

from headrace_sandbox.aws.cache_common import GROUP, PARAMETERS, SUBNETS, bad_value, cache_page, need
from headrace_sandbox.aws.errors import AwsError, unsupported
from headrace_sandbox.aws.identity import arn
from headrace_sandbox.aws.store import Kind, public
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import World

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


def _described(world: World, call: Call, kind: Kind, noun: str) -> Doc:
    """The group that the call names, or a page of all of its kind."""
    name = call.params.get(f"{noun}Name")
    found = [need(world, call.region, kind, name)] if name else world.store.list(kind, call.region)
    items, more = cache_page([public(doc) for doc in found], call.params)
    return {f"{noun}s": items, **more}


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
    return {"CacheSubnetGroup": public(doc)}


async def describe_subnet_groups(world: World, call: Call) -> Doc:
    """DescribeCacheSubnetGroups."""
    return _described(world, call, SUBNETS, "CacheSubnetGroup")


async def modify_subnet_group(world: World, call: Call) -> Doc:
    """ModifyCacheSubnetGroup."""
    doc = need(world, call.region, SUBNETS, call.params["CacheSubnetGroupName"])
    if call.params.get("CacheSubnetGroupDescription") is not None:
        doc["CacheSubnetGroupDescription"] = call.params["CacheSubnetGroupDescription"]
    if call.params.get("SubnetIds"):
        doc |= await _subnets(world, call.region, call.params["SubnetIds"])
    world.store.put(SUBNETS, call.region, doc["CacheSubnetGroupName"], doc)
    return {"CacheSubnetGroup": public(doc)}


async def delete_subnet_group(world: World, call: Call) -> Doc:
    """DeleteCacheSubnetGroup; refused while a replication group lies in it."""
    name = need(world, call.region, SUBNETS, call.params["CacheSubnetGroupName"])["CacheSubnetGroupName"]
    for group in world.store.list(GROUP, call.region):
        if group["_subnets"] == name:
            message = f"Cache subnet group {name} is currently in use by a cache cluster."
            raise AwsError("CacheSubnetGroupInUse", message, status=400)
    world.store.delete(SUBNETS, call.region, name)
    return {}


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
    return {"CacheParameterGroup": public(doc)}


async def describe_parameter_groups(world: World, call: Call) -> Doc:
    """DescribeCacheParameterGroups."""
    return _described(world, call, PARAMETERS, "CacheParameterGroup")


async def modify_parameter_group(world: World, call: Call) -> Doc:
    """ModifyCacheParameterGroup."""
    doc = need(world, call.region, PARAMETERS, call.params["CacheParameterGroupName"])
    for one in call.params["ParameterNameValues"]:
        name, value = one["ParameterName"], one["ParameterValue"]
        kind = _KNOWN_PARAMETERS.get(name)
        if kind is None:
            raise bad_value(f"Could not find parameter with name: {name}")
        if kind == "integer" and not value.lstrip("-").isdigit():
            raise bad_value(f"The parameter value {value} for parameter {name} is invalid.")
        doc["_values"][name] = value
    world.store.put(PARAMETERS, call.region, doc["CacheParameterGroupName"], doc)
    return {"CacheParameterGroupName": doc["CacheParameterGroupName"]}


async def reset_parameter_group(world: World, call: Call) -> Doc:
    """ResetCacheParameterGroup."""
    doc = need(world, call.region, PARAMETERS, call.params["CacheParameterGroupName"])
    if call.params.get("ResetAllParameters"):
        doc["_values"] = {}
    for one in call.params.get("ParameterNameValues", []):
        doc["_values"].pop(one["ParameterName"], None)
    world.store.put(PARAMETERS, call.region, doc["CacheParameterGroupName"], doc)
    return {"CacheParameterGroupName": doc["CacheParameterGroupName"]}


async def describe_parameters(world: World, call: Call) -> Doc:
    """DescribeCacheParameters of `Source=user`: those that were set. The engine's own defaults are not known here."""
    doc = need(world, call.region, PARAMETERS, call.params["CacheParameterGroupName"])
    if call.params.get("Source") != "user":
        raise unsupported("elasticache", "DescribeCacheParameters without Source=user")
    items, more = cache_page(
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
    name = need(world, call.region, PARAMETERS, call.params["CacheParameterGroupName"])["CacheParameterGroupName"]
    for group in world.store.list(GROUP, call.region):
        if group["_parameters"] == name:
            message = f"One or more cache clusters are still members of this parameter group {name}."
            raise AwsError("InvalidCacheParameterGroupState", message, status=400)
    world.store.delete(PARAMETERS, call.region, name)
    return {}


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
    )
}
