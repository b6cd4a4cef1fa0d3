"""Nodes follow the node groups of the AWS stand-in, and pods get GPUs or wait for the true reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from .objects import Object, deployment, device_plugin, eks_cluster, pod, role
from .plane import Plane, eventually

pytestmark = pytest.mark.engine

RETIRED = "dl1.24xlarge"  # EC2's model still lists it; neither moto nor the catalogue knows it

FLOOR = {
    "clusterName": "nodes",
    "nodegroupName": "floor",
    "scalingConfig": {"minSize": 0, "maxSize": 6, "desiredSize": 1},
    "instanceTypes": ["g6.48xlarge"],
    "amiType": "AL2023_x86_64_NVIDIA",
    "labels": {"pool": "floor"},
    "taints": [{"key": "nvidia.com/gpu", "effect": "NO_SCHEDULE"}],
}


def nodes(plane: Plane, group: str = "floor") -> list[Object]:
    return list(plane.kube.items("/api/v1/nodes", labelSelector=f"eks.amazonaws.com/nodegroup={group}"))


def ready(plane: Plane, count: int, group: str = "floor") -> list[Object]:
    """The group's nodes once there are `count` and all are ready."""

    def look() -> list[Object] | bool:
        found = nodes(plane, group)
        good = [
            node
            for node in found
            if any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", ()))
        ]
        return len(found) == len(good) == count and (good or True)

    found = eventually(look, f"{count} ready nodes of {group}")
    return found if isinstance(found, list) else []


def where(pod: Object) -> str:
    """A pod's name, phase and node, and what keeps it waiting."""
    waits = [c["message"] for c in pod["status"].get("conditions") or () if c.get("message")]
    return f"{pod['metadata']['name']} {pod['status']['phase']} {pod['spec'].get('nodeName')} {' '.join(waits)}"


def gpus(node: Object) -> str | None:
    found: str | None = node["status"]["allocatable"].get("nvidia.com/gpu")
    return found


@pytest.fixture(scope="module")
def eks(plane: Plane) -> Iterator[Any]:
    """A cluster with one GPU node, and no device plugin yet."""
    subnets = eks_cluster(plane, "nodes", network=20)
    client = plane.aws("eks")
    client.create_nodegroup(**FLOOR, subnets=subnets, nodeRole=role(plane, "nodes-node", "ec2.amazonaws.com"))
    client.get_waiter("nodegroup_active").wait(clusterName="nodes", nodegroupName="floor", WaiterConfig={"Delay": 1})
    yield client
    for name in client.list_nodegroups(clusterName="nodes")["nodegroups"]:
        client.delete_nodegroup(clusterName="nodes", nodegroupName=name)
    eventually(lambda: not nodes(plane), "nodes to go with their group")


@pytest.fixture(scope="module")
def plugin(plane: Plane, eks: Any) -> str:
    """The device plugin runs; returns its path."""
    path = plane.namespace("gpu-system").replace("/api/v1", "/apis/apps/v1")
    plane.kube.create(f"{path}/daemonsets", device_plugin())
    return f"{path}/daemonsets/nvidia-device-plugin"


def test_a_node_group_brings_a_node_of_its_type_zone_labels_and_taints(plane: Plane, eks: Any) -> None:
    (node,) = ready(plane, 1)
    labels = node["metadata"]["labels"]
    expected = {
        "nvidia.com/gpu.product": "NVIDIA-L4",
        "nvidia.com/gpu.count": "8",
        "node.kubernetes.io/instance-type": "g6.48xlarge",
        "topology.kubernetes.io/region": "eu-central-1",
        "eks.amazonaws.com/capacityType": "ON_DEMAND",
        "pool": "floor",
    }
    assert expected.items() <= labels.items()
    assert node["spec"]["providerID"].startswith(f"aws:///{labels['topology.kubernetes.io/zone']}/i-0")
    assert {"key": "nvidia.com/gpu", "effect": "NoSchedule"} in node["spec"]["taints"]


def test_gpus_are_offered_only_once_the_device_plugin_runs(plane: Plane, eks: Any) -> None:
    (node,) = ready(plane, 1)
    assert gpus(node) is None
    status = httpx.get(f"http://127.0.0.1:{plane.at.nodes}/status", trust_env=False).json()
    (group,) = [group for arn, group in status["groups"].items() if "/nodes/floor/" in arn]
    assert group["health"] == ["no node offers GPUs: no device plugin runs on any of them"]


def test_eight_of_nine_pods_run_and_the_ninth_waits_for_a_gpu(plane: Plane, plugin: str) -> None:
    eventually(lambda: gpus(nodes(plane)[0]) == "8", "the plugin to offer the GPUs")
    path = plane.namespace("serving")
    apps = path.replace("/api/v1", "/apis/apps/v1")
    plane.kube.create(f"{apps}/deployments", deployment("model", 9, gpus=1))

    def phases() -> Counter[str]:
        return Counter(pod["status"]["phase"] for pod in plane.kube.items(f"{path}/pods"))

    eventually(
        lambda: phases() == {"Running": 8, "Pending": 1},
        lambda: (
            f"eight running pods and one pending; there are {[where(one) for one in plane.kube.items('/api/v1/pods')]}"
        ),
    )
    (waiting,) = [pod for pod in plane.kube.items(f"{path}/pods") if pod["status"]["phase"] == "Pending"]
    (condition,) = [c for c in waiting["status"]["conditions"] if c["type"] == "PodScheduled"]
    assert condition["reason"] == "Unschedulable"
    assert "1 Insufficient nvidia.com/gpu" in condition["message"]


def test_a_pod_without_the_toleration_waits_for_that_reason(plane: Plane, plugin: str) -> None:
    path = plane.namespace("intolerant")
    plane.kube.create(f"{path}/pods", pod("plain", tolerate=False))

    def reason() -> str:
        conditions = (plane.kube.get(f"{path}/pods/plain") or {})["status"].get("conditions") or ()
        return next((c.get("message", "") for c in conditions if c["type"] == "PodScheduled"), "")

    message = eventually(reason, "the scheduler's reason")
    assert "untolerated taint" in message


def test_the_nodes_follow_the_size_over_the_zones_and_the_waiting_pod_runs(plane: Plane, eks: Any, plugin: str) -> None:
    scaling = {"minSize": 0, "maxSize": 6, "desiredSize": 4}
    eks.update_nodegroup_config(clusterName="nodes", nodegroupName="floor", scalingConfig=scaling)
    grown = ready(plane, 4)
    zones = Counter(node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in grown)
    assert zones == {"eu-central-1a": 2, "eu-central-1b": 2}
    eventually(
        lambda: all(p["status"]["phase"] == "Running" for p in plane.kube.items("/api/v1/namespaces/serving/pods")),
        "the pending pod to run on a new node",
    )
    scaling["desiredSize"] = 2
    eks.update_nodegroup_config(clusterName="nodes", nodegroupName="floor", scalingConfig=scaling)
    left = {node["metadata"]["name"] for node in ready(plane, 2)}

    def settled() -> bool:
        pods = list(plane.kube.items("/api/v1/namespaces/serving/pods"))
        return len(pods) == 9 and all(p["status"]["phase"] == "Running" and p["spec"]["nodeName"] in left for p in pods)

    eventually(settled, "evicted pods to run on the nodes that stayed")


def test_changed_labels_and_taints_reach_the_nodes_in_place(plane: Plane, eks: Any, plugin: str) -> None:
    before = {node["metadata"]["uid"] for node in nodes(plane)}
    eks.update_nodegroup_config(
        clusterName="nodes",
        nodegroupName="floor",
        labels={"addOrUpdateLabels": {"tier": "gold"}, "removeLabels": ["pool"]},
        taints={"addOrUpdateTaints": [{"key": "tenant", "value": "a", "effect": "PREFER_NO_SCHEDULE"}]},
    )

    def followed() -> bool:
        return all(
            node["metadata"]["labels"].get("tier") == "gold"
            and "pool" not in node["metadata"]["labels"]
            and {"key": "tenant", "value": "a", "effect": "PreferNoSchedule"} in node["spec"]["taints"]
            for node in nodes(plane)
        )

    eventually(followed, "labels and taints")
    assert {node["metadata"]["uid"] for node in nodes(plane)} == before, "nothing was replaced"


def test_without_the_plugin_no_gpu_is_left_to_give(plane: Plane, plugin: str) -> None:
    definition = plane.kube.get(plugin)
    assert definition is not None
    plane.kube.delete(plugin)
    eventually(lambda: all(gpus(node) == "0" for node in nodes(plane)), "the GPUs to go with the plugin")
    assert all(node["status"]["capacity"]["nvidia.com/gpu"] == "8" for node in nodes(plane)), "as a kubelet keeps it"
    plane.kube.create(plugin.rpartition("/")[0], device_plugin())
    eventually(lambda: all(gpus(node) == "8" for node in nodes(plane)), "the GPUs to come back")


def test_a_new_release_rolls_through_the_nodes(plane: Plane, eks: Any, plugin: str) -> None:
    before = {node["metadata"]["uid"] for node in nodes(plane)}
    eks.update_nodegroup_version(clusterName="nodes", nodegroupName="floor", releaseVersion="1.36.1-20261101")
    least = len(before)

    def rolled() -> bool:
        nonlocal least
        found = nodes(plane)
        least = min(least, sum("unschedulable" not in node["spec"] for node in found))
        return len(found) == 2 and not before & {node["metadata"]["uid"] for node in found}

    eventually(rolled, "new nodes only")
    assert least == 2, "there were never fewer nodes in service than wanted"
    assert {node["status"]["nodeInfo"]["osImage"] for node in nodes(plane)} == {
        "AL2023_x86_64_NVIDIA 1.36.1-20261101 (simulated)"
    }
    eventually(lambda: all(gpus(node) == "8" for node in nodes(plane)), "the plugin on the new nodes")


def test_an_unknown_instance_type_shows_in_the_groups_health_and_harms_no_other(plane: Plane, eks: Any) -> None:
    groups = f"http://127.0.0.1:{plane.at.nodes}/status"
    template = plane.aws("ec2").create_launch_template(
        LaunchTemplateName="odd", LaunchTemplateData={"InstanceType": RETIRED}
    )["LaunchTemplate"]["LaunchTemplateId"]
    described = eks.describe_nodegroup(clusterName="nodes", nodegroupName="floor")["nodegroup"]
    eks.create_nodegroup(
        clusterName="nodes",
        nodegroupName="odd",
        subnets=described["subnets"],
        nodeRole=described["nodeRole"],
        launchTemplate={"id": template, "version": "1"},
        scalingConfig={"minSize": 0, "maxSize": 1, "desiredSize": 1},
    )

    def unserved() -> str:
        found = httpx.get(groups, trust_env=False).json()["unserved"]
        return next((reason for arn, reason in found.items() if "/nodes/odd/" in arn), "")

    assert RETIRED in eventually(unserved, "the group's health")
    assert len(nodes(plane)) == 2


def test_a_deleted_group_takes_its_nodes_and_their_pods(plane: Plane, eks: Any, plugin: str) -> None:
    eks.delete_nodegroup(clusterName="nodes", nodegroupName="floor")
    eventually(lambda: not nodes(plane), "the nodes to go")

    def pending() -> bool:
        pods = list(plane.kube.items("/api/v1/namespaces/serving/pods"))
        return len(pods) == 9 and all(p["status"]["phase"] == "Pending" and "nodeName" not in p["spec"] for p in pods)

    eventually(pending, "the pods to wait for nodes again")
