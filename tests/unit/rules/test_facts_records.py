"""Facts survive the engine's wire format."""

from __future__ import annotations

import json
import types
import typing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.rules.facts import FACTS_VERSION, KINDS, Facts, FactsError, facts_from_props


def strategy(hint: Any) -> st.SearchStrategy[Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*(st.none() if one is type(None) else strategy(one) for one in arguments))
    if origin is tuple:
        return st.lists(strategy(arguments[0]), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(st.text(max_size=4), strategy(arguments[1]), max_size=2)
    if hint is float:
        return st.floats(allow_nan=False, allow_infinity=False)
    if hint is int:
        return st.integers(-(2**53), 2**53)
    if hint is bool:
        return st.booleans()
    if hint is str:
        return st.text(max_size=8)
    return st.builds(hint, **{name: strategy(one) for name, one in typing.get_type_hints(hint).items()})


def record(kind: str) -> st.SearchStrategy[Facts]:
    hints = {name: hint for name, hint in typing.get_type_hints(KINDS[kind]).items() if name != "kind"}
    return st.builds(KINDS[kind], **{name: strategy(hint) for name, hint in hints.items()})


def as_the_engine_sends(value: Any) -> Any:
    """Numbers become floats, nulls are dropped."""
    if isinstance(value, dict):
        return {key: as_the_engine_sends(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [as_the_engine_sends(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@pytest.mark.parametrize("kind", sorted(KINDS))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_record_comes_back_equal_from_the_engines_wire_format(kind: str, data: st.DataObject) -> None:
    facts = data.draw(record(kind))
    wire = as_the_engine_sends(json.loads(json.dumps(facts.to_props())))
    assert facts_from_props(wire) == facts


@given(
    st.dictionaries(
        st.sampled_from(["kind", "factsVersion", "zones", "cidr", "x"]),
        st.one_of(st.none(), st.text(max_size=3), st.integers(), st.lists(st.integers(), max_size=2)),
    )
)
def test_properties_that_are_no_record_are_refused_and_nothing_else_happens(props: dict[str, Any]) -> None:
    with pytest.raises(FactsError):
        facts_from_props(props)


def test_a_version_or_kind_that_is_not_known_is_refused() -> None:
    with pytest.raises(FactsError, match="factsVersion is 99"):
        facts_from_props({"kind": "network", "factsVersion": 99})
    with pytest.raises(FactsError, match="kind is 'spaceship'"):
        facts_from_props({"kind": "spaceship", "factsVersion": FACTS_VERSION})
