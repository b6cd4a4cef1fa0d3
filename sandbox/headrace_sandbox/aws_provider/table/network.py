"""VPC, subnets, gateways, addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from headrace_sandbox.aws_provider.context import Context
from headrace_sandbox.aws_provider.spec import Call, Read, Ready, ResourceType, State
from headrace_sandbox.aws_provider.table.parts import EC2_ARN as _ARN
from headrace_sandbox.aws_provider.table.parts import ec2_tags, words

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

ROWS = (_VPC, _SUBNET, _INTERNET_GATEWAY, _EIP, _NAT_GATEWAY)
