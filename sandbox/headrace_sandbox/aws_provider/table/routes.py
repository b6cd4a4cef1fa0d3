"""Route tables, routes, associations."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from headrace_sandbox.aws_provider.context import Context
from headrace_sandbox.aws_provider.spec import Call, Read, ResourceType, State
from headrace_sandbox.aws_provider.table.parts import EC2_ARN as _ARN
from headrace_sandbox.aws_provider.table.parts import ec2_tags, words
from headrace_sandbox.plugin.provider import ProviderError

# -- Route tables ------------------------------------------------------------------------------------------------------

_ROUTE_TARGETS = {
    "gatewayId": "GatewayId",
    "natGatewayId": "NatGatewayId",
    "networkInterfaceId": "NetworkInterfaceId",
    "transitGatewayId": "TransitGatewayId",
    "vpcEndpointId": "VpcEndpointId",
    "vpcPeeringConnectionId": "VpcPeeringConnectionId",
    "egressOnlyGatewayId": "EgressOnlyInternetGatewayId",
    "carrierGatewayId": "CarrierGatewayId",
    "localGatewayId": "LocalGatewayId",
    "coreNetworkArn": "CoreNetworkArn",
}
_INLINE_DESTINATIONS = {
    "cidrBlock": "DestinationCidrBlock",
    "ipv6CidrBlock": "DestinationIpv6CidrBlock",
    "destinationPrefixListId": "DestinationPrefixListId",
}
_DESTINATIONS = {
    "destinationCidrBlock": "DestinationCidrBlock",
    "destinationIpv6CidrBlock": "DestinationIpv6CidrBlock",
    "destinationPrefixListId": "DestinationPrefixListId",
}


def _members(route: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    return {member: route[name] for name, member in names.items() if route.get(name)}


def _route_members(route: Mapping[str, Any]) -> dict[str, str]:
    return _members(route, {**_ROUTE_TARGETS, **_INLINE_DESTINATIONS})


def _user_routes(table: Mapping[str, Any]) -> Iterable[dict[str, str]]:
    """The table's routes that a program could have made: not the local one, not a gateway endpoint's."""
    for route in table.get("Routes", []):
        gateway = route.get("GatewayId", "")
        if gateway == "local" or gateway.startswith("vpce-") or route.get("Origin") == "EnableVgwRoutePropagation":
            continue
        names = {**_ROUTE_TARGETS, **_INLINE_DESTINATIONS}
        yield {name: route[member] for name, member in names.items() if route.get(member)}


def _table_made(ctx: Context, state: State) -> None:
    for route in state.get("routes") or []:
        ctx.call("CreateRoute", {"RouteTableId": state["id"], **_route_members(route)})


def _table_changed(ctx: Context, old: State, inputs: State, _changed: frozenset[str]) -> None:
    def by_destination(routes: Iterable[Mapping[str, Any]]) -> dict[tuple[tuple[str, str], ...], dict[str, str]]:
        return {tuple(sorted(_members(r, _INLINE_DESTINATIONS).items())): _route_members(r) for r in routes}

    before, after = by_destination(old.get("routes") or []), by_destination(inputs.get("routes") or [])
    table = {"RouteTableId": old["id"]}
    for destination in before.keys() - after.keys():
        ctx.call("DeleteRoute", {**table, **dict(destination)})
    for destination, route in after.items():
        if destination not in before:
            ctx.call("CreateRoute", {**table, **route})
        elif before[destination] != route:
            ctx.call("ReplaceRoute", {**table, **route})


def _table_details(_ctx: Context, resource: State, state: State, _known: State) -> None:
    state["routes"] = list(_user_routes(resource))


def _release_table(ctx: Context, state: State) -> None:
    query = {"RouteTableIds": [state["id"]]}
    for association in ctx.pages("DescribeRouteTables", query, "RouteTables[].Associations[]"):
        if not association.get("Main"):
            ctx.call("DisassociateRouteTable", {"AssociationId": association["RouteTableAssociationId"]})


_NO_TABLE = ("InvalidRouteTableID.NotFound",)

_ROUTE_TABLE = ResourceType(
    type="aws:ec2/routeTable:RouteTable",
    service="ec2",
    create=Call(op="CreateRouteTable", props=None),
    created={"id": "RouteTable.RouteTableId"},
    read=Read(op="DescribeRouteTables", args={"RouteTableIds": ["{id}"]}, at="RouteTables[0]", missing=_NO_TABLE),
    delete=Call(op="DeleteRouteTable", args={"RouteTableId": "{id}"}),
    busy=("DependencyViolation",),
    arn=_ARN + "route-table/{id}",
    replace=words("vpcId"),
    computed=words("routes propagatingVgws"),
    hooked=words("routes"),
    object_sets=words("routes"),
    refused=words("propagatingVgws"),
    tags=ec2_tags("route-table"),
    after_create=_table_made,
    on_update=_table_changed,
    amend=_table_details,
    before_delete=_release_table,
)


def _destination(state: Mapping[str, Any]) -> dict[str, str]:
    return _members(state, _DESTINATIONS)


def _find_route(ctx: Context, state: State) -> State | None:
    table_id, wanted = state.get("routeTableId"), _destination(state)
    if not wanted:  # an import: `rtb-1_10.0.0.0/16`
        table_id, _, text = str(state["id"]).partition("_")
        kind = "DestinationPrefixListId" if text.startswith("pl-") else "DestinationCidrBlock"
        wanted = {"DestinationIpv6CidrBlock" if ":" in text else kind: text}
    for table in ctx.call("DescribeRouteTables", {"RouteTableIds": [table_id]}).get("RouteTables", []):
        for route in table.get("Routes", []):
            if all(route.get(k) == v for k, v in wanted.items()):
                return {**route, "RouteTableId": table_id}
    return None


def _route_details(_ctx: Context, resource: State, state: State, _known: State) -> None:
    destination = next(iter(_destination(state).values()))
    # The official id: a CRC of the destination behind the table's id.
    state["id"] = f"r-{state['routeTableId']}{zlib.crc32(destination.encode())}"
    for name, member in _ROUTE_TARGETS.items():
        if resource.get(member):
            state[name] = resource[member]


def _make_route(ctx: Context, inputs: State) -> State:
    ctx.call(
        "CreateRoute",
        {"RouteTableId": inputs["routeTableId"], **_destination(inputs), **_members(inputs, _ROUTE_TARGETS)},
    )
    return {"id": f"{inputs['routeTableId']}_{next(iter(_destination(inputs).values()))}"}


def _retarget_route(ctx: Context, old: State, inputs: State, _changed: frozenset[str]) -> None:
    ctx.call(
        "ReplaceRoute", {"RouteTableId": old["routeTableId"], **_destination(old), **_members(inputs, _ROUTE_TARGETS)}
    )


def _delete_route(ctx: Context, state: State) -> None:
    ctx.call("DeleteRoute", {"RouteTableId": state["routeTableId"], **_destination(state)})


def _one_destination(inputs: State) -> list[tuple[str, str]]:
    given = [n for n in _DESTINATIONS if inputs.get(n) is not None]
    targets = [n for n in _ROUTE_TARGETS if inputs.get(n) is not None]
    problems = []
    if len(given) != 1:
        names = ", ".join(_DESTINATIONS)
        problems.append(("destinationCidrBlock", f"one of `{names}` must be specified"))
    if len(targets) != 1:
        problems.append(("gatewayId", f"one of `{', '.join(_ROUTE_TARGETS)}` must be specified"))
    return problems


_ROUTE = ResourceType(
    type="aws:ec2/route:Route",
    service="ec2",
    on_create=_make_route,
    on_read=_find_route,
    read=Read(op="DescribeRouteTables", missing=_NO_TABLE),
    on_update=_retarget_route,
    on_delete=_delete_route,
    absent=("InvalidRoute.NotFound", *_NO_TABLE),
    outputs={"egressOnlyGatewayId": "EgressOnlyInternetGatewayId"},
    replace=words("routeTableId") | frozenset(_DESTINATIONS),
    hooked=words("routeTableId") | frozenset(_DESTINATIONS) | frozenset(_ROUTE_TARGETS),
    refused=words("odbNetworkArn"),
    on_check=_one_destination,
    amend=_route_details,
)


def _associate(ctx: Context, inputs: State) -> State:
    target = {m: inputs[n] for n, m in (("subnetId", "SubnetId"), ("gatewayId", "GatewayId")) if inputs.get(n)}
    answer = ctx.call("AssociateRouteTable", {"RouteTableId": inputs["routeTableId"], **target})
    return {"id": answer["AssociationId"]}


def _find_association(ctx: Context, state: State) -> State | None:
    identity = str(state["id"])
    subnet = state.get("subnetId") or state.get("gatewayId")
    if "/" in identity:  # an import: `subnet-1/rtb-1`
        subnet = identity.partition("/")[0]
    name, value = ("association.route-table-association-id", identity)
    if subnet:
        name, value = ("association.subnet-id" if subnet.startswith("subnet-") else "association.gateway-id", subnet)
    query = {"Filters": [{"Name": name, "Values": [value]}]}
    for association in ctx.pages("DescribeRouteTables", query, "RouteTables[].Associations[]"):
        if value in (association.get("SubnetId"), association.get("GatewayId"), association["RouteTableAssociationId"]):
            return dict(association)
    return None


def _reassociate(ctx: Context, old: State, inputs: State, _changed: frozenset[str]) -> None:
    found = _find_association(ctx, old)
    if found is None:
        raise ProviderError(f"the association {old['id']} is gone; run `pulumi refresh`")
    # AWS gives the association a new id; it stays findable by its subnet.
    ctx.call(
        "ReplaceRouteTableAssociation",
        {"AssociationId": found["RouteTableAssociationId"], "RouteTableId": inputs["routeTableId"]},
    )


def _association_details(_ctx: Context, resource: State, state: State, known: State) -> None:
    if "/" in str(known.get("id", "")):
        state["id"] = resource["RouteTableAssociationId"]


def _dissociate(ctx: Context, state: State) -> None:
    found = _find_association(ctx, state)
    if found is not None:
        ctx.call("DisassociateRouteTable", {"AssociationId": found["RouteTableAssociationId"]})


_ROUTE_TABLE_ASSOCIATION = ResourceType(
    type="aws:ec2/routeTableAssociation:RouteTableAssociation",
    service="ec2",
    on_create=_associate,
    on_read=_find_association,
    read=Read(op="DescribeRouteTables", missing=("InvalidAssociationID.NotFound", *_NO_TABLE)),
    on_update=_reassociate,
    on_delete=_dissociate,
    absent=("InvalidAssociationID.NotFound",),
    replace=words("subnetId gatewayId"),
    hooked=words("subnetId gatewayId routeTableId"),
    amend=_association_details,
    delete_before_replace=True,
)


ROWS = (_ROUTE_TABLE, _ROUTE, _ROUTE_TABLE_ASSOCIATION)
