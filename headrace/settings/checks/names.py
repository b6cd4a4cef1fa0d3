"""Checks on names that become Kubernetes namespaces."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.errors import Problem
from headrace.settings.tree import Settings


def names_do_not_meet(settings: Settings) -> Iterator[Problem]:
    """No two things of the settings get one Kubernetes namespace."""
    spaces = dict.fromkeys(("default", "kube-system", "kube-public", "kube-node-lease", "gpu-system"), "the cluster")
    if settings.router.image is not None:
        spaces["router"] = "the router"
    for pool in settings.dedicated_pools:
        yield from _taken(f"dedicatedPools.{pool}", f"pool-{pool}", spaces)
    for pool in settings.serverless_pools:
        yield from _taken(f"serverlessPools.{pool}", f"serverless-{pool}", spaces)
    for tenant, one in settings.tenants.items():
        for project in one.projects:
            space = f"{tenant}-{project}-{settings.environment}"
            yield from _taken(f"tenants.{tenant}.projects.{project}", space, spaces)


def _taken(path: str, name: str, owners: dict[str, str]) -> Iterator[Problem]:
    """A problem where `name` has an owner; else it has one from now on."""
    if name in owners:
        yield Problem(
            path=path,
            value=name,
            rule=f"the namespace of that name belongs to {owners[name]}",
            reason="a cluster has only one",
            next_step="rename it",
        )
    else:
        owners[name] = path
