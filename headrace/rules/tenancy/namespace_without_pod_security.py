"""Namespace without pod security.

**What.** Every tenant namespace enforces a Pod Security level that the environment allows.

**Why.** A privileged pod owns its node, and every other tenant's pods on it.

**Passes.** The label `pod-security.kubernetes.io/enforce` with an allowed level.

**Violates.** No label, or `privileged`.

**Undecidable when** the labels are not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules.finding import Severity
from headrace.rules.graph import Unknown
from headrace.rules.rule import Broken, Parameter, Rule, Said, Scope, View, undecided
from headrace.rules.tenancy.namespace_guards import NAMESPACE, tenant_namespaces

_LABEL: Final = "pod-security.kubernetes.io/enforce"


def check(view: View) -> Iterator[Said]:
    """The label of every tenant namespace."""
    for one, name in tenant_namespaces(view):
        labels = one.at("metadata.labels")
        level = labels if isinstance(labels, Unknown) else (labels or {}).get(_LABEL)
        if isinstance(level, Unknown):
            yield undecided(one.urn, level, "which pods it lets in")
        elif level not in view.words("levels"):
            yield Broken(resource=one.urn, sentence=f"the namespace {name} has {_LABEL}: {level}")


RULE: Final = Rule(
    id="namespace-without-pod-security",
    severity=Severity.HIGH,
    title="Namespace without pod security",
    description="Every tenant namespace enforces a Pod Security level.",
    remediation=f"label it {_LABEL}: restricted, or use TenantSpace",
    references=("CIS Amazon EKS Benchmark 4.2.1", "SOC 2 CC6.1"),
    reads=(NAMESPACE,),
    since="0.1.0",
    scope=Scope.RESOURCE,
    parameters=(Parameter(name="levels", description="Levels that are enough.", default=("restricted", "baseline")),),
    check=check,
)
