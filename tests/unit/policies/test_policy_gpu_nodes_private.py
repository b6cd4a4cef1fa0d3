"""gpu-nodes-only-in-private-subnets: passing, violating and undecidable stacks, through the SDK's own proxies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest
from pulumi_policy import EnforcementLevel, PolicyResource, PolicyResourceOptions, StackValidationArgs
from pulumi_policy.proxy import UNKNOWN_ARRAY_VALUE, UNKNOWN_STRING_VALUE, unknown_checking_proxy

from headrace.rules import engine
from headrace.rules.finding import Severity, Status
from headrace.rules.graph import Graph
from headrace.rules.network import gpu_nodes_only_in_private_subnets as rule
from headrace.rules.registry import RULES
from headrace.rules.rule import Rule, View
from headrace_policies import reading
from headrace_policies.pack import POLICIES

UNKNOWN = UNKNOWN_STRING_VALUE
ID = "gpu-nodes-only-in-private-subnets"


class Stack:
    """A stack before its first deployment: ids are unknown, what depends on what is known."""

    def __init__(self) -> None:
        self.resources: list[PolicyResource] = []

    def add(
        self, type_: str, name: str, props: Mapping[str, Any], depends: Mapping[str, list[PolicyResource]] | None = None
    ) -> PolicyResource:
        options = PolicyResourceOptions(False, [], None, [], None, [], None)  # type: ignore[arg-type]  # unused here
        resource = PolicyResource(
            type_,
            unknown_checking_proxy({"id": UNKNOWN, **props}),
            f"urn:pulumi:test::inference::{type_}::{name}",
            name,
            options,
            None,
            None,
            [],
            dict(depends or {}),
        )
        self.resources.append(resource)
        return resource

    def subnet(self, name: str = "private-a", **props: Any) -> PolicyResource:
        """A subnet with a route table of its own."""
        subnet = self.add(rule.SUBNET, name, {"vpcId": UNKNOWN, "mapPublicIpOnLaunch": False, **props})
        self.table = self.add(rule.ROUTE_TABLE, name, {"vpcId": UNKNOWN, "routes": UNKNOWN_ARRAY_VALUE})
        self.add(
            rule.ASSOCIATION,
            name,
            {"subnetId": UNKNOWN, "routeTableId": UNKNOWN},
            {"subnetId": [subnet], "routeTableId": [self.table]},
        )
        return subnet

    def route(self, target: str, type_: str, **props: Any) -> None:
        """A default route of the last table to a gateway that the stack makes."""
        gateway = self.add(type_, "gateway", {})
        self.add(
            rule.ROUTE,
            "out",
            {"routeTableId": UNKNOWN, "destinationCidrBlock": "0.0.0.0/0", target: UNKNOWN, **props},
            {"routeTableId": [self.table], target: [gateway]},
        )

    def group(self, subnets: list[PolicyResource], **props: Any) -> PolicyResource:
        """A node group of GPU machines in these subnets."""
        return self.add(
            rule.NODE_GROUP,
            "floor",
            {"instanceTypes": ["g6.xlarge"], "subnetIds": UNKNOWN_ARRAY_VALUE, **props},
            {"subnetIds": subnets},
        )

    def findings(self) -> list[str]:
        """What the policy reports, as the engine would show it."""
        (policy,) = [one for one in POLICIES if one.name == ID]
        reported: list[str] = []
        arguments = StackValidationArgs(self.resources, {}, {})
        policy.validate(arguments, lambda message, urn=None: reported.append(message))  # type: ignore[attr-defined]  # of the subclass
        return reported


@pytest.fixture
def stack() -> Stack:
    return Stack()


def test_a_private_subnet_passes_before_any_id_is_known(stack: Stack) -> None:
    stack.group([stack.subnet()])
    assert stack.findings() == []


def test_machines_without_gpus_may_stand_anywhere(stack: Stack) -> None:
    subnet = stack.subnet(mapPublicIpOnLaunch=True)
    stack.group([subnet], instanceTypes=["m7i.xlarge"])
    assert stack.findings() == []


@pytest.mark.parametrize(
    ("target", "type_", "what"),
    [
        ("gatewayId", rule.INTERNET_GATEWAY, "the internet gateway gateway"),
        ("natGatewayId", "aws:ec2/natGateway:NatGateway", "a NAT gateway"),
        ("egressOnlyGatewayId", "aws:ec2/egressOnlyInternetGateway:EgressOnlyInternetGateway", "egress-only"),
        ("transitGatewayId", "aws:ec2transitgateway/transitGateway:TransitGateway", "a transit gateway"),
    ],
)
def test_a_route_out_violates_although_its_gateway_has_no_id_yet(
    stack: Stack, target: str, type_: str, what: str
) -> None:
    subnet = stack.subnet()
    stack.route(target, type_)
    stack.group([subnet])
    (found,) = stack.findings()
    assert found.startswith("the subnet private-a sends 0.0.0.0/0 to")
    assert what in found


def test_a_route_to_a_known_internet_gateway_violates(stack: Stack) -> None:
    subnet = stack.subnet()
    stack.add(
        rule.ROUTE,
        "out",
        {"routeTableId": UNKNOWN, "destinationCidrBlock": "0.0.0.0/0", "gatewayId": "igw-0123"},
        {"routeTableId": [stack.table]},
    )
    stack.group([subnet])
    assert stack.findings()[0].startswith("the subnet private-a sends 0.0.0.0/0 to the internet gateway igw-0123")


def test_a_route_that_the_table_itself_lists_violates(stack: Stack) -> None:
    subnet = stack.add(rule.SUBNET, "s", {"id": "subnet-1", "mapPublicIpOnLaunch": False})
    table = stack.add(rule.ROUTE_TABLE, "t", {"id": "rtb-1", "routes": [{"cidrBlock": "::/0", "gatewayId": "igw-9"}]})
    stack.add(rule.ASSOCIATION, "a", {"subnetId": "subnet-1", "routeTableId": "rtb-1"})
    stack.group([subnet], subnetIds=["subnet-1"])
    assert "::/0 to the internet gateway igw-9" in stack.findings()[0]
    assert table.name == "t"


def test_a_subnet_that_gives_public_addresses_violates(stack: Stack) -> None:
    stack.group([stack.subnet(mapPublicIpOnLaunch=True)])
    assert "gives a public address to every machine" in stack.findings()[0]


def test_a_launch_template_that_takes_a_public_address_violates(stack: Stack) -> None:
    template = stack.add(rule.LAUNCH_TEMPLATE, "t", {"networkInterfaces": [{"associatePublicIpAddress": "true"}]})
    group = stack.group([stack.subnet()], launchTemplate={"id": UNKNOWN, "version": UNKNOWN})
    group.property_dependencies["launchTemplate"] = [template]
    assert "the launch template t gives its machines a public address" in stack.findings()[0]


@pytest.mark.parametrize("image", ["AL2023_x86_64_NVIDIA", "BOTTLEROCKET_x86_64_NVIDIA"])
def test_a_gpu_image_makes_a_gpu_node_whatever_the_type_says(stack: Stack, image: str) -> None:
    stack.group([stack.subnet(mapPublicIpOnLaunch=True)], instanceTypes=UNKNOWN_ARRAY_VALUE, amiType=image)
    assert len(stack.findings()) == 1


# --- what can't be told blocks too, and says what to make known


def test_an_unknown_instance_type_is_undecidable(stack: Stack) -> None:
    stack.group([stack.subnet()], instanceTypes=[UNKNOWN])
    (found,) = stack.findings()
    assert found.startswith("undecidable at preview: whether it has GPUs is not known: instanceTypes[0]")
    assert "To fix: make instanceTypes[0] known" in found


def test_subnets_of_unknown_origin_are_undecidable(stack: Stack) -> None:
    stack.group([])
    (found,) = stack.findings()
    assert "its subnets are not known" in found


def test_a_subnet_outside_of_the_stack_is_undecidable_unless_it_was_adopted(stack: Stack) -> None:
    stack.group([], subnetIds=["subnet-9"])
    assert "the routes of subnet-9 are not known" in stack.findings()[0]
    stack.add(
        "headrace:index:PrivateNetwork",
        "net",
        {"facts": {"kind": "network", "adoptedPrivateSubnetIds": ["subnet-9"]}},
    )
    assert stack.findings() == [], "PrivateNetwork has looked at its routes"


def test_a_subnet_without_a_route_table_of_its_own_is_undecidable(stack: Stack) -> None:
    stack.group([stack.add(rule.SUBNET, "s", {"mapPublicIpOnLaunch": False})])
    assert "the VPC's main table decides" in stack.findings()[0]


def test_an_unknown_public_address_setting_is_undecidable(stack: Stack) -> None:
    stack.group([stack.subnet(mapPublicIpOnLaunch=UNKNOWN)])
    assert stack.findings()[0].startswith("undecidable at preview: whether private-a gives public addresses")


def test_a_gateway_of_unknown_origin_is_undecidable(stack: Stack) -> None:
    subnet = stack.subnet()
    stack.add(
        rule.ROUTE,
        "out",
        {"routeTableId": UNKNOWN, "destinationCidrBlock": "0.0.0.0/0", "gatewayId": UNKNOWN},
        {"routeTableId": [stack.table]},
    )
    stack.group([subnet])
    assert "make gatewayId of out known" in stack.findings()[0]


# --- the pack and the engine


def test_the_policy_is_mandatory_and_has_its_metadata() -> None:
    (policy,) = [one for one in POLICIES if one.name == ID]
    assert policy.enforcement_level is EnforcementLevel.MANDATORY
    (found,) = [one for one in RULES if one.id == ID]
    assert found.severity is Severity.CRITICAL
    assert found.references, "a rule says which framework asks for it"


def test_a_rule_that_breaks_blocks_instead_of_passing() -> None:
    def broken(_: View) -> Any:
        raise KeyError("x")

    bad = Rule(
        id="bad",
        severity=Severity.LOW,
        title="",
        description="",
        remediation="",
        references=(),
        reads=(),
        since="0",
        check=broken,
    )
    empty = View(graph=Graph([]), today=date(2026, 11, 21))
    (finding,) = engine.evaluate(empty, [bad])
    assert finding.status is Status.UNDECIDABLE
    with pytest.raises(ValueError, match="no rule was chosen"):
        engine.evaluate(empty, [])


def test_reading_keeps_the_path_of_what_is_unknown() -> None:
    proxy = unknown_checking_proxy({"a": {"b": [1, UNKNOWN]}})
    read = reading.plain(proxy, "props")
    assert read["a"]["b"][0] == 1
    assert read["a"]["b"][1].path == "props.a.b[1]"
