"""Requests that enter a serverless provider outside of the residency.

**What.** A Modal pool says where requests enter (`ingressRegion`), and that place is in the residency. RunPod offers no
choice, so it is refused for sensitive classifications.

**Why.** A pinned container region is no use if the request passes through another jurisdiction on its way: Modal routes
through the United States unless told otherwise.

**Passes.** `ingressRegion` within the residency.

**Violates.** No `ingressRegion` on Modal; one elsewhere; RunPod for a classification of `knownIngressFor`.

**Undecidable when** the routing region of an app by hand is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules import places, serverless_pools, tables
from headrace.rules.finding import Severity
from headrace.rules.graph import Unknown
from headrace.rules.rule import Broken, Parameter, Rule, Said, View, undecided


def check(view: View) -> Iterator[Said]:
    """Pools of the settings, then apps by hand."""
    for pool in serverless_pools.pools(view):
        permitted = tables.allowed(pool.residency)
        if "US" in permitted and pool.ingress_region is None and pool.provider == "modal":
            continue  # the vendor's default lies there
        if pool.provider == "modal":
            place = tables.routing_place(pool.ingress_region) if pool.ingress_region else "US"
            if place not in permitted:
                entered = pool.ingress_region or "the vendor's default, because ingressRegion is unset"
                yield Broken(
                    resource=pool.where,
                    sentence=f"requests enter in {place or 'an unknown jurisdiction'} ({entered}), outside of the "
                    f"residency of {pool.workload} ({', '.join(pool.residency)})",
                )
        elif pool.classification in view.words("knownIngressFor"):
            yield Broken(
                resource=pool.where,
                sentence=f"where RunPod takes requests in can't be chosen, and {pool.workload} is "
                f"{pool.classification}",
                remediation="serve it from Modal with an ingressRegion or from the dedicated half, or have it waived",
            )
    permitted_here = places.allowed(view)
    for app in serverless_pools.by_hand(view, serverless_pools.APP):
        region = app.get("routingRegion")
        if isinstance(region, Unknown):
            yield undecided(app.urn, region, "where its requests enter")
            continue
        place = tables.routing_place(region) if region else "US"
        if region is None or place is None or (permitted_here is not None and place not in permitted_here):
            yield Broken(
                resource=app.urn,
                sentence=f"requests enter in {place or 'an unknown jurisdiction'}: routingRegion is {region}",
            )


RULE: Final = Rule(
    id="ingress-outside-jurisdiction",
    severity=Severity.CRITICAL,
    title="Ingress outside of the residency",
    description="Requests enter serverless providers where the workload's data may be.",
    remediation="set `ingressRegion` to a routing region within the workload's residency",
    references=("GDPR chapter V, articles 44 to 49", "SOC 2 C1.1"),
    reads=("settings", serverless_pools.APP, "platform"),
    since="0.1.0",
    early=("headrace:index:HybridPlatform", serverless_pools.APP),
    parameters=(
        Parameter(
            name="knownIngressFor",
            description="Classifications whose requests may only enter where it is known.",
            default=("confidential", "restricted"),
        ),
    ),
    check=check,
)
