"""Schedules, the coupled program, verdicts, commitments, warm-up and statistics."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.planner.answer import commitments
from headrace.planner.arrays import BINS_PER_HOUR, Floats
from headrace.planner.caps import forced
from headrace.planner.commitment import Commitment, advise
from headrace.planner.coupled import (
    Feasible,
    GpuType,
    Infeasible,
    Limits,
    Outcome,
    Proven,
    Reservation,
    Unanswered,
    decreasing,
    solve,
)
from headrace.planner.levels import Demand, level_tables
from headrace.planner.planning import HOURLY, Constraints, Plan, make_plan
from headrace.planner.poc import Decision, Side, judge
from headrace.planner.schedule import best_schedule, changes, expand, slot_costs, switch_cost_usd
from headrace.planner.statistics import breaks, constant_cost, pooling, profile
from headrace.planner.tariff import Tariff
from headrace.planner.traffic import repair
from headrace.planner.verdict import VerdictKind
from headrace.planner.workload import Workload

from .conftest import daily_demand

PRICES = Tariff(dedicated_usd_hour=2.0, serverless_usd_second=0.001, idle_timeout_s=60, cold_start_s=30)


def schedule_cost(plan: tuple[int, ...], table: Floats, lead_s: float) -> float:
    change = switch_cost_usd(PRICES, lead_s)
    paid = sum(
        gpus * PRICES.dedicated_usd_hour + table[hour, gpus:].sum() + max(gpus - before, 0) * change
        for hour, (before, gpus) in enumerate(zip((0, *plan), plan, strict=False))
    )
    return float(paid)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 300.0, 1800.0]))
def test_the_schedule_costs_no_more_than_any_other(seed: int, lead_s: float) -> None:
    rng = np.random.default_rng(seed)
    table = np.sort(rng.uniform(0, 3.6, (4, 3)), axis=1)[:, ::-1]
    plan = best_schedule(table, PRICES, lead_time_s=lead_s)
    best = min(schedule_cost(other, table, lead_s) for other in itertools.product(range(4), repeat=4))
    assert schedule_cost(tuple(plan.tolist()), table, lead_s) == pytest.approx(best)


def test_a_dear_change_keeps_a_gpu_over_a_short_dip() -> None:
    table = np.array([[3.6], [1.9], [3.6]])
    assert best_schedule(table, PRICES, lead_time_s=0).tolist() == [1, 0, 1]
    assert best_schedule(table, PRICES, lead_time_s=600).tolist() == [1, 1, 1]


def test_a_cyclic_schedule_joins_its_ends() -> None:
    table = np.array([[3.6], [3.6], [0.0], [3.6]])
    plan = best_schedule(table, PRICES, lead_time_s=300, cyclic=True)
    assert plan.tolist() == [1, 1, 0, 1]
    assert changes(plan, cyclic=True) == 1


def test_slots_follow_the_clock_of_the_data(wave: Demand) -> None:
    late = Demand(origin_s=5 * 3600, gpus=wave.gpus)
    schedule = np.arange(24)
    assert expand(schedule, late)[:3].tolist() == [5, 6, 7]
    thursday = Demand(origin_s=0, gpus=wave.gpus)
    assert expand(np.arange(168), thursday)[0] == 72, "the epoch began on a Thursday"


def test_without_limits_the_program_finds_what_the_levels_find() -> None:
    rng = np.random.default_rng(2)
    table = np.sort(rng.uniform(0, 3.6, (6, 8)), axis=1)[:, ::-1]
    found = solve(table, np.full(6, 8), (GpuType(name="a", usd_hour=2.0),))
    assert isinstance(found, Proven)
    assert found.mix.cost_usd == pytest.approx(np.minimum(table, 2.0).sum(), rel=1e-6)
    assert found.mix.rented["a"].tolist() == (table > 2.0).sum(1).tolist()


def test_a_serverless_cap_forces_gpus_and_stock_forces_serverless() -> None:
    table, peak = np.full((3, 5), 0.5), np.full(3, 5)
    found = solve(table, peak, (GpuType(name="a", usd_hour=2.0),), limits=Limits(serverless_cap=2))
    assert isinstance(found, Proven)
    assert found.mix.rented["a"].tolist() == [3, 3, 3]
    dear = solve(np.full((3, 5), 3.0), peak, (GpuType(name="a", usd_hour=2.0, stock=1),))
    assert isinstance(dear, Proven)
    assert dear.mix.rented["a"].tolist() == [1, 1, 1]


def test_a_faster_type_and_a_reservation_are_used_where_they_are_cheaper() -> None:
    table, peak = np.full((4, 6), 3.0), np.full(4, 6)
    types = (GpuType(name="a", usd_hour=2.0), GpuType(name="b", usd_hour=3.0, speed=3.0))
    found = solve(table, peak, types, reservations=(Reservation(name="year", usd_hour=0.9, maximum=3),))
    assert isinstance(found, Proven)
    assert found.mix.reserved == {"year": 3}
    assert found.mix.rented["b"].tolist() == [1, 1, 1, 1], "one of b does the work of three at half their price"


def test_limits_that_clash_are_named_with_what_is_missing() -> None:
    found = solve(
        np.ones((2, 9)), np.array([9, 4]), (GpuType(name="a", usd_hour=1, stock=3),), limits=Limits(serverless_cap=4)
    )
    assert isinstance(found, Infeasible)
    assert found.clash == "the peak needs 9 GPUs, but at most 3 dedicated and 4 serverless are allowed; 2 are missing"


@settings(max_examples=50)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=20))
def test_the_decreasing_envelope_keeps_the_sum(values: list[float]) -> None:
    hull = decreasing(np.array(values))
    assert hull.sum() == pytest.approx(sum(values))
    assert (np.diff(hull) <= 1e-9).all()


def test_a_plan_on_a_daily_wave_is_a_hybrid_that_beats_every_single_pool(wave: Demand, a100: Tariff) -> None:
    plan = make_plan(wave, a100, Constraints())
    assert plan.verdict.kind is VerdictKind.HYBRID
    assert (
        plan.bound_usd_per_month
        <= plan.usd_per_month
        < min(plan.baselines["serverless-only"], plan.baselines["all-dedicated"])
    )
    assert plan.regret_usd_per_month == pytest.approx(plan.usd_per_month - plan.bound_usd_per_month)


@pytest.mark.parametrize(
    ("dedicated", "second", "operations", "kind"),
    [
        (6.88, 0.00116, 0.0, VerdictKind.SERVERLESS_ONLY),
        (2.17, 0.00104, 1e6, VerdictKind.NOT_WORTH),
    ],
)
def test_the_plan_says_so_when_a_hybrid_is_not_worth_it(
    dedicated: float, second: float, operations: float, kind: VerdictKind, wave: Demand
) -> None:
    prices = Tariff(dedicated_usd_hour=dedicated, serverless_usd_second=second)
    plan = make_plan(wave, prices, Constraints(operations_usd_per_month=operations))
    assert plan.verdict.kind is kind, plan.verdict.sentence


def test_a_flat_demand_is_for_dedicated_gpus_only(a100: Tariff) -> None:
    plan = make_plan(Demand(origin_s=0, gpus=np.full(9 * 24 * BINS_PER_HOUR, 7.0)), a100, Constraints())
    assert plan.verdict.kind is VerdictKind.DEDICATED_ONLY
    assert plan.schedule.tolist() == [7]


def test_no_demand_has_its_own_verdict(a100: Tariff) -> None:
    plan = make_plan(Demand(origin_s=0, gpus=np.zeros(72 * BINS_PER_HOUR)), a100, Constraints())
    assert plan.verdict.kind is VerdictKind.NO_DEMAND
    assert plan.schedule.max() == 0


def test_an_hourly_floor_is_chosen_only_where_it_is_allowed(wave: Demand, a100: Tariff, free_plan: Plan) -> None:
    hourly = make_plan(wave, a100, Constraints(hourly=True))
    offered = {item.name: item for item in hourly.candidates}
    assert not next(item for item in free_plan.candidates if item.name == HOURLY).deployable
    assert offered[HOURLY].deployable
    simplest = min(item.usd_per_month for item in hourly.candidates) * 1.005
    assert hourly.policy == next(item.name for item in hourly.candidates if item.usd_per_month <= simplest)
    assert hourly.hourly, "guard: on this wave it is more than half a percent cheaper"
    assert free_plan.hourly_saves_usd_per_month == pytest.approx(free_plan.usd_per_month - hourly.usd_per_month)
    assert hourly.hourly_saves_usd_per_month == 0
    evaluated = hourly.dedicated[-hourly.evaluated_hours :]
    assert hourly.schedule.tolist() == [min(evaluated.min(), hourly.next_hour)], "the least that it ever chose"
    assert hourly.schedule[0] < hourly.most == hourly.ceiling
    same = next(
        item for item in hourly.sensitivity if item.demand == item.dedicated_price == item.serverless_price == 1
    )
    assert same.plan_usd == pytest.approx(hourly.usd_per_month), "in every world it decides anew"


def test_an_hourly_floor_keeps_the_caps(a100: Tariff) -> None:
    wave = daily_demand(days=5)
    peak = int(wave.need.max())
    held = make_plan(wave, a100, Constraints(hourly=True, dedicated_cap=4)).dedicated
    assert held.max() <= 4
    least = make_plan(wave, a100, Constraints(hourly=True, serverless_cap=2)).schedule[0]
    assert least >= int(wave.need.reshape(-1, BINS_PER_HOUR).max(1).min()) - 2 >= 0 or peak <= 2


def test_planning_anew_for_another_world_is_never_dearer_than_keeping_the_plan(a100: Tariff) -> None:
    hours = np.arange(9 * 24 * 6) / 6
    level = 6 * (1 + 0.6 * np.sin((hours % 24 - 9) / 24 * 2 * np.pi))
    plan = make_plan(Demand(origin_s=0, gpus=np.repeat(level, BINS_PER_HOUR // 6)), a100, Constraints())
    assert len(plan.schedule) > 1, "guard: a constant is dearer here"
    for world in plan.sensitivity:
        assert world.bound_usd <= world.replanned_usd <= world.plan_usd * 1.005, "it may keep what it has"
    assert plan.sensitivity[1].verdict == plan.verdict.kind.value, "this world's verdict is the plan's own"


def test_a_cap_on_dedicated_gpus_is_kept(wave: Demand, a100: Tariff, free_plan: Plan) -> None:
    assert make_plan(wave, a100, Constraints(dedicated_cap=2)).schedule.max() <= 2
    assert free_plan.schedule.max() > 2, "guard: without the cap it is larger"


def test_two_percent_of_missing_windows_move_the_plan_by_at_most_one_gpu(
    wave: Demand, a100: Tariff, free_plan: Plan
) -> None:
    lost = np.random.default_rng(5).random(wave.hours * 6) < 0.02
    assert lost.sum() >= 10, "guard: windows are missing"
    holed = Demand(origin_s=0, gpus=repair(wave.gpus, lost))
    whole, repaired = free_plan, make_plan(holed, a100, Constraints())
    assert len(whole.schedule) == len(repaired.schedule)
    assert np.abs(whole.schedule - repaired.schedule).max() <= 1


def test_batch_work_goes_into_idle_floor_first(wave: Demand, a100: Tariff) -> None:
    little = make_plan(wave, a100, Constraints(batch_replica_hours_per_day=1.0)).batch_free_share
    much = make_plan(wave, a100, Constraints(batch_replica_hours_per_day=1000.0)).batch_free_share
    assert little is not None
    assert much is not None
    assert little > 0.9 > 0.2 > much


def test_a_higher_price_of_waiting_buys_more_warm_instances(wave: Demand, a100: Tariff, free_plan: Plan) -> None:
    none = free_plan.warm
    many = make_plan(wave, a100, Constraints(cold_start_worth_usd=5.0)).warm
    assert many.avoided_per_day > none.avoided_per_day
    assert [share for share, _, _ in none.ladder] == [0.5, 0.75, 0.9]
    assert sorted(usd for _, usd, _ in none.ladder) == [usd for _, usd, _ in none.ladder]


def test_a_commitment_pays_back_only_on_levels_that_are_always_busy() -> None:
    tables = {f: np.column_stack([np.full(100, 3.6), np.full(100, 0.4)]) for f in (0.7, 1.0, 1.3)}
    tables[0.7] = np.column_stack([np.full(100, 0.5), np.zeros(100)])
    advice = advise(Commitment(name="year", usd_hour=1.2, months=12), tables, PRICES)
    assert advice.replicas == 1
    assert advice.saved_usd[1.0] == pytest.approx((2.0 - 1.2) * 730 * 12)
    assert advice.saved_usd[0.7] < 0, "a drop of demand turns the commitment into a loss, and the advice says so"
    assert advice.break_even_month == pytest.approx(12 * 1.2 / 2.0)


def test_the_profile_finds_season_break_and_a_floor_that_one_gap_does_not_decide() -> None:
    gpus = daily_demand(days=14, level=20).gpus.copy()
    gpus[5 * 24 * BINS_PER_HOUR : (5 * 24 + 1) * BINS_PER_HOUR] = 0.0
    found = profile(Demand(origin_s=0, gpus=gpus))
    assert found.raw_floor == 0
    assert found.robust_floor > 2
    assert found.daily_season > 0.4
    level = np.concatenate((np.full(200, 10.0), np.full(136, 4.0))) * np.exp(
        np.random.default_rng(1).normal(0, 0.05, 336)
    )
    assert any(abs(at - 200) <= 3 for at in breaks(level)), "the drop at hour 200"
    assert breaks(np.full(336, 10.0)) == []


def test_a_week_that_ends_on_a_weekend_is_no_fall() -> None:
    day = np.arange(14 * 24 * BINS_PER_HOUR) // (24 * BINS_PER_HOUR)
    week = np.where(day % 7 >= 5, 2.0, 10.0)
    assert profile(Demand(origin_s=0, gpus=week)).trend_per_week == 0
    assert profile(Demand(origin_s=0, gpus=week + 0.5 * day / 7)).trend_per_week == pytest.approx(0.5, abs=0.01)


def test_pooling_never_costs_more_and_totals_agree_with_the_tables(wave: Demand, a100: Tariff) -> None:
    table = level_tables(wave, a100).serverless_usd(a100)
    best = min(
        gpus * a100.dedicated_usd_hour * wave.hours + table[:, gpus:].sum() for gpus in range(table.shape[1] + 1)
    )
    assert constant_cost(wave.gpus, a100) == pytest.approx(best)
    found = pooling({"a": wave.gpus, "b": np.roll(wave.gpus, 12 * BINS_PER_HOUR)}, a100)
    assert 0 < found.saved < 1


def test_mean_costs_by_slot_weigh_each_day_the_same() -> None:
    table = np.arange(48.0)[:, None]
    assert slot_costs(table, period=24)[:, 0].tolist() == [(h + h + 24) / 2 for h in range(24)]


def side(usd: float, *, latency: float = 1.0, failed: float = 0.0, hours: int = 72, seed: int = 1) -> Side:
    rng = np.random.default_rng(seed)
    hour = np.repeat(np.arange(hours), 50)
    return Side(
        hour=hour,
        usd=usd * rng.lognormal(0, 0.3, len(hour)),
        latency_s=latency * rng.lognormal(0, 0.3, len(hour)),
        failed=(rng.random(len(hour)) < failed).astype(float),
    )


@pytest.mark.parametrize(
    ("trial", "decision"),
    [
        (side(0.5, seed=2), Decision.MIGRATE),
        (side(0.9, seed=2), Decision.STOP),
        (side(1.4, seed=2), Decision.STOP),
        (side(0.5, latency=2.0, seed=2), Decision.STOP),
        (side(0.5, failed=0.05, seed=2), Decision.STOP),
        (side(0.5, hours=6, seed=2), Decision.EXTEND),
        (side(0.7, seed=2), Decision.EXTEND),
    ],
)
def test_a_trial_is_judged_by_saving_latency_and_errors_with_confidence(trial: Side, decision: Decision) -> None:
    found = judge(side(1.0), trial)
    assert found.decision is decision, found.sentence
    assert found.saving.low <= found.saving.value <= found.saving.high


@pytest.mark.parametrize("cap", [0, 2, 5])
def test_what_serverless_may_not_serve_is_dedicated_in_every_slot(
    cap: int, wave: Demand, a100: Tariff, free_plan: Plan
) -> None:
    plan = make_plan(wave, a100, Constraints(serverless_cap=cap))
    free = free_plan
    assert free.serverless_peak > 5, "guard: without a cap the plan overflows by more"
    assert plan.serverless_peak <= cap
    assert plan.usd_per_month >= free.usd_per_month, "a cap never saves"
    assert plan.shortage is None
    assert "serverless-only" not in {item.name for item in plan.candidates}
    assert plan.verdict.kind is not VerdictKind.SERVERLESS_ONLY


def test_a_cap_makes_the_schedule_that_trying_all_schedules_finds(a100: Tariff) -> None:
    rng = np.random.default_rng(7)
    for _ in range(20):
        table = np.sort(rng.uniform(0, 4, (4, 3)), axis=1)[:, ::-1]
        least = rng.integers(0, 4, 4)
        found = best_schedule(forced(table, least, a100.dedicated_usd_hour), a100, lead_time_s=600, cyclic=True)

        def cost(held: tuple[int, ...], table: Floats = table) -> float:
            switched = changes(np.array(held), cyclic=True) * switch_cost_usd(a100, 600)
            paid = sum(gpus * a100.dedicated_usd_hour + table[i, gpus:].sum() for i, gpus in enumerate(held))
            return float(switched + paid)

        allowed = itertools.product(*(range(int(low), 4) for low in least))
        assert (found >= least).all()
        assert cost(tuple(found.tolist())) == pytest.approx(min(cost(held) for held in allowed))


def test_caps_under_the_peak_are_said_to_be_infeasible_and_why(wave: Demand, a100: Tariff) -> None:
    peak = int(wave.need.max())
    plan = make_plan(wave, a100, Constraints(dedicated_cap=2, serverless_cap=3, gpus_per_replica=2))
    assert plan.verdict.kind is VerdictKind.INFEASIBLE
    said = f"the peak needs {2 * peak} GPUs, but at most 4 dedicated and 6 serverless are allowed; {2 * peak - 10} are"
    assert said in plan.verdict.sentence
    assert plan.schedule.max() <= 2
    assert make_plan(wave, a100, Constraints(dedicated_cap=peak - 3, serverless_cap=3)).shortage is None


def test_a_program_that_runs_out_of_time_gives_a_plan_with_its_gap_or_says_that_nothing_is_proven() -> None:
    rng = np.random.default_rng(1)
    peak = rng.integers(15, 40, 24)
    table = np.sort(rng.uniform(0.2, 3.9, (24, 40)), axis=1)[:, ::-1].copy()
    speeds, reserved_speeds = (1.0, 1.37, 2.11, 3.73), (1.13, 1.91, 2.77)
    types = tuple(GpuType(name=f"g{s}", usd_hour=1.7 * s * rng.uniform(0.97, 1.03), speed=s, stock=9) for s in speeds)
    tiers = tuple(Reservation(name=f"r{s}", usd_hour=1.2 * s, speed=s, maximum=9) for s in reserved_speeds)
    limits = Limits(serverless_cap=8, commitment_usd_hour=14.0)
    nothing = solve(table, peak, types, reservations=tiers, limits=limits, time_limit_s=0.0)
    assert isinstance(nothing, Unanswered), "no time is no proof that there is no plan"
    found: Outcome = nothing
    seconds = 0.1
    # How far it gets in a time is the machine's business: first nothing, then a plan, then a bound beside it.
    while (isinstance(found, Unanswered) or (isinstance(found, Feasible) and found.gap >= 1)) and seconds < 60:
        seconds *= 2
        found = solve(table, peak, types, reservations=tiers, limits=limits, time_limit_s=seconds)
    assert isinstance(found, Feasible), found
    assert 0 < found.gap < 1
    assert found.bound_usd < found.mix.cost_usd
    assert (found.mix.cost_usd - found.bound_usd) / found.mix.cost_usd == pytest.approx(found.gap, rel=1e-3)
    held = sum(found.mix.reserved[tier.name] * tier.speed for tier in tiers)
    rented = sum(found.mix.rented[item.name] * item.speed for item in types)
    assert (held + rented + 8 >= peak - 1e-6).all(), "a plan that is not proven still keeps every limit"
    assert sum(found.mix.reserved[tier.name] * tier.usd_hour for tier in tiers) <= 14.0 + 1e-6


def test_a_serverless_pool_may_run_what_a_third_more_demand_asks_for(
    wave: Demand, a100: Tariff, free_plan: Plan
) -> None:
    need = np.ceil(wave.gpus * 1.3 - 1e-9).astype(int) - np.repeat(free_plan.dedicated, 360)
    assert free_plan.serverless_most == need.max() > free_plan.serverless_peak, "the past's peak leaves no room to grow"
    capped = make_plan(wave, a100, Constraints(serverless_cap=5))
    assert capped.serverless_most == 5, "a cap stays a cap"


def test_hidden_costs_are_on_reserved_gpus_too(free_plan: Plan) -> None:
    document = {
        "model": {"weightsGib": 15, "kvCacheKibPerToken": 128},
        "gpu": "A100-80GB",
        "dedicated": {"usdPerHour": 1.55, "overheadFactor": 1.4},
        "serverless": {"usdPerSecond": 0.00104},
        "reserved": [{"name": "year", "usdPerHour": 1.55}],
    }
    advice = commitments(Workload.model_validate(document), free_plan)[0]
    assert free_plan.tariff.dedicated_usd_hour == pytest.approx(1.55 * 1.4), "guard: the plan pays 2.17 an hour"
    assert advice.replicas == 0 or advice.saved_usd[1.0] <= 1e-6, "the same price is no bargain"
