"""Whatever a file holds, the planner answers or refuses in a sentence; it never fails in another way."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import Refused
from headrace.planner.demand_file import read_demand
from headrace.planner.ingest import ingest
from headrace.planner.workload import Workload, read_workload

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
