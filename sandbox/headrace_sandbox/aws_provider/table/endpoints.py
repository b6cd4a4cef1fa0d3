"""VPC endpoints and flow logs."""

from __future__ import annotations

from typing import Any

from headrace_sandbox.aws_provider.context import Context
from headrace_sandbox.aws_provider.spec import Call, Read, Ready, ResourceType, State
from headrace_sandbox.aws_provider.table.parts import EC2_ARN as _ARN
from headrace_sandbox.aws_provider.table.parts import ec2_tags, words

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


ROWS = (_VPC_ENDPOINT, _VPC_ENDPOINT_POLICY, _FLOW_LOG)
