"""What accounts may do: limits that a provider granted, where they differ from the catalogue's defaults."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from headrace.settings.base import SettingsModel, UsdPerHour


class RunpodLimits(SettingsModel):
    """Limits of the RunPod account; unset means the catalogue's default."""

    spend_usd_per_hour: UsdPerHour | None = None
    """Most spend per hour over all resources of the account."""
    workers_total: int | None = Field(default=None, ge=1)
    """Most workers over all endpoints together."""


class ModalPlan(StrEnum):
    """Modal's plans; they differ in the GPUs one may hold at once."""

    STARTER = "starter"
    TEAM = "team"
    ENTERPRISE = "enterprise"


class ModalLimits(SettingsModel):
    """Limits of the Modal workspace; unset means the catalogue's default for the plan."""

    plan: ModalPlan = ModalPlan.STARTER
    """Plan of the workspace."""
    concurrent_gpus: int | None = Field(default=None, ge=1)
    """Most GPUs at once over the workspace; an enterprise plan has no default and must say it."""


class AwsLimits(SettingsModel):
    """EC2 quotas of the AWS account in the region; unset means not checked."""

    on_demand_g_vcpus: int | None = Field(default=None, ge=0)
    """Quota "Running On-Demand G and VT instances", in vCPUs."""
    on_demand_p_vcpus: int | None = Field(default=None, ge=0)
    """Quota "Running On-Demand P instances", in vCPUs."""
    capacity_blocks: int | None = Field(default=None, ge=0)
    """Most capacity blocks at once."""


class LimitSettings(SettingsModel):
    """Account limits by provider."""

    runpod: RunpodLimits = RunpodLimits()
    """RunPod account."""
    modal: ModalLimits = ModalLimits()
    """Modal workspace."""
    aws: AwsLimits = AwsLimits()
    """AWS account."""
