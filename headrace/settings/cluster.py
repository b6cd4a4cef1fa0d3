"""The EKS cluster of an environment."""

from __future__ import annotations

from pydantic import Field

from headrace.settings.base import Cidr, SettingsModel


class ClusterSettings(SettingsModel):
    """EKS with a private API endpoint. `version` defaults to the catalogue's default (with its end of support)."""

    version: str | None = Field(default=None, pattern=r"^1\.\d+$")
    public_access_cidrs: list[Cidr] = Field(default_factory=list)
    admin_principal_arns: list[str] = Field(default_factory=list)
    addon_versions: dict[str, str] = Field(default_factory=dict)
    log_retention_days: int = Field(default=365, ge=1)
    deletion_protection: bool = True
    system_instance_type: str = "m7i.xlarge"
    """CPU machines for the cluster's own pods (DNS, metrics, router): GPU nodes take only pods that ask for a GPU."""
    system_nodes: int = Field(default=2, ge=2)
    """How many of them; two at the least, so that one can be drained."""
