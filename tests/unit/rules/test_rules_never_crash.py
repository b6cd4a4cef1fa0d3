"""Whatever the settings and whatever the properties, a rule answers."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.rules import engine
from headrace.rules.graph import Graph, Resource, Unknown
from headrace.rules.registry import RULES
from headrace.rules.rule import View
from headrace.settings.load import validate
from tests.unit.components.recording import stack_settings
from tests.unit.rules.good_stacks import STACKS, TODAY
from tests.unit.rules.mutations import RAW

TYPES = sorted(
    {given_[0] for _, given_, _ in RAW} | {one for rule in RULES for one in rule.reads if one.count(":") == 2}
)
LEAF = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**6), st.text(max_size=8), st.just(Unknown("x")),
    st.sampled_from(["*", "0.0.0.0/0", "arn:aws:kms:us-east-1:1:key/2", '{"Statement":[{}]}', "eu-west"]),
)  # fmt: skip
VALUE = st.recursive(
    LEAF,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "rule", "region", "spec", "env", "cidrBlocks"]), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = sorted({key for _, (_, props), _ in RAW for key in props} | {"metadata", "region", "facts"})


@st.composite
def resources(draw: st.DrawFn) -> list[Resource]:
    count = draw(st.integers(1, 4))
    return [
        Resource(
            urn=f"urn:pulumi:s::p::{(kind := draw(st.sampled_from(TYPES)))}::r{index}",
            type=kind,
            name=f"r{index}",
            props=draw(
                st.dictionaries(st.sampled_from([name for name in NAMES if name != "facts"]), VALUE, max_size=5)
            ),
        )
        for index in range(count)
    ]


def _crashes(view: View) -> list[str]:
    return [one.sentence for one in engine.evaluate(view, RULES) if "the rule itself failed" in one.sentence]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(given_resources=resources())
def test_random_properties_never_crash_a_rule(given_resources: list[Resource]) -> None:
    assert _crashes(View(graph=Graph(given_resources), today=TODAY)) == []


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(stack=st.sampled_from(STACKS), data=st.data())
def test_random_settings_never_crash_a_rule(stack: str, data: st.DataObject) -> None:
    values = copy.deepcopy(stack_settings(stack))
    for _ in range(data.draw(st.integers(1, 4))):
        _change(values, data)
    verdict = validate(values, today=TODAY)
    assert _crashes(View(graph=Graph([]), today=TODAY, settings=verdict.settings)) == []


def _change(values: Any, data: st.DataObject) -> None:
    """Walks down to some value and replaces it by one of the same kind."""
    at = values
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        if not isinstance(at[key], dict | list) or not at[key]:
            break
        at = at[key]
    old = at[key]
    if isinstance(old, bool):
        at[key] = not old
    elif isinstance(old, int | float):
        at[key] = data.draw(st.sampled_from([0, 1, 2, 7, 100, 10**6]))
    elif isinstance(old, str):
        at[key] = data.draw(st.sampled_from([old, "modal", "runpod", "restricted", "US", "T4", "eu-west"]))
