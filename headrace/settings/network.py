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
    private_subnet_ids: dict[Zone, str]
    intra_subnet_ids: dict[Zone, str]
    router_subnet_ids: dict[Zone, str]


class NetworkSettings(SettingsModel):
    """VPC over two or three zones: private (GPU and application), intra (control plane) and router subnets."""

    cidr: Cidr
    zones: list[Zone] = Field(min_length=2, max_length=3)
    egress: Egress = Egress.NAT_PER_ZONE
    flow_log_retention_days: int = Field(default=365, ge=1)
    adopt: AdoptedNetwork | None = None
