"""GPU nodes only in private subnets.

**What.** A managed node group with GPU machines may stand only in subnets that give no public address and whose route
table has no way to the internet: no internet gateway, no NAT gateway, no egress-only gateway.

**Why.** Model weights and prompts are on these machines. Without a route nothing that runs there can send them out,
whatever a policy inside the cluster says.

**Passes.** Subnets of `PrivateNetwork`; subnets by hand with a route table of their own that has local routes only.

**Violates.** `mapPublicIpOnLaunch`, a launch template whose interfaces take a public address, a route to a gateway.

**Undecidable when** the machines' type is unknown, a subnet isn't part of the stack (and wasn't adopted through
`PrivateNetwork`, which looks at its routes), a subnet has no route table of its own, or a route's target is unknown and
depends on no gateway of the stack.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from headrace.rules.finding import Finding, Severity, Status
from headrace.rules.graph import Graph, Resource, Unknown
from headrace.rules.rule import Rule, View

NODE_GROUP: Final = "aws:eks/nodeGroup:NodeGroup"
LAUNCH_TEMPLATE: Final = "aws:ec2/launchTemplate:LaunchTemplate"
SUBNET: Final = "aws:ec2/subnet:Subnet"
ASSOCIATION: Final = "aws:ec2/routeTableAssociation:RouteTableAssociation"
ROUTE_TABLE: Final = "aws:ec2/routeTable:RouteTable"
ROUTE: Final = "aws:ec2/route:Route"
INTERNET_GATEWAY: Final = "aws:ec2/internetGateway:InternetGateway"

# Families of EC2 with GPUs: g3, g4ad, g4dn, g5, g5g, g6, g6e, gr6, g7 …, p2, p3, p4d, p5, p6-b200 …
GPU_FAMILY: Final = re.compile(r"^(g|gr|p)\d[a-z0-9-]*\.")
# Targets of a route that lead, or may lead, to the internet. The last two count for default routes only: to a partner's
# network they are no way out.
WAYS_OUT: Final = {
    "natGatewayId": "a NAT gateway",
    "egressOnlyGatewayId": "an egress-only internet gateway",
    "carrierGatewayId": "a carrier gateway",
    "transitGatewayId": "a transit gateway, behind which the internet may be",
    "networkInterfaceId": "a network interface, which may be a NAT instance",
}
MAYBE_OUT: Final = ("transitGatewayId", "networkInterfaceId")
DEFAULT_ROUTES: Final = ("0.0.0.0/0", "::/0")

ID: Final = "gpu-nodes-only-in-private-subnets"
MAKE_PRIVATE: Final = (
    "put the node group into the private subnets of PrivateNetwork, or remove the route and the public address"
)


def check(view: View) -> Iterator[Finding]:
    """Every node group with GPUs, its template, and every subnet of it."""
    graph = view.graph
    for group in graph.of(NODE_GROUP):
        gpus = _has_gpus(graph, group)
        if isinstance(gpus, Unknown):
            yield _undecidable(
                group,
                f"whether it has GPUs is not known: {gpus.path} is unknown before the deployment",
                f"make {gpus.path} known: write the instance types as plain values",
            )
        elif gpus:
            yield from _check_template(graph, group)
            yield from _check_subnets(graph, group)


def _has_gpus(graph: Graph, group: Resource) -> bool | Unknown:
    ami_type = group.get("amiType")
    if isinstance(ami_type, str) and "NVIDIA" in ami_type:
        return True
    types = group.get("instanceTypes")
    if types is None:
        templates = graph.sources(group, "launchTemplate", LAUNCH_TEMPLATE)
        types = [template.get("instanceType") for template in templates if template.get("instanceType") is not None]
        if not types and group.get("launchTemplate") is not None and not templates:
            return Unknown("launchTemplate")
    if isinstance(types, Unknown):
        return types
    for one in types:
        if isinstance(one, Unknown):
            return one
    return any(GPU_FAMILY.match(one) for one in types)


def _check_template(graph: Graph, group: Resource) -> Iterator[Finding]:
    for template in graph.sources(group, "launchTemplate", LAUNCH_TEMPLATE):
        interfaces = template.get("networkInterfaces") or ()
        if isinstance(interfaces, Unknown):
            yield _undecidable(
                group,
                f"whether its machines take a public address is not known: networkInterfaces of {template.name}",
                "make networkInterfaces of the launch template known",
            )
            continue
        for interface in interfaces:
            public = interface if isinstance(interface, Unknown) else interface.get("associatePublicIpAddress")
            if public in (True, "true"):
                yield _violation(group, f"the launch template {template.name} gives its machines a public address")
            elif isinstance(public, Unknown):
                yield _undecidable(
                    group,
                    f"whether its machines take a public address is not known: {public.path} of {template.name}",
                    "write associatePublicIpAddress as a plain value, or leave it out",
                )


def _check_subnets(graph: Graph, group: Resource) -> Iterator[Finding]:
    subnets = {subnet.urn: subnet for subnet in graph.sources(group, "subnetIds", SUBNET)}
    given = group.get("subnetIds")
    adopted = {subnet_id for facts in graph.facts("network") for subnet_id in facts.get("adoptedPrivateSubnetIds", ())}
    by_id = {subnet.get("id"): subnet for subnet in graph.of(SUBNET) if isinstance(subnet.get("id"), str)}
    unresolved = 0
    for subnet_id in given if isinstance(given, list | tuple) else (given,):
        if isinstance(subnet_id, str) and subnet_id in by_id:
            subnets[by_id[subnet_id].urn] = by_id[subnet_id]
        elif isinstance(subnet_id, str) and subnet_id not in adopted:
            yield _undecidable(
                group,
                f"the routes of {subnet_id} are not known: it is not part of the stack",
                "adopt it through `network.adopt`, where its route table is looked at, or declare it in the stack",
            )
        elif not isinstance(subnet_id, str):
            unresolved += 1
    if unresolved and not subnets:
        yield _undecidable(
            group,
            "its subnets are not known: subnetIds depends on no subnet of the stack",
            "make subnetIds known: pass the ids of subnets that the stack declares or adopts",
        )
    for subnet in subnets.values():
        yield from _check_subnet(graph, group, subnet)


def _check_subnet(graph: Graph, group: Resource, subnet: Resource) -> Iterator[Finding]:
    public = subnet.get("mapPublicIpOnLaunch")
    if isinstance(public, Unknown):
        yield _undecidable(
            group,
            f"whether {subnet.name} gives public addresses is not known",
            f"write mapPublicIpOnLaunch of {subnet.name} as a plain value",
        )
    elif public:
        yield _violation(group, f"the subnet {subnet.name} gives a public address to every machine in it")
    tables = _route_tables(graph, subnet)
    if not tables:
        yield _undecidable(
            group,
            f"the subnet {subnet.name} has no route table of its own in the stack, so the VPC's main table decides",
            f"declare a route table and its association for {subnet.name}",
        )
    for table in tables:
        yield from _check_table(graph, group, subnet, table)


def _route_tables(graph: Graph, subnet: Resource) -> tuple[Resource, ...]:
    found: dict[str, Resource] = {}
    for association in graph.referring(ASSOCIATION, "subnetId", subnet):
        for table in graph.sources(association, "routeTableId", ROUTE_TABLE):
            found[table.urn] = table
        known = association.get("routeTableId")
        if isinstance(known, str):
            found |= {table.urn: table for table in graph.of(ROUTE_TABLE) if table.get("id") == known}
    return tuple(found.values())


def _check_table(graph: Graph, group: Resource, subnet: Resource, table: Resource) -> Iterator[Finding]:
    """Separate routes first; then those that the table itself lists, unless a separate one has said the same. A table
    without inline routes shows an unknown list before the deployment, and afterwards what AWS has."""
    seen: set[object] = set()
    for route in graph.referring(ROUTE, "routeTableId", table):
        seen.add(_destination(route.props))
        yield from _check_route(graph, group, subnet, route, route.props, None)
    inline = table.get("routes")
    if isinstance(inline, Unknown) and table.dependencies.get("routes"):
        yield _undecidable(
            group,
            f"the routes of {table.name}, the table of the subnet {subnet.name}, are not known",
            "declare each route as a resource of its own",
        )
    for props in inline if isinstance(inline, list | tuple) else ():
        if isinstance(props, Mapping) and _destination(props) not in seen:
            yield from _check_route(graph, group, subnet, table, props, "routes")


def _check_route(
    graph: Graph, group: Resource, subnet: Resource, source: Resource, props: Mapping[str, Any], property_: str | None
) -> Iterator[Finding]:
    """One route: `source` is what declares it, `property_` where within it (None: as the resource itself)."""
    destination = _destination(props)
    where = f"the subnet {subnet.name} sends {_shown(destination)} to"
    gateway = props.get("gatewayId")
    if isinstance(gateway, str) and gateway.startswith("igw-"):
        yield _violation(group, f"{where} the internet gateway {gateway}")
    elif isinstance(gateway, Unknown):
        internet = graph.sources(source, property_ or "gatewayId", INTERNET_GATEWAY)
        if internet:
            yield _violation(group, f"{where} the internet gateway {internet[0].name}")
        else:
            yield _undecidable(
                group,
                f"{where} a gateway that is not known: gatewayId of {source.name}",
                f"make gatewayId of {source.name} known",
            )
    for name, what in WAYS_OUT.items():
        if name in MAYBE_OUT and destination not in DEFAULT_ROUTES and not isinstance(destination, Unknown):
            continue
        target = props.get(name)
        # What AWS fills in is unknown before the deployment too; only a target that the program gave has a source.
        given = source.dependencies.get(property_ or name) if isinstance(target, Unknown) else target
        if given:
            yield _violation(group, f"{where} {what} ({source.name})")


def _destination(props: Mapping[str, Any]) -> object:
    names = ("destinationCidrBlock", "cidrBlock", "destinationIpv6CidrBlock", "ipv6CidrBlock")
    return next((props[name] for name in names if props.get(name)), None)


def _shown(destination: object) -> str:
    return "an unknown destination" if isinstance(destination, Unknown) else str(destination)


def _violation(group: Resource, sentence: str) -> Finding:
    return Finding(
        rule=ID,
        severity=Severity.CRITICAL,
        status=Status.VIOLATION,
        resource=group.urn,
        sentence=sentence,
        remediation=MAKE_PRIVATE,
    )


def _undecidable(group: Resource, sentence: str, remediation: str) -> Finding:
    return Finding(
        rule=ID,
        severity=Severity.CRITICAL,
        status=Status.UNDECIDABLE,
        resource=group.urn,
        sentence=sentence,
        remediation=remediation,
    )


RULE: Final = Rule(
    id=ID,
    severity=Severity.CRITICAL,
    title="GPU nodes only in private subnets",
    description="Node groups with GPU machines stand only in subnets without public addresses and without a route to "
    "the internet.",
    remediation=MAKE_PRIVATE,
    references=("CIS Amazon EKS Benchmark 5.4.3", "SOC 2 CC6.6"),
    reads=(NODE_GROUP, LAUNCH_TEMPLATE, SUBNET, ASSOCIATION, ROUTE_TABLE, ROUTE, INTERNET_GATEWAY, "network"),
    since="0.1.0",
    early=(NODE_GROUP,),
    check=check,
)
