"""Check and preview: what a program is told before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from headrace.protocol.values import UNKNOWN, Secret, is_unknown
from headrace_sandbox.aws_provider.provider import AwsProvider
from headrace_sandbox.plugin import provider as api

VPC = "aws:ec2/vpc:Vpc"
GROUP = "aws:eks/nodeGroup:NodeGroup"
GROUP_INPUTS: dict[str, Any] = {
    "clusterName": UNKNOWN,
    "nodeRoleArn": UNKNOWN,
    "subnetIds": [UNKNOWN],
    "scalingConfig": {"minSize": 1, "desiredSize": 1, "maxSize": 2},
}


@pytest.fixture(scope="module")
def provider() -> AwsProvider:
    """A configured provider without any endpoint: nothing here may talk to one."""
    made = AwsProvider()
    made.configure({"region": "us-east-1", "defaultTags": '{"tags": {"env": "test"}}'})
    return made


def check(provider: AwsProvider, token: str, inputs: Mapping[str, Any]) -> api.CheckResult:
    request = api.CheckRequest(urn=f"u::p::{token}::x", name="x", type=token, inputs=dict(inputs), seed=b"seed")
    return provider.check(request)


def paths(result: api.CheckResult) -> list[str]:
    return [f.path for f in result.failures]


def test_good_inputs_pass_with_the_official_defaults(provider: AwsProvider) -> None:
    result = check(provider, VPC, {"cidrBlock": "10.0.0.0/16"})
    assert result.failures == ()
    assert result.inputs == {"cidrBlock": "10.0.0.0/16", "enableDnsSupport": True, "instanceTenancy": "default"}


@pytest.mark.parametrize(
    ("token", "inputs", "path"),
    [
        (VPC, {"cidrBlok": "10.0.0.0/16"}, "cidrBlok"),
        (VPC, {"cidrBlock": ["10.0.0.0/16"]}, "cidrBlock"),
        (VPC, {"enableDnsSupport": "perhaps"}, "enableDnsSupport"),
        (VPC, {"tags": {"a": {"b": "c"}}}, "tags.a"),
        (GROUP, {k: v for k, v in GROUP_INPUTS.items() if k != "subnetIds"}, "subnetIds"),
        (GROUP, {**GROUP_INPUTS, "scalingConfig": {"minSize": 1, "desiredSize": 1}}, "scalingConfig.maxSize"),
        (
            GROUP,
            {**GROUP_INPUTS, "scalingConfig": {"minSize": 3, "desiredSize": 3, "maxSize": 2}},
            "scalingConfig.minSize",
        ),
        (GROUP, {**GROUP_INPUTS, "taints": [{"key": "k", "efect": "NO_SCHEDULE"}]}, "taints[0].efect"),
        ("aws:ec2/route:Route", {"routeTableId": "rtb-1", "gatewayId": "igw-1"}, "destinationCidrBlock"),
        ("aws:kms/alias:Alias", {"name": "mine", "targetKeyId": "k"}, "name"),
        ("aws:ec2/natGateway:NatGateway", {"subnetId": "s", "vpcId": "vpc-1"}, "vpcId"),
    ],
)
def test_a_bad_input_is_named_by_its_path(provider: AwsProvider, token: str, inputs: dict[str, Any], path: str) -> None:
    assert path in paths(check(provider, token, inputs))


def test_what_botocore_would_refuse_is_refused_at_preview(provider: AwsProvider) -> None:
    result = check(provider, GROUP, {**GROUP_INPUTS, "scalingConfig": {"minSize": -1, "desiredSize": 1, "maxSize": 2}})
    assert "minSize" in result.failures[0].reason


def test_a_type_outside_the_table_says_so(provider: AwsProvider) -> None:
    with pytest.raises(api.PropertyFailures, match="aws:ec2/fleet:Fleet is not supported"):
        check(provider, "aws:ec2/fleet:Fleet", {})


def test_numbers_and_texts_are_read_as_the_type_that_is_declared(provider: AwsProvider) -> None:
    inputs = {**GROUP_INPUTS, "diskSize": "20", "launchTemplate": {"id": "lt-1", "version": 3}}
    result = check(provider, GROUP, inputs)
    assert result.failures == ()
    assert result.inputs["diskSize"] == 20
    assert result.inputs["launchTemplate"]["version"] == "3"


def test_a_sensitive_input_becomes_secret(provider: AwsProvider) -> None:
    token = "aws:secretsmanager/secretVersion:SecretVersion"
    result = check(provider, token, {"secretId": "s", "secretString": "hush"})
    assert isinstance(result.inputs["secretString"], Secret)


def test_a_preview_knows_inputs_and_tags_and_leaves_the_rest_unknown(provider: AwsProvider) -> None:
    inputs = check(provider, VPC, {"cidrBlock": "10.0.0.0/16", "tags": {"a": "b"}}).inputs
    request = api.CreateRequest(urn="u", name="x", type=VPC, inputs=inputs, preview=True)
    state = provider.create(request).state
    assert state["cidrBlock"] == "10.0.0.0/16"
    assert state["tagsAll"] == {"a": "b", "env": "test"}
    assert state["region"] == "us-east-1"
    assert is_unknown(state["arn"])
    assert is_unknown(state["defaultSecurityGroupId"])


def test_a_clusters_security_group_is_unknown_inside_its_known_network(provider: AwsProvider) -> None:
    token = "aws:eks/cluster:Cluster"
    inputs = check(provider, token, {"roleArn": UNKNOWN, "vpcConfig": {"subnetIds": ["subnet-1"]}}).inputs
    state = provider.create(api.CreateRequest(urn="u", name="x", type=token, inputs=inputs, preview=True)).state
    assert state["vpcConfig"]["subnetIds"] == ["subnet-1"]
    assert is_unknown(state["vpcConfig"]["clusterSecurityGroupId"])


def test_a_new_launch_template_version_is_unknown_until_it_is_made(provider: AwsProvider) -> None:
    token = "aws:ec2/launchTemplate:LaunchTemplate"
    inputs = check(provider, token, {"imageId": "ami-2"}).inputs
    old = {**inputs, "imageId": "ami-1", "latestVersion": 1, "defaultVersion": 1}
    request = api.UpdateRequest(
        urn="u", name="x", type=token, id="lt-1", old_inputs=old, old_state=old, inputs=inputs, preview=True
    )
    state = provider.update(request)
    assert is_unknown(state["latestVersion"])
    assert state["imageId"] == "ami-2"


def test_another_region_replaces_the_provider_and_other_options_do_not(provider: AwsProvider) -> None:
    def replaced(old: dict[str, Any], new: dict[str, Any]) -> set[bool]:
        request = api.DiffRequest(
            urn="u", name="p", type="pulumi:providers:aws", id="i", old_inputs=old, old_state=old, inputs=new
        )
        return {change.replace for change in (provider.diff_config(request).changes or {}).values()}

    assert replaced({"region": "us-east-1"}, {"region": "eu-west-1"}) == {True}
    assert replaced({"region": "us-east-1"}, {"region": "us-east-1", "maxRetries": "3"}) == {False}


def test_an_unknown_provider_option_is_refused(provider: AwsProvider) -> None:
    request = api.CheckRequest(urn="u", name="p", type="pulumi:providers:aws", inputs={"regoin": "x"})
    assert [f.path for f in provider.check_config(request).failures] == ["regoin"]
