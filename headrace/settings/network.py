"""The private network of an environment."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from headrace.settings.base import Cidr, SettingsModel, Zone


class Egress(StrEnum):
    """How the router's subnets reach the serverless providers. GPU subnets never have a route to the internet."""

    NAT_PER_ZONE = "nat-per-zone"
    NONE = "none"


class AdoptedNetwork(SettingsModel):
    """A VPC that exists already. Subnets are given per zone, one of each kind."""

    vpc_id: str = Field(pattern=r"^vpc-[0-9a-f]{8,17}$")
    """Id of the VPC."""
    private_subnet_ids: dict[Zone, str]
    """Zone -> subnet for GPU and application nodes."""
    intra_subnet_ids: dict[Zone, str]
    """Zone -> subnet for the control plane's interfaces."""
    router_subnet_ids: dict[Zone, str]
    """Zone -> subnet for the router."""


class NetworkSettings(SettingsModel):
    """VPC over two or three zones: private (GPU and application), intra (control plane) and router subnets."""

    cidr: Cidr
    """Address range of the VPC, between /16 and /20."""
    zones: list[Zone] = Field(min_length=2, max_length=3)
    """Availability zones."""
    egress: Egress = Egress.NAT_PER_ZONE
    """How the router's subnets reach the internet."""
    flow_log_retention_days: int = Field(default=365, ge=1)
    """Days that flow logs are kept."""
    peered_cidrs: list[Cidr] = Field(default_factory=list)
    """Ranges that this network is routed to (offices, pipelines, other VPCs); none may overlap with its own. They may
    reach the router's balancer and the cluster's private API endpoint; the routes are whoever peers' to make."""
    adopt: AdoptedNetwork | None = None
    """An existing VPC to use instead of creating one."""
