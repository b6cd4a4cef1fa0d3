"""Where model releases and audit records live."""

from __future__ import annotations

from pydantic import Field

from headrace.settings.base import SettingsModel


class ModelStoreSettings(SettingsModel):
    """Bucket and registries for immutable releases."""

    retention_days: int = Field(default=400, ge=1)
    # Upstream registries that the pull-through cache mirrors: GPU nodes have no internet.
    upstream_registries: dict[str, str] = Field(default_factory=dict)
    reader_role_arns: list[str] = Field(default_factory=list)
