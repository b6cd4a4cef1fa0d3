"""Tenants, their projects, and the budgets over all of them."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from headrace.settings.base import Name, Percent, SettingsModel, UsdPerMonth


class PodSecurityLevel(StrEnum):
    """Kubernetes Pod Security Standards."""

    RESTRICTED = "restricted"
    BASELINE = "baseline"


class Quota(SettingsModel):
    """What a namespace may ask for at once."""

    gpus: int = Field(ge=0)
    cpu_cores: float = Field(gt=0)
    memory_gib: float = Field(gt=0)
    pods: int = Field(default=50, ge=1)
    objects: int = Field(default=100, ge=1)


class TrafficLimits(SettingsModel):
    """What the router lets through; None means that only the money budget limits."""

    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    parallel_requests: int | None = Field(default=None, ge=1)


class Access(SettingsModel):
    """IAM principals behind each role of a tenant space."""

    admin_principal_arns: list[str] = Field(default_factory=list)
    deployer_principal_arns: list[str] = Field(default_factory=list)
    viewer_principal_arns: list[str] = Field(default_factory=list)


class Project(SettingsModel):
    """A tenant's project: its quota, its traffic limits and its budget."""

    quota: Quota
    budget_usd_per_month: UsdPerMonth
    limits: TrafficLimits = TrafficLimits()
    pod_security: PodSecurityLevel = PodSecurityLevel.RESTRICTED
    access: Access = Access()


class Tenant(SettingsModel):
    """A tenant: what all its projects together may spend."""

    budget_usd_per_month: UsdPerMonth
    limits: TrafficLimits = TrafficLimits()
    projects: dict[Name, Project] = Field(min_length=1)


class BudgetSettings(SettingsModel):
    """Budget of the environment and whom to tell."""

    environment_usd_per_month: UsdPerMonth
    alert_thresholds_percent: list[Percent] = Field(default_factory=lambda: [50.0, 80.0, 100.0])
    alert_emails: list[str] = Field(default_factory=list)
    anomaly_threshold_usd: float = Field(default=100, gt=0)
