"""What an EKS access policy allows (EKS user guide, "Review access policy permissions").

The admin, edit and view policies follow the Kubernetes roles of the same names, which are read from the API server, so
that they hold exactly what this Kubernetes version gives.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_READ: Final = ("get", "list", "watch")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """An RBAC policy rule."""

    verbs: tuple[str, ...]
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Association:
    """An access policy associated with an access entry; `namespaces` is None for the whole cluster."""

    policy: str
    namespaces: tuple[str, ...] | None


@dataclass(frozen=True, kw_only=True)
class Request:
    """The question of a SubjectAccessReview. `url` is set for requests that are not for a resource."""

    verb: str
    namespace: str = ""
    group: str = ""
    resource: str = ""
    name: str = ""
    url: str = ""


ALL: Final = (Rule(verbs=("*",), groups=("*",), resources=("*",)), Rule(verbs=("*",), urls=("*",)))
FIXED: Final[Mapping[str, tuple[Rule, ...]]] = {
    "AmazonEKSClusterAdminPolicy": ALL,
    "AmazonEKSAdminViewPolicy": (Rule(verbs=_READ, groups=("*",), resources=("*",)),),
    "AmazonEKSSecretReaderPolicy": (Rule(verbs=_READ, groups=("",), resources=("secrets",)),),
}
LIKE_ROLE: Final[Mapping[str, str]] = {
    "AmazonEKSAdminPolicy": "admin",
    "AmazonEKSEditPolicy": "edit",
    "AmazonEKSViewPolicy": "view",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`allowed`, or no opinion; the reason says by which policy, as EKS writes it into the audit log."""

    allowed: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class RoleRules:
    """The rules of Kubernetes' own admin, edit and view roles."""

    by_role: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)

    def of(self, policy: str) -> tuple[Rule, ...]:
        """The rules of an access policy; none for a policy that we don't know."""
        if policy in FIXED:
            return FIXED[policy]
        return self.by_role.get(LIKE_ROLE.get(policy, ""), ())


def policy_name(arn: str) -> str:
    """`AmazonEKSViewPolicy` of `arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy`."""
    return arn.rsplit("/", 1)[-1]


def rules_of(cluster_role: Mapping[str, Any]) -> tuple[Rule, ...]:
    """The rules of a ClusterRole as the API server gives it."""
    return tuple(
        Rule(
            verbs=tuple(rule.get("verbs") or ()),
            groups=tuple(rule.get("apiGroups") or ()),
            resources=tuple(rule.get("resources") or ()),
            names=tuple(rule.get("resourceNames") or ()),
            urls=tuple(rule.get("nonResourceURLs") or ()),
        )
        for rule in cluster_role.get("rules") or ()
    )


def request_of(spec: Mapping[str, Any]) -> Request:
    """The request in a SubjectAccessReview's spec."""
    other = spec.get("nonResourceAttributes")
    if other:
        return Request(verb=other.get("verb", ""), url=other.get("path", ""))
    asked = spec.get("resourceAttributes") or {}
    resource = asked.get("resource", "")
    if asked.get("subresource"):
        resource = f"{resource}/{asked['subresource']}"
    return Request(
        verb=asked.get("verb", ""),
        namespace=asked.get("namespace", ""),
        group=asked.get("group", ""),
        resource=resource,
        name=asked.get("name", ""),
    )


def decide(request: Request, associations: Sequence[Association], roles: RoleRules) -> Verdict:
    """Allowed if one associated policy allows it within its scope; otherwise no opinion."""
    for association in associations:
        if not _in_scope(request, association):
            continue
        if any(matches(rule, request) for rule in roles.of(association.policy)):
            where = "cluster" if association.namespaces is None else f"namespace {request.namespace}"
            return Verdict(allowed=True, reason=f"EKS access policy {association.policy} ({where})")
    return Verdict(allowed=False)


def _in_scope(request: Request, association: Association) -> bool:
    if association.namespaces is None:
        return True
    if request.url or not request.namespace:
        return False
    return any(fnmatch.fnmatchcase(request.namespace, pattern) for pattern in association.namespaces)


def matches(rule: Rule, request: Request) -> bool:
    """Whether an RBAC rule covers a request (Kubernetes rbac/v1 `RuleAllows`)."""
    if not _has(rule.verbs, request.verb):
        return False
    if request.url:
        return any(
            url in ("*", request.url) or (url.endswith("*") and request.url.startswith(url.rstrip("*")))
            for url in rule.urls
        )
    return (
        _has(rule.groups, request.group)
        and _resource_matches(rule.resources, request.resource)
        and (not rule.names or request.name in rule.names)
    )


def _has(allowed: Sequence[str], asked: str) -> bool:
    return "*" in allowed or asked in allowed


def _resource_matches(allowed: Sequence[str], asked: str) -> bool:
    if _has(allowed, asked):
        return True
    _, slash, subresource = asked.partition("/")
    return bool(slash) and f"*/{subresource}" in allowed
