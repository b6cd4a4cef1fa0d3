"""Machines other than the router's that can reach the internet.

**What.** No subnet in which a node group or the cluster's interfaces stand has a default route out. Only subnets in
which no node group stands (the router's, the NAT gateways') may have one.

**Why.** What has a way out can send prompts and weights out. One way, through the router, can be watched and priced.

**Passes.** Node groups and clusters in subnets with local routes.

**Violates.** A CPU node group in a subnet behind a NAT gateway.

**Undecidable when** a route's target is not known and depends on nothing. GPU node groups are held stricter by
`gpu-nodes-only-in-private-subnets`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules.finding import Severity
from headrace.rules.graph import Graph, Resource, Unknown
from headrace.rules.network.gpu_nodes_only_in_private_subnets import (
    ASSOCIATION,
    DEFAULT_ROUTES,
    GPU_FAMILY,
    NODE_GROUP,
    ROUTE,
    ROUTE_TABLE,
    SUBNET,
)
from headrace.rules.rule import Broken, Rule, Said, Undecided, View

_CLUSTER: Final = "aws:eks/cluster:Cluster"
_TARGETS: Final = ("gatewayId", "natGatewayId", "egressOnlyGatewayId", "transitGatewayId", "networkInterfaceId")


def check(view: View) -> Iterator[Said]:
    """Node groups without GPUs, and clusters."""
    graph = view.graph
    for group in graph.of(NODE_GROUP):
        types = group.get("instanceTypes") or ()
        image = group.get("amiType")
        gpus = isinstance(image, str) and "NVIDIA" in image
        if not gpus and not any(isinstance(one, str) and GPU_FAMILY.match(one) for one in types if types):
            yield from _place(graph, group, "subnetIds", group.get("subnetIds"))
    for cluster in graph.of(_CLUSTER):
        yield from _place(graph, cluster, "vpcConfig", cluster.at("vpcConfig.subnetIds"))


def _place(graph: Graph, one: Resource, name: str, ids: object) -> Iterator[Said]:
    subnets = {subnet.urn: subnet for subnet in graph.sources(one, name, SUBNET)}
    known = {subnet.get("id"): subnet for subnet in graph.of(SUBNET) if isinstance(subnet.get("id"), str)}
    for subnet_id in ids if isinstance(ids, list | tuple) else ():
        if isinstance(subnet_id, str) and subnet_id in known:
            subnets[known[subnet_id].urn] = known[subnet_id]
    for subnet in subnets.values():
        for association in graph.referring(ASSOCIATION, "subnetId", subnet):
            for table in _tables(graph, association):
                for route in graph.referring(ROUTE, "routeTableId", table):
                    yield from _route(one, subnet, route)


def _tables(graph: Graph, association: Resource) -> tuple[Resource, ...]:
    found = graph.sources(association, "routeTableId", ROUTE_TABLE)
    known = association.get("routeTableId")
    return found or tuple(
        table for table in graph.of(ROUTE_TABLE) if isinstance(known, str) and table.get("id") == known
    )


def _route(one: Resource, subnet: Resource, route: Resource) -> Iterator[Said]:
    destination = route.get("destinationCidrBlock") or route.get("destinationIpv6CidrBlock")
    if destination not in DEFAULT_ROUTES and not isinstance(destination, Unknown):
        return
    for target in _TARGETS:
        value = route.get(target)
        if isinstance(value, str) or (isinstance(value, Unknown) and route.dependencies.get(target)):
            yield Broken(resource=one.urn, sentence=f"its subnet {subnet.name} has a way out: {target} of {route.name}")
        elif isinstance(value, Unknown) and target == "gatewayId":
            yield Undecided(
                resource=one.urn, what=f"where {route.name} of its subnet {subnet.name} leads", value=value.path
            )


RULE: Final = Rule(
    id="egress-beside-the-router",
    severity=Severity.HIGH,
    title="Egress beside the router",
    description="Only the router's subnets have a way to the internet.",
    remediation="put the machines into private or intra subnets of PrivateNetwork and reach AWS through VPC endpoints",
    references=("SOC 2 CC6.6", "GDPR article 32"),
    reads=(NODE_GROUP, _CLUSTER, SUBNET, ASSOCIATION, ROUTE_TABLE, ROUTE),
    since="0.1.0",
    early=(ROUTE,),
    check=check,
)
