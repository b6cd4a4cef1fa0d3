"""Cron expressions and memory arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.settings.cron import cron_fault
from headrace.settings.fit import memory_fit


@pytest.mark.parametrize(
    "expression", ["0 7 * * MON-FRI", "*/15 * * * *", "0 0 1,15 * *", "30 6 * jan-mar 0-7", "5-55/10 0 * * sun"]
)
def test_a_cron_expression_holds(expression: str) -> None:
    assert cron_fault(expression) is None


BROKEN = (
    *("", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "5-1 * * * *"),
    *("*/0 * * * *", "a * * * *", "1,,2 * * * *", "* * * * MON-", "² * * * *", "* * * * * *"),
)


@pytest.mark.parametrize("expression", BROKEN)
def test_a_broken_cron_expression_is_found(expression: str) -> None:
    assert cron_fault(expression)


@given(st.text(max_size=40))
def test_no_text_crashes_the_cron_check(text: str) -> None:
    cron_fault(text)


def test_memory_of_a_replica_by_hand() -> None:
    # 4 x 80 GiB x 0.9 = 288 GiB; 32768 tokens x 160 KiB = 5 GiB; (288 - 68) / 5 = 44 requests
    fit = memory_fit(
        gpu_memory_gib=80, tensor_parallel=4, weights_gib=68, kv_cache_kib_per_token=160, context_tokens=32768
    )
    assert fit.usable_gib == pytest.approx(288)
    assert fit.request_gib == pytest.approx(5)
    assert fit.full_context_slots == 44
    assert fit.fits


@given(st.floats(1, 300), st.integers(1, 16), st.floats(0.1, 3000), st.floats(0.1, 4000), st.integers(1, 2_000_000))
def test_a_model_fits_exactly_when_one_request_does(
    memory: float, parallel: int, weights: float, cache: float, context: int
) -> None:
    fit = memory_fit(
        gpu_memory_gib=memory,
        tensor_parallel=parallel,
        weights_gib=weights,
        kv_cache_kib_per_token=cache,
        context_tokens=context,
    )
    if fit.fits:
        assert fit.full_context_slots >= 1
    else:
        assert fit.full_context_slots <= 1
    assert fit.full_context_slots * fit.request_gib <= max(0.0, fit.usable_gib - fit.weights_gib) * (1 + 1e-6) + 1e-6
