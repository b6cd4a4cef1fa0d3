"""A router that is a single point of failure.

**What.** The router has at least `minReplicas` replicas by settings, and its pods ask for at least two zones, whoever
declared them: a component's facts and every workload on the router's nodes are looked at. Its nodes are as many as its
zones, and a disruption budget holds its replicas.

**Why.** Every request passes through it.

**Passes.** Two replicas or more, spread over two zones or more.

**Violates.** One replica; one zone; no spread over zones; no disruption budget.

**Undecidable when** the replicas of a workload on the router's nodes are not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from headrace.rules import pods
from headrace.rules.facts import RouterFacts
from headrace.rules.finding import Severity
from headrace.rules.graph import Resource, Unknown, leaves
from headrace.rules.rule import Broken, Parameter, Rule, Said, View, undecided

_ZONE: Final = "topology.kubernetes.io/zone"


def check(view: View) -> Iterator[Said]:
    """The router's settings, what its component registered, and what runs on its nodes."""
    least = view.number("minReplicas")
    if view.settings is not None and view.settings.router.min_replicas < least:
        yield Broken(
            resource="settings:router.minReplicas",
            sentence=f"it is {view.settings.router.min_replicas}, at least {least:g} are needed",
        )
    for component, facts in view.graph.records(RouterFacts):
        wanted = {
            f"it has {least:g} replicas": facts.min_replicas >= least,
            "it has two zones": len(facts.zones) >= 2,
            "its replicas are spread over zones": facts.spread_over_zones,
            "it has a node for each zone": facts.nodes >= len(facts.zones),
            "a disruption budget holds its replicas": facts.disruption_budget,
        }
        for what, holds in wanted.items():
            if not holds:
                yield Broken(resource=component.urn, sentence=f"it does not hold that {what}")
    for workload, spec in pods.of_the_router(view.graph):
        if not workload.type.startswith("kubernetes:batch/"):  # a job that migrates the database serves nobody
            yield from _workload(workload, spec, least)


def _workload(workload: Resource, spec: Mapping[str, Any], least: float) -> Iterator[Said]:
    replicas = workload.at("spec.replicas")
    if isinstance(replicas, Unknown):
        yield undecided(workload.urn, replicas, "how many replicas of the router there are")
    elif isinstance(replicas, int | float) and replicas < least:
        yield Broken(resource=workload.urn, sentence=f"it has {replicas:g} replicas, at least {least:g} are needed")
    spread = {value for _, value in leaves([spec.get("topologySpreadConstraints"), spec.get("affinity")])}
    if _ZONE not in spread and not any(isinstance(value, Unknown) for value in spread):
        yield Broken(resource=workload.urn, sentence="nothing spreads its replicas over zones")


RULE: Final = Rule(
    id="router-not-redundant",
    severity=Severity.HIGH,
    title="Router not redundant",
    description="The router has replicas in several zones.",
    remediation="set router.minReplicas to two or more and give the network two zones or more",
    references=("SOC 2 A1.2",),
    reads=("settings", "router", *pods.KINDS),
    since="0.1.0",
    early=("headrace:index:HybridPlatform", "headrace:index:Router", *pods.KINDS),
    parameters=(Parameter(name="minReplicas", description="Least replicas.", default=2, minimum=1, maximum=100),),
    check=check,
)
