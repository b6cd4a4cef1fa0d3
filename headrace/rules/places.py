"""Where resources of AWS lie and which jurisdictions are allowed: what all residency rules share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from headrace.rules import tables
from headrace.rules.facts import PlatformFacts
from headrace.rules.graph import Graph, Resource, Unknown
from headrace.rules.rule import Broken, Said, View, undecided

_ARN: Final = re.compile(r"\barn:aws(?:-[a-z]+)*:[a-z0-9-]*:([a-z]{2}(?:-[a-z]+)+-\d)?:")
_REGION_NAMES: Final = ("region", "destinationRegion", "sourceRegion", "homeRegion", "regionName", "replicaRegion")
NO_RESIDENCY: Final = "residency of the workloads"


def allowed(view: View) -> frozenset[str] | None:
    """Jurisdictions that every workload of the stack allows; None where the stack declares no workload at all."""
    residencies = [tuple(workload.residency) for workload in view.settings.workloads.values()] if view.settings else []
    if not residencies:
        residencies = [one.residency for _, facts in view.graph.records(PlatformFacts) for one in facts.workloads]
    if not residencies:
        return None
    return frozenset.intersection(*(tables.allowed(one) for one in residencies))


def judge(view: View, types: Sequence[str], what: str) -> Iterator[Said]:
    """Every region that a resource of these types names, by a region's property or within an ARN, and the region of
    the provider that manages it."""
    permitted = allowed(view)
    for prefix in types:
        for one in view.graph.matching(prefix):
            for path, region in regions(one):
                yield from _region(view, one, path, region, permitted, what)


def regions(one: Resource) -> Iterator[tuple[str, Any]]:
    """Path and region of everything in a resource that says where something lies."""
    if one.region is not None:
        yield "the provider's region", one.region
    for path, value in one.leaves:
        name = path.rsplit(".", 1)[-1].split("[")[0]
        if name in _REGION_NAMES:
            if value:
                yield path, value
        elif isinstance(value, str) and value.startswith("arn:"):
            for region in _ARN.findall(value):
                if region:
                    yield path, region


def _region(
    view: View, one: Resource, path: str, region: Any, permitted: frozenset[str] | None, what: str
) -> Iterator[Said]:
    if isinstance(region, Unknown):
        yield undecided(one.urn, region, f"where {what} lies")
        return
    place = tables.jurisdiction_of_region(str(region))
    if place is None:
        yield Broken(
            resource=one.urn,
            sentence=f"{path} is {region}, a region of unknown jurisdiction",
            remediation="use a region of the catalogue, or add it to headrace/catalog/data/regions.yaml",
        )
    elif permitted is not None and place not in permitted:
        yield Broken(
            resource=one.urn,
            sentence=f"{what} lies in {place} ({path}: {region}), but the workloads' data may only be in "
            f"{', '.join(sorted(permitted)) or 'no place that all of them allow'}",
        )
    elif permitted is None and _platform(view.graph):
        yield undecided(one.urn, Unknown(NO_RESIDENCY), f"whether {what} may lie in {place}")


def _platform(graph: Graph) -> bool:
    return any(True for _ in graph.records(PlatformFacts))
