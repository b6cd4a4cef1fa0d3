"""Dedicated pools: GPU node groups on on-demand capacity, a reservation or a capacity block."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from headrace.settings.base import Name, SettingsModel, Zone


class CapacityType(StrEnum):
    """Where the machines come from."""

    ON_DEMAND = "on-demand"
    RESERVATION = "reservation"
    CAPACITY_BLOCK = "capacity-block"


class Capacity(SettingsModel):
    """Capacity of a pool. A reservation or block names its id and its single zone."""

    type: CapacityType = CapacityType.ON_DEMAND
    reservation_id: str | None = Field(default=None, pattern=r"^cr-[0-9a-f]{8,17}$")
    zone: Zone | None = None


class NodeImage(StrEnum):
    """Node operating system, both with the vendor's GPU driver inside."""

    AL2023_NVIDIA = "al2023-nvidia"
    BOTTLEROCKET_NVIDIA = "bottlerocket-nvidia"


class ScheduledScale(SettingsModel):
    """Scaling bounds from a time on: cron in `time_zone`."""

    name: Name
    cron: str
    time_zone: str = "UTC"
    floor_nodes: int = Field(ge=0)
    ceiling_nodes: int = Field(ge=0)


class DedicatedPool(SettingsModel):
    """A GPU node group that serves one workload. Floor and ceiling are counted in nodes."""

    workload: Name
    instance_type: str
    capacity: Capacity = Capacity()
    floor_nodes: int = Field(ge=0)
    ceiling_nodes: int = Field(ge=1)
    schedules: list[ScheduledScale] = Field(default_factory=list)
    zones: list[Zone] | None = None
    node_image: NodeImage = NodeImage.AL2023_NVIDIA
    node_release_version: str | None = None
    root_volume_gib: int = Field(default=300, ge=50)
    replicas: int | None = Field(default=None, ge=0)
    slots_per_replica: int = Field(default=32, ge=1)
