"""Type tokens, and which changes of which kind need a new object.

The replace table states Kubernetes' immutable fields as the official provider 4.34.2 treats them
(provider/pkg/provider/diff.go, read 2026-11-21); fields that it lacks are found by the dry run (see provider.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.protocol.values import Props, reveal
from headrace_sandbox.plugin import paths

HELM_RELEASE = "kubernetes:helm.sh/v3:Release"
_ALWAYS = ("metadata.name", "metadata.namespace")
_SELECTOR = "spec.selector"
# Pod fields that may change in place (API documentation of v1.36: pod updates may not change others).
_POD_IN_PLACE = ("spec.activeDeadlineSeconds", "spec.tolerations", "spec.schedulingGates")
_VOLUME_SOURCES = (
    *("awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flexVolume", "flocker"),
    *("gcePersistentDisk", "glusterfs", "hostPath", "iscsi", "local", "nfs", "photonPersistentDisk"),
    *("portworxVolume", "quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume"),
)
_REPLACE: dict[tuple[str, str], tuple[str, ...]] = {
    ("apps", "Deployment"): (_SELECTOR,),
    ("apps", "DaemonSet"): (_SELECTOR,),
    ("apps", "StatefulSet"): (
        _SELECTOR,
        "spec.podManagementPolicy",
        "spec.revisionHistoryLimit",
        "spec.serviceName",
        "spec.volumeClaimTemplates",
    ),
    ("batch", "Job"): (_SELECTOR, "spec.completions", "spec.parallelism", "spec.template"),
    ("", "ConfigMap"): ("data", "binaryData"),
    ("", "Secret"): ("data", "stringData", "type"),
    ("", "Service"): ("spec.clusterIP",),
    ("", "ResourceQuota"): ("spec.scopes",),
    ("", "PersistentVolume"): tuple(f"spec.{source}" for source in _VOLUME_SOURCES),
    ("", "PersistentVolumeClaim"): ("spec",),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("roleRef",),
    ("storage.k8s.io", "StorageClass"): ("parameters", "provisioner"),
}


@dataclass(frozen=True, kw_only=True)
class Gvk:
    """Group, version and kind; the core group is ""."""

    group: str
    version: str
    kind: str
    patch: bool = False

    @property
    def api_version(self) -> str:
        """The `apiVersion` field."""
        return f"{self.group}/{self.version}" if self.group else self.version


def from_token(token: str, inputs: Props) -> Gvk:
    """`kubernetes:apps/v1:Deployment` -> apps, v1, Deployment. A `DeploymentPatch` token has the kind Deployment: the
    SDK fills `kind` in, and a custom resource's own kind may end in Patch, so the inputs decide."""
    module, kind = token.split(":", 2)[1:]
    group, _, version = module.rpartition("/")
    declared = reveal(inputs.get("kind"))
    patch = kind.endswith("Patch") and declared == kind.removesuffix("Patch")
    if group == "core":
        group = ""
    return Gvk(group=group, version=version, kind=kind.removesuffix("Patch") if patch else kind, patch=patch)


def needs_replacement(gvk: Gvk, path: paths.Path, *, mutable: frozenset[str] = frozenset()) -> bool:
    """Whether a change at this path can't be made in place. `mutable` names kinds (ConfigMap, Secret) whose data the
    provider was told to change in place."""
    if any(paths.covers(paths.parse(field), path) for field in _ALWAYS):
        return True
    if gvk.patch or gvk.kind in mutable:
        return False
    if (gvk.group, gvk.kind) == ("", "Pod"):
        return path[:1] == ("spec",) and not any(paths.covers(paths.parse(field), path) for field in _POD_IN_PLACE)
    for field in _REPLACE.get((gvk.group, gvk.kind), ()):
        place = paths.parse(field)
        if paths.covers(place, path) or paths.covers(path, place):
            return True
    return False
