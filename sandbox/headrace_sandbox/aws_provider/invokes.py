"""Provider functions (`get...`)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headrace.protocol.values import Secret
from headrace_sandbox.aws_provider.context import Context
from headrace_sandbox.aws_provider.mapping import pairs_to_map
from headrace_sandbox.aws_provider.policy_document import render
from headrace_sandbox.plugin.provider import ProviderError


@dataclass(frozen=True, kw_only=True)
class Function:
    """One function: the service it asks, and how."""

    service: str
    run: Callable[[Context, Mapping[str, Any]], dict[str, Any]]


FUNCTIONS: dict[str, Function] = {}


def _caller_identity(ctx: Context, _args: Mapping[str, Any]) -> dict[str, Any]:
    identity = ctx.aws.identity()
    account = identity["account"]
    return {"accountId": account, "arn": identity["arn"], "userId": identity["user_id"], "id": account}


def _region(ctx: Context, args: Mapping[str, Any]) -> dict[str, Any]:
    name = str(args.get("region") or args.get("name") or ctx.region)
    endpoint = f"ec2.{name}.amazonaws.com"
    return {"id": name, "name": name, "region": name, "endpoint": endpoint, "description": name}


def _partition(ctx: Context, _args: Mapping[str, Any]) -> dict[str, Any]:
    suffix = "amazonaws.com.cn" if ctx.partition == "aws-cn" else "amazonaws.com"
    prefix = ".".join(reversed(suffix.split(".")))
    return {"id": ctx.partition, "partition": ctx.partition, "dnsSuffix": suffix, "reverseDnsPrefix": prefix}


def _filters(args: Mapping[str, Any], *more: tuple[str, Any]) -> list[dict[str, Any]]:
    rows = [{"Name": f["name"], "Values": list(f["values"])} for f in args.get("filters") or []]
    rows += [{"Name": f"tag:{k}", "Values": [v]} for k, v in (args.get("tags") or {}).items()]
    return rows + [{"Name": name, "Values": [_word(value)]} for name, value in more if value is not None]


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _one(found: list[Any], what: str) -> Any:
    if not found:
        raise ProviderError(f"no matching {what} found")
    if len(found) > 1:
        raise ProviderError(f"multiple {what}s matched; use additional constraints to reduce matches to a single one")
    return found[0]


def _zones(ctx: Context, args: Mapping[str, Any]) -> dict[str, Any]:
    params: dict[str, Any] = {"Filters": _filters(args, ("state", args.get("state")))}
    if args.get("allAvailabilityZones"):
        params["AllAvailabilityZones"] = True
    answer = ctx.call("DescribeAvailabilityZones", params)["AvailabilityZones"]
    names, ids = set(args.get("excludeNames") or ()), set(args.get("excludeZoneIds") or ())
    kept = sorted((z for z in answer if z["ZoneName"] not in names and z["ZoneId"] not in ids), key=_zone_name)
    return {
        "id": ctx.region,
        "names": [z["ZoneName"] for z in kept],
        "zoneIds": [z["ZoneId"] for z in kept],
        "groupNames": sorted({z.get("GroupName", ctx.region) for z in kept}),
    }


def _zone_name(zone: Mapping[str, Any]) -> str:
    return str(zone["ZoneName"])


def _policy_document(_ctx: Context, args: Mapping[str, Any]) -> dict[str, Any]:

    try:
        text, minified = render(args)
    except ValueError as bad:
        raise ProviderError(f"aws:iam/getPolicyDocument: {bad}") from None
    return {**args, "id": str(zlib.crc32(text.encode())), "json": text, "minifiedJson": minified}


def _parameter(ctx: Context, args: Mapping[str, Any]) -> dict[str, Any]:
    decrypt = args.get("withDecryption", True)
    found = ctx.call("GetParameter", {"Name": args["name"], "WithDecryption": decrypt})["Parameter"]
    secret = found["Type"] == "SecureString"
    value: Any = Secret(found["Value"])  # as the official function: the value is always sensitive
    return {
        "id": args["name"],
        "name": args["name"],
        "arn": found["ARN"],
        "type": found["Type"],
        "value": value,
        "insecureValue": "" if secret else found["Value"],
        "version": found["Version"],
        "withDecryption": decrypt,
    }


def _vpc(ctx: Context, args: Mapping[str, Any]) -> dict[str, Any]:
    params: dict[str, Any] = {
        "Filters": _filters(
            args,
            ("cidr", args.get("cidrBlock")),
            ("is-default", args.get("default")),
            ("state", args.get("state")),
            ("dhcp-options-id", args.get("dhcpOptionsId")),
        )
    }
    if args.get("id"):
        params["VpcIds"] = [args["id"]]
    vpc = _one(list(ctx.pages("DescribeVpcs", params, "Vpcs")), "EC2 VPC")
    identity = vpc["VpcId"]
    main = [{"Name": "vpc-id", "Values": [identity]}, {"Name": "association.main", "Values": ["true"]}]
    tables = list(ctx.pages("DescribeRouteTables", {"Filters": main}, "RouteTables[].RouteTableId"))
    switches = {}
    for attribute in ("enableDnsSupport", "enableDnsHostnames"):
        answer = ctx.call("DescribeVpcAttribute", {"VpcId": identity, "Attribute": attribute})
        switches[attribute] = bool(answer[attribute[0].upper() + attribute[1:]]["Value"])
    blocks = vpc.get("CidrBlockAssociationSet", [])
    return {
        "id": identity,
        "arn": f"arn:{ctx.partition}:ec2:{ctx.region}:{vpc.get('OwnerId', ctx.account)}:vpc/{identity}",
        "cidrBlock": vpc["CidrBlock"],
        "cidrBlockAssociations": [
            {"associationId": b["AssociationId"], "cidrBlock": b["CidrBlock"], "state": b["CidrBlockState"]["State"]}
            for b in blocks
        ],
        "default": vpc.get("IsDefault", False),
        "dhcpOptionsId": vpc.get("DhcpOptionsId", ""),
        "enableNetworkAddressUsageMetrics": False,
        "instanceTenancy": vpc.get("InstanceTenancy", "default"),
        "ipv6AssociationId": "",
        "ipv6CidrBlock": "",
        "mainRouteTableId": tables[0] if tables else "",
        "ownerId": vpc.get("OwnerId", ""),
        "region": ctx.region,
        "state": vpc["State"],
        "tags": pairs_to_map(vpc.get("Tags", [])),
        **switches,
    }


def _subnet_query(args: Mapping[str, Any]) -> dict[str, Any]:
    params: dict[str, Any] = {
        "Filters": _filters(
            args,
            ("availability-zone", args.get("availabilityZone")),
            ("availability-zone-id", args.get("availabilityZoneId")),
            ("cidr-block", args.get("cidrBlock")),
            ("vpc-id", args.get("vpcId")),
            ("state", args.get("state")),
        )
    }
    if args.get("id"):
        params["SubnetIds"] = [args["id"]]
    return params


def _subnet(ctx: Context, args: Mapping[str, Any]) -> dict[str, Any]:
    subnet = _one(list(ctx.pages("DescribeSubnets", _subnet_query(args), "Subnets")), "EC2 Subnet")
    return {
        "id": subnet["SubnetId"],
        "arn": subnet.get("SubnetArn", ""),
        "availabilityZone": subnet["AvailabilityZone"],
        "availabilityZoneId": subnet.get("AvailabilityZoneId", ""),
        "availableIpAddressCount": subnet.get("AvailableIpAddressCount", 0),
        "cidrBlock": subnet["CidrBlock"],
        "defaultForAz": subnet.get("DefaultForAz", False),
        "mapPublicIpOnLaunch": subnet.get("MapPublicIpOnLaunch", False),
        "ownerId": subnet.get("OwnerId", ""),
        "region": ctx.region,
        "state": subnet["State"],
        "tags": pairs_to_map(subnet.get("Tags", [])),
        "vpcId": subnet["VpcId"],
    }


def _subnets(ctx: Context, args: Mapping[str, Any]) -> dict[str, Any]:
    ids = list(ctx.pages("DescribeSubnets", _subnet_query(args), "Subnets[].SubnetId"))
    return {"id": ctx.region, "ids": ids, "region": ctx.region, "tags": args.get("tags") or {}}


def _route_table(ctx: Context, args: Mapping[str, Any]) -> dict[str, Any]:
    params: dict[str, Any] = {
        "Filters": _filters(
            args,
            ("vpc-id", args.get("vpcId")),
            ("association.subnet-id", args.get("subnetId")),
            ("association.gateway-id", args.get("gatewayId")),
        )
    }
    if args.get("routeTableId"):
        params["RouteTableIds"] = [args["routeTableId"]]
    table = _one(list(ctx.pages("DescribeRouteTables", params, "RouteTables")), "EC2 Route Table")
    identity = table["RouteTableId"]
    return {
        "id": identity,
        "routeTableId": identity,
        "arn": f"arn:{ctx.partition}:ec2:{ctx.region}:{ctx.account}:route-table/{identity}",
        "ownerId": table.get("OwnerId", ""),
        "region": ctx.region,
        "subnetId": args.get("subnetId") or "",
        "gatewayId": args.get("gatewayId") or "",
        "vpcId": table["VpcId"],
        "tags": pairs_to_map(table.get("Tags", [])),
        "routes": [_route(r) for r in table.get("Routes", []) if r.get("GatewayId") != "local"],
        "associations": [_association(a, identity) for a in table.get("Associations", [])],
    }


_ROUTE_MEMBERS = (
    ("carrierGatewayId", "CarrierGatewayId"),
    ("cidrBlock", "DestinationCidrBlock"),
    ("coreNetworkArn", "CoreNetworkArn"),
    ("destinationPrefixListId", "DestinationPrefixListId"),
    ("egressOnlyGatewayId", "EgressOnlyInternetGatewayId"),
    ("gatewayId", "GatewayId"),
    ("instanceId", "InstanceId"),
    ("ipv6CidrBlock", "DestinationIpv6CidrBlock"),
    ("localGatewayId", "LocalGatewayId"),
    ("natGatewayId", "NatGatewayId"),
    ("networkInterfaceId", "NetworkInterfaceId"),
    ("transitGatewayId", "TransitGatewayId"),
    ("vpcEndpointId", "VpcEndpointId"),
    ("vpcPeeringConnectionId", "VpcPeeringConnectionId"),
)


def _route(route: Mapping[str, Any]) -> dict[str, Any]:
    return {name: route.get(member, "") for name, member in _ROUTE_MEMBERS}


def _association(association: Mapping[str, Any], table: str) -> dict[str, Any]:
    return {
        "main": association.get("Main", False),
        "routeTableAssociationId": association.get("RouteTableAssociationId", ""),
        "routeTableId": table,
        "subnetId": association.get("SubnetId", ""),
        "gatewayId": association.get("GatewayId", ""),
    }


def _cluster(ctx: Context, args: Mapping[str, Any]) -> dict[str, Any]:
    cluster = ctx.call("DescribeCluster", {"name": args["name"]})["cluster"]
    network = cluster.get("resourcesVpcConfig", {})
    logs = [
        t for row in cluster.get("logging", {}).get("clusterLogging", []) if row.get("enabled") for t in row["types"]
    ]
    issuer = cluster.get("identity", {}).get("oidc", {}).get("issuer", "")
    return {
        "id": cluster["name"],
        "name": cluster["name"],
        "arn": cluster["arn"],
        "createdAt": str(cluster.get("createdAt", "")),
        "certificateAuthorities": [{"data": cluster.get("certificateAuthority", {}).get("data", "")}],
        "accessConfigs": [cluster.get("accessConfig", {})],
        "computeConfigs": [],
        "deletionProtection": cluster.get("deletionProtection", False),
        "enabledClusterLogTypes": sorted(logs),
        "endpoint": cluster.get("endpoint", ""),
        "identities": [{"oidcs": [{"issuer": issuer}]}],
        "kubernetesNetworkConfigs": [cluster.get("kubernetesNetworkConfig", {})],
        "platformVersion": cluster.get("platformVersion", ""),
        "region": ctx.region,
        "roleArn": cluster["roleArn"],
        "status": cluster["status"],
        "tags": cluster.get("tags", {}),
        "upgradePolicies": [cluster["upgradePolicy"]] if cluster.get("upgradePolicy") else [],
        "version": cluster.get("version", ""),
        "vpcConfig": network,
        "zonalShiftConfigs": [cluster["zonalShiftConfig"]] if cluster.get("zonalShiftConfig") else [],
    }


def _instance_type(ctx: Context, args: Mapping[str, Any]) -> dict[str, Any]:
    found = ctx.call("DescribeInstanceTypes", {"InstanceTypes": [args["instanceType"]]})["InstanceTypes"]
    kind = _one(found, "EC2 Instance Type")
    gpus = kind.get("GpuInfo", {})
    network = kind.get("NetworkInfo", {})
    return {
        "id": kind["InstanceType"],
        "instanceType": kind["InstanceType"],
        "region": ctx.region,
        "currentGeneration": kind.get("CurrentGeneration", True),
        "bareMetal": kind.get("BareMetal", False),
        "defaultVcpus": kind["VCpuInfo"]["DefaultVCpus"],
        "defaultCores": kind["VCpuInfo"].get("DefaultCores", 0),
        "memorySize": kind["MemoryInfo"]["SizeInMiB"],
        "gpuses": [
            {
                "count": g.get("Count", 0),
                "manufacturer": g.get("Manufacturer", ""),
                "memorySize": g.get("MemoryInfo", {}).get("SizeInMiB", 0),
                "name": g.get("Name", ""),
            }
            for g in gpus.get("Gpus", [])
        ],
        "totalGpuMemory": gpus.get("TotalGpuMemoryInMiB", 0),
        "efaSupported": network.get("EfaSupported", False),
        "maximumNetworkCards": network.get("MaximumNetworkCards", 1),
        "maximumNetworkInterfaces": network.get("MaximumNetworkInterfaces", 0),
        "networkPerformance": network.get("NetworkPerformance", ""),
        "supportedArchitectures": kind.get("ProcessorInfo", {}).get("SupportedArchitectures", []),
        "supportedUsagesClasses": kind.get("SupportedUsageClasses", []),
        "instanceStorageSupported": kind.get("InstanceStorageSupported", False),
        "hypervisor": kind.get("Hypervisor", ""),
    }


FUNCTIONS.update(
    {
        "aws:index/getCallerIdentity:getCallerIdentity": Function(service="sts", run=_caller_identity),
        "aws:index/getRegion:getRegion": Function(service="ec2", run=_region),
        "aws:index/getPartition:getPartition": Function(service="ec2", run=_partition),
        "aws:index/getAvailabilityZones:getAvailabilityZones": Function(service="ec2", run=_zones),
        "aws:iam/getPolicyDocument:getPolicyDocument": Function(service="iam", run=_policy_document),
        "aws:ssm/getParameter:getParameter": Function(service="ssm", run=_parameter),
        "aws:ec2/getVpc:getVpc": Function(service="ec2", run=_vpc),
        "aws:ec2/getSubnet:getSubnet": Function(service="ec2", run=_subnet),
        "aws:ec2/getSubnets:getSubnets": Function(service="ec2", run=_subnets),
        "aws:ec2/getRouteTable:getRouteTable": Function(service="ec2", run=_route_table),
        "aws:eks/getCluster:getCluster": Function(service="eks", run=_cluster),
        "aws:ec2/getInstanceType:getInstanceType": Function(service="ec2", run=_instance_type),
    }
)
