"""Where model releases and audit records live."""

from __future__ import annotations

from pydantic import Field

from headrace.settings.base import SettingsModel


class ModelStoreSettings(SettingsModel):
    """Bucket and registries for immutable releases."""

    retention_days: int = Field(default=400, ge=1)
    bucket_name: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")
    """Name of the bucket; `<organization>-<environment>-models-<account>` otherwise."""
    upstream_registries: dict[str, str] = Field(default_factory=dict)
    """Repository prefix -> upstream registry that ECR caches under it (`{ecr-public: public.ecr.aws}`): GPU nodes have no
    internet. Registries that ECR can't cache, nvcr.io among them, need copies in repositories of our own."""
    upstream_credential_arns: dict[str, str] = Field(default_factory=dict)
    """Repository prefix -> Secrets Manager secret (its name begins `ecr-pullthroughcache/`) for upstreams with login."""
    reader_role_arns: list[str] = Field(default_factory=list)
