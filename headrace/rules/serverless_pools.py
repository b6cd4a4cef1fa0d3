"""The serverless half as rules see it: pools by facts or settings, and endpoints and apps composed by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from headrace.rules.facts import ReleaseFacts, ServerlessPoolFacts
from headrace.rules.graph import Resource
from headrace.rules.rule import View

if TYPE_CHECKING:
    from headrace.settings.releases import ModelRelease, Workload
    from headrace.settings.serverless import ServerlessPool

ENDPOINT: Final = "headrace:runpod:Endpoint"
APP: Final = "headrace:modal:App"
COMPONENT: Final = "headrace:index:ServerlessEndpoint"


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A serverless pool with the workload that it serves. `where` is what a finding is about; `gpus` are all that an
    instance may get; `warm_minimum` is the most minimum instances of any warm-up window."""

    where: str
    name: str
    provider: str
    gpus: tuple[str, ...]
    gpu_count: int
    min_instances: int
    max_instances: int
    concurrency: int
    idle_timeout_s: int
    execution_timeout_s: int
    regions: tuple[str, ...]
    ingress_region: str | None
    warm_minimum: int
    warm_up_lead_time_s: int
    workload: str
    workload_class: str
    classification: str
    residency: tuple[str, ...]
    context_tokens: int
    release_name: str
    release: ReleaseFacts | ModelRelease


def pools(view: View) -> Iterator[Pool]:
    """Every serverless pool: by its facts where its component is registered, else by settings."""
    registered = set()
    for resource, facts in view.graph.records(ServerlessPoolFacts):
        registered.add(facts.name)
        yield _of_facts(resource, facts)
    if view.settings is None:
        return
    for name, pool in view.settings.serverless_pools.items():
        if name in registered or pool.workload not in view.settings.workloads:
            continue
        workload = view.settings.workload_of(pool)
        release = view.settings.releases.get(workload.release)
        if release is not None:
            yield _of_settings(name, pool, workload, release)


def _of_facts(resource: Resource, facts: ServerlessPoolFacts) -> Pool:
    return Pool(
        where=resource.urn,
        name=facts.name,
        provider=facts.provider,
        gpus=facts.gpus,
        gpu_count=facts.gpu_count,
        min_instances=facts.min_instances,
        max_instances=facts.max_instances,
        concurrency=facts.concurrency_per_instance,
        idle_timeout_s=facts.idle_timeout_s,
        execution_timeout_s=facts.execution_timeout_s,
        regions=facts.regions,
        ingress_region=facts.ingress_region,
        warm_minimum=max((window.min_instances for window in facts.warm_up), default=0),
        warm_up_lead_time_s=facts.warm_up_lead_time_s,
        workload=facts.workload.name,
        workload_class=facts.workload.workload_class,
        classification=facts.workload.data_classification,
        residency=facts.workload.residency,
        context_tokens=facts.workload.context_tokens,
        release_name=facts.release.name,
        release=facts.release,
    )


def _of_settings(name: str, pool: ServerlessPool, workload: Workload, release: ModelRelease) -> Pool:
    return Pool(
        where=f"settings:serverlessPools.{name}",
        name=name,
        provider=pool.provider.value,
        gpus=(pool.gpu, *pool.gpu_fallbacks),
        gpu_count=pool.gpu_count,
        min_instances=pool.min_instances,
        max_instances=pool.max_instances,
        concurrency=pool.concurrency_per_instance,
        idle_timeout_s=pool.idle_timeout_s,
        execution_timeout_s=pool.execution_timeout_s,
        regions=tuple(pool.regions),
        ingress_region=pool.ingress_region,
        warm_minimum=max((window.min_instances for window in pool.warm_up), default=0),
        warm_up_lead_time_s=pool.warm_up_lead_time_s,
        workload=pool.workload,
        workload_class=workload.workload_class.value,
        classification=workload.data_classification.value,
        residency=tuple(workload.residency),
        context_tokens=workload.context_tokens,
        release_name=workload.release,
        release=release,
    )


def by_hand(view: View, type_: str) -> Iterator[Resource]:
    """Resources of a type that no Headrace component made: those are judged as pools."""
    for one in view.graph.of(type_):
        if not view.graph.vouched(one.urn):
            yield one
