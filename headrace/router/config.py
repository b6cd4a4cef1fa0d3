"""`RouterConfig`: all that the router knows at start. `render` makes it from settings and deployed pools.

The file holds no secret: upstream credentials are named by environment variable, keys live in a file of their own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError, model_validator

from headrace.errors import Problem, Refused, refuse
from headrace.router.limits import Limits, ProviderCap, TenantConfig, limits_by_scope
from headrace.settings.base import Name, SettingsModel
from headrace.settings.releases import WorkloadClass
from headrace.settings.serverless import WarmUpWindow

CONFIG_VERSION: Final = 1
UNKNOWN: Final = "unknown"
PERCENT: Final = 100
EnvironmentName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]


class PoolConfig(SettingsModel):
    """A deployed pool. Jurisdictions are sets, because a serverless pool can span regions; empty means unknown."""

    kind: Literal["dedicated", "serverless"]
    """Floor or overflow."""
    workload: Name
    """The workload it was made for."""
    release: Name
    """The model release it runs."""
    release_digest: str
    """Digest of the release's artifact; goes into every record."""
    url: str = Field(pattern=r"^https?://[A-Za-z0-9.:_\[\]-]+(/[A-Za-z0-9._/-]*)?$")
    """Base of its OpenAI API, up to and including /v1."""
    metrics_url: str | None = Field(default=None, pattern=r"^https?://[A-Za-z0-9.:_\[\]-]+(/[A-Za-z0-9._/-]*)?$")
    """Where its model servers' metrics are read, if they can be."""
    counted: bool = False
    """Whether `metrics_url` has an address for each model server, so that those which serve are counted there: they
    follow the nodes, and `instances` is only the most there can be."""
    credential_env: EnvironmentName | None = None
    """Environment variable that holds its bearer token."""
    credential_headers: dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]*$")], EnvironmentName] = Field(
        default_factory=dict
    )
    """Header -> environment variable that holds its whole value, for servers that want another than a bearer token."""
    served_model: str
    """Model name that its server expects."""
    provider: Literal["aws", "runpod", "modal"]
    """Who runs it."""
    gpu: str
    """GPU by the catalogue's name."""
    gpus_per_instance: int = Field(ge=1)
    """GPUs of one instance."""
    regions: tuple[str, ...]
    """Where it runs."""
    compute_jurisdictions: frozenset[str]
    """Jurisdictions of its compute."""
    ingress_jurisdictions: frozenset[str]
    """Jurisdictions that its requests pass on the way in."""
    storage_jurisdictions: frozenset[str]
    """Jurisdictions where it keeps anything."""
    instances: int = Field(ge=0)
    """Most instances (serverless) or model servers (dedicated)."""
    slots_per_instance: int = Field(ge=1)
    """Requests that one works on at once."""
    min_instances: int = Field(default=0, ge=0)
    """Instances that always run."""
    warm_up: tuple[WarmUpWindow, ...] = ()
    """Hours of the week with more."""
    idle_timeout_s: float = Field(default=60, ge=0)
    """Seconds after which an idle instance stops."""
    execution_timeout_s: float = Field(default=600, gt=0)
    """Seconds after which a request is cut off."""
    cold_start_s: float = Field(default=0, ge=0)
    """Expected seconds from nothing to the first token of a new instance, until observed."""
    expected_service_s: float = Field(default=5, gt=0)
    """Expected seconds of one request, until observed."""
    expected_first_token_s: float = Field(default=0.25, ge=0)
    """Expected seconds to the first token on a warm instance, until observed."""
    slowest_token_s: float = Field(default=0.25, gt=0)
    """Slowest acceptable time per token; with max_tokens it bounds a request's time and so its cost."""
    nano_usd_per_instance_second: int = Field(ge=0)
    """Price of one instance."""
    spend_ceiling_nano_usd_per_hour: int | None = Field(default=None, ge=0)
    """Most it may cost per hour."""
    first_byte_timeout_s: float = Field(default=60, gt=0)
    """Seconds without an answer after which a stream counts as hung; a cold start is added."""
    stall_timeout_s: float = Field(default=30, gt=0)
    """Seconds without a further byte after which a stream counts as hung."""
    max_request_tokens: int = Field(ge=0)
    """Longest prompt plus answer that fits beside the weights in GPU memory and in the server's context."""

    @property
    def dedicated(self) -> bool:
        """Whether it is part of the floor."""
        return self.kind == "dedicated"

    def credentials(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The headers that let a request in; those whose variable is not set are left out."""
        found = {header: environ[name] for header, name in self.credential_headers.items() if environ.get(name)}
        if self.credential_env is not None and environ.get(self.credential_env):
            found["Authorization"] = f"Bearer {environ[self.credential_env]}"
        return found

    @property
    def slots(self) -> int:
        """Most requests at once over all instances."""
        return self.instances * self.slots_per_instance


class WorkloadConfig(SettingsModel):
    """What may be asked for, and where it may go."""

    workload_class: WorkloadClass
    """What its users notice first."""
    release: Name
    """The release it runs."""
    allowed_jurisdictions: frozenset[str]
    """Jurisdictions that its residency allows; empty allows none."""
    time_to_first_token_s: float | None = Field(default=None, gt=0)
    """SLO; None for batch work."""
    context_tokens: int = Field(gt=0)
    """Longest prompt plus answer."""
    records_required: bool = False
    """Whether requests are refused while they cannot be recorded."""
    canary: dict[Name, float] = Field(default_factory=dict)
    """Release -> share of conversations in percent."""


class Spill(SettingsModel):
    """When work leaves the floor and comes back."""

    start_at: float = Field(gt=0, le=1)
    """Share of slots, or of KV cache, in use at which spilling starts."""
    stop_at: float = Field(ge=0, lt=1)
    """Share at which it stops."""
    minimum_stay_s: float = Field(ge=0)
    """Seconds that a phase lasts at least."""
    max_wait_s: float = Field(ge=0)
    """Longest that latency-sensitive work waits for the floor while it could spill."""
    signal_max_age_s: float = Field(gt=0)
    """Age from which on a scraped signal counts as unknown."""
    start_ahead: bool = True
    """Whether a serverless instance is started before the floor is full."""
    queue_per_slot: float = Field(default=2, ge=0)
    """Capacity of a pool's queue, in slots that those who wait will take, per slot; beyond it requests are refused at
    once."""
    patience_s: float = Field(default=10, gt=0)
    """Longest that a request waits when it may go nowhere else."""
    batch_patience_s: float = Field(default=120, gt=0)
    """The same for batch work."""


class Breaker(SettingsModel):
    """When a pool is left alone."""

    failures_in_a_row: int = Field(default=5, ge=1)
    """Failures in a row that open the circuit."""
    failure_share: float = Field(default=0.5, gt=0, le=1)
    """Share of failures in the last minute that opens it."""
    minimum_sample: int = Field(default=20, ge=1)
    """Least results in that minute."""
    open_s: float = Field(default=5, gt=0)
    """Seconds until the first probe; doubles with each failed probe, up to a minute."""


class CallerBreaker(SettingsModel):
    """When one caller is stopped because it repeats itself."""

    repeats: int = Field(default=20, ge=2)
    """Same or nearly same requests within the window that open it."""
    window_s: float = Field(default=60, gt=0)
    """Length of the window in seconds."""
    retries: int = Field(default=30, ge=2)
    """Failed answers within the window, while the caller goes on, that count as a retry storm."""
    abandoned: int = Field(default=30, ge=2)
    """Abandoned streams within the window that open it."""
    open_s: float = Field(default=30, gt=0)
    """Seconds that the caller is answered 429."""


class AuditTrail(SettingsModel):
    """How checkpoints of the journal are kept; which bucket stands in HEADRACE_AUDIT_BUCKET."""

    checkpoint_interval_s: float = Field(default=60, gt=0)
    """Seconds between two."""
    object_lock_mode: Literal["COMPLIANCE", "GOVERNANCE"] = "COMPLIANCE"
    """Object lock of each."""
    retention_days: int = Field(default=730, ge=1)
    """Days that the lock holds."""


class RouterConfig(SettingsModel):
    """The whole configuration of a router."""

    version: Literal[1]
    """Format of this file."""
    environment: Name
    """Environment of the stack."""
    region: str
    """Where the router runs."""
    jurisdiction: str
    """Jurisdiction of the router itself, its journal and its database."""
    price_version: str
    """Which prices these are."""
    pools: dict[Name, PoolConfig]
    """Pools by name."""
    workloads: dict[Name, WorkloadConfig]
    """Workloads by name; a request's model is one of them or one of their releases."""
    limits: Limits
    """Of the whole environment."""
    tenants: dict[Name, TenantConfig]
    """Tenants by name."""
    alert_thresholds: tuple[float, ...] = (0.5, 0.8, 1.0)
    """Shares of a budget at which somebody is told."""
    spill: Spill
    """When work leaves the floor."""
    spend_ceiling_nano_usd_per_hour: int | None = Field(default=None, ge=0)
    """Most that all serverless pools together may cost per hour."""
    provider_caps: dict[str, ProviderCap] = Field(default_factory=dict)
    """Account limits by provider."""
    proof_of_concept: float | None = Field(default=None, ge=0, le=1)
    """Share of conversations that may take serverless pools at all; None means all."""
    breaker: Breaker = Breaker()
    """When a pool is left alone."""
    caller_breaker: CallerBreaker = CallerBreaker()
    """When a caller is stopped."""
    audit: AuditTrail = AuditTrail()
    """How checkpoints of the journal are kept."""
    retry_budget: float = Field(default=0.1, ge=0, le=1)
    """Retries as a share of requests."""
    max_request_bytes: int = Field(default=2 * 1024 * 1024, ge=1024)
    """Largest request body."""
    drain_timeout_s: float = Field(default=120, gt=0)
    """Seconds that a stopping router gives its streams."""

    @model_validator(mode="after")
    def _names_exist(self) -> RouterConfig:
        for name, pool in self.pools.items():
            if pool.workload not in self.workloads:
                raise ValueError(f"pools.{name}.workload: there is no workload {pool.workload!r}")
        if self.spill.stop_at >= self.spill.start_at:
            raise ValueError("spill.stopAt: must be less than startAt, or the router would switch back and forth")
        for name, workload in self.workloads.items():
            if sum(workload.canary.values()) > PERCENT:
                raise ValueError(f"workloads.{name}.canary: shares add up to more than 100")
        return self

    @cached_property
    def policy_version(self) -> str:
        """Digest of this configuration; every record names it."""
        return f"sha256:{hashlib.sha256(to_json(self).encode()).hexdigest()}"

    @cached_property
    def candidates(self) -> dict[str, tuple[tuple[str, PoolConfig], ...]]:
        """Workload -> its own pools, floor first; batch work also sees other floors of its release."""
        found = {}
        for name, workload in self.workloads.items():
            own = [(key, pool) for key, pool in self.pools.items() if pool.workload == name]
            if workload.workload_class is WorkloadClass.BATCH:
                own += [
                    (key, pool)
                    for key, pool in self.pools.items()
                    if pool.workload != name and pool.dedicated and pool.release == workload.release
                ]
            found[name] = tuple(
                sorted(own, key=lambda item: (not item[1].dedicated, item[1].workload != name, item[0]))
            )
        return found

    @cached_property
    def limits_by_scope(self) -> dict[str, Limits]:
        """Scope -> limits, for every scope that exists."""
        return limits_by_scope(self.limits, self.tenants)

    @cached_property
    def kinds_by_scope(self) -> dict[str, tuple[tuple[str, str], ...]]:
        """Scope -> the limits that it has, as (kind, name in `totals`), those that free up soonest first."""
        return {
            scope: tuple((kind, f"{scope}/{kind}") for kind, _ in limits.by_kind())
            for scope, limits in self.limits_by_scope.items()
        }

    @cached_property
    def lawful(self) -> dict[str, frozenset[str]]:
        """Workload -> its candidates that lie, with the router itself, where its residency allows."""
        return {
            name: frozenset(
                key for key, pool in self.candidates[name] if self.within(pool, workload.allowed_jurisdictions)
            )
            for name, workload in self.workloads.items()
        }

    def within(self, pool: PoolConfig, allowed: frozenset[str]) -> bool:
        """Whether a pool lies wholly in `allowed`, and the router too: it reads the prompt, its journal is beside it.

        A place that is not known lies outside.
        """
        places = (pool.compute_jurisdictions, pool.ingress_jurisdictions, pool.storage_jurisdictions)
        return all(place and place <= allowed for place in places) and self.jurisdiction in allowed

    @cached_property
    def totals(self) -> dict[str, int]:
        """Every divisible limit by name: what all replicas together may use (see `leases`)."""
        totals: dict[str, int] = {}
        for name, pool in self.pools.items():
            totals[f"pool/{name}/{'slots' if pool.dedicated else 'instances'}"] = (
                pool.slots if pool.dedicated else pool.instances
            )
            if pool.spend_ceiling_nano_usd_per_hour is not None:
                totals[f"pool/{name}/spend"] = pool.spend_ceiling_nano_usd_per_hour
        if self.spend_ceiling_nano_usd_per_hour is not None:
            totals["serverless/spend"] = self.spend_ceiling_nano_usd_per_hour
        for provider, cap in self.provider_caps.items():
            totals |= {f"provider/{provider}/{kind}": value for kind, value in cap.by_kind()}
        for scope, limits in self.limits_by_scope.items():
            totals |= {f"{scope}/{kind}": value for kind, value in limits.by_kind()}
        return totals


def to_json(config: RouterConfig) -> str:
    """The configuration as canonical JSON: sorted keys, sets as sorted lists."""
    document = config.model_dump(mode="json", by_alias=True)
    return json.dumps(_sorted_sets(document), sort_keys=True, indent=2) + "\n"


def _sorted_sets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: sorted(item) if key.endswith("Jurisdictions") else _sorted_sets(item) for key, item in value.items()
        }
    return [_sorted_sets(item) for item in value] if isinstance(value, list) else value


def from_json(text: str | bytes, *, where: str = "--config") -> RouterConfig:
    """The configuration in `text`. Raises `Refused` with every problem."""
    try:
        document = json.loads(text)
    except (ValueError, UnicodeDecodeError, RecursionError) as error:
        raise refuse(where, None, f"it is not JSON ({error})", next_step="render it again from the settings") from None
    try:
        return RouterConfig.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        raise Refused(
            *(
                Problem(
                    path=".".join(map(str, item["loc"])) or where,
                    value=None,
                    rule=item["msg"].removeprefix("Value error, "),
                    reason="",
                    next_step="render the configuration again, or correct it there",
                )
                for item in error.errors(include_url=False, include_input=False)
            )
        ) from None
