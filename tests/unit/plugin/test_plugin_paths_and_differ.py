"""Property paths and the structural difference."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.protocol.values import UNKNOWN, Secret
from headrace_sandbox.plugin import paths
from headrace_sandbox.plugin.differ import Kind, difference

steps = st.lists(
    st.text(min_size=1, max_size=6).filter(lambda s: s != "*") | st.integers(0, 99), min_size=1, max_size=5
)


@given(steps)
def test_a_path_survives_its_text_form(path: list[str | int]) -> None:
    first, *rest = path
    whole = (str(first), *rest)
    assert paths.parse(paths.show(whole)) == whole


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("spec", "containers", 0, "image"), "spec.containers[0].image"),
        (("data", "a.b/c"), 'data["a.b/c"]'),
        (("metadata", "annotations", "pulumi.com/autonamed"), 'metadata.annotations["pulumi.com/autonamed"]'),
    ],
)
def test_paths_are_shown_as_the_engine_writes_them(path: paths.Path, text: str) -> None:
    assert paths.show(path) == text
    assert paths.parse(text) == path


def test_a_pattern_covers_itself_and_everything_below_but_not_its_neighbours() -> None:
    assert paths.covered(("tags", "a", "b"), ["tags"])
    assert paths.covered(("items", 3, "size"), ["items[*].size"])
    assert not paths.covered(("tagsAll",), ["tags"])
    assert not paths.covered(("tags",), ["tags.a"])


leaves = st.none() | st.integers(-3, 3) | st.sampled_from(["a", "b"])
values = st.recursive(
    leaves, lambda i: st.lists(i, max_size=3) | st.dictionaries(st.sampled_from("xyz"), i), max_leaves=8
)
props = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


@given(props)
def test_nothing_differs_from_itself(value: dict[str, Any]) -> None:
    assert difference(value, value) == {}


@given(props, props)
def test_swapping_the_sides_turns_additions_into_deletions_at_the_same_places(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    turned = {Kind.ADD: Kind.DELETE, Kind.DELETE: Kind.ADD, Kind.UPDATE: Kind.UPDATE}
    forth, back = difference(old, new), difference(new, old)
    assert {path: turned[change.kind] for path, change in forth.items()} == {p: c.kind for p, c in back.items()}


def test_each_kind_of_change_has_its_place() -> None:
    old = {"a": 1, "b": {"c": [1, 2]}, "gone": True}
    new = {"a": 2, "b": {"c": [1, 3, 4]}, "born": "x", "null": None}
    assert {path: change.kind for path, change in difference(old, new).items()} == {
        ("a",): Kind.UPDATE,
        ("b", "c", 1): Kind.UPDATE,
        ("b", "c", 2): Kind.ADD,
        ("gone",): Kind.DELETE,
        ("born",): Kind.ADD,
    }


def test_an_unknown_always_counts_as_a_change_and_a_secret_wrapper_never() -> None:
    assert difference({"a": "x"}, {"a": UNKNOWN}).keys() == {("a",)}
    assert difference({"a": "x"}, {"a": Secret("x")}) == {}


def test_true_and_one_are_different_properties() -> None:
    assert difference({"a": 1}, {"a": True}).keys() == {("a",)}


def test_ignored_paths_are_left_out_with_all_below() -> None:
    assert difference({"a": {"b": 1}, "c": 1}, {"a": {"b": 2}, "c": 2}, ignore=["a"]).keys() == {("c",)}
