"""What counts as a difference, and what doesn't."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.protocol.values import UNKNOWN
from headrace_sandbox.aws_provider import compare
from headrace_sandbox.aws_provider.sdk import declaration
from headrace_sandbox.aws_provider.table import TYPES

GROUP = "aws:eks/nodeGroup:NodeGroup"
VPC = "aws:ec2/vpc:Vpc"
ROLE = "aws:iam/role:Role"
GROUP_INPUTS: dict[str, Any] = {
    "clusterName": "c",
    "nodeGroupName": "g",
    "nodeRoleArn": "r",
    "subnetIds": ["a", "b"],
    "scalingConfig": {"minSize": 1, "desiredSize": 1, "maxSize": 2},
}


def changes(token: str, old: dict[str, Any], state: dict[str, Any], new: dict[str, Any]) -> dict[str, bool]:
    found = compare.changes(TYPES[token], declaration(token), old, state, new)
    return {".".join(map(str, path)): change.replace for path, change in found.items()}


def test_the_same_wishes_are_no_change_whatever_aws_adds() -> None:
    state = {**GROUP_INPUTS, "amiType": "AL2023_x86_64_NVIDIA", "diskSize": 20, "updateConfig": {"maxUnavailable": 1}}
    assert changes(GROUP, GROUP_INPUTS, state, GROUP_INPUTS) == {}


def test_the_order_of_a_set_is_no_change_and_the_order_of_a_list_is() -> None:
    inputs = {**GROUP_INPUTS, "instanceTypes": ["x", "y"]}
    assert changes(GROUP, inputs, inputs, {**inputs, "subnetIds": ["b", "a"]}) == {}
    assert changes(GROUP, inputs, inputs, {**inputs, "instanceTypes": ["y", "x"]}) == {"instanceTypes": True}


def test_a_size_changes_in_place_and_a_subnet_replaces() -> None:
    bigger = {**GROUP_INPUTS, "scalingConfig": {"minSize": 1, "desiredSize": 1, "maxSize": 5}}
    assert changes(GROUP, GROUP_INPUTS, GROUP_INPUTS, bigger) == {"scalingConfig": False}
    assert changes(GROUP, GROUP_INPUTS, GROUP_INPUTS, {**GROUP_INPUTS, "subnetIds": ["a"]}) == {"subnetIds": True}


def test_another_version_of_a_launch_template_is_in_place_and_another_template_replaces() -> None:
    old = {**GROUP_INPUTS, "launchTemplate": {"id": "lt-1", "version": "1"}}
    state = {**old, "launchTemplate": {"id": "lt-1", "name": "n", "version": "1"}}
    newer = {**old, "launchTemplate": {"id": "lt-1", "version": "2"}}
    other = {**old, "launchTemplate": {"id": "lt-2", "version": "1"}}
    assert changes(GROUP, old, state, newer) == {"launchTemplate": False}
    assert changes(GROUP, old, state, other) == {"launchTemplate": True}


def test_labels_set_behind_our_back_are_drift_and_a_disk_size_that_aws_chose_is_not() -> None:
    state = {**GROUP_INPUTS, "labels": {"stray": "1"}, "diskSize": 20}
    assert changes(GROUP, GROUP_INPUTS, state, GROUP_INPUTS) == {"labels": False}


def test_a_property_that_the_program_stops_setting_is_a_change_unless_aws_fills_it_in() -> None:
    old = {"assumeRolePolicy": "{}", "description": "d", "name": "r"}
    assert changes(ROLE, old, old, {"assumeRolePolicy": "{}", "name": "r"}) == {"description": False}
    assert changes(ROLE, old, old, {"assumeRolePolicy": "{}", "description": "d"}) == {}


def test_an_unknown_value_of_a_property_that_replaces_is_planned_as_a_replacement() -> None:
    old = {"cidrBlock": "10.0.0.0/16"}
    assert changes(VPC, old, old, {"cidrBlock": UNKNOWN}) == {"cidrBlock": True}


def test_a_changed_default_tag_is_a_change_of_tags_all_alone() -> None:
    state = {"cidrBlock": "10.0.0.0/16", "tags": {"a": "1"}, "tagsAll": {"a": "1", "team": "x"}}
    new = {"cidrBlock": "10.0.0.0/16", "tags": {"a": "1"}, "tagsAll": {"a": "1", "team": "y"}}
    assert changes(VPC, new, state, new) == {"tagsAll.team": False}


def test_an_equivalent_policy_is_no_change() -> None:
    one = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:Get*", "Resource": ["b", "a"]}}
    other = {"Statement": [{"Resource": ["a", "b"], "Action": ["s3:Get*"], "Effect": "Allow"}], "Version": "2012-10-17"}
    old = {"assumeRolePolicy": json.dumps(one)}
    assert changes(ROLE, old, old, {"assumeRolePolicy": json.dumps(other)}) == {}
    stronger = {**other, "Statement": [{**other["Statement"][0], "Action": ["s3:*"]}]}  # type: ignore[dict-item]  # a document of mixed values
    assert changes(ROLE, old, old, {"assumeRolePolicy": json.dumps(stronger)}) == {"assumeRolePolicy": False}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(UNKNOWN),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PROPS = st.dictionaries(st.sampled_from(sorted(declaration(GROUP).inputs)), JSON, max_size=6)


@settings(max_examples=60, deadline=None)
@given(PROPS, PROPS, PROPS)
def test_a_comparison_never_raises(old: dict[str, Any], state: dict[str, Any], new: dict[str, Any]) -> None:
    changes(GROUP, old, state, new)


def test_a_refresh_keeps_the_programs_words_and_takes_over_what_differs() -> None:
    spec, decl = TYPES[GROUP], declaration(GROUP)
    state = {
        **GROUP_INPUTS,
        "subnetIds": ["b", "a"],
        "scalingConfig": {"minSize": 1, "desiredSize": 2, "maxSize": 2},
        "diskSize": 20,
    }
    inputs = compare.refreshed_inputs(spec, decl, GROUP_INPUTS, state)
    assert inputs["subnetIds"] == ["a", "b"], "the same set stays as it was written"
    assert inputs["scalingConfig"]["desiredSize"] == 2, "drift is taken over"
    assert "diskSize" not in inputs, "what only AWS says does not become a wish"
