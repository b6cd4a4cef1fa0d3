"""Traffic files of every kind, with every kind of dirt in them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.errors import Refused
from headrace.planner.arrays import BINS_PER_HOUR
from headrace.planner.demand_file import read_demand
from headrace.planner.ingest import ingest
from headrace.planner.moments import DAY_FIRST, MONTH_FIRST
from headrace.planner.requests import rows_of, shape_of, traffic_of
from headrace.planner.service import ServiceModel
from headrace.planner.sources import Kind, recognise
from headrace.planner.traffic import Traffic, repair
from headrace.planner.windows import bill_traffic, dispersion, windows_traffic
from headrace.planner.workload import Workload

from .conftest import daily_demand

SERVICE = ServiceModel(
    gpu="A100-80GB", gpus_per_replica=1, prefill_tokens_s=1000, decode_tokens_s=100, batch=4, source="test"
)
START = 1_791_158_400.0


def csv(tmp_path: Path, text: str, name: str = "traffic.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def read(path: Path) -> Traffic:
    source = recognise(path)
    return traffic_of(source, shape_of(source), SERVICE, utilization=1.0)


def busy(*, days: int = 3, per_hour: int = 360, seed: int = 1) -> pl.DataFrame:
    """Requests spread evenly with fractions of seconds."""
    rng = np.random.default_rng(seed)
    count = days * 24 * per_hour
    return pl.DataFrame(
        {
            "timestamp": np.sort(START + rng.uniform(0, days * 86400, count)),
            "tokens_in": np.full(count, 500),
            "tokens_out": np.full(count, 50),
            "tenant": [f"t{i % 3}" for i in range(count)],
        }
    )


def test_work_is_conserved_from_rows_to_replicas(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    busy().write_parquet(path)
    traffic = read(path)
    work = 3 * 24 * 360 * (500 / 1000 + 50 / 100)
    assert traffic.demand.gpus.sum() * 10 == pytest.approx(work, rel=0.01), "a request adds its work and nothing else"
    groups = np.sum(list(traffic.by_group["tenant"].values()), axis=0)
    assert groups == pytest.approx(traffic.demand.gpus, abs=1e-6), "tenants add up to the whole"


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "jsonl", "parquet"])
def test_the_same_requests_in_any_format_give_the_same_demand(suffix: str, tmp_path: Path) -> None:
    frame, path = busy(days=2), tmp_path / f"t.{suffix}"
    if suffix.startswith("csv"):
        frame.write_csv(path, compression="gzip" if suffix.endswith("gz") else "uncompressed", float_precision=6)
    elif suffix == "jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_parquet(path)
    reference = tmp_path / "r.parquet"
    frame.write_parquet(reference)
    assert read(path).demand.gpus == pytest.approx(read(reference).demand.gpus, abs=1e-3)


def test_shuffled_repeated_and_broken_rows_change_nothing_but_the_summary(tmp_path: Path) -> None:
    frame = busy(days=2)
    clean = tmp_path / "clean.csv"
    frame.write_csv(clean)
    dirty = pl.concat([frame, frame.head(100)]).sample(fraction=1.0, shuffle=True, seed=4).write_csv()
    broken = "not-a-time,5,5,t0\n1791158500.5,x,5,t1\n1791158500.5,-3,5,t2\n,,,\n"
    traffic = read(csv(tmp_path, dirty + broken))
    quality = traffic.quality
    assert (quality.repeated, quality.broken, quality.negative, quality.unsorted) == (100, 3, 1, True)
    assert quality.rows == len(frame) + 104
    assert traffic.demand.gpus == pytest.approx(read(clean).demand.gpus, abs=1e-9)


def test_equal_requests_of_one_whole_second_are_not_taken_for_repetitions(tmp_path: Path) -> None:
    rows = "\n".join(f"{int(START) + i // 5},100,10" for i in range(500))
    quality = read(csv(tmp_path, f"timestamp,tokens_in,tokens_out\n{rows}\n")).quality
    assert (quality.kept, quality.repeated) == (500, 0)


def test_an_id_tells_repetitions_apart_from_likeness(tmp_path: Path) -> None:
    rows = "\n".join(f"{int(START) + i},100,10,{i % 50}" for i in range(100))
    quality = read(csv(tmp_path, f"timestamp,tokens_in,tokens_out,request_id\n{rows}\n")).quality
    assert (quality.kept, quality.repeated) == (50, 50)


@pytest.mark.parametrize(("factor", "unit"), [(1e3, "ms"), (1e6, "us"), (1e9, "ns")])
def test_epochs_in_smaller_units_are_recognised_by_their_size(factor: float, unit: str, tmp_path: Path) -> None:
    rows = "\n".join(f"{int((START + i * 60) * factor)},100,10" for i in range(100))
    traffic = read(csv(tmp_path, f"timestamp,tokens_in,tokens_out\n{rows}\n"))
    assert traffic.quality.time_unit == unit
    assert traffic.demand.hours == 2


def test_dates_are_read_with_and_without_zone_marks(tmp_path: Path) -> None:
    rows = "2026-10-05T00:00:01.5Z,10,10\n2026-10-05 00:30:00,10,10\n2026-10-05T01:10:00+00:00,10,10\n"
    source = recognise(csv(tmp_path, f"timestamp,tokens_in,tokens_out\n{rows}"))
    shape = shape_of(source)
    assert (shape.valid, shape.first_s, shape.last_s) == (3, START + 1.5, START + 4200)


def test_a_ledger_of_nested_records_is_read_like_a_flat_one(tmp_path: Path) -> None:
    rows = [
        json.dumps({"at": START + i * 7.5, "tenant": "a", "usage": {"promptTokens": 100, "completionTokens": i % 9}})
        for i in range(200)
    ]
    source = recognise(csv(tmp_path, "\n".join(rows), "ledger.jsonl"))
    assert source.kind is Kind.REQUESTS
    shape = shape_of(source)
    assert (shape.valid, shape.mean_in) == (200, 100.0)
    assert set(read(source.path).by_group) == {"tenant"}


def test_requests_are_kept_in_order_for_replay(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    busy(days=2).sample(fraction=1.0, shuffle=True, seed=1).write_parquet(path)
    log = read(path).log
    assert log is not None
    assert (np.diff(log.arrival_s) >= 0).all()
    assert log.tokens_in.sum() == pytest.approx(500 * len(log.arrival_s))


def test_a_silent_hour_in_busy_traffic_is_filled_and_counted(tmp_path: Path) -> None:
    frame = busy(days=4, per_hour=720)
    lost = (pl.col("timestamp") > START + 60 * 3600) & (pl.col("timestamp") < START + 61 * 3600)
    path = tmp_path / "t.parquet"
    frame.filter(~lost).write_parquet(path)
    traffic = read(path)
    hour = traffic.demand.gpus.reshape(-1, BINS_PER_HOUR).mean(1)
    assert 5 <= traffic.quality.gap_windows <= 6
    assert hour[59:62] == pytest.approx(hour.mean(), rel=0.2), "a gap is not zero"
    assert any("method" in line for line in traffic.quality.sentences())


def test_a_quiet_night_of_sparse_traffic_stays_a_quiet_night(tmp_path: Path) -> None:
    frame = busy(days=4, per_hour=20)
    night = (pl.col("timestamp") % 86400) < 6 * 3600
    path = tmp_path / "t.parquet"
    frame.filter(~night).write_parquet(path)
    traffic = read(path)
    assert traffic.quality.gap_windows == 0, "silence is credible where three requests in ten minutes are usual"


def test_two_percent_of_lost_windows_hardly_move_the_demand() -> None:
    demand = daily_demand(days=14, level=20)
    lost = np.random.default_rng(2).random(demand.hours * 6) < 0.02
    assert 20 < lost.sum() < 60, "guard: something is lost"
    filled = repair(demand.gpus, lost)
    hourly = [values.reshape(-1, BINS_PER_HOUR).mean(1) for values in (demand.gpus, filled)]
    assert np.abs(hourly[0] - hourly[1]).max() < 1.0
    kept = ~np.repeat(lost, 60)
    assert (filled[kept] == demand.gpus[kept]).all(), "what was measured is never changed"


WORKLOAD = Workload.model_validate(
    {
        "model": {"weightsGib": 15, "kvCacheKibPerToken": 128},
        "gpu": "A100-80GB",
        "profile": {"prefillTokensPerSecond": 1000, "decodeTokensPerSecond": 100},
        "dedicated": {"usdPerHour": "2"},
        "serverless": {"usdPerSecond": "0.001"},
        "targetUtilization": 1.0,
    }
)


def test_rate_windows_keep_their_means_and_a_window_that_nobody_has_is_a_gap(tmp_path: Path) -> None:
    rows = [
        f"{tenant},{w * 600},{0.5 if tenant == 'a' else 1.0},2.0,500,50"
        for w in range(288)
        for tenant in ("a", "b")
        if w != 100
    ]
    path = csv(tmp_path, "tenant,window_start_s,rate_rps,cv,mean_input_tokens,mean_output_tokens\n" + "\n".join(rows))
    traffic, _ = ingest(str(path), WORKLOAD, folder=tmp_path)
    assert traffic.quality.kind == "rate windows"
    assert traffic.quality.gap_windows == 1
    assert traffic.demand.gpus.mean() == pytest.approx(1.5 * (0.5 + 0.5), rel=0.01)
    again, _ = ingest(str(path), WORKLOAD, folder=tmp_path)
    assert again.demand.gpus.tobytes() == traffic.demand.gpus.tobytes(), "same file, same bytes"


def test_a_bill_becomes_hourly_demand_and_a_missing_hour_is_filled(tmp_path: Path) -> None:
    lines = [f"2026-10-{5 + h // 24:02d} {h % 24:02d}:00:00,{4.0}" for h in range(72) if h != 30]
    traffic, _ = ingest(str(csv(tmp_path, "hour,gpu_hours\n" + "\n".join(lines))), WORKLOAD, folder=tmp_path)
    assert traffic.demand.hours == 72
    assert traffic.demand.gpus == pytest.approx(4.0)
    assert traffic.quality.gap_windows == 6


def test_an_answer_of_prometheus_is_summed_over_its_series(tmp_path: Path) -> None:
    values = [[START + i * 60, "2"] for i in range(240)]
    answer = {"status": "success", "data": {"resultType": "matrix", "result": [{"values": values}, {"values": values}]}}
    path = csv(tmp_path, json.dumps(answer), "answer.json")
    assert recognise(path).kind is Kind.PROMETHEUS
    traffic, _ = ingest(str(path), WORKLOAD, folder=tmp_path)
    assert traffic.demand.gpus == pytest.approx(4.0)
    assert traffic.demand.hours == 4


def test_a_demand_file_off_the_grid_takes_the_value_in_force(tmp_path: Path) -> None:
    path = csv(tmp_path, "start_s,gpus\n0,1\n25,3\n3600,2\n7195,5\n")
    demand = read_demand(path).demand
    assert demand.gpus[:4].tolist() == [1, 1, 1, 3], "the value in force at the start of each ten seconds"
    assert demand.gpus[359:361].tolist() == [3, 2]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("timestamp,tokens_in,tokens_out\n", "has a header and no rows"),
        ("when,what\n1,2\n", "which are no traffic that the planner knows, because as requests it lacks timestamp"),
        ("timestamp,tokens_in,tokens_out\nx,y,z\n", "has no row with a time and two counts of tokens"),
        (f"timestamp,tokens_in,tokens_out\n{START},-1,2\n{START},3,-2\n", "has negative tokens in every row"),
        ("timestamp,tokens_in,tokens_out\n0,1,1\n1209600000,1,1\n", "looks like milliseconds"),
        ("window_start_s,rate_rps\n0,1\n600000,1\n1200000,1\n", "window starts look like milliseconds"),
        ("start_s,gpus\n0,-1\n", "a number of GPUs can't be negative"),
        ("start_s,gpus\n0,1\n1209600000,1\n", "start_s looks like milliseconds"),
        ("start_s,gpus\n0,5000000\n", "the column probably counts requests or tokens"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_in_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        ingest(str(csv(tmp_path, text)), WORKLOAD, folder=tmp_path)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_and_a_filter_on_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no such file"):
        ingest(str(tmp_path / "absent.csv"), WORKLOAD, folder=tmp_path)
    path = csv(tmp_path, f"timestamp,tokens_in,tokens_out\n{START},1,2\n")
    with pytest.raises(Refused, match="the traffic has no column for model"):
        ingest(str(path), WORKLOAD, folder=tmp_path, only={"model": "x"})


def test_burstiness_inside_a_bin_is_that_of_simulated_arrivals() -> None:
    rng = np.random.default_rng(3)
    rate, cv = 1.0, 5.0
    slow = (1 - np.sqrt((cv**2 - 1) / (cv**2 + 1))) / 2  # share of long spacings, balanced means
    long = rng.random(2_000_000) < slow
    spacing = rng.exponential(np.where(long, 1 / (2 * slow * rate), 1 / (2 * (1 - slow) * rate)))
    counts = np.bincount((spacing.cumsum() // 10).astype(np.int64))
    found = float(dispersion(np.array([rate]), np.array([cv]))[0])
    assert counts.var() / counts.mean() == pytest.approx(found, rel=0.05)
    assert found < cv**2 / 2, "guard: ten seconds are short beside the silences"


@example(rate=1e-6, cv=4473.0)
@given(
    rate=st.floats(1e-6, 1e4, allow_nan=False),
    cv=st.floats(0, 1e4, allow_nan=False),
)
def test_no_variation_of_spacing_makes_a_burst_without_limit(rate: float, cv: float) -> None:
    found = float(dispersion(np.array([rate]), np.array([cv]))[0])
    assert 0 < found <= max(1.0, 1 + rate * 10) * (1 + 1e-9), "at worst arrivals come in exponential clumps"
    assert found <= max(1e-6, cv**2, 1.0) * (1 + 1e-9), "and never more uneven than over long times"


WRITTEN = ("2026-10-05T02:00:01.5+02:00", "2026-10-05T00:10:00,25Z", "2026-10-04 19:20:00-0500", "2026-10-05T05:30+05")


def test_times_of_different_offsets_and_ways_of_writing_are_one_clock(tmp_path: Path) -> None:
    quoted = "".join(f'"{at}",10,10\n' for at in (*WRITTEN, "05.10.2026 00:40:00", "2026-10-05 12:50:00 AM", "rubbish"))
    source = recognise(csv(tmp_path, f"timestamp,tokens_in,tokens_out\n{quoted}"))
    shape = shape_of(source)
    assert (shape.rows, shape.valid) == (7, 6), "only rubbish is broken"
    rows = rows_of(source, shape.unit).collect()["t"].to_list()[:6]
    assert rows == [START + 1.5, START + 600.25, START + 1200, START + 1800, START + 2400, START + 3000]


@pytest.mark.parametrize(("order", "unit"), [("%m/%d/%Y", MONTH_FIRST), ("%d/%m/%Y", DAY_FIRST)])
def test_a_day_after_the_twelfth_tells_the_order_of_slashed_dates(order: str, unit: str, tmp_path: Path) -> None:
    days = [datetime.fromtimestamp(START + day * 86400, tz=UTC) for day in range(12)]
    rows = "".join(f"{day.strftime(order)} 00:00:07,100,10\n" for day in days)
    source = recognise(csv(tmp_path, f"timestamp,tokens_in,tokens_out\n{rows}"))
    shape = shape_of(source)
    assert (shape.unit, shape.valid, shape.first_s, shape.last_s) == (unit, 12, START + 7, START + 11 * 86400 + 7)
    traffic = traffic_of(source, shape, SERVICE, utilization=1.0)
    assert any(unit.removeprefix("text, ") in line for line in traffic.quality.sentences()), "the guess is said"


def test_slashed_dates_that_may_be_either_order_are_refused(tmp_path: Path) -> None:
    source = recognise(csv(tmp_path, "timestamp,tokens_in,tokens_out\n05/10/2026 00:00:07,1,1\n06/10/2026 0:00,1,1\n"))
    with pytest.raises(Refused, match="day/month or month/day"):
        shape_of(source)


def test_windows_and_demand_may_start_at_dates(tmp_path: Path) -> None:
    at = [datetime.fromtimestamp(START + step * 600, tz=timezone(timedelta(hours=2))).isoformat() for step in range(12)]
    rows = "".join(f"{text},2.5,100,10\n" for text in at)
    windows = recognise(csv(tmp_path, f"window_start,rps,mean_input_tokens,mean_output_tokens\n{rows}"))
    assert windows_traffic(windows, SERVICE, utilization=1.0).demand.origin_s == START
    rows = "".join(f"{text},{3 + step}\n" for step, text in enumerate(at))
    found = read_demand(csv(tmp_path, f"Start_S,GPUs\n{rows}", "d.csv"))
    assert (found.demand.origin_s, found.demand.gpus[0], found.demand.gpus[-1]) == (START, 3.0, 14.0)


def test_a_bill_with_semicolons_and_decimal_commas_is_read(tmp_path: Path) -> None:
    rows = "".join(f"05.10.2026 {hour:02}:00;{hour},75;2,5\n" for hour in range(24))
    bill = recognise(csv(tmp_path, f"hour;cost;unit_price\n{rows}"))
    assert bill_traffic(bill).demand.gpus.sum() / 360 == pytest.approx(sum(hour + 0.75 for hour in range(24)) / 2.5)
