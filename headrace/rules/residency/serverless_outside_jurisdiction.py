"""Serverless compute outside of the residency.

**What.** Every region or data centre of a serverless pool lies where its workload's data may be, and there is at
least one: an empty list means anywhere. RunPod treats data centres as a preference, so sensitive work needs a place
that is certain.

**Why.** Overflow carries the same prompts as the floor.

**Passes.** Modal regions in the residency; RunPod data centres in it for classifications that tolerate a preference.

**Violates.** No region; a region elsewhere; RunPod for a classification of `certainPlaceFor` (there the vendor's
choice of data centre is not guaranteed); an endpoint by hand without data centres, or with some outside of the
residency.

**Undecidable when** a region of an endpoint or app is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules import places, serverless_pools, tables
from headrace.rules.finding import Severity
from headrace.rules.graph import Resource, Unknown
from headrace.rules.rule import Broken, Parameter, Rule, Said, View, undecided


def check(view: View) -> Iterator[Said]:
    """Pools of the settings, then what was composed by hand."""
    certain = view.words("certainPlaceFor")
    for pool in serverless_pools.pools(view):
        provider, permitted = pool.provider, tables.allowed(pool.residency)
        if not pool.regions:
            yield Broken(resource=pool.where, sentence="it names no region, so it may run anywhere in the world")
        for region in pool.regions:
            place = tables.serverless_place(provider, region)
            if place not in permitted:
                yield Broken(
                    resource=pool.where,
                    sentence=f"{region} lies in {place or 'an unknown jurisdiction'}, outside of the residency of "
                    f"{pool.workload} ({', '.join(pool.residency)})",
                )
        if provider == "runpod" and pool.classification in certain:
            yield Broken(
                resource=pool.where,
                sentence=f"RunPod's data centres are a preference, not a guarantee, and {pool.workload} is "
                f"{pool.classification}",
                remediation="serve it from Modal with a pinned region or from the dedicated half, or have it waived",
            )
    permitted_here = places.allowed(view)
    for one in serverless_pools.by_hand(view, serverless_pools.ENDPOINT):
        yield from _listed(one, "dataCenterIds", "runpod", permitted_here)
    for one in serverless_pools.by_hand(view, serverless_pools.APP):
        yield from _listed(one, "regions", "modal", permitted_here)


def _listed(one: Resource, name: str, provider: str, permitted: frozenset[str] | None) -> Iterator[Said]:
    value = one.get(name)
    if isinstance(value, Unknown):
        yield undecided(one.urn, value, "where it runs")
        return
    if not value:
        yield Broken(resource=one.urn, sentence=f"{name} is empty, so it may run anywhere in the world")
    for region in value or ():
        if isinstance(region, Unknown):
            yield undecided(one.urn, region, "where it runs")
            continue
        place = tables.serverless_place(provider, str(region))
        if place is None or (permitted is not None and place not in permitted):
            yield Broken(
                resource=one.urn,
                sentence=f"{name} names {region}, in {place or 'an unknown jurisdiction'}, outside of the residency",
            )


RULE: Final = Rule(
    id="serverless-outside-jurisdiction",
    severity=Severity.CRITICAL,
    title="Serverless compute outside of the residency",
    description="Serverless pools run in named places where their workload's data may be.",
    remediation="set `regions` to places within the workload's residency",
    references=("GDPR chapter V, articles 44 to 49", "SOC 2 C1.1"),
    reads=("settings", serverless_pools.ENDPOINT, serverless_pools.APP, "platform"),
    since="0.1.0",
    early=("headrace:index:HybridPlatform", serverless_pools.ENDPOINT, serverless_pools.APP),
    parameters=(
        Parameter(
            name="certainPlaceFor",
            description="Classifications for which a preferred place is not enough.",
            default=("confidential", "restricted"),
        ),
    ),
    check=check,
)
