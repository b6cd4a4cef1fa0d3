"""Which operations the gateway serves itself, guards before moto, or completes after moto: one table of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace_sandbox.aws import (
    autoscaling,
    budgets,
    cache_groups,
    cache_tags,
    caches,
    capacity,
    capacity_blocks,
    costs,
    ec2_tags,
    follow,
    guards,
    kept,
    parameters,
    placement_groups,
    principals,
    quotas,
    registry,
)
from headrace_sandbox.aws.eks import access, addon, cluster, nodegroup, updates
from headrace_sandbox.aws.world import Guard, Handler, Overlay, Table

_TABLES: Sequence[Table] = (
    access.HANDLERS,
    addon.HANDLERS,
    autoscaling.HANDLERS,
    budgets.HANDLERS,
    cache_groups.HANDLERS,
    cache_tags.HANDLERS,
    caches.HANDLERS,
    capacity.HANDLERS,
    capacity_blocks.HANDLERS,
    cluster.HANDLERS,
    costs.HANDLERS,
    ec2_tags.HANDLERS,
    nodegroup.HANDLERS,
    parameters.HANDLERS,
    placement_groups.HANDLERS,
    principals.HANDLERS,
    quotas.HANDLERS,
    registry.HANDLERS,
    updates.HANDLERS,
)


def _one(tables: Sequence[Table]) -> dict[tuple[str, str], Handler]:
    merged: dict[tuple[str, str], Handler] = {}
    for table in tables:
        if twice := merged.keys() & table.keys():
            raise ValueError(f"served twice: {sorted(twice)}")
        merged.update(table)
    return merged


HANDLERS: Mapping[tuple[str, str], Handler] = _one(_TABLES)
GUARDS: Mapping[tuple[str, str], Sequence[Guard]] = guards.GUARDS
OVERLAYS: Mapping[tuple[str, str], Sequence[Overlay]] = {**kept.overlays(), **ec2_tags.OVERLAYS, **follow.OVERLAYS}

SERVED_WHOLE = frozenset({"eks", "autoscaling", "budgets", "elasticache", "service-quotas"})
"""Services whose every supported operation is in HANDLERS: what isn't is refused rather than sent to moto, whose world
doesn't know our resources."""
