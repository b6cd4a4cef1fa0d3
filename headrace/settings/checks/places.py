"""Checks on where things are: region, zones, address ranges, residency, Kubernetes version."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from ipaddress import IPv4Network
from itertools import combinations
from typing import Final

from headrace.catalog import load as catalog
from headrace.errors import Problem
from headrace.settings.serverless import ServerlessPool, ServerlessProvider
from headrace.settings.suggest import did_you_mean, listing
from headrace.settings.tree import Settings

# AWS takes /16 to /28 for a VPC. Below /20 three zones of three subnets leave under 256 pod addresses per GPU subnet.
_LARGEST_PREFIX: Final = 16
_SMALLEST_PREFIX: Final = 20
_PRIVATE: Final = tuple(
    IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
# EKS puts Kubernetes services here unless the VPC itself lies in 10/8 (EKS user guide, kubernetes_network_config).
_SERVICE_RANGES: Final = (IPv4Network("10.100.0.0/16"), IPv4Network("172.20.0.0/16"))
_SUPPORT_NOTICE: Final = timedelta(days=90)


def region_is_known(settings: Settings) -> Iterator[Problem]:
    """The catalogue knows zones and jurisdiction of its regions only."""
    if settings.region not in catalog.aws_regions():
        yield Problem(
            path="region",
            value=settings.region,
            rule="it must be an AWS region of the catalogue",
            reason="zones and jurisdiction of others are not known",
            next_step=did_you_mean(settings.region, catalog.aws_regions()),
        )


def zones_lie_in_the_region(settings: Settings) -> Iterator[Problem]:
    """Network zones are zones of the region, each once; pool zones are zones of the network."""
    place = catalog.aws_regions().get(settings.region)
    zones = settings.network.zones
    for index, zone in enumerate(zones):
        path = f"network.zones[{index}]"
        if not zone.startswith(settings.region) or (place and zone not in place.zones):
            known = place.zones if place else ()
            yield Problem(
                path=path,
                value=zone,
                rule=f"it must be a zone of the region {settings.region}",
                reason="a subnet can't lie in another region than its VPC",
                next_step=f"choose among {listing(known)}" if known else "correct the region first",
            )
        if zone in zones[:index]:
            yield Problem(
                path=path,
                value=zone,
                rule="a zone can be named once",
                reason="two subnets in one zone fail together",
                next_step="name another zone or remove it",
            )
    for name, pool in settings.dedicated_pools.items():
        for index, zone in enumerate(pool.zones or ()):
            if zone not in zones:
                yield _outside(f"dedicatedPools.{name}.zones[{index}]", zone, zones)
        if pool.capacity.zone is not None and pool.capacity.zone not in zones:
            yield _outside(f"dedicatedPools.{name}.capacity.zone", pool.capacity.zone, zones)


def _outside(path: str, zone: str, zones: list[str]) -> Problem:
    return Problem(
        path=path,
        value=zone,
        rule="it must be one of the network's zones",
        reason="nodes need a subnet there",
        next_step=f"choose among {', '.join(zones)}, or add it to network.zones",
    )


def _network(path: str, text: str, found: list[Problem]) -> IPv4Network | None:
    try:
        return IPv4Network(text)
    except ValueError:
        pass
    try:
        corrected = str(IPv4Network(text, strict=False))
        rule, reason = "the address has bits set behind its prefix", "AWS refuses such a range"
        next_step = f"write {corrected}"
    except ValueError:
        rule, reason = "it must be an IPv4 range", "numbers up to 255 and a prefix up to 32 make one"
        next_step = "write it like 10.20.0.0/16"
    found.append(Problem(path=path, value=text, rule=rule, reason=reason, next_step=next_step))
    return None


def network_ranges_do_not_overlap(settings: Settings) -> Iterator[Problem]:
    """The VPC's range is private, of a usable size, and apart from its peers and from Kubernetes services."""
    found: list[Problem] = []
    own = _network("network.cidr", settings.network.cidr, found)
    peers = [
        (f"network.peeredCidrs[{index}]", network)
        for index, text in enumerate(settings.network.peered_cidrs)
        if (network := _network(f"network.peeredCidrs[{index}]", text, found)) is not None
    ]
    for index, text in enumerate(settings.cluster.public_access_cidrs):
        _network(f"cluster.publicAccessCidrs[{index}]", text, found)
    yield from found
    if own is not None:
        yield from _own_range(own)
        for path, peer in peers:
            if own.overlaps(peer):
                yield Problem(
                    path=path,
                    value=str(peer),
                    rule=f"it must not overlap with network.cidr ({own})",
                    reason="an address in both has two routes",
                    next_step="give this environment another range",
                )
    for (_, first), (path, second) in combinations(peers, 2):
        if first.overlaps(second):
            yield Problem(
                path=path,
                value=str(second),
                rule=f"it must not overlap with the peered range {first}",
                reason="an address in both has two routes",
                next_step="remove one of them",
            )


def _own_range(own: IPv4Network) -> Iterator[Problem]:
    if not _LARGEST_PREFIX <= own.prefixlen <= _SMALLEST_PREFIX:
        yield Problem(
            path="network.cidr",
            value=str(own),
            rule=f"it must be between /{_LARGEST_PREFIX} and /{_SMALLEST_PREFIX}",
            reason="AWS takes no larger VPC, and a smaller one runs out of pod addresses",
            next_step=f"write {own.network_address}/{_LARGEST_PREFIX} or a range in between",
        )
    if not any(own.subnet_of(private) for private in _PRIVATE):
        yield Problem(
            path="network.cidr",
            value=str(own),
            rule="it must be a private range (RFC 1918 or RFC 6598)",
            reason="public addresses inside would be cut off from their owners",
            next_step="choose one under 10.0.0.0/8",
        )
    for services in _SERVICE_RANGES:
        if own.overlaps(services):
            yield Problem(
                path="network.cidr",
                value=str(own),
                rule=f"it must not overlap with {services}",
                reason="EKS gives that range to Kubernetes services",
                next_step="choose another range, for instance 10.20.0.0/16",
            )


def adopted_network_covers_the_zones(settings: Settings) -> Iterator[Problem]:
    """An adopted VPC has one subnet of each kind in every zone."""
    adopt = settings.network.adopt
    if adopt is None:
        return
    kinds = {
        "privateSubnetIds": adopt.private_subnet_ids,
        "intraSubnetIds": adopt.intra_subnet_ids,
        "routerSubnetIds": adopt.router_subnet_ids,
    }
    for kind, subnets in kinds.items():
        missing = [zone for zone in settings.network.zones if zone not in subnets]
        if missing:
            yield Problem(
                path=f"network.adopt.{kind}",
                value=listing(subnets),
                rule=f"it must name a subnet in every zone, and {', '.join(missing)} is missing",
                reason="each zone needs one subnet of each kind",
                next_step="add the subnet's id, or take the zone out of network.zones",
            )


def residency_allows_the_region(settings: Settings) -> Iterator[Problem]:
    """Every workload's data may be in the region: router, logs and audit records are there even without a pool."""
    place = catalog.aws_regions().get(settings.region)
    for name, workload in settings.workloads.items():
        for index, jurisdiction in enumerate(workload.residency):
            if jurisdiction not in catalog.jurisdictions():
                yield Problem(
                    path=f"workloads.{name}.residency[{index}]",
                    value=jurisdiction,
                    rule="it must be a jurisdiction of the catalogue",
                    reason="a place can't be compared with an unknown one",
                    next_step=did_you_mean(jurisdiction, catalog.jurisdictions()),
                )
        allowed = catalog.allowed_jurisdictions(workload.residency)
        if place is not None and allowed and place.jurisdiction not in allowed:
            yield Problem(
                path="region",
                value=settings.region,
                rule=f"it must lie in the residency of the workload {name!r} ({', '.join(workload.residency)})",
                reason=f"it lies in {place.jurisdiction}, and router, logs and audit records are kept in the region",
                next_step="move the workload to a stack in its jurisdiction, or extend its residency",
            )


def serverless_regions_are_known(settings: Settings) -> Iterator[Problem]:
    """Serverless pools name places of the catalogue. Whether residency allows them is the policies' question."""
    for name, pool in settings.serverless_pools.items():
        yield from regions_of_the_vendor(f"serverlessPools.{name}", pool)


def regions_of_the_vendor(path: str, pool: ServerlessPool) -> Iterator[Problem]:
    """A pool runs, and takes requests, in places that its vendor has and the catalogue knows."""
    modal = pool.provider is ServerlessProvider.MODAL
    known = catalog.modal_regions() if modal else catalog.runpod_data_centers()
    for index, region in enumerate(pool.regions):
        if region not in known:
            yield Problem(
                path=f"{path}.regions[{index}]",
                value=region,
                rule=f"it must be a {'Modal region' if modal else 'RunPod data centre'} of the catalogue",
                reason="its jurisdiction is not known otherwise",
                next_step=did_you_mean(region, known),
            )
    if pool.ingress_region is None:
        return
    if not modal:
        yield Problem(
            path=f"{path}.ingressRegion",
            value=pool.ingress_region,
            rule="RunPod has no ingress region to choose",
            reason="its requests enter where the vendor decides",
            next_step="remove it, or use Modal for this pool",
        )
    elif pool.ingress_region not in catalog.modal_routing_regions():
        yield Problem(
            path=f"{path}.ingressRegion",
            value=pool.ingress_region,
            rule="it must be a routing region of Modal",
            reason="requests can enter there only",
            next_step=did_you_mean(pool.ingress_region, catalog.modal_routing_regions()),
        )


def version_warnings(settings: Settings, today: date) -> Iterator[Problem]:
    """Kubernetes versions at or near the end of standard support."""
    version = settings.cluster.version or catalog.default_eks_version().name
    row = catalog.eks_versions().get(version)
    newest = catalog.default_eks_version().name
    if row is None:
        yield Problem(
            path="cluster.version",
            value=version,
            rule="it is not a version of the catalogue",
            reason="its end of support is not known",
            next_step=f"use {newest}, or add the version to headrace/catalog/data/eks_versions.yaml",
        )
    elif today >= row.end_of_standard_support - _SUPPORT_NOTICE:
        over = today >= row.end_of_standard_support
        yield Problem(
            path="cluster.version",
            value=version,
            rule=f"standard support {'ended' if over else 'ends'} on {row.end_of_standard_support}",
            reason="AWS then bills extended support by the cluster-hour, or upgrades by itself where that is off",
            next_step=f"plan the upgrade to {newest}",
        )


def offering_warnings(settings: Settings) -> Iterator[Problem]:
    """Instance families that AWS did not sell in the region when the catalogue was checked."""
    for name, pool in settings.dedicated_pools.items():
        instance = catalog.instance_types().get(pool.instance_type)
        offering = catalog.offerings().get(instance.family) if instance else None
        if offering and settings.region not in offering.regions:
            yield Problem(
                path=f"dedicatedPools.{name}.instanceType",
                value=pool.instance_type,
                rule=f"AWS did not offer {offering.name} in {settings.region} on {offering.checked}",
                reason="the node group would wait for machines that are not sold there",
                next_step="check describe-instance-type-offerings, or choose another family",
            )
