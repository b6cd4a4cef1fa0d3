"""RBAC that grants everything.

**What.** No Role or ClusterRole has a wildcard among verbs, resources or API groups, and nobody is bound to cluster-
admin.

**Why.** A wildcard also grants what a later Kubernetes or an operator adds.

**Passes.** Written-out rules.

**Violates.** `verbs: ["*"]`, a binding to `cluster-admin`, the group `system:masters`.

**Undecidable when** a rule is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from headrace.rules.finding import Severity
from headrace.rules.graph import Unknown
from headrace.rules.rule import Broken, Rule, Said, Scope, View, undecided

_API: Final = "kubernetes:rbac.authorization.k8s.io/v1:"
_ROLES: Final = (f"{_API}Role", f"{_API}ClusterRole")
_BINDINGS: Final = (f"{_API}RoleBinding", f"{_API}ClusterRoleBinding")


def check(view: View) -> Iterator[Said]:
    """Roles, then bindings."""
    for type_ in _ROLES:
        for one in view.graph.of(type_):
            for path, rule in one.items("rules"):
                if isinstance(rule, Unknown):
                    yield undecided(one.urn, rule, "what it grants")
                    continue
                for name in ("verbs", "resources", "apiGroups", "nonResourceURLs"):
                    values = rule.get(name) if isinstance(rule, Mapping) else None
                    if isinstance(values, Unknown):
                        yield undecided(one.urn, values, "what it grants")
                    elif "*" in (values or ()):
                        yield Broken(resource=one.urn, sentence=f"{path}.{name} has a wildcard")
    for type_ in _BINDINGS:
        for one in view.graph.of(type_):
            if one.at("roleRef.name") == "cluster-admin":
                yield Broken(resource=one.urn, sentence="it binds to cluster-admin, which may do everything")
            for path, subject in one.items("subjects"):
                if isinstance(subject, Mapping) and subject.get("name") == "system:masters":
                    yield Broken(resource=one.urn, sentence=f"{path} is system:masters, which no rule can hold")


RULE: Final = Rule(
    id="rbac-wildcard",
    severity=Severity.HIGH,
    title="RBAC wildcard",
    description="Kubernetes roles name verbs, resources and groups.",
    remediation="write out what is needed, and bind people to that",
    references=("CIS Amazon EKS Benchmark 4.1.3", "SOC 2 CC6.3"),
    reads=(*_ROLES, *_BINDINGS),
    since="0.1.0",
    scope=Scope.RESOURCE,
    check=check,
)
