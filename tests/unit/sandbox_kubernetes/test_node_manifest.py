"""A node looks as its instance type, image and group would make it."""

from __future__ import annotations

import ipaddress

import pytest

from headrace.catalog import load
from headrace_sandbox.kubernetes.nodes import gpu, machines, manifest
from headrace_sandbox.kubernetes.nodes.cloud import launch_template_name, root_volume_gib
from headrace_sandbox.kubernetes.nodes.objects import node_of

from .groups import SUBNETS, group, node

ADDRESS = ipaddress.IPv4Address("10.0.1.23")


def test_names_are_those_of_ec2() -> None:
    assert manifest.node_name(ADDRESS, "eu-central-1") == "ip-10-0-1-23.eu-central-1.compute.internal"
    assert manifest.node_name(ADDRESS, "us-east-1") == "ip-10-0-1-23.ec2.internal"


def test_a_node_carries_what_scheduling_needs() -> None:
    made = manifest.node(group(), SUBNETS[0], ADDRESS, "i-0123456789abcdef0")
    labels = made["metadata"]["labels"]
    assert labels["nvidia.com/gpu.product"] == "NVIDIA-L4"
    assert labels["nvidia.com/gpu.memory"] == "22886"
    assert labels["nvidia.com/gpu.count"] == "8"
    assert labels["eks.amazonaws.com/nodegroup"] == "floor"
    assert labels["node.kubernetes.io/instance-type"] == "g6.48xlarge"
    assert labels["topology.kubernetes.io/zone"] == "eu-central-1a"
    assert labels["topology.kubernetes.io/region"] == "eu-central-1"
    assert labels["pool"] == "floor"
    assert made["spec"]["providerID"] == "aws:///eu-central-1a/i-0123456789abcdef0"
    assert made["spec"]["taints"] == [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]
    assert "nvidia.com/gpu" not in made["status"]["capacity"], "GPUs are a device plugin's to advertise"


def test_a_node_read_back_needs_nothing_changed() -> None:
    of = group()
    made = manifest.node(of, SUBNETS[0], ADDRESS, "i-0123456789abcdef0")
    made["metadata"]["creationTimestamp"] = "2026-11-21T00:00:00Z"
    read = node_of(made)
    assert read is not None
    assert (read.template, read.group_arn, read.address, read.expected_gpus) == (of.template, of.arn, ADDRESS, 8)
    assert node_of({"metadata": {"name": "someone-elses"}}) is None, "nodes that we did not make are not ours to touch"


@pytest.mark.parametrize(("vcpus", "millis"), [(1, 60), (2, 70), (4, 80), (8, 90), (96, 310), (192, 550)])
def test_reserved_cpu_follows_the_eks_image(vcpus: int, millis: int) -> None:
    assert manifest.reserved_cpu_millis(vcpus) == millis


def test_every_gpu_type_of_the_catalogue_can_be_simulated() -> None:
    for name, row in load.instance_types().items():
        machine = machines.from_catalog(name)
        assert machine is not None
        assert machine.gpus is not None
        assert machine.gpus.count == row.gpu_count
        assert machine.memory_mib > manifest.reserved_memory_mib(manifest.max_pods(machine))
    assert machines.from_catalog("m7i.large") is None


def test_a_type_that_only_ec2_knows_is_read_from_it() -> None:
    described = {"InstanceType": "m7i.large", "VCpuInfo": {"DefaultVCpus": 2}, "MemoryInfo": {"SizeInMiB": 8192}}
    assert machines.from_ec2(described).gpus is None
    gpus = [{"Name": "Radeon Pro V520", "Manufacturer": "AMD", "Count": 1, "MemoryInfo": {"SizeInMiB": 8192}}]
    assert machines.from_ec2({**described, "GpuInfo": {"Gpus": gpus}}).gpus is None, "not an nvidia.com/gpu"


def test_the_launch_template_says_size_and_identity() -> None:
    volumes = [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 300}}, {"DeviceName": "/dev/xvdb", "VirtualName": "e"}]
    assert root_volume_gib({"BlockDeviceMappings": volumes}) == 300
    assert root_volume_gib({}) == 20
    assert launch_template_name({"id": "lt-1", "version": "3"}) == "lt-1:3"
    assert launch_template_name({}) == ""


@pytest.mark.parametrize(
    ("image", "is_plugin"),
    [
        ("nvcr.io/nvidia/k8s-device-plugin:v0.18.0", True),
        ("123456789012.dkr.ecr.eu-central-1.amazonaws.com/nvidia/k8s-device-plugin@sha256:abc", True),
        ("k8s-device-plugin", True),
        ("nvcr.io/nvidia/k8s/dcgm-exporter:4", False),
        ("example.com/k8s-device-plugin-tester:1", False),
    ],
)
def test_the_device_plugin_is_known_by_its_image(image: str, is_plugin: bool) -> None:
    daemon_set = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
    assert gpu.is_plugin(daemon_set) is is_plugin


def pod(on: str, *, ready: bool = True, **metadata: object) -> dict[str, object]:
    return {
        "metadata": {"ownerReferences": [{"uid": "ds"}], **metadata},
        "spec": {"nodeName": on},
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


def test_only_a_ready_pod_of_the_daemon_set_speaks_for_a_node() -> None:
    pods = [pod("a"), pod("b", ready=False), pod("c", deletionTimestamp="now"), pod("d", ownerReferences=[])]
    assert gpu.running_on(pods, frozenset({"ds"})) == {"a"}


def test_gpus_come_with_the_plugin_and_go_with_it() -> None:
    of = group()
    without, offering = node(5, of), node(5, of, allocatable_gpus=8, advertised=True)
    full = {"status": {"capacity": {"nvidia.com/gpu": "8"}, "allocatable": {"nvidia.com/gpu": "8"}}}
    assert gpu.status_patch(without, plugin=True) == full
    assert gpu.status_patch(without, plugin=False) is None
    assert gpu.status_patch(offering, plugin=True) is None
    assert gpu.status_patch(offering, plugin=False) == {"status": {"allocatable": {"nvidia.com/gpu": "0"}}}


def test_a_plugin_on_one_node_says_nothing_of_another() -> None:
    of = group()
    here, there = node(5, of), node(6, of)
    found = gpu.patches([here, there], on_nodes={here.name}, everywhere=False, by_image=set())
    assert set(found) == {here.name}
    assert set(gpu.patches([here, there], on_nodes=set(), everywhere=False, by_image={there.name})) == {there.name}
    assert gpu.patches([node(7, of, expected_gpus=0)], on_nodes=set(), everywhere=True, by_image=set()) == {}


def test_bottlerockets_nvidia_image_brings_its_plugin() -> None:
    assert group(ami_type="BOTTLEROCKET_x86_64_NVIDIA").accelerated_by_image
    assert not group(ami_type="BOTTLEROCKET_x86_64").accelerated_by_image
    assert not group(ami_type="AL2023_x86_64_NVIDIA").accelerated_by_image
