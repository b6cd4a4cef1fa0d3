"""Which namespaces belong to tenants, and what guards them: shared by the rules of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules import pods
from headrace.rules.finding import Severity
from headrace.rules.graph import Resource, Unknown
from headrace.rules.rule import Broken, Rule, Said, Undecided, View

NAMESPACE: Final = "kubernetes:core/v1:Namespace"
# Namespaces of Kubernetes itself, and those that Headrace marks as the platform's own.
_SYSTEM: Final = ("kube-system", "kube-public", "kube-node-lease", "default")
ROLE: Final = "headrace.dev/role"
POOL: Final = "headrace.dev/pool"


def tenant_namespaces(view: View) -> Iterator[tuple[Resource, str]]:
    """Namespaces that are neither Kubernetes' nor the platform's, with their names."""
    for one in view.graph.of(NAMESPACE):
        labels = one.at("metadata.labels")
        marks = labels if isinstance(labels, dict) else {}
        name = pods.name_of(one)
        if isinstance(name, str) and name not in _SYSTEM and ROLE not in marks and POOL not in marks:
            yield one, name


def missing(view: View, type_: str, what: str) -> Iterator[Said]:
    """Tenant namespaces in which no object of a type lies."""
    placed: set[str] = set()
    loose = None
    for one in view.graph.of(type_):
        namespace = pods.namespace_of(one)
        if isinstance(namespace, Unknown):
            sources = view.graph.sources(one, "metadata", NAMESPACE)
            placed |= {str(pods.name_of(source)) for source in sources}
            loose = loose if sources else (one, namespace)
        else:
            placed.add(str(namespace))
    for namespace_resource, name in tenant_namespaces(view):
        if name in placed:
            continue
        if loose is not None:
            one, value = loose
            yield Undecided(
                resource=namespace_resource.urn, what=f"whether it has {what}", value=f"{value.path} of {one.name}"
            )
        else:
            yield Broken(resource=namespace_resource.urn, sentence=f"the namespace {name} has no {what}")


def rule(rule_id: str, title: str, description: str, remediation: str, type_: str, what: str) -> Rule:
    """A rule that every tenant namespace has an object of a type."""

    def check(view: View) -> Iterator[Said]:
        yield from missing(view, type_, what)

    check.__module__ = f"headrace.rules.tenancy.{rule_id.replace('-', '_')}"  # where its text is
    return Rule(
        id=rule_id,
        severity=Severity.HIGH,
        title=title,
        description=description,
        remediation=remediation,
        references=("SOC 2 CC6.1", "CIS Amazon EKS Benchmark 4.6.1"),
        reads=(NAMESPACE, type_),
        since="0.1.0",
        check=check,
    )
