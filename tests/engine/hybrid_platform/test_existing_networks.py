"""A VPC that exists already: imported into a state, or adopted by settings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headrace_sandbox import stack_config
from headrace_sandbox.service import SandboxContext
from tests.conftest import MakeStack
from tests.engine.hybrid_platform.live import REGION, clients, rewrite

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[3]
ZONES = ("eu-central-1a", "eu-central-1b")
KINDS = ("private", "intra", "router")


@dataclass(frozen=True, kw_only=True)
class Network:
    """A VPC that people made: two zones, three kinds of subnets, one route table for the private ones."""

    vpc: str
    private_table: str
    subnets: dict[str, dict[str, str]]

    def settings(self) -> dict[str, Any]:
        return {"vpcId": self.vpc, **{f"{kind}SubnetIds": self.subnets[kind] for kind in KINDS}}


@pytest.fixture
def ec2(sandbox: SandboxContext) -> Any:
    return clients(sandbox, REGION)("ec2")


@pytest.fixture
def network(ec2: Any) -> Iterator[Network]:
    vpc = ec2.create_vpc(CidrBlock="10.60.0.0/16")["Vpc"]["VpcId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    subnets: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    for place, (kind, zone) in enumerate((kind, zone) for kind in KINDS for zone in ZONES):
        made = ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.60.{place * 16}.0/20", AvailabilityZone=zone)
        subnets[kind][zone] = made["Subnet"]["SubnetId"]
    associations = [
        ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)["AssociationId"]
        for subnet in subnets["private"].values()
    ]
    yield Network(vpc=vpc, private_table=table, subnets=subnets)
    for association in associations:
        ec2.disassociate_route_table(AssociationId=association)
    for subnet in (one for kind in subnets.values() for one in kind.values()):
        ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_route_table(RouteTableId=table)
    ec2.delete_vpc(VpcId=vpc)


@pytest.fixture
def adopting(project: Path, network: Network, tmp_path: Path) -> Path:
    """The repository's program, whose stack `sandbox` adopts the network."""
    folder = shutil.copytree(project, tmp_path / "adopting", symlinks=True)

    def adopt(config: dict[str, Any]) -> None:
        config["inference:network"].update(cidr="10.60.0.0/16", adopt=network.settings())

    file = stack_config.source(folder, "sandbox").rename(stack_config.source(folder, "adopting"))
    rewrite(file, adopt)
    return folder


def test_an_adopted_network_is_used_and_nothing_of_it_is_made(
    adopting: Path, stack: MakeStack, network: Network
) -> None:
    made = stack(adopting, name="adopting", policy_packs=(ROOT / "policies",), variables={"AWS_REGION": REGION})
    steps = json.loads(made.run("preview", "--json").stdout)["steps"]
    planned = [step["newState"] for step in steps]
    kinds = {one["type"] for one in planned}
    assert not kinds & {"aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:ec2/natGateway:NatGateway"}, sorted(kinds)
    groups = [one for one in planned if one["type"] == "aws:eks/nodeGroup:NodeGroup"]
    assert groups, "the rest of the platform is made"
    for group in groups:
        kind = "router" if group["inputs"]["labels"].get("headrace.dev/tier") == "router" else "private"
        used, adopted = set(group["inputs"]["subnetIds"]), set(network.subnets[kind].values())
        assert used <= adopted, f"{group['inputs']['nodeGroupName']} stands in the adopted {kind} subnets"
    database = next(one for one in planned if one["type"] == "aws:rds/subnetGroup:SubnetGroup")
    assert set(database["inputs"]["subnetIds"]) == set(network.subnets["intra"].values())


def test_an_adopted_private_subnet_with_a_way_out_is_refused(
    adopting: Path, stack: MakeStack, network: Network, ec2: Any
) -> None:
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=network.vpc)
    ec2.create_route(RouteTableId=network.private_table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    try:
        made = stack(adopting, name="adopting", variables={"AWS_REGION": REGION})
        done = made.preview(check=False)
        said = done.stdout + done.stderr
        assert done.returncode != 0
        assert "must have no route to the internet" in said
        assert gateway in said, "the sentence names the way out"
        assert "Traceback" not in said
    finally:
        ec2.delete_route(RouteTableId=network.private_table, DestinationCidrBlock="0.0.0.0/0")
        ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=network.vpc)
        ec2.delete_internet_gateway(InternetGatewayId=gateway)


def test_an_imported_vpc_needs_no_change_and_is_the_stacks_own_from_then_on(stack: MakeStack, ec2: Any) -> None:
    tags = [{"Key": "Name", "Value": "by hand"}]
    specification = [{"ResourceType": "vpc", "Tags": tags}]
    vpc = ec2.create_vpc(CidrBlock="10.61.0.0/16", TagSpecifications=specification)["Vpc"]["VpcId"]
    program = """
from pulumi_aws import ec2
ec2.Vpc("old", cidr_block="10.61.0.0/16", tags={"Name": "by hand"})
"""
    made = stack(program, name="imported", config=f"aws:region: {REGION}\n")
    made.run("import", "aws:ec2/vpc:Vpc", "old", vpc, "--yes", "--protect=false", "--generate-code=false")
    assert [one["id"] for one in made.resources() if one["type"] == "aws:ec2/vpc:Vpc"] == [vpc]
    assert set(made.changes()) == {"same"}, "the program that describes it as it is finds nothing to change"
    made.destroy()
    left = [one["VpcId"] for one in ec2.describe_vpcs()["Vpcs"]]
    assert vpc not in left, "an imported VPC is the stack's own from then on"
