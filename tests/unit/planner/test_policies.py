"""Policies know the past only, and the adaptive one is never much worse than the rules it replaces."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from headrace.errors import Refused
from headrace.planner.arrays import BINS_PER_HOUR, Floats
from headrace.planner.backtest import next_hour, run_backtest
from headrace.planner.levels import Demand
from headrace.planner.mixing import PROBATION, adaptive, by_level, leaders, polynomial, proven
from headrace.planner.policies import BASELINES, CANDIDATES, HourlyCosts, Policy, hourly_costs, last_hour
from headrace.planner.tariff import Tariff

from .conftest import daily_demand

Mixture = Callable[[HourlyCosts, Floats], Floats]
ALL: dict[str, Policy] = {"adaptive": adaptive, **BASELINES}


@pytest.mark.parametrize("name", ALL)
def test_changing_the_future_moves_no_decision_before_it(name: str, wave: Demand, a100: Tariff) -> None:
    cut = 8 * 24 + 5
    changed = wave.gpus.copy()
    changed[cut * BINS_PER_HOUR :] = 6.0 + 5.0 * (np.arange(len(changed) - cut * BINS_PER_HOUR) % 7 > 3)
    before = ALL[name](hourly_costs(wave, a100, history_hours=168))
    after = ALL[name](hourly_costs(Demand(origin_s=0, gpus=changed), a100, history_hours=168))
    assert before[: cut + 1].tolist() == after[: cut + 1].tolist(), "decision h reads hours before h only"


def test_the_decision_for_the_hour_after_the_data_is_the_one_a_longer_backtest_takes(
    wave: Demand, a100: Tariff
) -> None:
    walked = run_backtest(wave, a100, train_days=7)
    cut = 7 * 24 + 9
    costs = hourly_costs(wave.first(cut), a100, history_hours=168)
    assert int(adaptive(costs)[-1]) == int(walked.chosen.dedicated[cut - 168])
    assert next_hour(wave, a100) >= 0


def test_shifting_the_clock_by_whole_weeks_shifts_the_decisions(wave: Demand, a100: Tariff) -> None:
    later = Demand(origin_s=14 * 86400, gpus=wave.gpus)
    here, there = run_backtest(wave, a100), run_backtest(later, a100)
    assert here.chosen.dedicated.tolist() == there.chosen.dedicated.tolist()
    assert (there.hour_start_s - here.hour_start_s == 14 * 86400).all()


@pytest.mark.parametrize("level", [0.4, 2.0, 12.0, 900.0])
def test_adaptive_stays_near_the_bound_on_a_daily_wave_of_any_size(level: float, a100: Tariff) -> None:
    result = run_backtest(daily_demand(days=12, level=level, seed=4), a100)
    by_name = {item.name: item.ratio for item in result.baselines}
    assert result.chosen.ratio is not None
    assert result.chosen.ratio < 1.08
    assert result.chosen.ratio <= (by_name["floor-plus-ten"] or 0) * 1.005, "never more than 0.5 % above floor + 10 %"
    assert (level < CANDIDATES) == (level < 900), "the largest case goes through the candidate grid"


@pytest.mark.parametrize("factor", [10.0, 0.0], ids=["a launch", "an end"])
def test_a_change_for_good_is_followed_nearly_as_fast_as_by_the_last_hours_optimum(factor: float) -> None:
    hour = np.arange(10 * 24 * 60) / 60
    level = 12 * np.exp(0.4 * np.sin((hour % 24 - 9) / 24 * 2 * np.pi))
    minutes = np.random.default_rng(3).poisson(level) * np.where(hour < 8 * 24 + 7, 1.0, factor)
    cheap = Tariff(dedicated_usd_hour=1.1, serverless_usd_second=0.00076)
    result = run_backtest(Demand(origin_s=0, gpus=np.repeat(minutes, 6)), cheap)
    reactive = next(item for item in result.baselines if item.name == "last-hour")
    assert (result.chosen.ratio or 9) < (reactive.ratio or 0) * 1.04, "no caution or habit holds it back for a day"


def _small_tenant_with_rare_spikes() -> Demand:
    """A third of a GPU all day; now and then thirty of them for 45 minutes up to a full hour, then none."""
    gpus = np.full(14 * 24 * BINS_PER_HOUR, 0.33)
    for hour in (30, 61, 85, 110, 133, 170, 200, 233, 262, 301):
        gpus[(hour + 1) * BINS_PER_HOUR - 270 : (hour + 1) * BINS_PER_HOUR] = 30.0
    return Demand(origin_s=0, gpus=gpus)


def test_a_small_tenant_does_not_pay_for_gpus_after_each_spike_is_over(a100: Tariff) -> None:
    demand = _small_tenant_with_rare_spikes()
    result = run_backtest(demand, a100)
    by_name = {item.name: item.ratio for item in result.baselines}
    assert (result.chosen.ratio or 9) <= (by_name["floor-plus-ten"] or 0) * 1.005, "never more than 0.5 % above"
    assert (by_name["last-hour"] or 0) > 1.3, "guard: holding what the last hour needed is dear here"


def test_a_level_on_probation_is_held_only_where_that_has_paid(a100: Tariff) -> None:
    costs = hourly_costs(_small_tenant_with_rare_spikes(), a100, history_hours=168)
    wished = last_hour(costs)
    assert (wished == 30).sum() > PROBATION, "guard: the last hour's optimum wishes it again and again"
    first = np.flatnonzero(wished == 30)[:PROBATION]
    assert proven(costs, wished)[first].max() == 1, "so far it has only ever lost"
    steady = hourly_costs(Demand(origin_s=0, gpus=np.full(10 * 24 * BINS_PER_HOUR, 7.0)), a100, history_hours=168)
    assert proven(steady, last_hour(steady)).tolist() == last_hour(steady).tolist(), "what pays is left alone"


@pytest.mark.parametrize("mixture", [by_level, leaders, polynomial])
def test_a_mixture_of_one_expert_is_that_expert(mixture: Mixture, wave: Demand, a100: Tariff) -> None:
    costs = hourly_costs(wave, a100, history_hours=168)
    alone = last_hour(costs).astype(float)[:, None]
    assert np.abs(mixture(costs, alone) - alone[:, 0]).max() < 1e-9


def test_constant_demand_is_met_exactly(a100: Tariff) -> None:
    result = run_backtest(Demand(origin_s=0, gpus=np.full(10 * 24 * BINS_PER_HOUR, 7.0)), a100)
    assert set(result.chosen.dedicated.tolist()) == {7}
    assert result.chosen.ratio == pytest.approx(1.0)


def test_no_demand_means_no_gpu_and_no_ratio(a100: Tariff) -> None:
    result = run_backtest(Demand(origin_s=0, gpus=np.zeros(9 * 24 * BINS_PER_HOUR)), a100)
    assert result.chosen.cost_usd == 0
    assert result.chosen.ratio is None, "nothing divided by nothing is not a ratio"


def test_where_serverless_is_never_dearer_nothing_is_dedicated(wave: Demand) -> None:
    tariff = Tariff(dedicated_usd_hour=3.43, serverless_usd_second=0.00076, cold_start_s=0)
    result = run_backtest(wave, tariff)
    assert tariff.break_even > 1
    assert result.chosen.dedicated.max() == 0
    assert result.chosen.ratio == pytest.approx(1.0)


def test_a_lasting_drop_of_demand_is_followed(a100: Tariff) -> None:
    gpus = daily_demand(days=16, level=12, seed=2).gpus.copy()
    gpus[9 * 24 * BINS_PER_HOUR :] *= 0.4
    result = run_backtest(Demand(origin_s=0, gpus=gpus), a100)
    by_name = {item.name: item.ratio for item in result.baselines}
    assert result.chosen.ratio is not None
    assert result.chosen.ratio < 1.06
    assert (by_name["newsvendor"] or 0) > 1.2, "guard: the drop does hurt a plan that never changes"


@pytest.mark.parametrize("days", [0, 3, 8.5])
def test_any_training_time_works(days: float, wave: Demand, a100: Tariff) -> None:
    result = run_backtest(wave, a100, train_days=days)
    assert len(result.chosen.dedicated) == wave.hours - round(days * 24)


def test_training_days_that_leave_nothing_are_refused(wave: Demand, a100: Tariff) -> None:
    with pytest.raises(Refused, match=r"--train-days is 9: leaves no hour to decide: the demand covers 9\.00 days"):
        run_backtest(wave, a100, train_days=9)
