"""The whole tree: one `Settings` is everything a stack's configuration says."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from headrace.settings.base import Name, Region, SettingsModel
from headrace.settings.cluster import ClusterSettings
from headrace.settings.commitments import CommitmentSettings
from headrace.settings.data_stores import DataStoreSettings
from headrace.settings.dedicated import DedicatedPool
from headrace.settings.limits import LimitSettings
from headrace.settings.network import NetworkSettings
from headrace.settings.releases import ModelRelease, Workload
from headrace.settings.router import RouterSettings
from headrace.settings.serverless import ServerlessPool
from headrace.settings.store import AuditSettings, ModelStoreSettings
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
    """Who owns the stack; first part of cloud names and a cost-allocation tag."""
    environment: Name
    """Name of the environment, equal to the stack's."""
    stage: Stage
    """How much is at stake."""
    region: Region
    """AWS region of the dedicated half."""
    tags: dict[str, str] = Field(default_factory=dict)
    """Further tags on every cloud resource."""
    network: NetworkSettings
    """The private network."""
    cluster: ClusterSettings = ClusterSettings()
    """The EKS cluster."""
    model_store: ModelStoreSettings = ModelStoreSettings()
    """Where model releases live."""
    audit: AuditSettings = AuditSettings()
    """Audit records."""
    releases: dict[Name, ModelRelease] = Field(default_factory=dict)
    """Model releases by name; immutable once recorded."""
    workloads: dict[Name, Workload] = Field(default_factory=dict)
    """What is served."""
    dedicated_pools: dict[Name, DedicatedPool] = Field(default_factory=dict)
    """The floor: GPU node groups."""
    serverless_pools: dict[Name, ServerlessPool] = Field(default_factory=dict)
    """The overflow: serverless endpoints."""
    router: RouterSettings = RouterSettings()
    """The router between the two."""
    data_stores: DataStoreSettings = DataStoreSettings()
    """What the router's replicas share."""
    tenants: dict[Name, Tenant] = Field(default_factory=dict)
    """Whom quotas and budgets are for."""
    budgets: BudgetSettings
    """Budget of the environment and whom to tell."""
    commitments: CommitmentSettings = CommitmentSettings()
    """Money promised ahead."""
    limits: LimitSettings = LimitSettings()
    """Account limits by provider."""

    def release_name(self, pool: DedicatedPool | ServerlessPool) -> str | None:
        """The release that a pool runs: its own, else its workload's; None where there is no such workload."""
        workload = self.workloads.get(pool.workload)
        return pool.release or (workload.release if workload is not None else None)

    def release_of(self, pool: DedicatedPool | ServerlessPool) -> ModelRelease | None:
        """What a pool runs; None where its workload or release does not exist."""
        return self.releases.get(self.release_name(pool) or "")

    def workload_of(self, pool: DedicatedPool | ServerlessPool) -> Workload:
        """A pool's workload as the pool runs it: on the pool's release."""
        workload = self.workloads[pool.workload]
        return workload if pool.release is None else workload.model_copy(update={"release": pool.release})
