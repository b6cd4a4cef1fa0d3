"""Node groups as AWS describes them, and nodes as the API server holds them."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import json
from dataclasses import dataclass
from typing import Final

CLUSTER_ANNOTATION: Final = "sandbox.headrace/cluster"
GROUP_ANNOTATION: Final = "sandbox.headrace/nodegroup-arn"
TEMPLATE_ANNOTATION: Final = "sandbox.headrace/template"
DRAIN_ANNOTATION: Final = "sandbox.headrace/draining-since"
KEYS_ANNOTATION: Final = "sandbox.headrace/group-keys"
GPU_ANNOTATION: Final = "sandbox.headrace/gpus"
KWOK_ANNOTATION: Final = "kwok.x-k8s.io/node"
GPU_RESOURCE: Final = "nvidia.com/gpu"


@dataclass(frozen=True, kw_only=True)
class Gpus:
    """The GPUs of one machine: `memory_mib` is of one GPU, `product` the label GPU feature discovery would set."""

    product: str
    count: int
    memory_mib: int


@dataclass(frozen=True, kw_only=True)
class Machine:
    """An instance type."""

    name: str
    vcpus: int
    memory_mib: int
    gpus: Gpus | None


@dataclass(frozen=True, kw_only=True)
class Subnet:
    """A subnet of a node group."""

    id: str
    zone: str
    cidr: ipaddress.IPv4Network


@dataclass(frozen=True, kw_only=True)
class Taint:
    """A taint in Kubernetes' words."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, kw_only=True)
class Group:
    """A managed node group. `desired` is 0 while the group is being deleted."""

    region: str
    cluster: str
    name: str
    arn: str
    desired: int
    machine: Machine
    capacity_type: str
    ami_type: str
    kubernetes: str
    release: str
    launch_template: str
    disk_gib: int
    labels: tuple[tuple[str, str], ...]
    taints: tuple[Taint, ...]
    subnets: tuple[Subnet, ...]

    @property
    def template(self) -> str:
        """Changes when nodes must be replaced rather than edited (new image release, new launch template version)."""
        parts = [self.machine.name, self.ami_type, self.kubernetes, self.release, self.launch_template]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    @property
    def accelerated_by_image(self) -> bool:
        """Whether the node image brings its own device plugin (Bottlerocket's NVIDIA variants do, AL2023 does not)."""
        return self.ami_type.startswith("BOTTLEROCKET_") and self.ami_type.endswith("_NVIDIA")


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node of ours as the API server holds it."""

    name: str
    group_arn: str
    template: str
    zone: str
    created: datetime.datetime
    ready: bool
    draining_since: datetime.datetime | None
    labels: tuple[tuple[str, str], ...]
    taints: tuple[Taint, ...]
    group_keys: tuple[str, ...]
    expected_gpus: int
    allocatable_gpus: int
    advertised: bool
    """Whether a device plugin has ever spoken for the node: tells no GPU left from none yet."""

    @property
    def address(self) -> ipaddress.IPv4Address:
        """The private address, which its name spells (ip-10-0-1-23....)."""
        return ipaddress.IPv4Address(self.name.removeprefix("ip-").partition(".")[0].replace("-", "."))
