"""VPC, subnets, gateways, routes, endpoints, flow logs."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from headrace_sandbox.aws_provider.context import Context
from headrace_sandbox.aws_provider.spec import Call, Read, Ready, ResourceType, State
from headrace_sandbox.aws_provider.table.parts import ec2_tags, words
from headrace_sandbox.plugin.provider import ProviderError

_ARN = "arn:{partition}:ec2:{region}:{account}:"

# -- VPC ---------------------------------------------------------------------------------------------------------------

_VPC_ATTRIBUTES = {
    "enableDnsSupport": "EnableDnsSupport",
    "enableDnsHostnames": "EnableDnsHostnames",
    "enableNetworkAddressUsageMetrics": "EnableNetworkAddressUsageMetrics",
}
# What a new VPC has, so that only what differs costs a call.
_VPC_FRESH = {"enableDnsSupport": True, "enableDnsHostnames": False, "enableNetworkAddressUsageMetrics": False}


def _set_vpc_attributes(ctx: Context, vpc: str, wanted: Mapping[str, Any]) -> None:
    # DNS support first: host names need it. One attribute per call is EC2's rule.
    for name, member in _VPC_ATTRIBUTES.items():
        if name in wanted:
            ctx.call("ModifyVpcAttribute", {"VpcId": vpc, member: {"Value": bool(wanted[name])}})


def _vpc_made(ctx: Context, state: State) -> None:
    wanted = {n: state[n] for n in _VPC_ATTRIBUTES if state.get(n) is not None and state[n] != _VPC_FRESH[n]}
    _set_vpc_attributes(ctx, state["id"], wanted)


def _vpc_changed(ctx: Context, old: State, inputs: State, changed: frozenset[str]) -> None:
    _set_vpc_attributes(ctx, old["id"], {n: inputs.get(n, _VPC_FRESH[n]) for n in _VPC_ATTRIBUTES if n in changed})


def _vpc_details(ctx: Context, _resource: State, state: State, _known: State) -> None:
    for name, member in _VPC_ATTRIBUTES.items():
        attribute = member[0].lower() + member[1:]
        answer = ctx.call("DescribeVpcAttribute", {"VpcId": state["id"], "Attribute": attribute})
        state[name] = bool(answer.get(member, {}).get("Value", False))
    of_vpc = [{"Name": "vpc-id", "Values": [state["id"]]}]
    main = [*of_vpc, {"Name": "association.main", "Values": ["true"]}]
    for table in ctx.pages("DescribeRouteTables", {"Filters": main}, "RouteTables"):
        state["mainRouteTableId"] = state["defaultRouteTableId"] = table["RouteTableId"]
    default = [*of_vpc, {"Name": "group-name", "Values": ["default"]}]
    for group in ctx.pages("DescribeSecurityGroups", {"Filters": default}, "SecurityGroups"):
        state["defaultSecurityGroupId"] = group["GroupId"]
    default = [*of_vpc, {"Name": "default", "Values": ["true"]}]
    for acl in ctx.pages("DescribeNetworkAcls", {"Filters": default}, "NetworkAcls"):
        state["defaultNetworkAclId"] = acl["NetworkAclId"]


_VPC = ResourceType(
    type="aws:ec2/vpc:Vpc",
    service="ec2",
    create=Call(op="CreateVpc", props=None),
    created={"id": "Vpc.VpcId"},
    read=Read(op="DescribeVpcs", args={"VpcIds": ["{id}"]}, at="Vpcs[0]", missing=("InvalidVpcID.NotFound",)),
    ready=Ready(status="State", good=("available",), timeout_s=600),
    delete=Call(op="DeleteVpc", args={"VpcId": "{id}"}),
    busy=("DependencyViolation",),
    arn=_ARN + "vpc/{id}",
    replace=words("cidrBlock ipv4IpamPoolId ipv4NetmaskLength"),
    # From dedicated to default tenancy is the one change that AWS makes in place; our table has no call for it.
    replace_when={"instanceTenancy": lambda old, new: old != new},
    defaults={"enableDnsSupport": True, "instanceTenancy": "default"},
    computed=words("cidrBlock enableDnsHostnames enableNetworkAddressUsageMetrics"),
    hooked=frozenset(_VPC_ATTRIBUTES),
    refused=words(
        "assignGeneratedIpv6CidrBlock ipv6CidrBlock ipv6CidrBlockNetworkBorderGroup ipv6IpamPoolId ipv6NetmaskLength"
    ),
    write_only=words("ipv4IpamPoolId ipv4NetmaskLength"),
    tags=ec2_tags("vpc"),
    after_create=_vpc_made,
    on_update=_vpc_changed,
    amend=_vpc_details,
)

# -- Subnet ------------------------------------------------------------------------------------------------------------

_SUBNET_SWITCHES = {
    "mapPublicIpOnLaunch": "MapPublicIpOnLaunch",
    "assignIpv6AddressOnCreation": "AssignIpv6AddressOnCreation",
    "enableDns64": "EnableDns64",
    "enableResourceNameDnsARecordOnLaunch": "EnableResourceNameDnsARecordOnLaunch",
    "enableResourceNameDnsAaaaRecordOnLaunch": "EnableResourceNameDnsAAAARecordOnLaunch",
}


def _set_subnet_attributes(ctx: Context, subnet: str, wanted: Mapping[str, Any]) -> None:
    for name, member in _SUBNET_SWITCHES.items():
        if name in wanted:
            ctx.call("ModifySubnetAttribute", {"SubnetId": subnet, member: {"Value": bool(wanted[name])}})
    kind = wanted.get("privateDnsHostnameTypeOnLaunch")
    if kind:
        ctx.call("ModifySubnetAttribute", {"SubnetId": subnet, "PrivateDnsHostnameTypeOnLaunch": kind})


def _subnet_made(ctx: Context, state: State) -> None:
    wanted = {n: True for n in _SUBNET_SWITCHES if state.get(n)}
    kind = state.get("privateDnsHostnameTypeOnLaunch")
    _set_subnet_attributes(ctx, state["id"], wanted | ({"privateDnsHostnameTypeOnLaunch": kind} if kind else {}))


def _subnet_changed(ctx: Context, old: State, inputs: State, changed: frozenset[str]) -> None:
    _set_subnet_attributes(ctx, old["id"], {n: inputs.get(n) for n in changed})


_SUBNET = ResourceType(
    type="aws:ec2/subnet:Subnet",
    service="ec2",
    create=Call(op="CreateSubnet", props=None),
    created={"id": "Subnet.SubnetId"},
    read=Read(
        op="DescribeSubnets", args={"SubnetIds": ["{id}"]}, at="Subnets[0]", missing=("InvalidSubnetID.NotFound",)
    ),
    ready=Ready(status="State", good=("available",), timeout_s=600),
    delete=Call(op="DeleteSubnet", args={"SubnetId": "{id}"}),
    busy=("DependencyViolation",),
    arn=_ARN + "subnet/{id}",
    outputs={
        "privateDnsHostnameTypeOnLaunch": "PrivateDnsNameOptionsOnLaunch.HostnameType",
        "enableResourceNameDnsARecordOnLaunch": "PrivateDnsNameOptionsOnLaunch.EnableResourceNameDnsARecord",
        "enableResourceNameDnsAaaaRecordOnLaunch": "PrivateDnsNameOptionsOnLaunch.EnableResourceNameDnsAAAARecord",
    },
    replace=words("vpcId cidrBlock availabilityZone availabilityZoneId ipv4IpamPoolId ipv4NetmaskLength outpostArn"),
    computed=words("availabilityZone availabilityZoneId cidrBlock privateDnsHostnameTypeOnLaunch outpostArn"),
    defaults=dict.fromkeys(_SUBNET_SWITCHES, False),
    hooked=frozenset(_SUBNET_SWITCHES) | {"privateDnsHostnameTypeOnLaunch"},
    refused=words(
        "customerOwnedIpv4Pool enableLniAtDeviceIndex ipv6CidrBlock ipv6IpamPoolId ipv6Native ipv6NetmaskLength"
        " mapCustomerOwnedIpOnLaunch"
    ),
    write_only=words("ipv4IpamPoolId ipv4NetmaskLength"),
    tags=ec2_tags("subnet"),
    after_create=_subnet_made,
    on_update=_subnet_changed,
)

# -- Internet gateway, address, NAT gateway ----------------------------------------------------------------------------


def _attach_gateway(ctx: Context, state: State) -> None:
    if state.get("vpcId"):
        ctx.call("AttachInternetGateway", {"InternetGatewayId": state["id"], "VpcId": state["vpcId"]})


def _move_gateway(ctx: Context, old: State, inputs: State, _changed: frozenset[str]) -> None:
    _detach_gateway(ctx, old)
    _attach_gateway(ctx, {**inputs, "id": old["id"]})


def _detach_gateway(ctx: Context, state: State) -> None:
    if state.get("vpcId"):
        params = {"InternetGatewayId": state["id"], "VpcId": state["vpcId"]}
        ctx.retry(lambda: _detach(ctx, params), ("DependencyViolation",), timeout_s=120)


def _detach(ctx: Context, params: State) -> None:
    from botocore.exceptions import ClientError

    try:
        ctx.call("DetachInternetGateway", params)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") not in (
            "Gateway.NotAttached",
            "InvalidInternetGatewayID.NotFound",
        ):
            raise


_INTERNET_GATEWAY = ResourceType(
    type="aws:ec2/internetGateway:InternetGateway",
    service="ec2",
    create=Call(op="CreateInternetGateway"),
    created={"id": "InternetGateway.InternetGatewayId"},
    read=Read(
        op="DescribeInternetGateways",
        args={"InternetGatewayIds": ["{id}"]},
        at="InternetGateways[0]",
        missing=("InvalidInternetGatewayID.NotFound",),
    ),
    delete=Call(op="DeleteInternetGateway", args={"InternetGatewayId": "{id}"}),
    busy=("DependencyViolation",),
    outputs={"vpcId": "Attachments[0].VpcId"},
    arn=_ARN + "internet-gateway/{id}",
    computed=words("vpcId"),
    hooked=words("vpcId"),
    tags=ec2_tags("internet-gateway"),
    after_create=_attach_gateway,
    on_update=_move_gateway,
    before_delete=_detach_gateway,
)


def _address_names(ctx: Context, _resource: State, state: State, _known: State) -> None:
    # AWS answers these names from DNS, not from the API: the official provider composes them as well.
    ip = state.get("publicIp")
    if ip:
        where = "compute-1" if ctx.region == "us-east-1" else f"{ctx.region}.compute"
        state["publicDns"] = f"ec2-{ip.replace('.', '-')}.{where}.amazonaws.com"


_EIP = ResourceType(
    type="aws:ec2/eip:Eip",
    service="ec2",
    create=Call(op="AllocateAddress", props=None),
    created={"id": "AllocationId"},
    read=Read(
        op="DescribeAddresses",
        args={"AllocationIds": ["{id}"]},
        at="Addresses[0]",
        missing=("InvalidAllocationID.NotFound", "InvalidAddress.NotFound"),
    ),
    delete=Call(op="ReleaseAddress", args={"AllocationId": "{id}"}),
    busy=("InvalidIPAddress.InUse", "AuthFailure~does not own"),
    outputs={
        "allocationId": "AllocationId",
        "networkInterface": "NetworkInterfaceId",
        "instance": "InstanceId",
        "privateIp": "PrivateIpAddress",
    },
    arn=_ARN + "elastic-ip/{id}",
    replace=words("address customerOwnedIpv4Pool domain ipamPoolId networkBorderGroup publicIpv4Pool"),
    computed=words("domain networkBorderGroup publicIpv4Pool networkInterface instance ipamPoolId"),
    refused=words("associateWithPrivateIp instance networkInterface"),
    defaults={"domain": "vpc"},
    write_only=words("address ipamPoolId"),
    tags=ec2_tags("elastic-ip"),
    amend=_address_names,
)

_NAT_GATEWAY = ResourceType(
    type="aws:ec2/natGateway:NatGateway",
    service="ec2",
    create=Call(op="CreateNatGateway", props=None),
    created={"id": "NatGateway.NatGatewayId"},
    read=Read(
        op="DescribeNatGateways",
        args={"NatGatewayIds": ["{id}"]},
        at="NatGateways[0]",
        missing=("NatGatewayNotFound",),
        status="State",
        gone=("deleted",),
    ),
    ready=Ready(status="State", good=("available",), bad=("failed",), reason="FailureMessage", timeout_s=600),
    delete=Call(op="DeleteNatGateway", args={"NatGatewayId": "{id}"}),
    wait_deleted=True,
    outputs={
        "allocationId": "NatGatewayAddresses[0].AllocationId",
        "associationId": "NatGatewayAddresses[0].AssociationId",
        "networkInterfaceId": "NatGatewayAddresses[0].NetworkInterfaceId",
        "privateIp": "NatGatewayAddresses[0].PrivateIp",
        "publicIp": "NatGatewayAddresses[0].PublicIp",
    },
    rename={"privateIp": "PrivateIpAddress"},
    replace=words("allocationId connectivityType privateIp subnetId"),
    computed=words("privateIp"),
    defaults={"connectivityType": "public"},
    refused=words(
        "availabilityMode availabilityZoneAddresses secondaryAllocationIds secondaryPrivateIpAddressCount"
        " secondaryPrivateIpAddresses vpcId"
    ),
    tags=ec2_tags("natgateway"),
)

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

# -- Endpoints ---------------------------------------------------------------------------------------------------------

_ENDPOINT_LISTS = {"routeTableIds": "RouteTableIds", "subnetIds": "SubnetIds", "securityGroupIds": "SecurityGroupIds"}
_ENDPOINT_VALUES = {
    "policy": "PolicyDocument",
    "privateDnsEnabled": "PrivateDnsEnabled",
    "ipAddressType": "IpAddressType",
}


def _change_endpoint(ctx: Context, old: State, inputs: State, changed: frozenset[str]) -> None:
    params: dict[str, Any] = {"VpcEndpointId": old["id"]}
    for name, member in _ENDPOINT_LISTS.items():
        if name in changed:
            before, after = set(old.get(name) or ()), set(inputs.get(name) or ())
            if after - before:
                params[f"Add{member}"] = sorted(after - before)
            if before - after:
                params[f"Remove{member}"] = sorted(before - after)
    for name, member in _ENDPOINT_VALUES.items():
        if name in changed:
            if inputs.get(name) is not None:
                params[member] = inputs[name]
            elif name == "policy":
                params["ResetPolicy"] = True
    ctx.call("ModifyVpcEndpoint", params)


def _endpoint_details(ctx: Context, resource: State, state: State, _known: State) -> None:
    if resource.get("VpcEndpointType") == "Gateway":
        query = {"Filters": [{"Name": "prefix-list-name", "Values": [resource["ServiceName"]]}]}
        for prefixes in ctx.pages("DescribePrefixLists", query, "PrefixLists"):
            state["prefixListId"], state["cidrBlocks"] = prefixes["PrefixListId"], prefixes.get("Cidrs", [])


_NO_ENDPOINT = ("InvalidVpcEndpoint*",)

_VPC_ENDPOINT = ResourceType(
    type="aws:ec2/vpcEndpoint:VpcEndpoint",
    service="ec2",
    create=Call(op="CreateVpcEndpoint", props=None),
    created={"id": "VpcEndpoint.VpcEndpointId"},
    read=Read(
        op="DescribeVpcEndpoints",
        args={"VpcEndpointIds": ["{id}"]},
        at="VpcEndpoints[0]",
        missing=_NO_ENDPOINT,
        status="State",
        gone=("deleted", "Deleted"),
    ),
    ready=Ready(
        status="State",
        good=("available", "Available", "pendingAcceptance"),
        bad=("failed", "rejected", "expired"),
        reason="LastError",
        timeout_s=600,
    ),
    delete=Call(op="DeleteVpcEndpoints", args={"VpcEndpointIds": ["{id}"]}),
    wait_deleted=True,
    arn=_ARN + "vpc-endpoint/{id}",
    rename={"policy": "PolicyDocument", "dnsEntries": "DnsEntries"},
    outputs={"securityGroupIds": "Groups[].GroupId", "state": "State"},
    replace=words("vpcId serviceName vpcEndpointType serviceRegion resourceConfigurationArn serviceNetworkArn"),
    computed=words(
        "policy privateDnsEnabled routeTableIds subnetIds securityGroupIds ipAddressType dnsOptions serviceRegion"
    ),
    defaults={"vpcEndpointType": "Gateway"},
    documents=words("policy"),
    refused=words("autoAccept dnsOptions subnetConfigurations"),
    on_update=_change_endpoint,
    hook_updates=frozenset(_ENDPOINT_LISTS) | frozenset(_ENDPOINT_VALUES),
    tags=ec2_tags("vpc-endpoint"),
    amend=_endpoint_details,
)


def _set_endpoint_policy(ctx: Context, state: State) -> State:
    ctx.call("ModifyVpcEndpoint", {"VpcEndpointId": state["vpcEndpointId"], "PolicyDocument": state["policy"]})
    return {"id": state["vpcEndpointId"]}


_VPC_ENDPOINT_POLICY = ResourceType(
    type="aws:ec2/vpcEndpointPolicy:VpcEndpointPolicy",
    service="ec2",
    on_create=_set_endpoint_policy,
    read=Read(op="DescribeVpcEndpoints", args={"VpcEndpointIds": ["{id}"]}, at="VpcEndpoints[0]", missing=_NO_ENDPOINT),
    on_update=lambda ctx, old, inputs, _changed: _set_endpoint_policy(ctx, {**old, **inputs}),
    delete=Call(op="ModifyVpcEndpoint", args={"VpcEndpointId": "{id}", "ResetPolicy": True}),
    rename={"policy": "PolicyDocument"},
    replace=words("vpcEndpointId"),
    hooked=words("vpcEndpointId policy"),
    computed=words("policy"),
    documents=words("policy"),
)

# -- Flow logs ---------------------------------------------------------------------------------------------------------

_FLOW_SOURCES = {
    "vpcId": ("VPC", "vpc-"),
    "subnetId": ("Subnet", "subnet-"),
    "eniId": ("NetworkInterface", "eni-"),
    "transitGatewayId": ("TransitGateway", "tgw-"),
    "transitGatewayAttachmentId": ("TransitGatewayAttachment", "tgw-attach-"),
}


def _flow_source(params: State, inputs: State, _same: State) -> None:
    name = next(n for n in _FLOW_SOURCES if inputs.get(n))
    params["ResourceType"], params["ResourceIds"] = _FLOW_SOURCES[name][0], [inputs[name]]


def _one_flow_source(inputs: State) -> list[tuple[str, str]]:
    given = [n for n in _FLOW_SOURCES if inputs.get(n) is not None]
    return [] if len(given) == 1 else [("vpcId", f"one of `{', '.join(_FLOW_SOURCES)}` must be specified")]


def _flow_details(_ctx: Context, resource: State, state: State, _known: State) -> None:
    source = str(resource.get("ResourceId", ""))
    for name, (_, prefix) in _FLOW_SOURCES.items():
        if source.startswith(prefix) and not (name == "transitGatewayId" and source.startswith("tgw-attach-")):
            state[name] = source


_FLOW_LOG = ResourceType(
    type="aws:ec2/flowLog:FlowLog",
    service="ec2",
    create=Call(op="CreateFlowLogs", props=None, finish=_flow_source),
    created={"id": "FlowLogIds[0]"},
    read=Read(
        op="DescribeFlowLogs", args={"FlowLogIds": ["{id}"]}, at="FlowLogs[0]", missing=("InvalidFlowLogId.NotFound",)
    ),
    delete=Call(op="DeleteFlowLogs", args={"FlowLogIds": ["{id}"]}),
    arn=_ARN + "vpc-flow-log/{id}",
    rename={"iamRoleArn": "DeliverLogsPermissionArn", "deliverCrossAccountRole": "DeliverCrossAccountRole"},
    replace=words(
        "deliverCrossAccountRole destinationOptions iamRoleArn logDestination logDestinationType logFormat"
        " maxAggregationInterval trafficType"
    )
    | frozenset(_FLOW_SOURCES),
    computed=words("logFormat logDestination"),
    defaults={"logDestinationType": "cloud-watch-logs", "maxAggregationInterval": 600},
    hooked=frozenset(_FLOW_SOURCES),
    refused=words("regionalNatGatewayId tagFieldSpecifications"),
    on_check=_one_flow_source,
    tags=ec2_tags("vpc-flow-log"),
    amend=_flow_details,
)

ROWS = (
    _VPC,
    _SUBNET,
    _INTERNET_GATEWAY,
    _EIP,
    _NAT_GATEWAY,
    _ROUTE_TABLE,
    _ROUTE,
    _ROUTE_TABLE_ASSOCIATION,
    _VPC_ENDPOINT,
    _VPC_ENDPOINT_POLICY,
    _FLOW_LOG,
)
