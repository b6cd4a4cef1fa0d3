"""The EKS cluster of an environment."""

from __future__ import annotations

from pydantic import Field

from headrace.settings.base import KUBERNETES_PATTERN, Cidr, PrincipalArn, SettingsModel


class ClusterSettings(SettingsModel):
    """EKS with a private API endpoint. `version` defaults to the catalogue's default (with its end of support)."""

    version: str | None = Field(default=None, pattern=KUBERNETES_PATTERN)
    """Kubernetes version; unset means the catalogue's default."""
    public_access_cidrs: list[Cidr] = Field(default_factory=list)
    """Networks that may reach the API endpoint from outside. Empty means private only; anything else needs a waiver."""
    admin_principal_arns: list[PrincipalArn] = Field(default_factory=list)
    """IAM roles or users that administer the cluster, as access entries."""
    addon_versions: dict[str, str] = Field(default_factory=dict)
    """Add-on name -> version, where it differs from the catalogue's pinned version."""
    log_retention_days: int = Field(default=365, ge=1)
    """Days that control-plane logs are kept."""
    deletion_protection: bool = True
    """Whether the cluster refuses to be deleted."""
    system_instance_type: str = "m7i.xlarge"
    """CPU machines for the cluster's own pods (DNS, metrics, router): GPU nodes take only pods that ask for a GPU."""
    system_nodes: int = Field(default=2, ge=2)
    """How many of them; two at the least, so that one can be drained."""
