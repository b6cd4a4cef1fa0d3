"""Instance types: GPU facts from Headrace's catalogue, all others from EC2 DescribeInstanceTypes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from headrace.catalog import load
from headrace_sandbox.kubernetes.nodes.records import Gpus, Machine

_MIB_PER_GIB: Final = 1024


def from_catalog(name: str) -> Machine | None:
    """A GPU instance type of the catalogue, None for one that isn't there."""
    found = load.instance_types().get(name)
    if found is None:
        return None
    gpu = load.gpus()[found.gpu]
    return Machine(
        name=name,
        vcpus=found.vcpus,
        memory_mib=found.memory_gib * _MIB_PER_GIB,
        gpus=Gpus(
            product=gpu.product_label or f"NVIDIA-{gpu.name}",
            count=found.gpu_count,
            memory_mib=round(gpu.memory_gib * _MIB_PER_GIB),
        ),
    )


def from_ec2(described: Mapping[str, Any]) -> Machine:
    """A type as DescribeInstanceTypes gives it. GPUs of other makers are no nvidia.com/gpu."""
    gpus = [one for one in (described.get("GpuInfo") or {}).get("Gpus") or () if one.get("Manufacturer") == "NVIDIA"]
    return Machine(
        name=described["InstanceType"],
        vcpus=described["VCpuInfo"]["DefaultVCpus"],
        memory_mib=described["MemoryInfo"]["SizeInMiB"],
        gpus=Gpus(
            product="NVIDIA-" + gpus[0]["Name"].replace(" ", "-"),
            count=sum(one["Count"] for one in gpus),
            memory_mib=gpus[0]["MemoryInfo"]["SizeInMiB"],
        )
        if gpus and sum(one["Count"] for one in gpus) > 0
        else None,
    )
