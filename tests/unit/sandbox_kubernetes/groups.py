"""Node groups and nodes for tests."""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
from typing import Any

from headrace_sandbox.kubernetes.nodes.records import Gpus, Group, Machine, Node, Subnet, Taint

BORN = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)
GPUS = Gpus(product="NVIDIA-L4", count=8, memory_mib=22886)
SUBNETS = tuple(
    Subnet(id=f"subnet-{letter}", zone=f"eu-central-1{letter}", cidr=ipaddress.IPv4Network(f"10.0.{index}.0/24"))
    for index, letter in enumerate("abc", start=1)
)
TAINT = Taint(key="nvidia.com/gpu", value="", effect="NoSchedule")


def group(**changes: Any) -> Group:
    """A group of two g6.48xlarge over three zones, or one that differs from it."""
    base = Group(
        region="eu-central-1",
        cluster="prod",
        name="floor",
        arn="arn:aws:eks:eu-central-1:123456789012:nodegroup/prod/floor/1",
        desired=2,
        machine=Machine(name="g6.48xlarge", vcpus=192, memory_mib=786432, gpus=GPUS),
        capacity_type="ON_DEMAND",
        ami_type="AL2023_x86_64_NVIDIA",
        kubernetes="1.36",
        release="1.36.0-20260917",
        launch_template="lt-1:1",
        disk_gib=300,
        labels=(("pool", "floor"),),
        taints=(TAINT,),
        subnets=SUBNETS,
    )
    return dataclasses.replace(base, **changes)


def node(number: int, of: Group, *, zone: str = "a", **changes: Any) -> Node:
    """A ready node of a group, `number` seconds younger than the first."""
    index = "abc".index(zone) + 1
    base = Node(
        name=f"ip-10-0-{index}-{number}.eu-central-1.compute.internal",
        group_arn=of.arn,
        template=of.template,
        zone=f"eu-central-1{zone}",
        created=BORN + datetime.timedelta(seconds=number),
        ready=True,
        draining_since=None,
        labels=of.labels,
        taints=of.taints,
        group_keys=tuple(key for key, _ in of.labels),
        expected_gpus=8,
        allocatable_gpus=0,
        advertised=False,
    )
    return dataclasses.replace(base, **changes)
