"""What a preview says before anything exists: every stack of the repository, and stacks that must not go through."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace_sandbox import stack_config
from headrace_sandbox.service import SandboxContext
from tests.conftest import MakeStack
from tests.engine.hybrid_platform.live import REGION, rewrite

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[3]
POLICIES = (ROOT / "policies",)
GATE = "gpu-nodes-only-in-private-subnets"
Change = Callable[[dict[str, Any]], None]


# The fifth, `sandbox`, is deployed by the tests beside this file.
@pytest.mark.parametrize("name", ["dev", "staging", "prod-eu", "prod-us"])
def test_every_stack_of_the_repository_previews_cleanly(
    name: str, sandbox: SandboxContext, stack: MakeStack, project: Path
) -> None:
    region = str(stack_config.settings(project, name)["inference:region"])
    made = stack(project, name=name, policy_packs=POLICIES, variables={"AWS_REGION": region})
    shown = json.loads(made.run("preview", "--json").stdout)
    assert set(shown["changeSummary"]) == {"create"}, "from an empty account there is nothing but creation"
    problems = [one["message"] for one in shown.get("diagnostics", []) if one["severity"] in {"error", "warning"}]
    assert problems == [], "a committed stack gives no cause for a warning"


BY_HAND = """
import pulumi
from pulumi_aws import ec2, eks

public = pulumi.Config().get_bool("public")
vpc = ec2.Vpc("main", cidr_block="10.20.0.0/16")
table = ec2.RouteTable("gpu", vpc_id=vpc.id)
if public:
    gateway = ec2.InternetGateway("out", vpc_id=vpc.id)
    ec2.Route("out", route_table_id=table.id, destination_cidr_block="0.0.0.0/0", gateway_id=gateway.id)
subnet = ec2.Subnet("gpu", vpc_id=vpc.id, cidr_block="10.20.0.0/24", availability_zone="us-east-1a")
ec2.RouteTableAssociation("gpu", subnet_id=subnet.id, route_table_id=table.id)
eks.NodeGroup("gpu", cluster_name="gpu", node_role_arn="arn:aws:iam::123456789012:role/node", subnet_ids=[subnet.id],
    instance_types=["g6.xlarge"], ami_type="AL2023_x86_64_NVIDIA",
    scaling_config={"min_size": 1, "desired_size": 1, "max_size": 1})
"""


@pytest.mark.parametrize("public", [True, False])
def test_gpu_nodes_with_a_way_to_the_internet_are_refused_at_preview(
    public: bool, sandbox: SandboxContext, stack: MakeStack
) -> None:
    config = f'aws:region: us-east-1\ninference:public: "{str(public).lower()}"\n'
    made = stack(BY_HAND, name="by-hand", config=config, policy_packs=POLICIES)
    done = made.preview(check=False)
    said = done.stdout + done.stderr
    if not public:
        assert GATE not in said, "without the route the same program passes this policy"
        return
    assert done.returncode != 0, "the gate is mandatory"
    assert GATE in said
    assert "To fix:" in said
    assert "Traceback" not in said
    assert all(one["type"] == "pulumi:pulumi:Stack" for one in made.resources()), "nothing was made"


def pools(config: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = config["inference:dedicatedPools"]
    return found


def unknown_instance_type(config: dict[str, Any]) -> None:
    pools(config)["chat-floor"]["instanceType"] = "g6.12xlage"


def gpu_that_does_not_fit(config: dict[str, Any]) -> None:
    config["inference:releases"]["llama-3-1-8b-fp8"]["weightsGib"] = 500


def zone_outside_the_region(config: dict[str, Any]) -> None:
    config["inference:network"]["zones"] = ["eu-central-1a", "us-east-1b"]


def overlapping_ranges(config: dict[str, Any]) -> None:
    config["inference:network"]["peeredCidrs"] = ["10.10.128.0/20"]


def capacity_block_without_zone(config: dict[str, Any]) -> None:
    pools(config)["chat-floor"]["capacity"] = {"type": "capacity-block", "reservationId": "cr-0123456789abcdef0"}


def quota_larger_than_the_pool(config: dict[str, Any]) -> None:
    config["inference:tenants"]["support"]["projects"]["answers"]["quota"]["gpus"] = 400


def misspelt_key(config: dict[str, Any]) -> None:
    config["inference:dedicatedPool"] = {}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (unknown_instance_type, "g6.12xlarge"),
        (gpu_that_does_not_fit, "500"),
        (zone_outside_the_region, "us-east-1b"),
        (overlapping_ranges, "10.10.128.0/20"),
        (capacity_block_without_zone, "zone"),
        (quota_larger_than_the_pool, "400"),
        (misspelt_key, "dedicatedPools"),
    ],
)
def test_bad_settings_stop_a_preview_with_their_sentence(
    change: Change, sentence: str, sandbox: SandboxContext, stack: MakeStack, own_project: Path
) -> None:
    rewrite(stack_config.source(own_project, "refused"), change)
    made = stack(own_project, name="refused", variables={"AWS_REGION": REGION})
    done = made.preview(check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in said, "a refusal is a sentence"
    told = [line.strip() for line in said.splitlines() if line.strip().startswith("error:")]
    assert any(sentence in line for line in told), f"the sentence names what is wrong: {told}"
    planned = [line for line in said.splitlines() if line.startswith(" + ") and "pulumi:p" not in line]
    assert planned == [], "no resource is even planned"
    assert all(one["type"] == "pulumi:pulumi:Stack" for one in made.resources()), "nothing was made"


@pytest.fixture
def own_project(project: Path, tmp_path: Path) -> Path:
    """A copy of the project for one test, with the settings of `sandbox` as a stack of its own."""
    folder = shutil.copytree(project, tmp_path / "own", symlinks=True)
    (folder / "stacks" / "Pulumi.sandbox.yaml").rename(folder / "stacks" / "Pulumi.refused.yaml")
    return folder


def follow_the_traffic(config: dict[str, Any]) -> None:
    pools(config)["chat-floor"]["hourlyFloor"] = {"leadTimeS": 600}


def test_a_floor_that_follows_its_traffic_previews_cleanly_under_the_policy_pack(
    sandbox: SandboxContext, stack: MakeStack, own_project: Path
) -> None:
    rewrite(stack_config.source(own_project, "refused"), follow_the_traffic)
    made = stack(own_project, name="refused", policy_packs=POLICIES, variables={"AWS_REGION": REGION})
    shown = json.loads(made.run("preview", "--json").stdout)
    assert [one["message"] for one in shown.get("diagnostics", []) if one["severity"] in {"error", "warning"}] == []
    planned = {step["newState"]["type"] for step in shown["steps"] if step["urn"].endswith("::floor-chat-floor")}
    assert {"kubernetes:batch/v1:CronJob", "aws:iam/role:Role", "headrace:index:HourlyFloor"} <= planned
