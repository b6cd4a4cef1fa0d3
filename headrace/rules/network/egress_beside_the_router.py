"""Machines other than the router's that can reach the internet.

**What.** No subnet in which a node group or the cluster's interfaces stand has a default route out. Only the router's
nodes may stand in one: they carry the taint `headrace.dev/tier=router`, which keeps other pods off. Only pods in
`routerNamespaces` tolerate it, and the job in `serverless-<pool>` that sets the minimum of a serverless pool.
The router's own network policies deny by default and allow its pools, its data stores and the serverless providers;
that of an hourly floor's job beside it allows the data stores and AWS's endpoints.

**Why.** What has a way out can send prompts and weights out. One way, through the router, can be watched and priced.

**Passes.** Node groups and clusters in subnets with local routes; the router's tainted nodes.

**Violates.** A route to an internet, NAT, egress-only or transit gateway from a subnet of other nodes; a pod of
somebody else that tolerates the router's taint; a destination of the router that is none of its pools.

**Undecidable when** a route's target is not known and depends on nothing. GPU node groups are held stricter by
`gpu-nodes-only-in-private-subnets`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from headrace.rules import pods, serverless_pools
from headrace.rules.facts import HourlyFloorFacts, RouterFacts
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
from headrace.rules.rule import Broken, Parameter, Rule, Said, Undecided, View

_CLUSTER: Final = "aws:eks/cluster:Cluster"
# Where the job of an hourly floor may go, which stands beside the router.
_FLOOR_JOBS: Final = frozenset({"data-stores", "aws-endpoints"})
_TARGETS: Final = ("gatewayId", "natGatewayId", "egressOnlyGatewayId", "transitGatewayId", "networkInterfaceId")


def check(view: View) -> Iterator[Said]:
    """Node groups without GPUs, and clusters."""
    graph = view.graph
    for group in graph.of(NODE_GROUP):
        types = group.get("instanceTypes") or ()
        image = group.get("amiType")
        gpus = isinstance(image, str) and "NVIDIA" in image
        gpus = gpus or any(isinstance(one, str) and GPU_FAMILY.match(one) for one in types if types)
        if not gpus and not _tainted(group):
            yield from _place(graph, group, "subnetIds", group.get("subnetIds"))
    for cluster in graph.of(_CLUSTER):
        yield from _place(graph, cluster, "vpcConfig", cluster.at("vpcConfig.subnetIds"))
    # The warm-up of a RunPod pool calls the vendor, and has a namespace of its own for the vendor's key.
    warming = {f"serverless-{one.name}" for one in serverless_pools.pools(view)}
    for workload, _ in pods.of_the_router(graph):
        if pods.namespace_of(workload) not in {*view.words("routerNamespaces"), *warming}:
            yield Broken(
                resource=workload.urn,
                sentence="its pods tolerate the taint of the router's nodes, so they would share its way out",
            )
    for component, facts in graph.records(RouterFacts):
        known = {*facts.pools, *view.words("destinations")}
        if not facts.network_default_deny:
            yield Broken(resource=component.urn, sentence="its network policies do not deny by default")
        for stranger in sorted(set(facts.egress_to) - known):
            yield Broken(resource=component.urn, sentence=f"its network policies let it reach {stranger}")
    for component, job in graph.records(HourlyFloorFacts):
        for stranger in sorted(set(job.egress_to) - _FLOOR_JOBS):
            yield Broken(resource=component.urn, sentence=f"its network policy lets it reach {stranger}")


def _tainted(group: Resource) -> bool:
    """Whether the group is the router's: its taint keeps all other pods off."""
    return any(
        isinstance(taint, Mapping)
        and (taint.get("key"), taint.get("value")) == pods.ROUTER_TIER
        and taint.get("effect") in ("NO_SCHEDULE", "NO_EXECUTE")
        for _, taint in group.items("taints")
    )


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
    reads=(
        NODE_GROUP,
        _CLUSTER,
        SUBNET,
        ASSOCIATION,
        ROUTE_TABLE,
        ROUTE,
        *pods.KINDS,
        "router",
        "hourlyFloor",
        "serverlessPool",
        "settings",
    ),
    since="0.1.0",
    early=(ROUTE, "headrace:index:Router", "headrace:index:HourlyFloor", *pods.KINDS),
    parameters=(
        Parameter(name="routerNamespaces", description="Namespaces of the router's own pods.", default=("router",)),
        Parameter(
            name="destinations",
            description="What the router may reach beside its pools.",
            default=("data-stores", "serverless-ingress", "monitoring"),
        ),
    ),
    check=check,
)
