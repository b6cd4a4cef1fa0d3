"""Values: what the engine sends comes back unchanged, and secrets stay where they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.protocol.values import (
    UNKNOWN,
    Asset,
    Props,
    Secret,
    Value,
    bare,
    conceal,
    decode,
    encode,
    has_secret,
    has_unknown,
    is_empty,
    is_unknown,
    redact,
    reveal,
)

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8) | st.just(UNKNOWN)
keys = st.text(alphabet="abcxyz./-", min_size=1, max_size=6)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3) | st.builds(Secret, inner),
    max_leaves=12,
)
maps = st.dictionaries(keys, trees, max_size=4)


@given(maps)
def test_what_is_encoded_decodes_to_itself(props: Props) -> None:
    assert decode(encode(props)) == props


@given(maps)
def test_a_revealed_value_holds_no_secret_and_concealing_it_again_restores_every_secret(props: Props) -> None:
    plain = reveal(props)
    assert not has_secret(plain)
    restored = conceal(plain, props)
    assert reveal(restored) == plain
    assert has_secret(restored) == has_secret(props)


def test_whole_numbers_arrive_as_int_and_others_as_float() -> None:
    decoded = decode(encode({"replicas": 3, "ratio": 0.5, "on": True}))
    assert decoded == {"replicas": 3, "ratio": 0.5, "on": True}
    assert isinstance(decoded["replicas"], int)
    assert decoded["on"] is True


def test_an_unknown_has_no_truth_so_that_it_cannot_be_taken_for_a_value() -> None:
    with pytest.raises(TypeError, match="no truth"):
        bool(UNKNOWN)
    assert is_unknown(Secret(UNKNOWN))
    assert has_unknown({"a": [{"b": Secret({"c": UNKNOWN})}]})
    assert not has_unknown({"a": [1, {}]})


@pytest.mark.parametrize("said", [UNKNOWN, 0, False, "x", [UNKNOWN], {"a": None}])
def test_what_is_unknown_or_zero_still_says_something(said: Value) -> None:
    assert not is_empty(Secret(said))
    assert bare(Secret(Secret(said))) == said


@pytest.mark.parametrize("nothing", [None, "", [], {}])
def test_nothing_is_empty_also_where_it_is_secret(nothing: Value) -> None:
    assert is_empty(nothing)
    assert is_empty(Secret(nothing))


def test_a_secret_never_shows_in_text() -> None:
    assert "hunter2" not in f"{Secret('hunter2')!r} {Secret('hunter2')} { {'a': Secret('hunter2')} }"


def test_a_secret_list_that_changed_its_length_is_secret_as_a_whole() -> None:
    like = {"env": [{"name": "A", "value": Secret("one")}]}
    came_back = conceal({"env": [{"name": "X", "value": "two"}, {"name": "A", "value": "one"}]}, like)
    assert isinstance(came_back["env"], Secret), "positions no longer say which element was the secret"


def test_an_asset_keeps_the_form_in_which_the_engine_sent_it() -> None:
    asset = Asset({"4dabf18193072939515e22adb298388d": "c44067f5952c0a294b673a41bacd8c17", "text": "x"})
    assert decode(encode({"source": asset})) == {"source": asset}


def test_a_message_loses_the_text_of_every_secret_but_keeps_short_ones_readable() -> None:
    holder = {"token": Secret("s3cr3t-value"), "flag": Secret("no"), "name": "public"}
    message = redact("token s3cr3t-value of public is no good", holder)
    assert message == "token [secret] of public is no good"


def test_a_value_without_a_form_is_refused_with_its_path() -> None:
    with pytest.raises(TypeError, match=r"spec\.ports\[0\] holds a set"):
        encode({"spec": {"ports": [set()]}})
