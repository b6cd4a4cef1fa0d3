"""Tenants, their projects, and the budgets over all of them."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from headrace.settings.base import Email, Name, Percent, PrincipalArn, SecretText, SettingsModel, UsdPerMonth


class PodSecurityLevel(StrEnum):
    """Kubernetes Pod Security Standards."""

    RESTRICTED = "restricted"
    BASELINE = "baseline"


class Quota(SettingsModel):
    """What a namespace may ask for at once."""

    gpus: int = Field(ge=0)
    """GPUs."""
    cpu_cores: float = Field(gt=0, allow_inf_nan=False)
    """CPU cores."""
    memory_gib: float = Field(gt=0, allow_inf_nan=False)
    """Memory in GiB."""
    pods: int = Field(default=50, ge=1)
    """Pods."""
    objects: int = Field(default=100, ge=1)
    """Other objects of each counted kind."""


class TrafficLimits(SettingsModel):
    """What the router lets through; None means that only the money budget limits."""

    requests_per_minute: int | None = Field(default=None, ge=1)
    """Requests per minute."""
    tokens_per_minute: int | None = Field(default=None, ge=1)
    """Prompt and answer tokens per minute."""
    parallel_requests: int | None = Field(default=None, ge=1)
    """Requests at once."""


class Access(SettingsModel):
    """IAM principals behind each role of a tenant space."""

    admin_principal_arns: list[PrincipalArn] = Field(default_factory=list)
    """May do all in the namespace but change its quota and policies."""
    deployer_principal_arns: list[PrincipalArn] = Field(default_factory=list)
    """May deploy workloads."""
    viewer_principal_arns: list[PrincipalArn] = Field(default_factory=list)
    """May look."""


class Project(SettingsModel):
    """A tenant's project: its quota, its traffic limits and its budget."""

    quota: Quota
    """What its namespace may ask for at once."""
    budget_usd_per_month: UsdPerMonth
    """Most it may spend in a month, in US dollars."""
    limits: TrafficLimits = TrafficLimits()
    """What the router lets through."""
    pod_security: PodSecurityLevel = PodSecurityLevel.RESTRICTED
    """Pod Security level of its namespace."""
    access: Access = Access()
    """Who may do what."""


class Tenant(SettingsModel):
    """A tenant: what all its projects together may spend."""

    budget_usd_per_month: UsdPerMonth
    """Most all its projects together may spend in a month, in US dollars."""
    limits: TrafficLimits = TrafficLimits()
    """What the router lets through for all its projects together."""
    projects: dict[Name, Project] = Field(min_length=1)
    """Its projects by name."""


class BudgetSettings(SettingsModel):
    """Budget of the environment and whom to tell."""

    environment_usd_per_month: UsdPerMonth
    """Most the whole environment may spend in a month, in US dollars."""
    alert_thresholds_percent: list[Percent] = Field(default_factory=lambda: [50.0, 80.0, 100.0])
    """Shares of a budget, in percent, at which somebody is told."""
    alert_emails: list[Email] = Field(default_factory=list)
    """Whom to tell."""
    alert_webhook_url: SecretText | None = None
    """Address of a chat or pager webhook. A secret: whoever knows it can post."""
    anomaly_threshold_usd: float = Field(default=100, gt=0, allow_inf_nan=False)
    """Cost above the expected from which on an anomaly is reported, in US dollars."""
