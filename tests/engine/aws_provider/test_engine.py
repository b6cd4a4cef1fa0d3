"""The provider under the real engine: what a person sees of it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from headrace_sandbox import supervise_process
from headrace_sandbox.stack import Stack
from tests.conftest import MakeStack

pytestmark = pytest.mark.engine

NETWORK = """
import json
import pulumi
from pulumi_aws import ec2, eks, iam, s3, vpc as rules

config = pulumi.Config()
cidr = config.get("cidr") or "10.20.0.0/16"
maximum = config.get_int("maximum") or 3

vpc = ec2.Vpc("main", cidr_block=cidr, enable_dns_hostnames=True, tags={"Name": "main"})
subnets = [
    ec2.Subnet(f"app-{zone}", vpc_id=vpc.id, cidr_block=f"{cidr.rsplit('.', 2)[0]}.{index}.0/24",
               availability_zone=f"us-east-1{zone}")
    for index, zone in enumerate("ab")
]
group = ec2.SecurityGroup("nodes", vpc_id=vpc.id, description="nodes")
rules.SecurityGroupIngressRule("https", security_group_id=group.id, ip_protocol="tcp", from_port=443, to_port=443,
                               cidr_ipv4=cidr)
rules.SecurityGroupEgressRule("all", security_group_id=group.id, ip_protocol="-1", cidr_ipv4="0.0.0.0/0")
trust = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "sts:AssumeRole",
     "Principal": {"Service": ["eks.amazonaws.com", "ec2.amazonaws.com"]}}
]})
role = iam.Role("role", assume_role_policy=trust)
bucket = s3.Bucket("models", force_destroy=True)
cluster = eks.Cluster("gpu", role_arn=role.arn, vpc_config={
    "subnet_ids": [s.id for s in subnets], "endpoint_private_access": True, "endpoint_public_access": False,
}, access_config={"authentication_mode": "API"})
template = ec2.LaunchTemplate("gpu", metadata_options={"http_tokens": "required", "http_put_response_hop_limit": 1},
                              update_default_version=True)
nodes = eks.NodeGroup("floor", cluster_name=cluster.name, node_role_arn=role.arn, subnet_ids=[s.id for s in subnets],
    instance_types=["g6e.xlarge"], ami_type="AL2023_x86_64_NVIDIA",
    launch_template={"id": template.id, "version": template.latest_version.apply(str)},
    scaling_config={"min_size": 1, "desired_size": 1, "max_size": maximum},
    taints=[{"key": "nvidia.com/gpu", "value": "true", "effect": "NO_SCHEDULE"}])

pulumi.export("vpc", vpc.id)
pulumi.export("bucket", bucket.bucket)
pulumi.export("cluster", cluster.name)
pulumi.export("nodes", nodes.node_group_name)
pulumi.export("securityGroup", cluster.vpc_config.apply(lambda c: c.cluster_security_group_id))
"""

CONFIG = """
aws:region: us-east-1
aws:defaultTags: {"tags": {"project": "headrace"}}
"""


@pytest.fixture
def network(stack: MakeStack, aws_url: str) -> Stack:
    """The program above, as a stack that isn't deployed yet."""
    return stack(NETWORK, name="network", config=CONFIG)


def test_a_platform_comes_up_stays_as_it_is_and_changes_in_place_or_by_replacement(
    network: Stack, aws: Callable[..., Any]
) -> None:
    preview = network.changes()
    assert set(preview) == {"create"}, "the first preview only creates"
    network.up()
    assert set(network.changes()) == {"same"}, "a second preview finds nothing to change"

    out = network.outputs()
    assert out["vpc"].startswith("vpc-")
    tags = {t["Key"]: t["Value"] for t in aws("ec2").describe_vpcs(VpcIds=[out["vpc"]])["Vpcs"][0]["Tags"]}
    assert tags == {"Name": "main", "project": "headrace"}, "the provider's default tags are on the resource"

    network.run("config", "set", "maximum", "5")
    assert network.changes().get("update") == 1, "a node group's size changes in place"
    network.up()
    group = aws("eks").describe_nodegroup(clusterName=out["cluster"], nodegroupName=out["nodes"])["nodegroup"]
    assert group["scalingConfig"]["maxSize"] == 5

    network.run("config", "set", "cidr", "10.30.0.0/16")
    changes = network.changes()
    assert changes.get("replace", 0) >= 4, f"another range needs another VPC, and all that stands in it: {changes}"

    network.destroy()
    left = aws("ec2").describe_vpcs(Filters=[{"Name": "tag:project", "Values": ["headrace"]}])["Vpcs"]
    assert left == [], "destroy leaves nothing"
    assert out["bucket"] not in [b["Name"] for b in aws("s3").list_buckets()["Buckets"]]
    assert network.resources() == [] or all(r["type"] == "pulumi:pulumi:Stack" for r in network.resources())


SMALL = """
import pulumi
from pulumi_aws import ec2, s3
vpc = ec2.Vpc("main", cidr_block="10.40.0.0/16", tags={"Name": "small"})
bucket = s3.Bucket("b")
pulumi.export("vpc", vpc.id)
pulumi.export("bucket", bucket.bucket)
"""


def test_refresh_finds_what_was_changed_or_deleted_behind_its_back(
    stack: MakeStack, aws_url: str, aws: Callable[..., Any]
) -> None:
    small = stack(SMALL, name="drift", config=CONFIG)
    small.up()
    out = small.outputs()
    aws("s3").delete_bucket(Bucket=out["bucket"])
    aws("ec2").create_tags(Resources=[out["vpc"]], Tags=[{"Key": "Name", "Value": "changed"}])
    small.refresh()
    types = [r["type"] for r in small.resources()]
    assert "aws:s3/bucket:Bucket" not in types, "what is gone leaves the state"
    changes = small.changes()
    assert changes.get("create") == 1, changes
    assert changes.get("update") == 1, "the changed tag is drift"
    small.up()
    assert set(small.changes()) == {"same"}


def test_an_existing_vpc_is_imported_and_then_needs_no_change(
    stack: MakeStack, aws_url: str, aws: Callable[..., Any]
) -> None:
    tags = [{"Key": "Name", "Value": "old"}, {"Key": "project", "Value": "headrace"}]
    ec2 = aws("ec2")
    identity = ec2.create_vpc(CidrBlock="10.50.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": tags}])[
        "Vpc"
    ]["VpcId"]
    program = f'''
import pulumi
from pulumi_aws import ec2
ec2.Vpc("old", cidr_block="10.50.0.0/16", tags={{"Name": "old"}}, opts=pulumi.ResourceOptions(import_="{identity}"))
'''
    adopted = stack(program, name="adopt", config=CONFIG)
    assert adopted.changes().get("import") == 1
    adopted.up()
    assert set(adopted.changes()) == {"same"}

    by_hand = stack("import pulumi\n", name="byhand", config=CONFIG)
    by_hand.run("import", "aws:ec2/vpc:Vpc", "old", identity, "--yes", "--protect=false", "--generate-code=false")
    assert [r["id"] for r in by_hand.resources() if r["type"] == "aws:ec2/vpc:Vpc"] == [identity]


def test_a_misspelt_property_stops_the_preview_and_names_itself(stack: MakeStack, aws_url: str) -> None:
    program = """
import pulumi
pulumi.CustomResource("aws:ec2/vpc:Vpc", "v", {"cidrBlok": "10.0.0.0/16"})
"""
    done = stack(program, name="misspelt", config=CONFIG).preview(check=False)
    assert done.returncode != 0
    assert "cidrBlok" in done.stdout + done.stderr


def test_a_secret_is_nowhere_in_plain_text(stack: MakeStack, aws_url: str) -> None:
    program = """
from pulumi_aws import secretsmanager
secret = secretsmanager.Secret("s", recovery_window_in_days=0)
secretsmanager.SecretVersion("v", secret_id=secret.id, secret_string="correct-horse-battery")
"""
    kept = stack(program, name="secret", config=CONFIG)
    shown = kept.up()
    assert "correct-horse-battery" not in shown.stdout + shown.stderr
    assert "correct-horse-battery" not in str(kept.state())


MANY = """
from pulumi_aws import ec2
for index in range(24):
    ec2.Vpc(f"v{index}", cidr_block=f"10.{100 + index}.0.0/16", tags={"crash": "test"})
"""


def test_an_engine_killed_in_mid_up_leaves_no_orphan_and_the_next_up_completes(
    stack: MakeStack, aws_url: str, aws: Callable[..., Any]
) -> None:
    many = stack(MANY, name="crash", config=CONFIG)
    ec2 = aws("ec2")

    def living() -> set[str]:
        return {v["VpcId"] for v in ec2.describe_vpcs(Filters=[{"Name": "tag:crash", "Values": ["test"]}])["Vpcs"]}

    argv = many.argv("up", "--yes", "--skip-preview")
    quiet = subprocess.DEVNULL
    mark = f"{many.project}/killed-up"
    environ = {**many.environment(), supervise_process.MARK: mark}
    running = subprocess.Popen(argv, cwd=many.project, env=environ, stdout=quiet, stderr=quiet)
    try:
        end = time.monotonic() + 300
        while not living() and running.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        assert running.poll() is None, "the engine is killed while it works"
    finally:
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
    # The plugin sees within a second that the engine is gone, finishes what it had begun, and ends.
    end = time.monotonic() + 300
    while supervise_process.marked(mark):
        assert time.monotonic() < end, "the plugin outlives its engine"
        time.sleep(0.1)
    many.cancel()
    known = {r["id"] for r in many.resources() if r["type"] == "aws:ec2/vpc:Vpc"}
    assert living() <= known, "what the state doesn't know was taken away again"
    many.up()
    assert len(living()) == 24
    assert set(many.changes()) == {"same"}
