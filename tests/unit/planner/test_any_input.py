"""Whatever a file holds, the planner answers or refuses in a sentence; it never fails in another way."""

from __future__ import annotations

import gzip
import re
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.catalog.price import price_book
from headrace.errors import Refused
from headrace.planner.backtest import run_backtest, split_hours
from headrace.planner.demand_file import read_demand
from headrace.planner.ingest import ingest
from headrace.planner.levels import Demand
from headrace.planner.requests import shape_of
from headrace.planner.sources import recognise
from headrace.planner.tariff import Tariff
from headrace.planner.workload import Workload, read_workload, tariff_of

HEADERS = (
    "timestamp,tokens_in,tokens_out",
    "timestamp,tokens_in,tokens_out,tenant,latency_ms",
    "window_start_s,rate_rps,cv,tenant",
    "start_s,gpus",
    "hour,gpu_hours",
)
cells = st.one_of(
    st.sampled_from(
        ["", "0", "-1", "nan", "inf", "1e300", "x", "2026-10-05T00:00:00Z", "1791158400", '"', "1,5", "\u00e9"]
    ),
    st.integers(-10, 10**13).map(str),
    st.floats(allow_nan=True).map(str),
)
WORKLOAD = Workload.model_validate(
    {
        "model": {"weightsGib": 15, "kvCacheKibPerToken": 128},
        "gpu": "A100-80GB",
        "profile": {"prefillTokensPerSecond": 1000, "decodeTokensPerSecond": 100},
        "dedicated": {"usdPerHour": "2"},
        "serverless": {"usdPerSecond": "0.001"},
    }
)


def answers_or_refuses(path: Path) -> None:
    for read in (lambda: ingest(str(path), WORKLOAD, folder=path.parent), lambda: read_demand(path)):
        try:
            read()
        except Refused as refused:
            assert all(str(problem).endswith(".") for problem in refused.problems)


DRESSES: tuple[tuple[str, Callable[[str], bytes]], ...] = (
    ("plain", lambda text: text.encode()),
    ("byte order mark", lambda text: ("\ufeff" + text).encode()),
    ("line ends of Windows", lambda text: text.replace("\n", "\r\n").encode()),
    ("semicolons and decimal commas", lambda text: text.replace(",", ";").replace(".", ",").encode()),
    ("tabs", lambda text: text.replace(",", "\t").encode()),
    ("capitals and blanks", lambda text: text.replace("start_s,gpus", "Start_S, GPUs").encode()),
    ("quotes", lambda text: text.replace("start_s,gpus", '"start_s","gpus"').encode()),
    ("repeated rows", lambda text: (text + text.partition("\n")[2]).encode()),
    ("reversed rows", lambda text: "\n".join(["start_s,gpus", *reversed(text.splitlines()[1:])]).encode()),
    ("a note in Latin-1", lambda text: text.replace("\n", ",\xe4\n").encode("latin-1")),
    ("gzip", lambda text: gzip.compress(text.encode())),
)
PLAIN = "start_s,gpus\n" + "".join(f"{hour * 3600 + 10 * (hour % 3)},{(hour * 7) % 5 + 0.5}\n" for hour in range(60))


@pytest.mark.parametrize(("name", "dress"), DRESSES, ids=[name for name, _ in DRESSES])
def test_the_same_demand_in_another_dress_is_the_same_demand(
    name: str, dress: Callable[[str], bytes], tmp_path: Path
) -> None:
    plain, other = tmp_path / "plain.csv", tmp_path / ("other.csv.gz" if name == "gzip" else "other.csv")
    plain.write_text(PLAIN, encoding="utf-8")
    other.write_bytes(dress(PLAIN))
    expected, found = read_demand(plain).demand, read_demand(other).demand
    assert found.origin_s == expected.origin_s
    assert np.array_equal(found.gpus, expected.gpus)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("ms.csv", "start_s,gpus\n" + "".join(f"{hour * 3_600_000},2\n" for hour in range(40)), "looks like millis"),
        ("ms.csv", "start_s,gpus\n" + "".join(f"{step * 10_000},2\n" for step in range(40)), "looks like millis"),
        ("words.csv", "start_s,gpus\nSunday noon,3\n", "its first row is start_s 'Sunday noon'"),
        ("utf16.csv", "start_s,gpus\n0,1\n".encode("utf-16"), "is no text in UTF-8"),
        ("plain.csv.gz", "start_s,gpus\n0,1\n", "isn't compressed as its name says"),
        ("cut.csv.gz", gzip.compress(PLAIN.encode())[:40], "can't be unpacked"),
    ],
    ids=["hours in milliseconds", "steps in milliseconds", "times in words", "UTF-16", "not compressed", "cut short"],
)
def test_what_is_wrong_with_a_file_is_said(name: str, content: str | bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(Refused, match=re.escape(sentence)):
        read_demand(path)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 40), st.floats(0, 30) | st.sampled_from([0.0, 1e-12, float("nan"), float("inf")])),
        min_size=1,
        max_size=12,
    ),
    st.floats(0.1, 3),
    st.sampled_from([0.0, 0.25, 1.0]),
)
def test_any_readable_demand_is_decided_for_every_hour(
    rows: list[tuple[float, float]], beta: float, train_days: float
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        text = "".join(f"{hour * 3600:.0f},{gpus}\n" for hour, gpus in rows)
        path.write_text(f"start_s,gpus\n{text}", encoding="utf-8")
        try:
            demand = read_demand(path).demand
            found = run_backtest(
                demand, Tariff(dedicated_usd_hour=3.6 * beta, serverless_usd_second=0.001), train_days=train_days
            )
        except Refused as refused:
            assert refused.problems
            return
    hours = found.hour_start_s
    assert len(hours) == len(found.chosen.dedicated) == demand.hours - found.train_hours > 0
    assert np.all(np.diff(hours) == 3600), "no hour is missing"
    assert np.all(found.chosen.dedicated >= 0)
    assert found.chosen.cost_usd >= found.bound.hourly_usd * (1 - 1e-12), "nothing beats the lower bound"


# polars warns of quotes that it had to guess about, which these tables are full of.
@pytest.mark.filterwarnings("ignore:CSV malformed:UserWarning")
@settings(max_examples=60, deadline=None)
@given(st.sampled_from(HEADERS), st.lists(st.lists(cells, min_size=0, max_size=6), max_size=12))
def test_any_table_is_answered_or_refused(header: str, rows: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
        answers_or_refuses(path)


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["csv", "csv.gz", "jsonl", "parquet", "json"]))
def test_any_bytes_are_answered_or_refused(content: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t.{suffix}"
        path.write_bytes(content)
        answers_or_refuses(path)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_any_workload_file_is_answered_or_refused(content: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w.yaml"
        path.write_text(content, encoding="utf-8", errors="replace")
        try:
            read_workload(path)
        except Refused as refused:
            assert refused.problems


@pytest.mark.parametrize("days", [float("nan"), float("inf")])
def test_training_days_that_are_no_number_of_days_are_refused(days: float) -> None:
    with pytest.raises(Refused, match="leaves no hour to decide"):
        split_hours(Demand(origin_s=0, gpus=np.zeros(360)), days)


def test_billing_rules_in_milliseconds_are_refused() -> None:
    with pytest.raises(Refused, match="more than a week"):
        Tariff(dedicated_usd_hour=2, serverless_usd_second=0.001, cold_start_s=1e300)


def test_latencies_in_milliseconds_under_the_name_of_seconds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = "".join(f"{1_791_158_400 + at * 7},100,10,{900 + at}\n" for at in range(99))
    path.write_text("timestamp,tokens_in,tokens_out,latency\n" + rows, encoding="utf-8")
    with pytest.raises(Refused, match="latency looks like milliseconds"):
        shape_of(recognise(path))


def test_a_price_file_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    for text in ("rows: {a: 1}\n", "defaults: 3\nrows: {}\n"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(Refused, match="is a mapping"):
            price_book(path)


@pytest.mark.parametrize(("side", "tier"), [("dedicated", "flex"), ("serverless", "secure")])
def test_a_tier_of_the_other_side_is_refused(side: str, tier: str) -> None:
    other = {"dedicated": {"usdPerHour": 2}, "serverless": {"usdPerSecond": 0.001}}
    document = {**WORKLOAD.model_dump(by_alias=True), **other, side: {"provider": "runpod", "tier": tier}}
    document["gpu"] = "H100"
    with pytest.raises(Refused, match=f"{side}.tier.*is a price of"):
        tariff_of(Workload.model_validate(document), price_book(None), date(2026, 11, 22))
