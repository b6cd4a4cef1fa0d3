"""What AWS refuses and moto lets pass."""

from __future__ import annotations

import json
from collections.abc import Iterator

from headrace.catalog.load import vpc_endpoints
from headrace_sandbox.aws.cache_common import GROUP as CACHE_GROUP
from headrace_sandbox.aws.cache_common import SUBNETS as CACHE_SUBNETS
from headrace_sandbox.aws.eks.common import CLUSTER, NODEGROUP
from headrace_sandbox.aws.errors import AwsError
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import Guard, World

# CloudWatch Logs API reference, PutRetentionPolicy, retentionInDays (2026-11).
_RETENTION_DAYS = (
    1,
    3,
    5,
    7,
    14,
    30,
    60,
    90,
    120,
    150,
    180,
    365,
    400,
    545,
    731,
    1096,
    1827,
    2192,
    2557,
    2922,
    3288,
    3653,
)


def _dependency(kind: str, name: str, holder: str) -> AwsError:
    return AwsError(
        "DependencyViolation",
        f"The {kind} '{name}' has dependencies and cannot be deleted: it is used by {holder}.",
        status=400,
    )


async def _holders(world: World, region: str) -> list[tuple[str, set[str], set[str]]]:
    """(who, its subnets, its security groups) for everything with network interfaces that moto doesn't count."""
    found: list[tuple[str, set[str], set[str]]] = []
    for endpoint in (await world.moto("ec2", "DescribeVpcEndpoints", region)).get("VpcEndpoints", []):
        if endpoint.get("State") not in ("deleted", "deleting"):
            groups = {group["GroupId"] for group in endpoint.get("Groups", [])}
            found.append((endpoint["VpcEndpointId"], set(endpoint.get("SubnetIds", [])), groups))
    for gateway in (await world.moto("ec2", "DescribeNatGateways", region)).get("NatGateways", []):
        if gateway.get("State") not in ("deleted", "deleting"):
            found.append((gateway["NatGatewayId"], {gateway.get("SubnetId", "")}, set()))
    for cluster in world.store.list(CLUSTER, region):
        config = cluster["resourcesVpcConfig"]
        if cluster["status"] != "DELETING":
            groups = {*config["securityGroupIds"], config["clusterSecurityGroupId"]}
            found.append((f"EKS cluster {cluster['name']}", set(config["subnetIds"]), groups))
    for group in world.store.list(NODEGROUP, region):
        found.append((f"EKS node group {group['nodegroupName']}", set(group["subnets"]), set()))
    for cache in world.store.list(CACHE_GROUP, region):
        subnets = world.store.get(CACHE_SUBNETS, region, cache["_subnets"]) or {}
        ids = {subnet["SubnetIdentifier"] for subnet in subnets.get("Subnets", [])}
        found.append((f"replication group {cache['ReplicationGroupId']}", ids, set(cache["_groups"])))
    for database in (await world.moto("rds", "DescribeDBInstances", region)).get("DBInstances", []):
        ids = {subnet["SubnetIdentifier"] for subnet in (database.get("DBSubnetGroup") or {}).get("Subnets", [])}
        groups = {one["VpcSecurityGroupId"] for one in database.get("VpcSecurityGroups", [])}
        found.append((f"database {database['DBInstanceIdentifier']}", ids, groups))
    return found


async def delete_security_group(world: World, call: Call) -> None:
    """A security group on a network interface, or named by another group's rule, can't be deleted."""
    group = call.params.get("GroupId")
    if group is None:
        return
    for holder, _, groups in await _holders(world, call.region):
        if group in groups:
            raise _dependency("resource", group, holder)
    rules = (await world.moto("ec2", "DescribeSecurityGroupRules", call.region)).get("SecurityGroupRules", [])
    for rule in rules:
        if rule.get("ReferencedGroupInfo", {}).get("GroupId") == group and rule["GroupId"] != group:
            raise _dependency("resource", group, f"a rule of {rule['GroupId']}")


async def delete_subnet(world: World, call: Call) -> None:
    """A subnet with network interfaces can't be deleted."""
    subnet = call.params["SubnetId"]
    for holder, subnets, _ in await _holders(world, call.region):
        if subnet in subnets:
            raise _dependency("subnet", subnet, holder)


async def create_vpc_endpoint(world: World, call: Call) -> None:
    """The service must exist in the region; interface endpoints take one subnet per zone."""
    name, params = call.params.get("ServiceName", ""), call.params
    kind = params.get("VpcEndpointType", "Gateway")
    prefix = f"com.amazonaws.{call.region}."
    known = await world.moto("ec2", "DescribeVpcEndpointServices", call.region)
    names = set(known.get("ServiceNames", [])) | {prefix + row.service for row in vpc_endpoints().values()}
    if name not in names and not name.startswith("com.amazonaws.vpce."):
        raise AwsError("InvalidServiceName", f"The Vpc Endpoint Service '{name}' does not exist", status=400)
    if kind == "Gateway" and name.removeprefix(prefix) not in ("s3", "dynamodb"):
        raise AwsError(
            "InvalidParameter", f"Endpoint type (Gateway) does not match available service types of {name}", status=400
        )
    if kind == "Interface" and params.get("SubnetIds"):
        subnets = (await world.moto("ec2", "DescribeSubnets", call.region, {"SubnetIds": params["SubnetIds"]}))[
            "Subnets"
        ]
        zones = [subnet["AvailabilityZone"] for subnet in subnets]
        if len(zones) != len(set(zones)):
            raise AwsError(
                "DuplicateSubnetsInSameZone",
                "Found another VPC endpoint subnet in the availability zone of a subnet",
                status=400,
            )
        if params.get("PrivateDnsEnabled", True):
            await _one_private_dns(world, call, name)


async def _one_private_dns(world: World, call: Call, name: str) -> None:
    for endpoint in (await world.moto("ec2", "DescribeVpcEndpoints", call.region)).get("VpcEndpoints", []):
        same = endpoint["ServiceName"] == name and endpoint["VpcId"] == call.params.get("VpcId")
        if (
            same
            and endpoint.get("PrivateDnsEnabled")
            and endpoint["VpcEndpointType"] == "Interface"
            and endpoint["State"] == "available"
        ):
            message = f"private-dns-enabled cannot be set because there is already a conflicting DNS domain for {name}"
            raise AwsError("InvalidParameter", message, status=400)


async def put_retention(world: World, call: Call) -> None:
    """Log groups keep events for one of a list of periods."""
    days = call.params["retentionInDays"]
    if days not in _RETENTION_DAYS:
        raise AwsError(
            "InvalidParameterException", f"retentionInDays must be one of {list(_RETENTION_DAYS)}, not {days}"
        )


def _policy_faults(text: str) -> Iterator[str]:
    try:
        policy: Doc = json.loads(text)
    except ValueError:
        yield "This policy contains invalid Json"
        return
    if not isinstance(policy, dict):
        yield "Syntax errors in policy."
        return
    if policy.get("Version") not in (None, "2012-10-17", "2008-10-17"):
        yield "The policy must contain a valid version string"
    statements = policy.get("Statement")
    for statement in statements if isinstance(statements, list) else [statements]:
        if not isinstance(statement, dict) or statement.get("Effect") not in ("Allow", "Deny"):
            yield "Syntax errors in policy: every statement needs an Effect of Allow or Deny."
            return
        if not {"Principal", "NotPrincipal"} & statement.keys():
            yield (
                "AssumeRole policy may only specify STS AssumeRole actions."
                if "Action" not in statement
                else "Missing required field Principal"
            )


async def trust_policy(world: World, call: Call) -> None:
    """A role's trust policy is read when it is set."""
    text = call.params.get("AssumeRolePolicyDocument") or call.params.get("PolicyDocument") or ""
    if fault := next(_policy_faults(text), None):
        raise AwsError("MalformedPolicyDocument", fault, status=400)


GUARDS: dict[tuple[str, str], tuple[Guard, ...]] = {
    ("ec2", "DeleteSecurityGroup"): (delete_security_group,),
    ("ec2", "DeleteSubnet"): (delete_subnet,),
    ("ec2", "CreateVpcEndpoint"): (create_vpc_endpoint,),
    ("logs", "PutRetentionPolicy"): (put_retention,),
    ("iam", "CreateRole"): (trust_policy,),
    ("iam", "UpdateAssumeRolePolicy"): (trust_policy,),
}
