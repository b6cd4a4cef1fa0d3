"""Quantities: the server rewrites them, and a rewritten one is no change."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_sandbox.kubernetes_provider import quantity

LIMITS = ("spec", "containers", 0, "resources", "limits", "cpu")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500m", Fraction(1, 2)),
        ("0.5", Fraction(1, 2)),
        (1, Fraction(1)),
        ("1Ki", Fraction(1024)),
        ("1.5Gi", Fraction(3 * 2**29)),
        ("1e3", Fraction(1000)),
        ("1E", Fraction(10**18)),
        ("12E2", Fraction(1200)),
        ("100n", Fraction(1, 10**7)),
        ("-2", Fraction(-2)),
        (".5", Fraction(1, 2)),
    ],
)
def test_every_form_of_a_quantity_is_read_exactly(text: object, value: Fraction) -> None:
    assert quantity.parse(text) == value


@pytest.mark.parametrize("text", ["", "abc", "1 Gi", "1KiB", True, None, "nginx:1", "--1"])
def test_what_is_no_quantity_is_not_read_as_one(text: object) -> None:
    assert quantity.parse(text) is None


@given(st.integers(0, 10**6))
def test_the_same_amount_in_another_spelling_is_no_change_among_limits(n: int) -> None:
    assert quantity.same(LIMITS, n, f"{n * 1000}m")
    assert quantity.same(("spec", "hard", "memory"), f"{n}Mi", f"{n * 1024}Ki")
    assert not quantity.same(LIMITS, n, n + 1)


def test_outside_quantity_fields_only_equal_values_are_equal() -> None:
    assert not quantity.same(("data", "size"), "1", "1000m")
    assert not quantity.same(LIMITS, 1, True)
    assert not quantity.same(("spec", "immutable"), False, 0)
