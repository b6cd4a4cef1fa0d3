"""When a node offers its GPUs: as on a real node, once a device plugin runs there, and no longer when it is gone."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from headrace_sandbox.kubernetes.nodes.records import GPU_RESOURCE, Node

_IMAGE: Final = re.compile(r"(^|/)(k8s-device-plugin|nvidia-device-plugin)(?=[:@]|$)")
"""NVIDIA's device plugin under any registry, tag or digest (nvcr.io/nvidia/k8s-device-plugin; mirrors keep it)."""

CHARTS: Final = frozenset({"nvidia-device-plugin", "gpu-operator"})
"""Helm charts that bring the plugin. The sandbox's Kubernetes provider records Helm releases and renders none, so a
record counts for every node."""

RECORD_TYPE: Final = "headrace.sandbox/helm-release-recorded.v1"
"""The type of such a record (`kubernetes_provider.helm.RECORD_TYPE`; a test holds the two equal)."""


def is_plugin(daemon_set: Mapping[str, Any]) -> bool:
    """Whether a DaemonSet runs NVIDIA's device plugin."""
    template = daemon_set["spec"]["template"]
    containers = template["spec"].get("containers") or ()
    return any(_IMAGE.search(container.get("image") or "") for container in containers)


def is_recorded_chart(record: Mapping[str, Any]) -> bool:
    """Whether a recorded Helm release brings the device plugin: the chart does, and its values don't switch it off."""
    try:
        inputs = json.loads(base64.b64decode(record["data"]["release"]))["inputs"]
        chart = str(inputs["chart"]).rsplit("/", 1)[-1]
        switch = ((inputs.get("values") or {}).get("devicePlugin") or {}).get("enabled", True)
    except (KeyError, ValueError, TypeError, AttributeError):
        return False  # not a record as we know it: it says nothing
    return chart in CHARTS and switch is not False


def running_on(pods: Iterable[Mapping[str, Any]], owners: frozenset[str]) -> set[str]:
    """Names of the nodes where a ready pod of one of the DaemonSets (by uid) runs."""
    nodes = set()
    for pod in pods:
        references = pod["metadata"].get("ownerReferences") or ()
        conditions = pod.get("status", {}).get("conditions") or ()
        ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
        gone = "deletionTimestamp" in pod["metadata"]
        if ready and not gone and any(one["uid"] in owners for one in references):
            nodes.add(pod["spec"].get("nodeName", ""))
    return nodes - {""}


def status_patch(node: Node, *, plugin: bool) -> dict[str, Any] | None:
    """The change to a node's status, or None. A plugin that left leaves the capacity and takes the allocatable."""
    if plugin and (not node.advertised or node.allocatable_gpus != node.expected_gpus):
        count = str(node.expected_gpus)
        return {"status": {"capacity": {GPU_RESOURCE: count}, "allocatable": {GPU_RESOURCE: count}}}
    if not plugin and node.allocatable_gpus:
        return {"status": {"allocatable": {GPU_RESOURCE: "0"}}}
    return None


def patches(
    nodes: Sequence[Node], *, on_nodes: set[str], everywhere: bool, by_image: set[str]
) -> dict[str, dict[str, Any]]:
    """Node name -> status patch. `everywhere`: a recorded chart; `by_image`: nodes whose image brings the plugin."""
    found = {}
    for node in nodes:
        if node.expected_gpus == 0 or not node.ready:
            continue
        plugin = everywhere or node.name in by_image or node.name in on_nodes
        patch = status_patch(node, plugin=plugin)
        if patch is not None:
            found[node.name] = patch
    return found
