"""Where model releases and audit records live."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from headrace.settings.base import PrincipalArn, SettingsModel


class ModelStoreSettings(SettingsModel):
    """Bucket and registries for immutable releases."""

    retention_days: int = Field(default=400, ge=1)
    """Days that object lock keeps a release from being deleted."""
    bucket_name: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")
    """Name of the bucket; unset means `<organization>-<environment>-models-<account>`."""
    upstream_registries: dict[str, str] = Field(default_factory=dict)
    """Prefix -> upstream registry that the pull-through cache mirrors: GPU nodes have no internet."""
    upstream_credential_arns: dict[str, str] = Field(default_factory=dict)
    """Prefix -> Secrets Manager secret (named `ecr-pullthroughcache/…`) for upstreams that ask for a login."""
    reader_role_arns: list[PrincipalArn] = Field(default_factory=list)
    """Roles beside the pods' own that may read releases."""


class ObjectLockMode(StrEnum):
    """Who may shorten a retention: nobody, or principals with a special permission."""

    COMPLIANCE = "compliance"
    GOVERNANCE = "governance"


class AuditSettings(SettingsModel):
    """Audit records: what ran where, on which release, under which policy."""

    retention_days: int = Field(default=730, ge=1)
    """Days that records are kept. EU AI Act article 19 asks at least six months of high-risk systems."""
    object_lock_mode: ObjectLockMode = ObjectLockMode.COMPLIANCE
    """Object lock of the audit bucket."""
    checkpoint_interval_s: int = Field(default=60, ge=1, le=3600)
    """Seconds between signed checkpoints of the record chain."""
    key_rotation_days: int = Field(default=365, ge=90, le=2560)
    """Days between rotations of its encryption key (KMS allows 90 to 2560)."""
