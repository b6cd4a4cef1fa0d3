"""Managed add-ons."""

from __future__ import annotations

import json
import re

from headrace.catalog.load import eks_addons, eks_versions
from headrace_sandbox.aws.eks.common import (
    ADDON,
    CREATE_SECONDS,
    IDENTITY,
    UPDATE_SECONDS,
    echo,
    eks_arn,
    in_use,
    invalid,
    need_active,
    need_cluster,
    need_role,
    not_found,
    start_update,
)
from headrace_sandbox.aws.identity import uuid, word
from headrace_sandbox.aws.store import Later, public
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import World, page

_VERSION = re.compile(r"v\d+\.\d+\.\d+-eksbuild\.\d+")

# Namespace and owner of each add-on's pods (EKS User Guide, Amazon EKS add-ons, 2026-11).
_NAMESPACES = {"amazon-cloudwatch-observability": "amazon-cloudwatch", "cert-manager": "cert-manager"}


def _check_version(name: str, version: str) -> None:
    """The catalogue holds one version of each add-on, so any version of the true shape passes; on AWS it must exist."""
    if name not in eks_addons():
        raise invalid(f"Addon {name} specified is not supported in this cluster's Kubernetes version", addonName=name)
    if not _VERSION.fullmatch(version):
        raise invalid(f"Addon version specified is not supported: {version}", addonName=name)


def _check_configuration(name: str, values: str | None) -> None:
    if not values:
        return
    try:
        parsed = json.loads(values)
    except ValueError:
        # YAML is allowed too; it is read as a mapping by AWS.
        parsed = {} if ":" in values else None
    if not isinstance(parsed, dict):
        raise invalid(
            f"ConfigurationValue provided in request is not supported: the values of {name} are not an object",
            addonName=name,
        )


async def _associate(
    world: World, call: Call, cluster: str, addon_arn: str, asked: list[Doc], namespace: str
) -> list[str]:
    """Pod identity associations that the add-on owns."""
    arns = []
    for item in asked:
        await need_role(world, item["roleArn"])
        association_id = f"a-{word(17)}"
        key = f"{cluster}/{association_id}"
        association: Doc = {
            "_key": key,
            "clusterName": cluster,
            "namespace": namespace,
            "serviceAccount": item["serviceAccount"],
            "roleArn": item["roleArn"],
            "associationId": association_id,
            "ownerArn": addon_arn,
            "tags": {},
            "associationArn": eks_arn(call.region, "podidentityassociation", cluster, association_id),
            "createdAt": world.now(),
            "modifiedAt": world.now(),
            "disableSessionTags": False,
        }
        world.store.put(IDENTITY, call.region, key, association, parent=cluster)
        arns.append(association["associationArn"])
    return arns


def _disassociate(world: World, call: Call, addon: Doc) -> None:
    for association in world.store.list(IDENTITY, call.region, parent=addon["clusterName"]):
        if association.get("ownerArn") == addon["addonArn"]:
            world.store.delete(IDENTITY, call.region, association["_key"])


async def create(world: World, call: Call) -> Doc:
    """CreateAddon."""
    cluster, params = need_cluster(world, call), call.params
    need_active(cluster)
    name = params["addonName"]
    if world.store.get(ADDON, call.region, f"{cluster['name']}/{name}") is not None:
        raise in_use("Addon already exists.", clusterName=cluster["name"], addonName=name)
    version = params.get("addonVersion") or (eks_addons()[name].version if name in eks_addons() else "")
    _check_version(name, version)
    _check_configuration(name, params.get("configurationValues"))
    if params.get("serviceAccountRoleArn"):
        await need_role(world, params["serviceAccountRoleArn"])
    namespace = (params.get("namespaceConfig") or {}).get("namespace") or _NAMESPACES.get(name, "kube-system")
    kept = {k: v for k, v in params.items() if k != "podIdentityAssociations"}
    addon: Doc = echo("CreateAddon", "addon", kept) | {
        "_key": f"{cluster['name']}/{name}",
        "addonVersion": version,
        "status": "CREATING",
        "health": {"issues": []},
        "addonArn": eks_arn(call.region, "addon", cluster["name"], name, uuid()),
        "createdAt": world.now(),
        "modifiedAt": world.now(),
        "tags": params.get("tags", {}),
        "namespaceConfig": {"namespace": namespace},
    }
    if asked := params.get("podIdentityAssociations"):
        addon["podIdentityAssociations"] = await _associate(
            world, call, cluster["name"], addon["addonArn"], asked, namespace
        )
    _put(world, call.region, addon, Later(seconds=CREATE_SECONDS, members={"status": "ACTIVE"}))
    return {"addon": public(addon)}


def _put(world: World, region: str, addon: Doc, later: Later | None = None) -> None:
    world.store.put(ADDON, region, addon["_key"], addon, parent=addon["clusterName"], later=later)


def _need(world: World, call: Call) -> Doc:
    cluster, name = need_cluster(world, call)["name"], call.params["addonName"]
    addon = world.store.get(ADDON, call.region, f"{cluster}/{name}")
    if addon is None:
        raise not_found(f"No addon: {name} found in cluster: {cluster}", clusterName=cluster, addonName=name)
    return addon


async def describe(world: World, call: Call) -> Doc:
    """DescribeAddon."""
    return {"addon": public(_need(world, call))}


async def list_addons(world: World, call: Call) -> Doc:
    """ListAddons."""
    cluster = need_cluster(world, call)["name"]
    items, more = page(
        [addon["addonName"] for addon in world.store.list(ADDON, call.region, parent=cluster)], call.params
    )
    return {"addons": items, **more}


async def update(world: World, call: Call) -> Doc:
    """UpdateAddon. An empty configuration or association list clears what was there; an absent one keeps it."""
    addon, params = _need(world, call), call.params
    if addon["status"] in ("CREATING", "UPDATING", "DELETING"):
        raise in_use(
            f"Addon {addon['addonName']} is in state {addon['status']}",
            clusterName=addon["clusterName"],
            addonName=addon["addonName"],
        )
    names = {
        "addonVersion": "AddonVersion",
        "serviceAccountRoleArn": "ServiceAccountRoleArn",
        "configurationValues": "ConfigurationValues",
    }
    if params.get("addonVersion"):
        _check_version(addon["addonName"], params["addonVersion"])
    _check_configuration(addon["addonName"], params.get("configurationValues"))
    if params.get("serviceAccountRoleArn"):
        await need_role(world, params["serviceAccountRoleArn"])
    changes: Doc = {}
    for member, name in names.items():
        if params.get(member) is not None:
            addon[member] = changes[name] = params[member]
    if (asked := params.get("podIdentityAssociations")) is not None:
        _disassociate(world, call, addon)
        namespace = addon["namespaceConfig"]["namespace"]
        addon["podIdentityAssociations"] = await _associate(
            world, call, addon["clusterName"], addon["addonArn"], asked, namespace
        )
        changes["PodIdentityAssociations"] = asked
    addon |= {"status": "UPDATING", "modifiedAt": world.now()}
    _put(world, call.region, addon, Later(seconds=UPDATE_SECONDS, members={"status": "ACTIVE"}))
    return {
        "update": start_update(
            world, call, kind="AddonUpdate", changes=changes, cluster=addon["clusterName"], addon=addon["addonName"]
        )
    }


async def delete(world: World, call: Call) -> Doc:
    """DeleteAddon, with the associations it owns."""
    addon = _need(world, call)
    if addon["status"] != "DELETING":
        _disassociate(world, call, addon)
        addon["status"] = "DELETING"
        _put(world, call.region, addon, Later(seconds=CREATE_SECONDS / 2, members=None))
    return {"addon": public(addon)}


async def describe_versions(world: World, call: Call) -> Doc:
    """DescribeAddonVersions, from the catalogue: the one pinned version of each add-on."""
    params = call.params
    rows: list[Doc] = []
    for name, row in eks_addons().items():
        if params.get("addonName") not in (None, name) or params.get("kubernetesVersion") not in (None, row.kubernetes):
            continue
        version = {
            "addonVersion": row.version,
            "architecture": ["amd64", "arm64"],
            "computeTypes": ["ec2", "auto"],
            "compatibilities": [{"clusterVersion": row.kubernetes, "platformVersions": ["*"], "defaultVersion": True}],
            "requiresConfiguration": False,
            "requiresIamPermissions": name in ("vpc-cni", "aws-ebs-csi-driver"),
        }
        rows.append(
            {
                "addonName": name,
                "type": "",
                "publisher": "eks",
                "owner": "aws",
                "addonVersions": [version],
                "defaultNamespace": _NAMESPACES.get(name, "kube-system"),
            }
        )
    if params.get("kubernetesVersion") and params["kubernetesVersion"] not in eks_versions():
        raise invalid(f"The Kubernetes version {params['kubernetesVersion']} is not supported")
    items, more = page(rows, params)
    return {"addons": items, **more}


HANDLERS = {
    ("eks", "CreateAddon"): create,
    ("eks", "DescribeAddon"): describe,
    ("eks", "ListAddons"): list_addons,
    ("eks", "UpdateAddon"): update,
    ("eks", "DeleteAddon"): delete,
    ("eks", "DescribeAddonVersions"): describe_versions,
}
