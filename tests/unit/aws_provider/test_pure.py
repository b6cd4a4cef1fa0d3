"""Mapping, documents, names, tags, policy documents, configuration."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_sandbox.aws_provider import requests
from headrace_sandbox.aws_provider.context import Aws, Config
from headrace_sandbox.aws_provider.documents import same_document
from headrace_sandbox.aws_provider.mapping import NoMember, find_member, from_api, to_api
from headrace_sandbox.aws_provider.naming import named
from headrace_sandbox.aws_provider.policy_document import render
from headrace_sandbox.aws_provider.provider import config_from
from headrace_sandbox.aws_provider.spec import Call, Name
from headrace_sandbox.aws_provider.table import TYPES
from headrace_sandbox.aws_provider.table.rules import (
    atoms_of_inputs,
    atoms_of_permissions,
    inputs_of_atoms,
    permissions_of,
)
from headrace_sandbox.aws_provider.tagging import all_tags, own_tags

AWS = Aws(Config(region="us-east-1"))


@pytest.mark.parametrize(
    ("property_name", "member"),
    [("vpcId", "VpcId"), ("subnetIds", "SubnetIds"), ("ipv6CidrBlock", "Ipv6CidrBlock"), ("policies", "Policy")],
)
def test_a_property_finds_its_member_by_letters(property_name: str, member: str) -> None:
    assert find_member(["Other", member], property_name) == member


def test_a_launch_template_becomes_a_request_that_botocore_accepts_and_comes_back_the_same() -> None:
    template = TYPES["aws:ec2/launchTemplate:LaunchTemplate"]
    shape = AWS.input_shape("ec2", "CreateLaunchTemplate")
    props = {
        "blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": {"encrypted": "true", "volumeSize": 100}}],
        "networkInterfaces": [{"deviceIndex": 0, "securityGroups": ["sg-1"], "interfaceType": "efa"}],
        "tagSpecifications": [{"resourceType": "instance", "tags": {"Name": "gpu"}}],
    }
    call = Call(op="CreateLaunchTemplate", under="LaunchTemplateData", props=None)
    data = requests.build(template, call, shape, {}, props)["LaunchTemplateData"]
    assert data["BlockDeviceMappings"][0]["Ebs"] == {"Encrypted": True, "VolumeSize": 100}
    assert data["NetworkInterfaces"][0]["Groups"] == ["sg-1"], "the API calls a card's security groups Groups"
    assert data["TagSpecifications"] == [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "gpu"}]}]
    declared = ["list", "#ec2/LaunchTemplateNetworkInterface"]
    back = from_api(data["NetworkInterfaces"], declared, "networkInterfaces", template.rename)
    assert back == props["networkInterfaces"]


def test_a_nested_property_without_a_member_is_refused_by_its_path() -> None:
    shape = AWS.input_shape("eks", "CreateNodegroup").members["scalingConfig"]
    with pytest.raises(NoMember, match=r"scalingConfig\.burst"):
        to_api({"minSize": 1, "burst": 2}, shape, "scalingConfig", {})


def test_a_request_of_unknown_values_can_still_be_validated() -> None:
    from botocore.validate import ParamValidator

    from headrace.protocol.values import UNKNOWN

    group = TYPES["aws:eks/nodeGroup:NodeGroup"]
    shape = AWS.input_shape("eks", "CreateNodegroup")
    props = {"clusterName": UNKNOWN, "subnetIds": [UNKNOWN], "scalingConfig": {"minSize": 0, "maxSize": UNKNOWN}}
    assert group.create
    params = requests.build(group, group.create, shape, {}, props, partial=True)
    assert not ParamValidator().validate(params, shape).has_errors()


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ('{"Action": "a"}', '{"Action": ["a"]}', True),
        ('{"Action": ["a", "b"]}', '{"Action": ["b", "a"]}', True),
        ('{"Statement": {"Sid": "x"}}', '{"Statement": [{"Sid": "x"}]}', True),
        ('{"Statement": [{"Sid": "x"}, {"Sid": "y"}]}', '{"Statement": [{"Sid": "y"}, {"Sid": "x"}]}', False),
        ('{"Action": "a"}', '{"Action": "b"}', False),
        ('{"B": {"Bool": true}}', '{"B": {"Bool": "true"}}', True),
        ("no json", "no json", True),
        ("no json", "{}", False),
        ("{}", None, False),
    ],
)
def test_documents_are_compared_by_meaning(left: str, right: Any, equal: bool) -> None:
    assert same_document(left, right) is equal


def test_a_name_is_the_resources_name_and_seven_digits_that_follow_the_seed() -> None:
    rule = Name(limit=20)
    first = named(rule, "pool", {}, None, seed=b"one", autonaming=None)["name"]
    assert first == named(rule, "pool", {}, None, seed=b"one", autonaming=None)["name"]
    assert first != named(rule, "pool", {}, None, seed=b"two", autonaming=None)["name"]
    assert first[:5] == "pool-"
    assert len(first) == len("pool-") + 7


@given(st.text(min_size=1, max_size=300), st.binary(min_size=1))
def test_a_made_name_never_exceeds_the_limit(logical: str, seed: bytes) -> None:
    rule = Name(limit=63, suffix_from=("fifo", ".fifo"))
    assert len(named(rule, logical, {"fifo": True}, None, seed=seed, autonaming=None)["name"]) <= 63


def test_a_name_once_made_stays_and_a_given_one_wins() -> None:
    rule = Name()
    assert named(rule, "a", {}, {"name": "a-0123456"}, seed=b"x", autonaming=None)["name"] == "a-0123456"
    assert named(rule, "a", {"name": "mine"}, {"name": "a-0123456"}, seed=b"x", autonaming=None)["name"] == "mine"


def test_own_tags_are_what_the_defaults_do_not_explain() -> None:
    every = all_tags({"team": "x", "env": "dev"}, {"env": "prod"})
    assert every == {"team": "x", "env": "prod"}
    assert own_tags(every, {"team": "x", "env": "dev"}, {}) == {"env": "prod"}
    assert own_tags({"team": "x"}, {"team": "x"}, {"team": "x"}) == {"team": "x"}, "a tag that the program set as well"


def test_a_policy_document_reads_as_iam_writes_it() -> None:
    text, minified = render(
        {
            "statements": [
                {
                    "actions": ["sts:AssumeRole"],
                    "principals": [{"type": "Service", "identifiers": ["eks.amazonaws.com"]}],
                    "conditions": [{"test": "StringEquals", "variable": "aws:x", "values": ["1"]}],
                },
                {"sid": "all", "effect": "Deny", "notActions": ["s3:*"], "resources": ["b", "a"]},
            ]
        }
    )
    assert json.loads(text) == json.loads(minified)
    assert json.loads(text) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "sts:AssumeRole",
                "Principal": {"Service": "eks.amazonaws.com"},
                "Condition": {"StringEquals": {"aws:x": "1"}},
            },
            {"Sid": "all", "Effect": "Deny", "NotAction": "s3:*", "Resource": ["b", "a"]},
        ],
    }


def test_an_overriding_document_takes_the_place_of_its_sid_and_a_source_may_not_clash() -> None:
    mine = {"statements": [{"sid": "x", "actions": ["a:b"], "resources": ["*"]}]}
    other = json.dumps({"Statement": [{"Sid": "x", "Effect": "Deny"}]})
    assert json.loads(render({**mine, "overridePolicyDocuments": [other]})[0])["Statement"] == [
        {"Sid": "x", "Effect": "Deny"}
    ]
    with pytest.raises(ValueError, match="duplicate Sid"):
        render({**mine, "sourcePolicyDocuments": [other]})


RULE = st.fixed_dictionaries(
    {
        "protocol": st.sampled_from(["tcp", "udp", "-1"]),
        "fromPort": st.integers(0, 65535),
        "toPort": st.integers(0, 65535),
    },
    optional={
        "cidrBlocks": st.lists(st.sampled_from(["10.0.0.0/8", "0.0.0.0/0"]), max_size=2),
        "securityGroups": st.lists(st.sampled_from(["sg-1", "sg-2"]), max_size=2),
        "self": st.booleans(),
        "description": st.text("abc", max_size=2),
    },
)


@given(st.lists(RULE, max_size=4))
def test_rules_survive_the_way_to_aws_and_back(rules: list[dict[str, Any]]) -> None:
    atoms = atoms_of_inputs(rules, "sg-0")
    assert atoms_of_permissions(permissions_of(atoms)) == atoms
    assert atoms_of_inputs(inputs_of_atoms(atoms, "sg-0"), "sg-0") == atoms


def test_the_engines_configuration_is_read_whole_and_credentials_are_not_shown() -> None:
    config = config_from(
        {
            "region": "eu-central-1",
            "defaultTags": json.dumps({"tags": {"a": "b"}}),
            "accessKey": "AKIA",
            "secretKey": "hush",
            "maxRetries": "3",
        }
    )
    assert (config.region, config.default_tags, config.max_retries) == ("eu-central-1", {"a": "b"}, 3)
    assert "hush" not in repr(config)
