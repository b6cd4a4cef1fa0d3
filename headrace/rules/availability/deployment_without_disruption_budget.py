"""Replicas that a drain may take all at once.

**What.** Every Deployment and StatefulSet with two replicas or more, outside of system namespaces, has a disruption
budget that selects it.

**Why.** An upgrade of the nodes would evict all replicas together.

**Passes.** A PodDisruptionBudget in the namespace whose labels the pods carry.

**Violates.** None.

**Undecidable when** a budget's selector or the namespace is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from headrace.rules import pods
from headrace.rules.finding import Severity
from headrace.rules.graph import Resource, Unknown, leaves
from headrace.rules.rule import Broken, Rule, Said, View, undecided

_BUDGET: Final = "kubernetes:policy/v1:PodDisruptionBudget"
_WORKLOADS: Final = ("kubernetes:apps/v1:Deployment", "kubernetes:apps/v1:StatefulSet")


def check(view: View) -> Iterator[Said]:
    """Every workload against every budget."""
    budgets = view.graph.of(_BUDGET)
    for type_ in _WORKLOADS:
        for one in view.graph.of(type_):
            replicas = one.at("spec.replicas")
            labels = one.at("spec.template.metadata.labels")
            if isinstance(replicas, Unknown):
                yield undecided(one.urn, replicas, "how many replicas it has")
            elif isinstance(replicas, int | float) and replicas >= 2:
                answers = [_selects(budget, one, labels) for budget in budgets]
                unknown = next((answer for answer in answers if isinstance(answer, Unknown)), None)
                if True in answers:
                    continue
                if unknown is not None:
                    yield undecided(one.urn, unknown, "whether a disruption budget selects it")
                else:
                    yield Broken(resource=one.urn, sentence=f"no disruption budget selects its {replicas:g} replicas")


def _selects(budget: Resource, one: Resource, labels: Any) -> bool | Unknown:
    theirs, ours = pods.namespace_of(budget), pods.namespace_of(one)
    if isinstance(theirs, str) and isinstance(ours, str) and theirs != ours:
        return False
    wanted = budget.at("spec.selector.matchLabels")
    for value in (wanted, labels, *(leaf for _, leaf in leaves([wanted, labels]))):
        if isinstance(value, Unknown):
            return value
    if not isinstance(wanted, Mapping) or not isinstance(labels, Mapping):
        return False
    return all(labels.get(key) == value for key, value in wanted.items())


RULE: Final = Rule(
    id="deployment-without-disruption-budget",
    severity=Severity.MEDIUM,
    title="Deployment without disruption budget",
    description="Replicated workloads have a disruption budget.",
    remediation="add a PodDisruptionBudget with maxUnavailable: 1 that selects its pods",
    references=("SOC 2 A1.2",),
    reads=(*_WORKLOADS, _BUDGET),
    since="0.1.0",
    check=check,
)
