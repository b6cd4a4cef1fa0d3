"""The request simulation against hand-made cases, its invariants, and the level formula."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.planner.arrays import Floats
from headrace.planner.levels import Demand, level_tables
from headrace.planner.simulate import Tiers, simulate
from headrace.planner.tariff import Tariff

TARIFF = Tariff(dedicated_usd_hour=2.0, serverless_usd_second=0.001, idle_timeout_s=60, cold_start_s=30)


def tiers(
    dedicated: int = 0, *, hours: int = 2, warm: int = 0, slots: int = 1, cap: int = 9, spill: float = 0
) -> Tiers:
    return Tiers(
        dedicated=np.full(hours, dedicated, dtype=np.int64),
        warm=np.full(hours, warm, dtype=np.int64),
        slots=slots,
        serverless_cap=cap,
        spill_after_s=spill,
        cold_start_s=30.0,
    )


def run(arrivals: list[float], services: list[float], shape: Tiers) -> tuple[list[float], list[int], int, float]:
    done = simulate(np.array(arrivals), np.array(services), shape, TARIFF)
    return done.wait_s.tolist(), done.tier.tolist(), done.cold_starts, done.serverless_s


def test_the_first_overflow_starts_cold_and_the_next_one_finds_it_warm() -> None:
    assert run([0, 50], [10, 10], tiers()) == ([30.0, 0.0], [1, 1], 1, 30 + 30 + 60.0)


def test_after_the_idle_timeout_a_worker_is_cold_again() -> None:
    waits, _, starts, _ = run([0, 101], [10, 10], tiers())
    assert waits == [30.0, 30.0], "work ended at 40 s, the worker stopped at 100 s"
    assert starts == 2
    assert run([0, 100], [10, 10], tiers())[2] == 1, "guard: at 100 s it is still there"


def test_a_short_wait_for_the_floor_goes_before_spilling() -> None:
    assert run([0, 1], [5, 5], tiers(1, spill=4))[:2] == ([0.0, 4.0], [0, 0])
    assert run([0, 1], [5, 5], tiers(1, spill=3.9))[:2] == ([0.0, 30.0], [0, 1])


def test_at_the_cap_requests_wait_for_whichever_slot_is_free_first() -> None:
    waits, where, starts, _ = run([0, 0, 0], [100, 10, 10], tiers(1, cap=1))
    assert (waits, where, starts) == ([0.0, 30.0, 40.0], [0, 1, 1], 1)


def test_a_minimum_instance_is_billed_for_its_hours_and_never_starts_cold() -> None:
    waits, _, starts, billed = run([10, 4000], [10, 10], tiers(warm=1))
    assert (waits, starts, billed) == ([0.0, 0.0], 0, 7200.0)


def test_workers_are_packed_before_another_one_starts() -> None:
    assert run([0, 1, 2], [100, 100, 100], tiers(slots=3))[2] == 1
    assert run([0, 1, 2], [100, 100, 100], tiers(slots=2))[2] == 2


def test_without_any_capacity_a_request_waits_for_ever() -> None:
    assert run([0], [1], tiers(cap=0))[0] == [np.inf]


@st.composite
def traffic(draw: st.DrawFn) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, 300))
    return np.sort(rng.uniform(0, 7000, count)), rng.exponential(30, count) + 0.1


@settings(max_examples=60, deadline=None)
@given(traffic(), st.integers(0, 4), st.integers(1, 4), st.integers(1, 30), st.sampled_from([0.0, 2.0, 20.0]))
def test_no_tier_ever_runs_more_than_it_has(
    load: tuple[Floats, Floats], dedicated: int, slots: int, cap: int, spill: float
) -> None:
    arrivals, services = load
    done = simulate(arrivals, services, tiers(dedicated, slots=slots, cap=cap, spill=spill), TARIFF)
    assert np.isfinite(done.wait_s).all(), "every request is served"
    assert (done.wait_s >= 0).all()
    for tier, most in ((0, dedicated * slots), (1, cap * slots)):
        mine = done.tier == tier
        begin, end = arrivals[mine] + done.wait_s[mine], arrivals[mine] + done.wait_s[mine] + services[mine]
        # arrival + (start - arrival) may lie a last digit before start, the moment at which another request ended
        edges = sorted([(t, 1) for t in begin.tolist()] + [(t - 1e-9, 0) for t in end.tolist()])
        running = 0
        for moment, starts in edges:
            running += 1 if starts else -1
            assert running <= most, f"tier {tier} runs {running} of {most} slots at {moment}"
    assert done.serverless_s >= services[done.tier == 1].sum() / slots - 1e-6, "work is billed at least once"
    again = simulate(arrivals, services, tiers(dedicated, slots=slots, cap=cap, spill=spill), TARIFF)
    assert again.wait_s.tobytes() == done.wait_s.tobytes(), "same input, same bytes"


def test_billed_seconds_agree_with_the_level_formula_where_both_see_the_same() -> None:
    rng = np.random.default_rng(3)
    starts = np.arange(20, 7000, 100.0)
    busy = rng.integers(1, 4, len(starts))
    arrivals = np.repeat(starts, busy)
    services = np.full(len(arrivals), 20.0)
    gpus = np.zeros(720)
    for start, count in zip(starts, busy, strict=True):
        gpus[int(start // 10) : int(start // 10) + 2] = count
    warm_start = Tariff(dedicated_usd_hour=2, serverless_usd_second=0.001, idle_timeout_s=60, cold_start_s=0)
    tables = level_tables(Demand(origin_s=0, gpus=gpus), warm_start)
    shape = Tiers(
        dedicated=np.zeros(2, dtype=np.int64),
        warm=np.zeros(2, dtype=np.int64),
        slots=1,
        serverless_cap=9,
        spill_after_s=0,
        cold_start_s=0,
    )
    done = simulate(arrivals, services, shape, warm_start)
    assert done.cold_starts == tables.starts.sum()
    assert done.serverless_s == pytest.approx(tables.billed.sum(), abs=60 * 3)
