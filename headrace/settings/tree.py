"""The whole tree: one `Settings` is everything a stack's configuration says."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from headrace.settings.base import Name, Region, SettingsModel
from headrace.settings.cluster import ClusterSettings
from headrace.settings.dedicated import DedicatedPool
from headrace.settings.network import NetworkSettings
from headrace.settings.releases import ModelRelease, Workload
from headrace.settings.serverless import ServerlessPool
from headrace.settings.store import ModelStoreSettings
from headrace.settings.tenants import BudgetSettings, Tenant


class Stage(StrEnum):
    """How much is at stake in an environment; policies are stricter the further right."""

    SANDBOX = "sandbox"
    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"


class Settings(SettingsModel):
    """A stack's configuration. Each field is one key of the stack file, in the project's namespace `inference:`."""

    organization: Name
    environment: Name
    stage: Stage
    region: Region
    tags: dict[str, str] = Field(default_factory=dict)
    network: NetworkSettings
    cluster: ClusterSettings = ClusterSettings()
    model_store: ModelStoreSettings = ModelStoreSettings()
    releases: dict[Name, ModelRelease] = Field(default_factory=dict)
    workloads: dict[Name, Workload] = Field(default_factory=dict)
    dedicated_pools: dict[Name, DedicatedPool] = Field(default_factory=dict)
    serverless_pools: dict[Name, ServerlessPool] = Field(default_factory=dict)
    tenants: dict[Name, Tenant] = Field(default_factory=dict)
    budgets: BudgetSettings
