"""Dedicated pools: GPU node groups on on-demand capacity, a reservation or a capacity block."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from headrace.settings.base import RESERVATION_PATTERN, Name, SettingsModel, Zone


class CapacityType(StrEnum):
    """Where the machines come from."""

    ON_DEMAND = "on-demand"
    RESERVATION = "reservation"
    CAPACITY_BLOCK = "capacity-block"


class Capacity(SettingsModel):
    """Capacity of a pool. A reservation or block names its id and its single zone."""

    type: CapacityType = CapacityType.ON_DEMAND
    """On demand, a capacity reservation, or a capacity block."""
    reservation_id: str | None = Field(default=None, pattern=RESERVATION_PATTERN)
    """Id of the reservation or block; the stack makes neither."""
    zone: Zone | None = None
    """The one zone of the reservation or block."""


class NodeImage(StrEnum):
    """Node operating system, both with the vendor's GPU driver inside."""

    AL2023_NVIDIA = "al2023-nvidia"
    BOTTLEROCKET_NVIDIA = "bottlerocket-nvidia"


class ScheduledScale(SettingsModel):
    """Scaling bounds from a time on: cron in `time_zone`."""

    name: Name
    """Name of the schedule, unique in its pool."""
    cron: str
    """Five fields: minute, hour, day of month, month, day of week."""
    time_zone: str = "UTC"
    """IANA time zone, for instance Europe/Berlin."""
    floor_nodes: int = Field(ge=0)
    """Least nodes from then on."""
    ceiling_nodes: int = Field(ge=0)
    """Most nodes from then on."""


class HourlyFloor(SettingsModel):
    """A floor that follows its workload's traffic: every hour a job holds as many nodes as the last weeks make worth
    holding, between `floorNodes` and `ceilingNodes`."""

    lead_time_s: int = Field(default=600, ge=0, le=3000)
    """Seconds until a new node serves; the job runs that much before the full hour, in steps of ten minutes."""


class DedicatedPool(SettingsModel):
    """A GPU node group that serves one workload. Floor and ceiling are counted in nodes."""

    workload: Name
    """The workload it serves."""
    release: Name | None = None
    """The release it runs; unset means its workload's. Another is a canary, with a share in `router.canaryPercent`."""
    instance_type: str
    """AWS instance type of the catalogue."""
    capacity: Capacity = Capacity()
    """Where the machines come from."""
    floor_nodes: int = Field(ge=0)
    """Least nodes."""
    ceiling_nodes: int = Field(ge=1)
    """Most nodes."""
    schedules: list[ScheduledScale] = Field(default_factory=list)
    """Changes of floor and ceiling by time of day or week."""
    hourly_floor: HourlyFloor | None = None
    """Set where the floor follows its traffic every hour, between `floorNodes` and `ceilingNodes`."""
    zones: list[Zone] | None = None
    """Zones of its nodes; unset means all of the network's, or the capacity's single zone."""
    node_image: NodeImage = NodeImage.AL2023_NVIDIA
    """Node operating system."""
    node_release_version: str | None = None
    """Pinned release of the node image, for instance 1.36.0-20260917."""
    root_volume_gib: int = Field(default=300, ge=50)
    """Encrypted root volume of a node, in GiB."""
    replicas: int | None = Field(default=None, ge=0)
    """Model servers; unset means as many as the floor holds, or its nodes of the moment where the floor changes."""
    slots_per_replica: int = Field(default=32, ge=1)
    """Requests that one model server works on at once."""

    @property
    def follows_nodes(self) -> bool:
        """Whether its model servers are as many as its nodes hold at any time."""
        return bool(self.schedules) or self.hourly_floor is not None
