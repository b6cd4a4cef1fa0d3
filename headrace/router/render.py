"""`render(settings, deployed, …) -> RouterConfig`. Pure: what the stack says and what was deployed, joined once.

Nothing about pools is written twice: URLs come from what was deployed, all else from the settings and the catalogue,
so prices, caps and residency can't disagree with the stack.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_CEILING, Decimal
from typing import Final

from headrace.catalog import load
from headrace.catalog.price import MachinePrice, PriceBook
from headrace.errors import refuse
from headrace.router.config import (
    CONFIG_VERSION,
    AuditTrail,
    Breaker,
    CallerBreaker,
    PoolConfig,
    RouterConfig,
    Spill,
    WorkloadConfig,
)
from headrace.router.limits import Limits, ProviderCap, TenantConfig
from headrace.router.types import NANO
from headrace.settings.fit import memory_fit
from headrace.settings.releases import DataClassification, ModelRelease, Workload
from headrace.settings.serverless import ServerlessPool, ServerlessProvider
from headrace.settings.tenants import TrafficLimits
from headrace.settings.tree import Settings

_KIB_PER_GIB: Final = 1024 * 1024
_HOUR_S: Final = 3600
# Where the vendor's own front takes requests when nothing else is chosen. RunPod: one global API host, operated from
# the United States, no region to choose (docs.runpod.io, endpoints overview, 2026-11-21; not confirmed by the vendor).
# Modal: us-east for servers unless a routing region is set (modal.com/docs/guide/region-selection, 2026-11-21).
_DEFAULT_INGRESS: Final = {ServerlessProvider.RUNPOD: "US", ServerlessProvider.MODAL: "US"}
# Expected start of a serverless instance until one was observed: container and engine start, then weights over the
# network at half a GiB a second. An assumption; the router replaces it by what it measures.
_START_S: Final = 20.0
_WEIGHTS_GIB_PER_S: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """What only the deployment knows of a pool."""

    url: str
    metrics_url: str | None = None
    credential_env: str | None = None
    credential_headers: Mapping[str, str] = field(default_factory=dict)
    """Header -> environment variable that holds its value."""
    served_model: str | None = None
    instances: int | None = None
    """Model servers that run; None means as many as the settings say."""


def render(settings: Settings, deployed: Mapping[str, Deployed], *, prices: PriceBook, day: date) -> RouterConfig:
    """The router's configuration. Refuses a pool that the settings don't know and a price that doesn't exist."""
    for name in deployed:
        if name not in settings.dedicated_pools and name not in settings.serverless_pools:
            raise refuse(
                f"deployed.{name}", None, "no pool of the settings has this name", next_step="deploy the stack again"
            )
    used: list[str] = []
    pools = {
        name: _dedicated(name, settings, deployed[name], prices, day, used)
        for name in settings.dedicated_pools
        if name in deployed
    }
    pools |= {
        name: _serverless(name, settings, deployed[name], prices, day, used)
        for name in settings.serverless_pools
        if name in deployed
    }
    router = settings.router
    ceiling = router.spend_ceiling_usd_per_hour
    share = router.proof_of_concept_percent
    return RouterConfig(
        version=CONFIG_VERSION,
        environment=settings.environment,
        region=settings.region,
        jurisdiction=load.aws_regions()[settings.region].jurisdiction,
        price_version=_price_version(used, day),
        pools=pools,
        workloads={name: _workload(name, workload, settings) for name, workload in settings.workloads.items()},
        limits=Limits(budget_nano_usd=_nano(settings.budgets.environment_usd_per_month)),
        tenants={
            name: TenantConfig(
                limits=_limits(tenant.budget_usd_per_month, tenant.limits),
                projects={
                    key: _limits(project.budget_usd_per_month, project.limits)
                    for key, project in tenant.projects.items()
                },
            )
            for name, tenant in settings.tenants.items()
        },
        alert_thresholds=tuple(percent / 100 for percent in settings.budgets.alert_thresholds_percent),
        spill=Spill(
            start_at=router.spill.start_at_percent / 100,
            stop_at=router.spill.stop_at_percent / 100,
            minimum_stay_s=router.spill.minimum_stay_s,
            max_wait_s=router.spill.max_wait_ms / 1000,
            signal_max_age_s=router.spill.signal_max_age_s,
            start_ahead=router.spill.start_ahead,
        ),
        spend_ceiling_nano_usd_per_hour=_nano(ceiling) if ceiling is not None else None,
        provider_caps=_caps(settings),
        proof_of_concept=share / 100 if share is not None else None,
        breaker=Breaker(
            failures_in_a_row=router.breaker.failures_in_a_row,
            failure_share=router.breaker.failure_percent / 100,
            minimum_sample=router.breaker.minimum_sample,
            open_s=router.breaker.open_s,
        ),
        caller_breaker=CallerBreaker(**router.caller_breaker.model_dump()),
        audit=AuditTrail(
            checkpoint_interval_s=settings.audit.checkpoint_interval_s,
            object_lock_mode="COMPLIANCE" if settings.audit.object_lock_mode.value == "compliance" else "GOVERNANCE",
            retention_days=settings.audit.retention_days,
        ),
        retry_budget=router.retry_budget_percent / 100,
        max_request_bytes=router.max_request_kib * 1024,
        drain_timeout_s=router.drain_timeout_s,
    )


def _nano(usd: float | Decimal) -> int:
    """Nano-dollars of an amount that is written in decimals."""
    return int(Decimal(str(usd)) * NANO)


def _limits(usd_per_month: float, limits: TrafficLimits) -> Limits:
    return Limits(
        budget_nano_usd=_nano(usd_per_month),
        requests_per_minute=limits.requests_per_minute,
        tokens_per_minute=limits.tokens_per_minute,
        parallel_requests=limits.parallel_requests,
    )


def _workload(name: str, workload: Workload, settings: Settings) -> WorkloadConfig:
    return WorkloadConfig(
        workload_class=workload.workload_class,
        release=workload.release,
        allowed_jurisdictions=load.allowed_jurisdictions(workload.residency),
        time_to_first_token_s=workload.slo.time_to_first_token_ms / 1000 if workload.slo else None,
        context_tokens=workload.context_tokens,
        records_required=workload.data_classification
        in (DataClassification.CONFIDENTIAL, DataClassification.RESTRICTED),
        canary=settings.router.canary_percent.get(name, {}),
    )


def _room(release: ModelRelease, gpu: str, gpus: int) -> int:
    """Longest prompt plus answer beside the weights on `gpus` of a kind, at most the server's context."""
    fit = memory_fit(
        gpu_memory_gib=load.gpus()[gpu].memory_gib,
        tensor_parallel=gpus,
        weights_gib=release.weights_gib,
        kv_cache_kib_per_token=release.kv_cache_kib_per_token,
        context_tokens=1,
    )
    free = int((fit.usable_gib - fit.weights_gib) * _KIB_PER_GIB / release.kv_cache_kib_per_token)
    return max(0, min(free, release.max_context_tokens))


def _dedicated(
    name: str, settings: Settings, deployed: Deployed, prices: PriceBook, day: date, used: list[str]
) -> PoolConfig:
    pool = settings.dedicated_pools[name]
    workload = settings.workload_of(pool)
    release = settings.releases[workload.release]
    instance = load.instance_types()[pool.instance_type]
    per_node = instance.gpu_count // release.tensor_parallel
    price = _machine(name, settings, prices, day)
    used.append(f"{price.row.name}/{price.region}={price.usd_per_hour}/hour")
    here = frozenset({load.aws_regions()[settings.region].jurisdiction})
    counted = deployed.metrics_url is not None
    # Where model servers follow the nodes, the most there can be: how many there are is counted.
    nodes = pool.ceiling_nodes if counted and pool.follows_nodes else pool.floor_nodes
    replicas = pool.replicas if pool.replicas is not None else nodes * per_node
    return PoolConfig(
        kind="dedicated",
        workload=pool.workload,
        release=workload.release,
        release_digest=release.artifact_digest,
        url=deployed.url,
        metrics_url=deployed.metrics_url,
        counted=counted,
        credential_env=deployed.credential_env,
        credential_headers=dict(deployed.credential_headers),
        served_model=deployed.served_model or pool.workload,
        provider="aws",
        gpu=instance.gpu,
        gpus_per_instance=release.tensor_parallel,
        regions=(settings.region,),
        compute_jurisdictions=here,
        ingress_jurisdictions=here,
        storage_jurisdictions=here,
        instances=deployed.instances if deployed.instances is not None else replicas,
        slots_per_instance=pool.slots_per_replica,
        # a replica's share of the machine: GPUs that no replica can use are paid for too
        nano_usd_per_instance_second=_per_second(price.usd_per_hour / per_node),
        max_request_tokens=_room(release, instance.gpu, release.tensor_parallel),
    )


def _machine(name: str, settings: Settings, prices: PriceBook, day: date) -> MachinePrice:
    """Price of a dedicated pool's machines. Refused where there is none."""
    kind = settings.dedicated_pools[name].instance_type
    price = prices.machine(kind, settings.region, day)
    if price is None:
        raise refuse(
            f"dedicatedPools.{name}.instanceType",
            kind,
            f"must have an on-demand price on {day}",
            reason="the catalogue has none, and a missing price is never taken for zero",
            next_step="take another type, or add a row of aws on-demand for its GPU to your own price file (--prices)",
        )
    return price


def _per_second(usd_per_hour: Decimal) -> int:
    """Nano-dollars per second, rounded up, so that a ceiling is never missed by rounding."""
    return int((usd_per_hour * NANO / _HOUR_S).to_integral_value(rounding=ROUND_CEILING))


def _serverless(
    name: str, settings: Settings, deployed: Deployed, prices: PriceBook, day: date, used: list[str]
) -> PoolConfig:
    pool = settings.serverless_pools[name]
    workload = settings.workload_of(pool)
    release = settings.releases[workload.release]
    gpus = [pool.gpu, *pool.gpu_fallbacks]
    rows = [prices.find(pool.provider.value, gpu, "flex", day) for gpu in gpus]
    used += [f"{row.name}={row.usd}/{row.per.value}" for row in rows]
    dearest = max(row.usd_per_hour for row in rows) * pool.gpu_count * _region_factor(pool, prices)
    ceiling = settings.router.pool_spend_ceilings_usd_per_hour.get(name)
    compute = _compute(pool)
    return PoolConfig(
        kind="serverless",
        workload=pool.workload,
        release=workload.release,
        release_digest=release.artifact_digest,
        url=deployed.url,
        metrics_url=deployed.metrics_url,
        credential_env=deployed.credential_env,
        credential_headers=dict(deployed.credential_headers),
        served_model=deployed.served_model or pool.workload,
        provider=pool.provider.value,
        gpu=pool.gpu,
        gpus_per_instance=pool.gpu_count,
        regions=tuple(pool.regions),
        compute_jurisdictions=compute,
        ingress_jurisdictions=_ingress(pool),
        storage_jurisdictions=compute,
        instances=deployed.instances if deployed.instances is not None else pool.max_instances,
        slots_per_instance=pool.concurrency_per_instance,
        min_instances=pool.min_instances,
        warm_up=tuple(pool.warm_up),
        idle_timeout_s=pool.idle_timeout_s,
        execution_timeout_s=pool.execution_timeout_s,
        cold_start_s=_START_S + release.weights_gib / _WEIGHTS_GIB_PER_S,
        nano_usd_per_instance_second=_per_second(dearest),
        spend_ceiling_nano_usd_per_hour=_nano(ceiling) if ceiling is not None else None,
        max_request_tokens=min(_room(release, gpu, pool.gpu_count) for gpu in gpus),
    )


def _compute(pool: ServerlessPool) -> frozenset[str]:
    """Jurisdictions of the regions named; none named means anywhere, which no residency allows."""
    table = load.runpod_data_centers() if pool.provider is ServerlessProvider.RUNPOD else load.modal_regions()
    if any(region not in table for region in pool.regions):
        return frozenset()
    return frozenset(table[region].jurisdiction for region in pool.regions)


def _ingress(pool: ServerlessPool) -> frozenset[str]:
    """Jurisdictions that requests pass. RunPod has no region to choose: what a pool of it names there means nothing."""
    if pool.ingress_region is None or pool.provider is ServerlessProvider.RUNPOD:
        return frozenset({_DEFAULT_INGRESS[pool.provider]})
    place = load.modal_routing_regions().get(pool.ingress_region)
    return frozenset({place.jurisdiction}) if place is not None else frozenset()


def _region_factor(pool: ServerlessPool, prices: PriceBook) -> Decimal:
    """What pinning regions adds to the price."""
    if not pool.regions:
        return Decimal(1)
    rules = prices.rules(pool.provider.value)
    if pool.provider is ServerlessProvider.MODAL and any(
        load.modal_regions()[region].breadth == "narrow" for region in pool.regions if region in load.modal_regions()
    ):
        return rules.narrow_region_multiplier
    return rules.region_multiplier


def _caps(settings: Settings) -> dict[str, ProviderCap]:
    """Account limits: the settings', else the catalogue's defaults. An enterprise plan without a number has no cap."""
    runpod, modal = settings.limits.runpod, settings.limits.modal
    defaults = load.provider_limits()
    spend = runpod.spend_usd_per_hour
    if spend is None and (row := defaults.get("runpod")) is not None and row.spend_usd_per_hour is not None:
        spend = float(row.spend_usd_per_hour)
    gpus = modal.concurrent_gpus
    if gpus is None and (row := defaults.get(f"modal-{modal.plan.value}")) is not None:
        gpus = row.max_concurrent_gpus
    return {
        "runpod": ProviderCap(
            instances=runpod.workers_total, nano_usd_per_hour=_nano(spend) if spend is not None else None
        ),
        "modal": ProviderCap(gpus=gpus),
    }


def _price_version(used: list[str], day: date) -> str:
    """Names the prices used: the day and a digest of the rows."""
    rows = "\n".join(sorted(set(used)))
    return f"{day.isoformat()}/{hashlib.sha256(rows.encode()).hexdigest()[:16]}"
