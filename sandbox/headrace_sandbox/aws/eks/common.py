"""What the EKS handlers share: kinds, errors, lookups, updates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from botocore.model import ListShape, Shape, StructureShape

from headrace_sandbox.aws.errors import AwsError
from headrace_sandbox.aws.identity import arn, uuid
from headrace_sandbox.aws.store import Kind, Later, public
from headrace_sandbox.aws.wire import Call, Doc, operation_model
from headrace_sandbox.aws.world import World, exists

CLUSTER = Kind(service="eks", name="cluster")
NODEGROUP = Kind(service="eks", name="nodegroup")
ADDON = Kind(service="eks", name="addon")
ENTRY = Kind(service="eks", name="access-entry")
POLICY = Kind(service="eks", name="access-policy-association")
IDENTITY = Kind(service="eks", name="pod-identity-association")
UPDATE = Kind(service="eks", name="update")

CREATE_SECONDS = 0.5
"""How long a cluster, node group or add-on is CREATING or DELETING (minutes on AWS)."""
UPDATE_SECONDS = 0.3
"""How long an update is InProgress."""


def invalid(message: str, **members: str) -> AwsError:
    """A parameter that is well formed but wrong."""
    return AwsError("InvalidParameterException", message, members=members)


def not_found(message: str, **members: str) -> AwsError:
    """No such thing."""
    return AwsError("ResourceNotFoundException", message, members=members)


def in_use(message: str, **members: str) -> AwsError:
    """It exists already, or something depends on it, or it is busy."""
    return AwsError("ResourceInUseException", message, members=members)


def eks_arn(region: str, *parts: str) -> str:
    """`arn:aws:eks:<region>:<account>:<parts joined by />`."""
    return arn("eks", region, "/".join(parts))


def need_cluster(world: World, call: Call, *, member: str = "clusterName") -> Doc:
    """The cluster that the call names."""
    name = call.params[member]
    cluster = world.store.get(CLUSTER, call.region, name)
    if cluster is None:
        raise not_found(f"No cluster found for name: {name}.", clusterName=name)
    return cluster


def need_active(cluster: Doc) -> None:
    """Refuse what AWS allows only on an active cluster."""
    if cluster["status"] not in ("ACTIVE", "UPDATING"):
        raise AwsError(
            "InvalidRequestException",
            f"The cluster {cluster['name']} is in state {cluster['status']}; it must be ACTIVE",
            members={"clusterName": cluster["name"]},
        )


def project(shape: Shape, value: Any) -> Any:
    """The part of a request's value that a response shape has members for: what AWS echoes of what it was given."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        return {k: project(shape.members[k], v) for k, v in value.items() if k in shape.members and v is not None}
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [project(shape.member, item) for item in value]
    return value


def echo(operation: str, member: str, params: Doc) -> Doc:
    """`project` onto the member of an operation's output: echo("CreateCluster", "cluster", params)."""
    output = operation_model("eks", operation).output_shape
    if output is None:
        raise TypeError(f"{operation} has no output")
    result: Doc = project(output.members[member], params)
    return result


def merge(doc: Doc, changes: Doc) -> None:
    """Set members in place, going into structures so that members the change doesn't name stay."""
    for name, value in changes.items():
        if isinstance(value, dict) and isinstance(doc.get(name), dict):
            merge(doc[name], value)
        else:
            doc[name] = value


async def need_role(world: World, role_arn: str) -> None:
    """EKS assumes the role when it is given one, so a missing role is refused at once."""
    if await exists(world, "iam", "GetRole", "us-east-1", {"RoleName": role_arn.rsplit("/", 1)[-1]}) is None:
        raise invalid(
            f"Role with arn: {role_arn}, could not be assumed because it does not exist or the trusted entity is not "
            "correct"
        )


async def need_subnets(world: World, region: str, subnet_ids: Sequence[str]) -> list[Doc]:
    """The subnets, or the error for the first one that doesn't exist."""
    found: list[Doc] = (await world.moto("ec2", "DescribeSubnets", region)).get("Subnets", [])
    by_id = {subnet["SubnetId"]: subnet for subnet in found}
    for subnet_id in subnet_ids:
        if subnet_id not in by_id:
            raise invalid(f"The subnet ID '{subnet_id}' does not exist")
    return [by_id[subnet_id] for subnet_id in subnet_ids]


def start_update(
    world: World, call: Call, *, kind: str, changes: Doc, cluster: str, nodegroup: str = "", addon: str = ""
) -> Doc:
    """Record an update that is in progress and will succeed, and return it."""
    names = {"_cluster": cluster, "_nodegroup": nodegroup, "_addon": addon}
    update: Doc = {
        "id": uuid(),
        "status": "InProgress",
        "type": kind,
        "params": [
            {"type": name, "value": value if isinstance(value, str) else json.dumps(value)}
            for name, value in changes.items()
        ],
        "createdAt": world.now(),
        "errors": [],
        **names,
    }
    parent = "/".join((cluster, nodegroup, addon))
    world.store.put(
        UPDATE,
        call.region,
        update["id"],
        update,
        parent=parent,
        later=Later(seconds=UPDATE_SECONDS, members={"status": "Successful"}),
    )
    return public(update)
