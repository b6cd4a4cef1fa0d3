"""Inputs for an object that Pulumi didn't make: what a person would have written.

Three things are taken away from the live object: what the server fills in, what controllers and other components of the
cluster own (by `managedFields`), and values that equal Kubernetes' own defaults. What is left, applied again, changes
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from headrace.protocol.values import Props, Value
from headrace_sandbox.kubernetes_provider.shape import CREATOR, UNDERSCORED, guard_secret, rename

# Managers that belong to the cluster itself; what only they own is not an input.
_CLUSTER = frozenset(
    {"kube-controller-manager", "kube-scheduler", "kube-apiserver", "kubelet", "kwok", "kube-proxy", "node-controller"}
    | {"cluster-autoscaler", "vpa-recommender", "eks", "aws-load-balancer-controller", "cloud-controller-manager"}
)
_SERVER_ANNOTATIONS = frozenset(
    {"deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration"}
    | {"deprecated.daemonset.template.generation", CREATOR}
)
_SERVER_LABELS = frozenset({"kubernetes.io/metadata.name"})

# Defaults of the built-in kinds (API reference v1.36): field -> value, wherever the field stands inside the kind.
_POD = {
    "restartPolicy": "Always",
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
    "terminationGracePeriodSeconds": 30,
    "enableServiceLinks": True,
    "preemptionPolicy": "PreemptLowerPriority",
    "securityContext": {},
}
_CONTAINER = {
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "resources": {},
    "protocol": "TCP",
    "successThreshold": 1,
    "failureThreshold": 3,
    "periodSeconds": 10,
    "timeoutSeconds": 1,
    "scheme": "HTTP",
    "apiVersion": "v1",
    "defaultMode": 420,
}
_BY_KIND: Mapping[str, Mapping[str, Value]] = {
    "Deployment": {
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
    },
    "StatefulSet": {
        "revisionHistoryLimit": 10,
        "podManagementPolicy": "OrderedReady",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
    },
    "DaemonSet": {
        "revisionHistoryLimit": 10,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
    },
    "Job": {
        "backoffLimit": 6,
        "completions": 1,
        "parallelism": 1,
        "completionMode": "NonIndexed",
        "suspend": False,
        "manualSelector": False,
        "podReplacementPolicy": "TerminatingOrFailed",
    },
    "Service": {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ipFamilyPolicy": "SingleStack",
        "protocol": "TCP",
        "externalTrafficPolicy": "Cluster",
        "allocateLoadBalancerNodePorts": True,
    },
    "PersistentVolumeClaim": {"volumeMode": "Filesystem"},
    "Secret": {"type": "Opaque"},
    "StorageClass": {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
}
_TEMPLATED = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicaSet", "Pod"})
# Fields that the server allots: not an input unless a person's manager applied them.
_ALLOTTED: Mapping[str, frozenset[str]] = {
    "Service": frozenset({"clusterIP", "clusterIPs", "ipFamilies", "healthCheckNodePort", "nodePort"}),
    "PersistentVolumeClaim": frozenset({"volumeName"}),
    "Namespace": frozenset({"finalizers"}),
    "Pod": frozenset({"nodeName"}),
}


def inputs_of(live: Mapping[str, Any]) -> Props:
    """The inputs that describe a live object. The data of a Secret is secret."""
    metadata = live["metadata"]
    applied, updated = _owned(metadata.get("managedFields") or [])
    kind = str(live.get("kind"))
    body = {key: item for key, item in live.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    if applied is None:
        body = _strip(body, kind)
        body = _project(body, updated) if updated is not None else body
    elif updated is None:
        body = _project(body, applied)
    else:  # applied by one and changed by another person's tool: defaults may be among the latter
        body = _strip(_project(body, _merge(applied, updated)), kind)
    shown = {"name": metadata["name"]}
    if metadata.get("namespace"):
        shown["namespace"] = metadata["namespace"]
    for field, hidden in (("labels", _SERVER_LABELS), ("annotations", _SERVER_ANNOTATIONS)):
        kept = {key: item for key, item in (metadata.get(field) or {}).items() if key not in hidden}
        if kept:
            shown[field] = kept
    inputs: Props = rename({"apiVersion": live["apiVersion"], "kind": kind, "metadata": shown, **body}, UNDERSCORED)
    return guard_secret(inputs) if kind == "Secret" and live["apiVersion"] == "v1" else inputs


def _owned(entries: list[Mapping[str, Any]]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The fields of people's managers: those applied, and those written by other means."""
    applied: dict[str, Any] | None = None
    updated: dict[str, Any] | None = None
    for entry in entries:
        if entry.get("subresource") or str(entry.get("manager")) in _CLUSTER:
            continue
        fields = entry.get("fieldsV1") or {}
        if entry.get("operation") == "Apply":
            applied = _merge(applied or {}, fields)
        else:
            updated = _merge(updated or {}, fields)
    return applied, updated


def _merge(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(left)
    for key, item in right.items():
        merged[key] = _merge(merged[key], item) if key in merged else item
    return merged


def _project(value: Value, tree: Mapping[str, Any]) -> Value:
    """The part of the value that a `fieldsV1` tree names; an empty tree names all of it."""
    steps = {key: item for key, item in tree.items() if key != "."}
    if not steps:
        return value
    if isinstance(value, dict):
        return {key: _project(item, steps[f"f:{key}"]) for key, item in value.items() if f"f:{key}" in steps}
    if isinstance(value, list):
        return [_project(item, found) for item in value if (found := _branch(item, steps)) is not None]
    return value


def _branch(item: Value, steps: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for step, subtree in steps.items():
        form, _, text = step.partition(":")
        if form == "v" and json.loads(text) == item:
            return {}
        if form == "k" and isinstance(item, dict):
            wanted = json.loads(text)
            if all(item.get(key) == expected for key, expected in wanted.items()):
                # the key fields themselves are owned, though an older entry may not list them
                return {**{f"f:{key}": {} for key in wanted}, **subtree}
    return None


def _strip(body: dict[str, Any], kind: str) -> dict[str, Any]:
    defaults = dict(_BY_KIND.get(kind, {}))
    if kind in _TEMPLATED:
        defaults = {**_POD, **_CONTAINER, **defaults}
    allotted = _ALLOTTED.get(kind, frozenset())
    stripped = {key: _without(item, defaults, allotted) for key, item in body.items() if defaults.get(key) != item}
    # A body that holds nothing but defaults (`spec: {}` of a namespace, `automountServiceAccountToken`) isn't an input.
    return {key: item for key, item in stripped.items() if item != {}}


def _without(value: Value, defaults: Mapping[str, Value], allotted: frozenset[str]) -> Value:
    if isinstance(value, dict):
        kept = {}
        for key, item in value.items():
            if key in allotted or (key in defaults and defaults[key] == item) or key == "creationTimestamp":
                continue
            if key == "targetPort" and item == value.get("port"):
                continue
            if key == "imagePullPolicy" and item == _pull_policy(str(value.get("image", ""))):
                continue
            if key == "serviceAccount" and item == value.get("serviceAccountName"):
                continue
            kept[key] = _without(item, defaults, allotted)
        return kept
    if isinstance(value, list):
        return [_without(item, defaults, allotted) for item in value]
    return value


def _pull_policy(image: str) -> str:
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if "@" not in image and tag in ("", "latest") else "IfNotPresent"
