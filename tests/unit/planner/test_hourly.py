"""The hourly floor's decision, its hours, its prices, and what it does to nodes and model servers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.cli.plan import plan
from headrace.errors import Refused
from headrace.planner.arrays import BIN_S, BINS_PER_HOUR, DAY_HOURS, HOUR_S, Floats
from headrace.planner.hourly import Choice, Fleet, History, Reason, StaleTraffic, choose, decisions, demand_of
from headrace.planner.hourly_clock import hour_of, minute_of
from headrace.planner.hourly_run import Bounds, Outcome, fleet_of, sentence, tariff_of
from headrace.planner.hourly_store import added_up
from headrace.planner.levels import Demand
from headrace.planner.planning import Constraints, make_plan
from headrace.planner.tariff import Tariff
from headrace.planner.traffic import BINS_PER_WINDOW
from headrace.router.config import RouterConfig, from_json
from tests.unit.planner.conftest import daily_demand
from tests.unit.router.worlds import document, overflow, pool

SLOTS = 8
WIDE = Fleet(
    floor_nodes=0,
    ceiling_nodes=100,
    replicas_per_node=1,
    slots_per_replica=SLOTS,
    lead_time_s=600,
    serverless_slots=None,
)


def history_of(demand: Demand, *, per_window: float = 50.0) -> History:
    """The same demand as requests in flight on replicas of eight slots."""
    windows = len(demand.gpus) // BINS_PER_WINDOW
    return made(demand.origin_s, np.full(windows, per_window), demand.gpus * float(SLOTS))


def made(origin_s: int, arrivals: Floats, in_flight: Floats) -> History:
    """A history of a ledger that holds nothing else."""
    return History(origin_s=origin_s, arrivals=arrivals, in_flight=in_flight, heard=arrivals > 0)


def bounded(floor: int, ceiling: int, per_node: int = 1, serverless: int | None = None) -> Fleet:
    return Fleet(
        floor_nodes=floor,
        ceiling_nodes=ceiling,
        replicas_per_node=per_node,
        slots_per_replica=SLOTS,
        lead_time_s=600,
        serverless_slots=serverless,
    )


def test_it_decides_what_the_plan_says_of_the_next_hour(wave: Demand, a100: Tariff) -> None:
    planned = make_plan(wave, a100, Constraints()).next_hour
    choice = choose(history_of(wave), a100, WIDE)
    assert choice.wanted_replicas == planned, "the policy that earns the planner's numbers is the one that runs"
    assert (choice.nodes, choice.reason) == (planned, Reason.TRAFFIC)


@pytest.mark.parametrize(("floor", "ceiling", "reason"), [(40, 50, Reason.FLOOR), (0, 1, Reason.CEILING)])
def test_it_never_leaves_the_bounds(wave: Demand, a100: Tariff, floor: int, ceiling: int, reason: Reason) -> None:
    choice = choose(history_of(wave), a100, bounded(floor, ceiling))
    assert floor <= choice.nodes <= ceiling
    assert choice.reason is reason, "the record says which bound held"


@pytest.mark.parametrize("hours", [0, 1, 71])
def test_with_less_than_three_days_the_floor_stays(wave: Demand, a100: Tariff, hours: int) -> None:
    short = Demand(origin_s=0, gpus=wave.gpus[: max(hours, 1) * BINS_PER_HOUR])
    given_history = history_of(short) if hours else made(0, np.zeros(0), np.zeros(0))
    choice = choose(given_history, a100, bounded(2, 9))
    assert (choice.nodes, choice.reason, choice.history_hours) == (2, Reason.TOO_SHORT, hours)
    assert choice.saved_usd_hour is None, "nothing was compared"


def test_silence_at_the_end_is_a_ledger_that_is_behind(wave: Demand, a100: Tariff) -> None:
    silent = history_of(wave)
    silent.arrivals[-3:] = 0
    silent.heard[-3:] = False
    with pytest.raises(StaleTraffic, match="30 minutes"):
        choose(silent, a100, WIDE)


def test_silence_where_little_is_usual_is_no_fault(wave: Demand, a100: Tariff) -> None:
    quiet = history_of(wave, per_window=4.0)
    quiet.arrivals[-3:] = 0
    quiet.heard[-3:] = False
    assert choose(quiet, a100, WIDE).history_hours == wave.hours, "few requests may well pause"


def test_silence_of_one_workload_in_a_ledger_that_goes_on_is_no_gap(wave: Demand, a100: Tariff) -> None:
    closed = history_of(wave)
    closed.arrivals[-12:] = 0
    closed.in_flight[-12 * BINS_PER_WINDOW :] = 0
    assert choose(closed, a100, bounded(0, 100)).nodes == 0, "two hours without a request need no node"
    assert choose(closed, a100, WIDE).gap_windows == 0


def test_a_gap_in_the_past_is_filled_and_counted(wave: Demand, a100: Tariff) -> None:
    whole = choose(history_of(wave), a100, WIDE)
    torn = history_of(wave)
    torn.arrivals[600:606] = 0
    torn.heard[600:606] = False
    torn.in_flight[600 * BINS_PER_WINDOW : 606 * BINS_PER_WINDOW] = 0
    choice = choose(torn, a100, WIDE)
    assert choice.gap_windows == 6
    filled = demand_of(torn, SLOTS).gpus[600 * BINS_PER_WINDOW : 606 * BINS_PER_WINDOW]
    assert filled.min() > 0, "a gap never becomes an hour without traffic"
    assert abs(choice.nodes - whole.nodes) <= 1


def test_hours_end_where_the_data_end(wave: Demand) -> None:
    cut = history_of(wave)
    late = made(0, cut.arrivals[:-2], cut.in_flight[: -2 * BINS_PER_WINDOW])
    demand = demand_of(late, SLOTS)
    assert demand.origin_s + demand.hours * HOUR_S == late.end_s
    assert demand.hours == wave.hours - 1, "the first hours are cut, never the last"
    assert np.allclose(demand.gpus, wave.gpus[4 * BINS_PER_WINDOW : -2 * BINS_PER_WINDOW])


def test_four_weeks_are_enough(a100: Tariff) -> None:
    long = daily_demand(days=29)
    recent = Demand(origin_s=86400, gpus=long.gpus[DAY_HOURS * BINS_PER_HOUR :])
    assert choose(history_of(long), a100, WIDE) == choose(history_of(recent), a100, WIDE)


def test_no_traffic_at_all_is_no_fleet(a100: Tariff) -> None:
    nothing = made(0, np.zeros(6 * 96), np.zeros(6 * 96 * BINS_PER_WINDOW))
    assert choose(nothing, a100, WIDE).nodes == 0
    assert choose(nothing, a100, bounded(1, 3)).nodes == 1


def test_what_serverless_may_not_serve_is_held(wave: Demand, a100: Tariff) -> None:
    capped = decisions(wave, a100, 2)
    need = wave.need.reshape(-1, BINS_PER_HOUR).max(1)
    usual = need[-DAY_HOURS]  # the peak at this hour of yesterday
    assert capped[-1] >= usual - 2, "a cap on the overflow leaves the rest to the floor"
    assert (capped >= decisions(wave, a100, None)).all()


def test_saving_is_counted_against_the_floor_alone(wave: Demand, a100: Tariff) -> None:
    low = choose(history_of(wave), a100, bounded(0, 100))
    same = choose(history_of(wave), a100, bounded(5, 5))
    assert low.saved_usd_hour is not None
    assert low.saved_usd_hour > 0, "all serverless is dear for a steady wave"
    assert same.saved_usd_hour == pytest.approx(0.0), "where both bounds are one number nothing is followed"


@settings(max_examples=8)
@given(
    floor=st.integers(0, 6),
    spread=st.integers(0, 8),
    per_node=st.integers(1, 8),
    scale=st.floats(0.01, 3.0),
    hours=st.integers(60, 90),
)
def test_any_traffic_gives_a_size_within_the_bounds_that_holds_what_was_asked(
    floor: int, spread: int, per_node: int, scale: float, hours: int
) -> None:
    rng = np.random.default_rng(hours)
    in_flight = rng.exponential(scale * SLOTS, hours * BINS_PER_HOUR)
    history = made(0, np.full(hours * 6, 30.0), in_flight)
    fleet = bounded(floor, floor + spread, per_node)
    choice = choose(history, Tariff(dedicated_usd_hour=2.17, serverless_usd_second=0.00104), fleet)
    assert floor <= choice.nodes <= floor + spread
    assert choice == choose(history, Tariff(dedicated_usd_hour=2.17, serverless_usd_second=0.00104), fleet)
    if choice.reason is Reason.TRAFFIC:
        assert choice.nodes * per_node >= choice.wanted_replicas > (choice.nodes - 1) * per_node


# -- hours, prices, spans ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lead", "minute"), [(0, 0), (1, 50), (600, 50), (601, 40), (3000, 10)])
def test_a_run_comes_its_lead_time_before_the_full_hour(lead: float, minute: int) -> None:
    assert minute_of(lead) == minute


@given(seconds=st.floats(1.7e9, 1.8e9), lead=st.floats(0, 3000))
def test_an_hour_holds_its_own_run_and_the_next_one_begins_at_the_next_run(seconds: float, lead: float) -> None:
    moment = datetime.fromtimestamp(seconds, tz=UTC)
    hour = hour_of(moment, lead)
    assert hour <= moment < hour + timedelta(hours=1)
    assert hour.minute == minute_of(lead)
    assert hour_of(hour, lead) == hour, "a run at its own minute decides the hour that begins then"


def config_of(**overflow_fields: object) -> RouterConfig:
    return from_json(json.dumps(document(pools={"floor": pool(), "burst": overflow(**overflow_fields)})))


def test_prices_are_those_that_the_router_books_by() -> None:
    config = config_of(slotsPerInstance=2)
    floor, burst = config.pools["floor"], config.pools["burst"]
    tariff = tariff_of(floor, burst)
    assert tariff.dedicated_usd_hour == pytest.approx(floor.nano_usd_per_instance_second * 3600 / 1e9)
    replica = burst.nano_usd_per_instance_second * floor.slots_per_instance / burst.slots_per_instance / 1e9
    assert tariff.serverless_usd_second == pytest.approx(replica), "the overflow's price for as many slots"
    assert (tariff.idle_timeout_s, tariff.cold_start_s) == (burst.idle_timeout_s, burst.cold_start_s)
    bounds = Bounds(pool="floor", floor_nodes=1, ceiling_nodes=3, replicas_per_node=1, lead_time_s=600)
    assert fleet_of(config, bounds).serverless_slots == burst.slots


def test_a_pool_without_an_overflow_or_of_another_name_is_refused() -> None:
    alone = from_json(json.dumps(document(pools={"floor": pool()})))
    bounds = Bounds(pool="floor", floor_nodes=1, ceiling_nodes=3, replicas_per_node=1, lead_time_s=600)
    with pytest.raises(Refused, match="no serverless pool"):
        fleet_of(alone, bounds)
    with pytest.raises(Refused, match="no dedicated pool"):
        fleet_of(config_of(), Bounds(pool="x", floor_nodes=1, ceiling_nodes=3, replicas_per_node=1, lead_time_s=600))


# Times in milliseconds, as a ledger has them.
@given(spans=st.lists(st.tuples(st.integers(-500_000, 1_700_000), st.integers(0, 900_000)), max_size=30))
def test_edges_added_up_are_the_exact_time_in_flight(spans: list[tuple[int, int]]) -> None:
    bins = 120
    edges: dict[tuple[int, int], list[float]] = {}
    for start, lasting in spans:
        for at, step in ((start / 1000 / BIN_S, 1), ((start + lasting) / 1000 / BIN_S, -1)):
            inside = min(max(at, 0.0), float(bins))
            row = edges.setdefault((int(inside), step), [0, 0.0, 0])
            row[0] += 1
            row[1] += inside - int(inside)
            row[2] += step == 1 and 0 <= at < bins
    rows = [
        {"bin": bin_, "step": step, "edges": n, "parts": part, "arrived": arrived}
        for (bin_, step), (n, part, arrived) in edges.items()
    ]
    arrivals, in_flight = added_up(rows, bins)
    held = sum(max(0, min(start + lasting, 1_200_000) - max(start, 0)) for start, lasting in spans) / 1000
    assert in_flight.sum() * BIN_S == pytest.approx(held, abs=1e-6)
    assert arrivals.sum() == sum(0 <= start < 1_200_000 for start, _ in spans)


# -- said --------------------------------------------------------------------------------------------------------------


def test_a_run_is_one_line(wave: Demand, a100: Tariff) -> None:
    choice: Choice = choose(history_of(wave), a100, WIDE)
    line = sentence(
        Outcome(
            pool="chat-floor",
            hour=datetime(2026, 11, 22, 8, 50, tzinfo=UTC),
            choice=choice,
            nodes=choice.nodes,
            before=choice.nodes + 3,
            repeated=False,
            dry=True,
        )
    )
    assert "\n" not in line
    assert line.startswith(
        f"chat-floor from 2026-11-22 08:50 UTC: would go from {choice.nodes + 3} to {choice.nodes} nodes"
    )
    assert "USD an hour against the floor alone" in line


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "all four are needed to decide"),
        (("--group", "g", "--floor-nodes", "3", "--ceiling-nodes", "2"), "is above --ceiling-nodes"),
        (("--group", "g", "--floor-nodes", "1", "--ceiling-nodes", "2"), "can't be reached or read"),
        (("--log", "3"), "can't be reached or read"),
    ],
)
def test_a_run_refuses_bad_input_in_one_sentence_without_the_password(
    arguments: tuple[str, ...], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")  # or the SDK looks for a role over the network
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    config = tmp_path / "router.json"
    config.write_text(json.dumps(document(pools={"floor": pool(), "burst": overflow()})), encoding="utf-8")
    options = ("hourly", "--pool", "floor", "--config", str(config), "--dsn", "postgresql://u:pass-word@db:port/x")
    result = CliRunner().invoke(plan, [*options, *arguments])
    assert isinstance(result.exception, Refused), result.output
    assert sentence in str(result.exception)
    assert "pass-word" not in str(result.exception) + result.output
