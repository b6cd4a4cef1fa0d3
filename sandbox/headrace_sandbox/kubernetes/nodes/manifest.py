"""What a node of a managed node group looks like, as its kubelet and the EKS bootstrap would register it."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from headrace_sandbox.kubernetes.nodes.records import (
    CLUSTER_ANNOTATION,
    GPU_ANNOTATION,
    GROUP_ANNOTATION,
    KEYS_ANNOTATION,
    KWOK_ANNOTATION,
    TEMPLATE_ANNOTATION,
    Group,
    Machine,
    Subnet,
    Taint,
)

Object = dict[str, Any]

_SMALL_VCPUS: Final = 30
_EVICTION_MIB: Final = 100


def max_pods(machine: Machine) -> int:
    """Pods per node with prefix delegation: 110 below 30 vCPUs, else 250 (EKS user guide, "Maximum Pods per node")."""
    return 110 if machine.vcpus < _SMALL_VCPUS else 250


def reserved_cpu_millis(vcpus: int) -> int:
    """6 % of the first core, 1 % of the second, 0.5 % of the next two, 0.25 % of the rest (amazon-eks-ami, nodeadm
    kubelet config, `getCPUMillicoresToReserve`)."""
    quarters = 24 * min(vcpus, 1) + 4 * min(max(vcpus - 1, 0), 1) + 2 * min(max(vcpus - 2, 0), 2) + max(vcpus - 4, 0)
    return quarters * 10 // 4


def reserved_memory_mib(pods: int) -> int:
    """11 MiB per pod + 255 MiB for the kubelet (amazon-eks-ami, nodeadm, `getMemoryMebibytesToReserve`), and the
    hard eviction threshold of 100 MiB."""
    return 11 * pods + 255 + _EVICTION_MIB


def node_name(address: ipaddress.IPv4Address, region: str) -> str:
    """The private DNS name that EC2 gives (VPC user guide, "Amazon EC2 instance hostname types", IP name)."""
    domain = "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"
    return f"ip-{str(address).replace('.', '-')}.{domain}"


def labels(group: Group, subnet: Subnet) -> dict[str, str]:
    """Labels of kubelet, EKS, GPU feature discovery and the group."""
    found = {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/instance-type": group.machine.name,
        "node.kubernetes.io/instance-type": group.machine.name,
        "topology.kubernetes.io/region": group.region,
        "topology.kubernetes.io/zone": subnet.zone,
        "failure-domain.beta.kubernetes.io/region": group.region,
        "failure-domain.beta.kubernetes.io/zone": subnet.zone,
        "eks.amazonaws.com/nodegroup": group.name,
        "eks.amazonaws.com/capacityType": group.capacity_type,
    }
    gpus = group.machine.gpus
    if gpus is not None:
        found |= {
            "nvidia.com/gpu.present": "true",
            "nvidia.com/gpu.product": gpus.product,
            "nvidia.com/gpu.memory": str(gpus.memory_mib),
            "nvidia.com/gpu.count": str(gpus.count),
        }
    return found | dict(group.labels)


def taints(items: tuple[Taint, ...]) -> list[Object]:
    """Taints as a node's spec holds them."""
    return [
        {"key": taint.key, "effect": taint.effect} | ({"value": taint.value} if taint.value else {}) for taint in items
    ]


def capacity(machine: Machine, disk_gib: int) -> tuple[dict[str, str], dict[str, str]]:
    """Capacity and allocatable, without GPUs: those are a device plugin's to advertise."""
    pods = max_pods(machine)
    disk_kib = disk_gib * 1024 * 1024
    whole = {
        "cpu": str(machine.vcpus),
        "memory": f"{machine.memory_mib * 1024}Ki",
        "pods": str(pods),
        "ephemeral-storage": f"{disk_kib}Ki",
    }
    usable = whole | {
        "cpu": f"{machine.vcpus * 1000 - reserved_cpu_millis(machine.vcpus)}m",
        "memory": f"{(machine.memory_mib - reserved_memory_mib(pods)) * 1024}Ki",
        # kubelet keeps a tenth free (hard eviction threshold nodefs.available<10%)
        "ephemeral-storage": str(disk_kib * 1024 * 9 // 10),
    }
    return whole, usable


def node(group: Group, subnet: Subnet, address: ipaddress.IPv4Address, instance_id: str) -> Object:
    """The Node object to create; KWOK then plays its kubelet."""
    name = node_name(address, group.region)
    whole, usable = capacity(group.machine, group.disk_gib)
    gpus = group.machine.gpus
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": labels(group, subnet) | {"kubernetes.io/hostname": name},
            "annotations": {
                KWOK_ANNOTATION: "fake",
                CLUSTER_ANNOTATION: group.cluster,
                GROUP_ANNOTATION: group.arn,
                TEMPLATE_ANNOTATION: group.template,
                KEYS_ANNOTATION: ",".join(sorted(dict(group.labels))),
                GPU_ANNOTATION: str(gpus.count if gpus else 0),
            },
        },
        "spec": {"providerID": f"aws:///{subnet.zone}/{instance_id}", "taints": taints(group.taints)},
        "status": {
            "capacity": whole,
            "allocatable": usable,
            "addresses": [
                {"type": "InternalIP", "address": str(address)},
                {"type": "InternalDNS", "address": name},
                {"type": "Hostname", "address": name},
            ],
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": "",
                "containerRuntimeVersion": "kwok://0.8.0",
                "kernelVersion": "simulated",
                "kubeProxyVersion": "",
                "kubeletVersion": f"v{group.kubernetes}.0-kwok" if group.kubernetes else "v0.0.0-kwok",
                "machineID": instance_id,
                "operatingSystem": "linux",
                "osImage": f"{group.ami_type} {group.release} (simulated)",
                "systemUUID": instance_id,
            },
        },
    }
