"""Checks on names that become names of objects: Kubernetes namespaces, and resources of the stack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.errors import Problem
from headrace.settings.tree import Settings

# Ends of a dedicated pool's resource names, where one of the same type bears the pool's name alone: a pool with such an
# end would have resources of that name too. A test holds this to what the component registers.
POOL_ENDS: Final = ("node-follower", "replicas")


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


def resources_have_names_of_their_own(settings: Settings) -> Iterator[Problem]:
    """No two pools give the stack's resources one name."""
    pools = settings.dedicated_pools
    for pool in pools:
        for end in POOL_ENDS:
            if (other := f"{pool}-{end}") in pools:
                yield Problem(
                    path=f"dedicatedPools.{other}",
                    value=None,
                    rule=f"this name belongs to a part of dedicatedPools.{pool}",
                    reason="a stack has a name only once",
                    next_step="rename it",
                )
    owners: dict[str, str] = {}
    for pool, one in pools.items():
        for schedule in one.schedules:
            name, path = f"{pool}-{schedule.name}", f"dedicatedPools.{pool}"
            if owners.setdefault(name, path) != path:  # twice in one pool is told by itself
                yield Problem(
                    path=f"{path}.schedules",
                    value=schedule.name,
                    rule=f"together with the pool's name it is {name}, as a schedule of {owners[name]} is",
                    reason="a stack has a name only once",
                    next_step="rename it",
                )


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
