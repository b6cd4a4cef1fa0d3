"""The closed form against an explicit worker pool, and the best constant against trying all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.planner.arrays import BINS_PER_HOUR, Ints
from headrace.planner.bounds import bounds, hourly_bound
from headrace.planner.levels import Demand, best_constant, cost_per_hour, level_tables, warm_levels
from headrace.planner.pool import simulate_pool
from headrace.planner.tariff import Tariff

tariffs = st.builds(
    Tariff,
    dedicated_usd_hour=st.floats(0.1, 12),
    serverless_usd_second=st.floats(0.0001, 0.003),
    idle_timeout_s=st.sampled_from([0, 10, 60, 300, 900]),
    cold_start_s=st.sampled_from([0, 5, 30, 120]),
)


@st.composite
def random_needs(draw: st.DrawFn) -> Ints:
    """Two or three hours of whole GPUs with runs of random length."""
    hours = draw(st.integers(2, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values: list[int] = []
    while len(values) < hours * BINS_PER_HOUR:
        values += [int(rng.integers(0, 6))] * int(rng.integers(1, 60))
    return np.array(values[: hours * BINS_PER_HOUR], dtype=np.int64)


@settings(max_examples=40, deadline=None)
@given(random_needs(), tariffs, st.data())
def test_the_formula_equals_an_explicit_worker_pool(need: Ints, tariff: Tariff, data: st.DataObject) -> None:
    demand = Demand(origin_s=0, gpus=need.astype(float))
    held = np.array([data.draw(st.integers(0, 7)) for _ in range(demand.hours)], dtype=np.int64)
    tables = level_tables(demand, tariff)
    formula = cost_per_hour(tables.serverless_usd(tariff), held, tariff).sum()
    assert formula == pytest.approx(simulate_pool(need.tolist(), held.tolist(), tariff), rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(random_needs(), tariffs)
def test_the_best_constant_equals_trying_them_all(need: Ints, tariff: Tariff) -> None:
    demand = Demand(origin_s=0, gpus=need.astype(float))
    serverless = level_tables(demand, tariff).serverless_usd(tariff)
    tried = [simulate_pool(need.tolist(), [gpus] * demand.hours, tariff) for gpus in range(8)]
    chosen = best_constant(serverless, tariff)
    assert tried[chosen] == pytest.approx(min(tried), rel=1e-9), "the argmin form is exact even with many starts"


@settings(max_examples=30, deadline=None)
@given(random_needs(), tariffs, st.data())
def test_no_decision_beats_the_hourly_bound(need: Ints, tariff: Tariff, data: st.DataObject) -> None:
    demand = Demand(origin_s=0, gpus=need.astype(float))
    serverless = level_tables(demand, tariff).serverless_usd(tariff)
    held = np.array([data.draw(st.integers(0, 7)) for _ in range(demand.hours)], dtype=np.int64)
    limit = bounds(demand, serverless, tariff)
    assert cost_per_hour(serverless, held, tariff).sum() >= limit.hourly_usd - 1e-9
    assert limit.fluid_usd <= limit.hourly_usd + 1e-9, "busy seconds at the cheaper rate bound everything from below"
    assert limit.hourly_usd <= limit.static_usd + 1e-9, "a constant is one of the hourly plans"


@settings(max_examples=30, deadline=None)
@given(random_needs(), st.sampled_from([0, 10, 20, 60, 70, 300]))
def test_warm_workers_are_the_maximum_over_the_idle_window(need: Ints, idle_s: int) -> None:
    expected = [need[max(0, at - idle_s // 10) : at + 1].max() for at in range(len(need))]
    assert warm_levels(need, idle_s).tolist() == expected


def test_doubling_all_prices_doubles_the_cost_and_keeps_the_plan(wave: Demand, a100: Tariff) -> None:
    serverless = level_tables(wave, a100).serverless_usd(a100)
    dear = a100.scaled(dedicated=2, serverless=2)
    serverless_dear = level_tables(wave, dear).serverless_usd(dear)
    assert best_constant(serverless_dear, dear) == best_constant(serverless, a100) > 0
    assert hourly_bound(serverless_dear, dear).sum() == pytest.approx(2 * hourly_bound(serverless, a100).sum())


def test_a_minimum_duration_bills_short_busy_periods_up_to_it() -> None:
    gpus = np.zeros(BINS_PER_HOUR)
    gpus[10:12] = 2.0
    gpus[100:200] = 1.0
    tariff = Tariff(
        dedicated_usd_hour=1, serverless_usd_second=0.001, idle_timeout_s=0, cold_start_s=0, minimum_billed_s=60
    )
    tables = level_tables(Demand(origin_s=0, gpus=gpus), tariff)
    assert tables.billed.tolist() == [[60.0 + 1000.0, 60.0]], "20 s count as 60 s, 1000 s as they are"


def test_at_a_break_even_of_one_or_more_without_starts_nothing_is_dedicated(wave: Demand) -> None:
    tariff = Tariff(dedicated_usd_hour=4.0, serverless_usd_second=0.0011, idle_timeout_s=0, cold_start_s=0)
    assert tariff.break_even > 1
    assert best_constant(level_tables(wave, tariff).serverless_usd(tariff), tariff) == 0
