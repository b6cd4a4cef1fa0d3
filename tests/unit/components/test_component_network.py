"""PrivateNetwork: who can reach what."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from headrace.catalog import load
from headrace.errors import Refused
from headrace.rules.facts import NetworkFacts, facts_from_props
from headrace_components import PrivateNetwork, PrivateNetworkArgs
from tests.unit.components.recording import PLACE, ZONES, Engine, record


def network(**more: Any) -> None:
    args = {"place": PLACE, "cidr": "10.0.0.0/16", "zones": ZONES, **more}
    PrivateNetwork("net", cast("PrivateNetworkArgs", args))


def tables_with_a_default_route(engine: Engine) -> set[str]:
    return {route.inputs["routeTableId"] for route in engine.of("aws:ec2/route:Route")}


def test_private_and_intra_subnets_have_no_route_to_the_internet(default_network: Engine) -> None:
    with_route = tables_with_a_default_route(default_network)
    assert with_route, "the router's egress must exist for its absence elsewhere to mean something"
    for association in default_network.of("aws:ec2/routeTableAssociation:RouteTableAssociation"):
        if "-private-" in association.name or "-intra-" in association.name:
            assert association.inputs["routeTableId"] not in with_route, f"{association.name} has a way out"


def test_without_egress_nothing_leads_to_the_internet() -> None:
    engine = record(lambda: network(egress="none"))
    for kind in ("route:Route", "internetGateway:InternetGateway", "natGateway:NatGateway", "eip:Eip"):
        assert not engine.of(f"aws:ec2/{kind}"), f"egress none must not create {kind}"
    assert not [subnet for subnet in engine.of("aws:ec2/subnet:Subnet") if "edge" in subnet.name]


def test_each_zone_has_a_nat_gateway_of_its_own_and_its_router_uses_that_one(default_network: Engine) -> None:
    assert len(default_network.of("aws:ec2/natGateway:NatGateway")) == len(ZONES), (
        "a shared gateway is a shared failure"
    )
    for letter in "ab":
        route = default_network.one("aws:ec2/route:Route", f"net-edge-{letter}-router")
        assert route.inputs["natGatewayId"] == f"net-edge-{letter}-id"
        assert route.inputs["routeTableId"] == f"net-router-{letter}-id"


def test_every_subnet_has_a_route_table_of_its_own(default_network: Engine) -> None:
    associations = default_network.of("aws:ec2/routeTableAssociation:RouteTableAssociation")
    subnets = {one.inputs["subnetId"] for one in associations}
    tables = {one.inputs["routeTableId"] for one in associations}
    assert len(subnets) == len(tables) == len(default_network.of("aws:ec2/subnet:Subnet"))


def test_no_subnet_gives_public_addresses(default_network: Engine) -> None:
    assert {subnet.inputs["mapPublicIpOnLaunch"] for subnet in default_network.of("aws:ec2/subnet:Subnet")} == {False}


def test_every_endpoint_of_the_catalogue_exists_and_has_a_policy(default_network: Engine) -> None:
    endpoints = default_network.of("aws:ec2/vpcEndpoint:VpcEndpoint")
    assert {one.inputs["serviceName"] for one in endpoints} == {
        f"com.amazonaws.eu-central-1.{row.service}" for row in load.vpc_endpoints().values()
    }
    for one in endpoints:
        policy = json.loads(one.inputs["policy"])
        own = policy["Statement"][0]["Condition"]["StringEquals"]
        assert own == {"aws:PrincipalAccount": "123456789012"}, "foreign credentials must not leave through an endpoint"


def test_the_s3_gateway_is_on_every_private_and_router_route_table(default_network: Engine) -> None:
    gateway = default_network.one("aws:ec2/vpcEndpoint:VpcEndpoint", "net-s3")
    assert sorted(gateway.inputs["routeTableIds"]) == [
        "net-private-a-id",
        "net-private-b-id",
        "net-router-a-id",
        "net-router-b-id",
    ]


def test_the_endpoints_admit_https_from_our_subnets_and_nothing_else(default_network: Engine) -> None:
    rules = default_network.of("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule")
    assert {(rule.inputs["fromPort"], rule.inputs["toPort"], rule.inputs["ipProtocol"]) for rule in rules} == {
        (443, 443, "tcp")
    }
    ours = {
        subnet.inputs["cidrBlock"]
        for subnet in default_network.of("aws:ec2/subnet:Subnet")
        if "-edge-" not in subnet.name
    }
    assert {rule.inputs["cidrIpv4"] for rule in rules} == ours


def test_the_default_security_group_is_emptied(default_network: Engine) -> None:
    group = default_network.one("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup")
    assert not group.inputs.get("ingress")
    assert not group.inputs.get("egress")


def test_flow_logs_record_all_traffic_into_an_encrypted_group_with_a_retention() -> None:
    engine = record(lambda: network(flow_log_retention_days=90))
    assert engine.one("aws:ec2/flowLog:FlowLog").inputs["trafficType"] == "ALL"
    group = engine.one("aws:cloudwatch/logGroup:LogGroup")
    assert group.inputs["retentionInDays"] == 90
    assert group.inputs["kmsKeyId"], "the log group must be encrypted with a key of ours"


def test_a_retention_that_cloudwatch_does_not_know_is_refused() -> None:
    with pytest.raises(Refused, match=r"logRetentionDays is 100: must be one of 1, 3, 5"):
        record(lambda: network(flow_log_retention_days=100))


def test_a_zone_of_another_region_is_refused_before_anything_is_created() -> None:
    engine = Engine()
    with pytest.raises(Refused, match="must be a zone of eu-central-1"):
        record(lambda: network(zones=["us-east-1a", "us-east-1b"]), engine)
    assert not engine.resources


ADOPTED = {
    "vpc_id": "vpc-0123456789abcdef0",
    "private_subnet_ids": {"eu-central-1a": "subnet-pa", "eu-central-1b": "subnet-pb"},
    "intra_subnet_ids": {"eu-central-1a": "subnet-ia", "eu-central-1b": "subnet-ib"},
    "router_subnet_ids": {"eu-central-1a": "subnet-ra", "eu-central-1b": "subnet-rb"},
}


def test_an_adopted_vpc_is_used_and_nothing_is_created_in_it() -> None:
    engine = record(lambda: network(adopt=ADOPTED))
    assert [one.type for one in engine.resources] == ["headrace:index:PrivateNetwork"]
    facts = engine.resources[0].inputs["facts"]
    assert facts["adoptedPrivateSubnetIds"] == ["subnet-pa", "subnet-pb"]


@pytest.mark.parametrize(
    "route",
    [{"gatewayId": "igw-1", "natGatewayId": ""}, {"gatewayId": "", "natGatewayId": "nat-1"}],
    ids=["internet gateway", "nat gateway"],
)
def test_an_adopted_private_subnet_with_a_way_out_is_refused(route: dict[str, str]) -> None:
    empty = ("egressOnlyGatewayId", "ipv6CidrBlock", "carrierGatewayId", "coreNetworkArn", "destinationPrefixListId")
    blank = (*empty, "instanceId", "localGatewayId", "networkInterfaceId", "transitGatewayId", "vpcEndpointId")
    full = dict.fromkeys((*blank, "vpcPeeringConnectionId", "odbNetworkArn"), "")
    engine = Engine()
    engine.routes["subnet-pb"] = [{**full, "cidrBlock": "0.0.0.0/0", **route}]
    with pytest.raises(Refused, match=r"privateSubnetIds\.eu-central-1b is 'subnet-pb': must have no route"):
        record(lambda: network(adopt=ADOPTED), engine)


def test_an_adopted_vpc_that_misses_a_zone_is_refused() -> None:
    partial = {**ADOPTED, "intra_subnet_ids": {"eu-central-1a": "subnet-ia"}}
    with pytest.raises(Refused, match=r"adopt\.intraSubnetIds.*missing: eu-central-1b"):
        record(lambda: network(adopt=partial))


def test_facts_are_plain_and_say_what_the_settings_say() -> None:
    engine = record(lambda: network(egress="none", flow_log_retention_days=30))
    props = engine.one("headrace:index:PrivateNetwork").inputs["facts"]
    assert json.loads(json.dumps(props)) == props, "facts must survive JSON unchanged"
    facts = facts_from_props(props)
    assert isinstance(facts, NetworkFacts)
    assert (facts.egress, facts.zones, facts.jurisdiction) == ("none", tuple(ZONES), "EU")
    assert facts.flow_log_retention_days == 30
