"""Who may use a cluster: access entries, access policies, pod identity associations."""

from __future__ import annotations

import re

from headrace_sandbox.aws.eks.common import (
    ENTRY,
    IDENTITY,
    POLICY,
    echo,
    eks_arn,
    in_use,
    invalid,
    need_active,
    need_cluster,
    need_role,
    not_found,
)
from headrace_sandbox.aws.errors import AwsError
from headrace_sandbox.aws.identity import ACCOUNT_ID, partition, uuid, word
from headrace_sandbox.aws.principals import caller
from headrace_sandbox.aws.store import public
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import World, page

# https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html (read 2026-11)
ACCESS_POLICIES = (
    "AmazonEKSAdminPolicy",
    "AmazonEKSClusterAdminPolicy",
    "AmazonEKSAdminViewPolicy",
    "AmazonEKSEditPolicy",
    "AmazonEKSViewPolicy",
    "AmazonEKSSecretReaderPolicy",
    "AmazonEKSAutoNodePolicy",
    "AmazonEKSBlockStoragePolicy",
    "AmazonEKSComputePolicy",
    "AmazonEKSNetworkingPolicy",
    "AmazonEKSLoadBalancingPolicy",
    "AmazonEKSHybridPolicy",
    "AmazonEKSClusterInsightsPolicy",
)
_NODE_USERS = {
    "EC2_LINUX": ("system:node:{{EC2PrivateDNSName}}", ["system:nodes"]),
    "EC2_WINDOWS": ("system:node:{{EC2PrivateDNSName}}", ["eks:kube-proxy-windows", "system:nodes"]),
    "FARGATE_LINUX": ("system:node:{{SessionName}}", ["system:bootstrappers", "system:nodes", "system:node-proxier"]),
    "EC2": ("system:node:{{EC2PrivateDNSName}}", ["system:nodes"]),
    "HYBRID_LINUX": ("system:node:{{SessionName}}", ["system:nodes"]),
}


def _policy_arn(region: str, name: str) -> str:
    return f"arn:{partition(region)}:eks::aws:cluster-access-policy/{name}"


def _need_api_mode(cluster: Doc) -> None:
    if cluster["accessConfig"]["authenticationMode"] == "CONFIG_MAP":
        raise AwsError(
            "InvalidRequestException",
            "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] to perform this "
            "operation.",
        )


def _entry_key(cluster: str, principal: str) -> str:
    return f"{cluster}/{principal}"


def _user_name(principal: str) -> str:
    """The user that an IAM principal is to Kubernetes where the entry names none."""
    if ":role/" in principal:
        return principal.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/{{SessionName}}"
    return principal


def put_entry(world: World, region: str, cluster: str, principal: str, members: Doc) -> Doc:
    """Record an access entry."""
    kind = members.get("type", "STANDARD")
    user, groups = _NODE_USERS.get(kind, (_user_name(principal), []))
    shape = "role" if ":role/" in principal else "user"
    now = world.now()
    entry: Doc = {
        "_key": _entry_key(cluster, principal),
        "clusterName": cluster,
        "principalArn": principal,
        "kubernetesGroups": members.get("kubernetesGroups") or groups,
        "accessEntryArn": eks_arn(
            region, "access-entry", cluster, shape, ACCOUNT_ID, principal.rsplit("/", 1)[-1], uuid()
        ),
        "createdAt": now,
        "modifiedAt": now,
        "tags": members.get("tags", {}),
        "username": members.get("username") or user,
        "type": kind,
    }
    world.store.put(ENTRY, region, entry["_key"], entry, parent=cluster)
    return entry


def has_entry(world: World, region: str, cluster: str, principal: str) -> bool:
    """Whether a principal has an entry."""
    return world.store.get(ENTRY, region, _entry_key(cluster, principal)) is not None


async def create_creator_entry(world: World, call: Call, cluster: str) -> None:
    """The creator of a cluster becomes its administrator, unless switched off."""
    principal = (await caller(world, call.access_key)).iam_arn
    put_entry(world, call.region, cluster, principal, {})
    _associate(
        world,
        call.region,
        cluster,
        principal,
        _policy_arn(call.region, "AmazonEKSClusterAdminPolicy"),
        {"type": "cluster", "namespaces": []},
    )


async def create_entry(world: World, call: Call) -> Doc:
    """CreateAccessEntry."""
    cluster = need_cluster(world, call)
    need_active(cluster)
    _need_api_mode(cluster)
    principal, kind = call.params["principalArn"], call.params.get("type", "STANDARD")
    if not re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:(role|user)/.+", principal):
        raise invalid("The principalArn parameter format is not valid")
    if kind not in ("STANDARD", *_NODE_USERS):
        raise invalid(f"The type {kind} is not supported for access entries")
    groups, user = call.params.get("kubernetesGroups") or [], call.params.get("username") or ""
    if kind in _NODE_USERS and (groups or user):
        raise invalid(f"The kubernetesGroups and username parameters can't be set for an access entry of type {kind}")
    if bad := next(
        (name for name in [*groups, user] if name.startswith(("system:", "eks:", "aws:", "amazon:", "iam:"))), None
    ):
        raise invalid(f"The kubernetes group name or username {bad} is invalid, it cannot start with a reserved prefix")
    if has_entry(world, call.region, cluster["name"], principal):
        raise in_use("The specified access entry resource is already in use on this cluster.")
    return {"accessEntry": public(put_entry(world, call.region, cluster["name"], principal, call.params))}


def _need_entry(world: World, call: Call) -> Doc:
    cluster = need_cluster(world, call)
    entry = world.store.get(ENTRY, call.region, _entry_key(cluster["name"], call.params["principalArn"]))
    if entry is None:
        raise not_found(
            "The specified principalArn could not be found. You can view your available access entries with "
            "'list-access-entries'."
        )
    return entry


async def describe_entry(world: World, call: Call) -> Doc:
    """DescribeAccessEntry."""
    return {"accessEntry": public(_need_entry(world, call))}


async def list_entries(world: World, call: Call) -> Doc:
    """ListAccessEntries, of one associated policy if asked."""
    cluster = need_cluster(world, call)["name"]
    entries = world.store.list(ENTRY, call.region, parent=cluster)
    if policy := call.params.get("associatedPolicyArn"):
        having = {
            a["_principal"]
            for a in world.store.list(POLICY, call.region)
            if a["_cluster"] == cluster and a["policyArn"] == policy
        }
        entries = [entry for entry in entries if entry["principalArn"] in having]
    items, more = page([entry["principalArn"] for entry in entries], call.params)
    return {"accessEntries": items, **more}


async def update_entry(world: World, call: Call) -> Doc:
    """UpdateAccessEntry: groups and user name of a standard entry."""
    entry = _need_entry(world, call)
    if entry["type"] != "STANDARD":
        raise invalid(f"Access entries of type {entry['type']} can't be updated")
    for member in ("kubernetesGroups", "username"):
        if call.params.get(member) is not None:
            entry[member] = call.params[member]
    entry["modifiedAt"] = world.now()
    world.store.put(ENTRY, call.region, entry["_key"], entry, parent=entry["clusterName"])
    return {"accessEntry": public(entry)}


async def delete_entry(world: World, call: Call) -> Doc:
    """DeleteAccessEntry, with its policies."""
    entry = _need_entry(world, call)
    for association in world.store.list(POLICY, call.region, parent=entry["_key"]):
        world.store.delete(POLICY, call.region, association["_key"])
    world.store.delete(ENTRY, call.region, entry["_key"])
    return {}


async def list_policies(world: World, call: Call) -> Doc:
    """ListAccessPolicies."""
    items, more = page([{"name": name, "arn": _policy_arn(call.region, name)} for name in ACCESS_POLICIES], call.params)
    return {"accessPolicies": items, **more}


def _associate(world: World, region: str, cluster: str, principal: str, policy: str, scope: Doc) -> Doc:
    key = f"{_entry_key(cluster, principal)}/{policy}"
    before = world.store.get(POLICY, region, key)
    now = world.now()
    association: Doc = {
        "_key": key,
        "_cluster": cluster,
        "_principal": principal,
        "policyArn": policy,
        "accessScope": {"type": scope["type"], "namespaces": scope.get("namespaces") or []},
        "associatedAt": before["associatedAt"] if before else now,
        "modifiedAt": now,
    }
    world.store.put(POLICY, region, key, association, parent=_entry_key(cluster, principal))
    return association


async def associate_policy(world: World, call: Call) -> Doc:
    """AssociateAccessPolicy; associating again changes the scope."""
    entry = _need_entry(world, call)
    policy, scope = call.params["policyArn"], call.params["accessScope"]
    if policy not in {_policy_arn(call.region, name) for name in ACCESS_POLICIES}:
        raise invalid(
            f"The policyArn {policy} does not exist. You can view the available access policies with "
            "'list-access-policies'."
        )
    if entry["type"] != "STANDARD":
        raise AwsError(
            "InvalidRequestException",
            f"Access policies can't be associated with an access entry of type {entry['type']}",
        )
    if (scope.get("type") == "namespace") != bool(scope.get("namespaces")):
        raise invalid("An access scope of type namespace needs namespaces, and one of type cluster has none")
    association = _associate(world, call.region, entry["clusterName"], entry["principalArn"], policy, scope)
    return {
        "clusterName": entry["clusterName"],
        "principalArn": entry["principalArn"],
        "associatedAccessPolicy": public(association),
    }


async def disassociate_policy(world: World, call: Call) -> Doc:
    """DisassociateAccessPolicy."""
    entry = _need_entry(world, call)
    key = "/".join((entry["_key"], call.params["policyArn"]))
    if world.store.get(POLICY, call.region, key) is None:
        raise not_found("The specified policyArn is not associated with the access entry.")
    world.store.delete(POLICY, call.region, key)
    return {}


async def list_associated(world: World, call: Call) -> Doc:
    """ListAssociatedAccessPolicies."""
    entry = _need_entry(world, call)
    items, more = page([public(a) for a in world.store.list(POLICY, call.region, parent=entry["_key"])], call.params)
    return {
        "clusterName": entry["clusterName"],
        "principalArn": entry["principalArn"],
        "associatedAccessPolicies": items,
        **more,
    }


async def create_identity(world: World, call: Call) -> Doc:
    """CreatePodIdentityAssociation: one per service account."""
    cluster, params = need_cluster(world, call), call.params
    need_active(cluster)
    await need_role(world, params["roleArn"])
    for other in world.store.list(IDENTITY, call.region, parent=cluster["name"]):
        if (other["namespace"], other["serviceAccount"]) == (params["namespace"], params["serviceAccount"]):
            raise in_use(f"Association already exists: {other['associationId']}")
    association_id = f"a-{word(17)}"
    association: Doc = echo("CreatePodIdentityAssociation", "association", params) | {
        "_key": f"{cluster['name']}/{association_id}",
        "associationId": association_id,
        "associationArn": eks_arn(call.region, "podidentityassociation", cluster["name"], association_id),
        "createdAt": world.now(),
        "modifiedAt": world.now(),
        "tags": params.get("tags", {}),
        "disableSessionTags": bool(params.get("disableSessionTags")),
    }
    if params.get("targetRoleArn"):
        association["externalId"] = (
            f"{call.region}/{ACCOUNT_ID}/{cluster['name']}/{params['namespace']}/{params['serviceAccount']}"
        )
    world.store.put(IDENTITY, call.region, association["_key"], association, parent=cluster["name"])
    return {"association": public(association)}


def _need_identity(world: World, call: Call) -> Doc:
    cluster = need_cluster(world, call)["name"]
    association = world.store.get(IDENTITY, call.region, f"{cluster}/{call.params['associationId']}")
    if association is None:
        raise not_found(f"Unable to find specified association id: {call.params['associationId']}")
    return association


async def describe_identity(world: World, call: Call) -> Doc:
    """DescribePodIdentityAssociation."""
    return {"association": public(_need_identity(world, call))}


async def list_identities(world: World, call: Call) -> Doc:
    """ListPodIdentityAssociations, of one namespace or service account if asked."""
    cluster = need_cluster(world, call)["name"]
    wanted = {k: call.params[k] for k in ("namespace", "serviceAccount") if call.params.get(k)}
    found = [
        a for a in world.store.list(IDENTITY, call.region, parent=cluster) if all(a[k] == v for k, v in wanted.items())
    ]
    summary = ("clusterName", "namespace", "serviceAccount", "associationArn", "associationId", "ownerArn")
    items, more = page([{k: a[k] for k in summary if k in a} for a in found], call.params)
    return {"associations": items, **more}


async def update_identity(world: World, call: Call) -> Doc:
    """UpdatePodIdentityAssociation."""
    association = _need_identity(world, call)
    if role := call.params.get("roleArn"):
        await need_role(world, role)
    for member in ("roleArn", "disableSessionTags", "targetRoleArn", "policy"):
        if call.params.get(member) is not None:
            association[member] = call.params[member]
    association["modifiedAt"] = world.now()
    world.store.put(IDENTITY, call.region, association["_key"], association, parent=association["clusterName"])
    return {"association": public(association)}


async def delete_identity(world: World, call: Call) -> Doc:
    """DeletePodIdentityAssociation."""
    association = _need_identity(world, call)
    world.store.delete(IDENTITY, call.region, association["_key"])
    return {"association": public(association)}


HANDLERS = {
    ("eks", "CreateAccessEntry"): create_entry,
    ("eks", "DescribeAccessEntry"): describe_entry,
    ("eks", "ListAccessEntries"): list_entries,
    ("eks", "UpdateAccessEntry"): update_entry,
    ("eks", "DeleteAccessEntry"): delete_entry,
    ("eks", "ListAccessPolicies"): list_policies,
    ("eks", "AssociateAccessPolicy"): associate_policy,
    ("eks", "DisassociateAccessPolicy"): disassociate_policy,
    ("eks", "ListAssociatedAccessPolicies"): list_associated,
    ("eks", "CreatePodIdentityAssociation"): create_identity,
    ("eks", "DescribePodIdentityAssociation"): describe_identity,
    ("eks", "ListPodIdentityAssociations"): list_identities,
    ("eks", "UpdatePodIdentityAssociation"): update_identity,
    ("eks", "DeletePodIdentityAssociation"): delete_identity,
}
