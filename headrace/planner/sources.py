"""Traffic in: which kind of file it is, under which names its columns go, and rows in one shape, lazily.

Nothing here is read whole: every function returns a polars lazy frame, and `requests.py` runs it in the streaming
engine, so that a file may be larger than memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import polars as pl

from headrace.errors import refuse
from headrace.planner.textfile import check_file, decimal_points, separator

# canonical column -> names it goes by, lower case, in order of preference
REQUEST_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "timestamp": (
        *("timestamp", "ts", "time", "at", "start_time", "created_at", "created", "arrival_time", "arrived_at"),
        *("received_at", "receivedat", "started_at"),
    ),
    "tokens_in": (
        *("tokens_in", "input_tokens", "prompt_tokens", "contexttokens", "context_tokens", "request_tokens"),
        "prompttokens",
    ),
    "tokens_out": (
        *("tokens_out", "output_tokens", "completion_tokens", "generatedtokens", "generated_tokens"),
        *("response_tokens", "completiontokens"),
    ),
    "id": ("request_id", "requestid", "response_id", "id"),
    "tenant": ("tenant", "client_id", "customer", "user", "tenant_id"),
    "project": ("project", "project_id"),
    "feature": ("feature", "endpoint", "route", "category"),
    "model": ("model", "model_name", "workload"),
    "latency_s": ("latency_s", "latency", "duration_s", "duration"),
    "latency_ms": ("latency_ms", "duration_ms", "latencyms", "total_ms"),
}
WINDOW_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "start_s": ("window_start_s", "start_s", "window_start"),
    "rate_rps": ("rate_rps", "rps", "rate"),
    "cv": ("cv", "burstiness"),
    "tokens_in": ("mean_input_tokens", "mean_tokens_in"),
    "tokens_out": ("mean_output_tokens", "mean_tokens_out"),
    "tenant": ("tenant", "client_id", "tenant_id"),
    "project": ("project",),
    "feature": ("feature", "category"),
    "model": ("model",),
}
# Exact names: a demand has no other sign of being one.
DEMAND_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {"start_s": ("start_s",), "gpus": ("gpus",)}
BILL_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "hour": ("hour", "hour_start_s", "usage_start", "usage_start_time", "lineitem/usagestartdate", "timestamp"),
    "gpu_hours": ("gpu_hours", "usage_amount", "usage_quantity", "gpuhours"),
    "usd": ("cost_usd", "usd", "cost", "unblended_cost", "lineitem/unblendedcost"),
    "usd_per_gpu_hour": ("usd_per_gpu_hour", "unit_price", "rate_usd"),
}


class Kind(StrEnum):
    """What a file holds."""

    REQUESTS = "requests"
    WINDOWS = "rate windows"
    DEMAND = "concurrent-GPU demand"
    BILL = "hourly bill"
    PROMETHEUS = "Prometheus range query"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file that was recognised. `columns` maps canonical names to those in the file; `notes` go into the summary."""

    path: Path
    kind: Kind
    columns: Mapping[str, str]
    frame: pl.LazyFrame
    notes: tuple[str, ...] = ()


def scan(path: Path, option: str) -> pl.LazyFrame:
    """A lazy frame; CSV columns are text until a column's meaning is known."""
    check_file(path, option)
    name = path.name.removesuffix(".gz")
    try:
        if name.endswith(".parquet"):
            frame = pl.scan_parquet(path)
        elif name.endswith((".jsonl", ".ndjson")):
            frame = _flat(pl.scan_ndjson(path, ignore_errors=True, infer_schema_length=1000))
        else:
            between = separator(path, option)
            frame = pl.scan_csv(
                path,
                infer_schema=False,
                truncate_ragged_lines=True,
                ignore_errors=True,
                separator=between,
                encoding="utf8-lossy",
            )
            if between != ",":
                frame = frame.with_columns(decimal_points())
        frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise refuse(
            option, str(path), f"can't be read ({line})", next_step="give CSV, CSV.gz, JSONL or Parquet"
        ) from error
    return frame


def _flat(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Records inside records, as ledgers write them, brought to one level: `usage.promptTokens` becomes `promptTokens`.

    A name that stands on the outer level, or in an earlier record, keeps its meaning.
    """
    schema = frame.collect_schema()
    taken = {name for name, dtype in schema.items() if not isinstance(dtype, pl.Struct)}
    chosen = [pl.col(name) for name in schema.names() if name in taken]
    for name, dtype in schema.items():
        if isinstance(dtype, pl.Struct):
            fields = [field.name for field in dtype.fields if field.name not in taken]
            chosen += [pl.col(name).struct.field(inner) for inner in fields]
            taken |= set(fields)
    return frame.select(chosen)


def match(names: Mapping[str, str], wanted: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Canonical name -> the file's name, for the columns that are there. `names` maps lower case to original."""
    found: dict[str, str] = {}
    for canonical, aliases in wanted.items():
        for alias in aliases:
            if alias in names and names[alias] not in found.values():
                found[canonical] = names[alias]
                break
    return found


def recognise(path: Path, *, option: str = "TRAFFIC") -> Source:
    """The kind of a traffic file, by its columns; a file of no known kind is refused with what would make it one."""
    if path.suffix == ".json":
        return Source(path=path, kind=Kind.PROMETHEUS, columns={}, frame=_prometheus_file(path, option))
    frame = scan(path, option)
    names = {name.strip().lower(): name for name in frame.collect_schema().names()}
    windows = match(names, WINDOW_COLUMNS)
    demand = match(names, DEMAND_COLUMNS)
    if {"start_s", "rate_rps"} <= windows.keys():
        return Source(path=path, kind=Kind.WINDOWS, columns=windows, frame=frame)
    if {"start_s", "gpus"} <= demand.keys():
        return Source(path=path, kind=Kind.DEMAND, columns=demand, frame=frame)
    requests = match(names, REQUEST_COLUMNS)
    if {"timestamp", "tokens_in", "tokens_out"} <= requests.keys():
        return Source(path=path, kind=Kind.REQUESTS, columns=requests, frame=frame)
    bill = match(names, BILL_COLUMNS)
    if "hour" in bill and ("gpu_hours" in bill or {"usd", "usd_per_gpu_hour"} <= bill.keys()):
        return Source(path=path, kind=Kind.BILL, columns=bill, frame=frame)
    lacking = [name for name in ("timestamp", "tokens_in", "tokens_out") if name not in requests]
    raise refuse(
        option,
        str(path),
        f"has the columns {', '.join(list(names.values())[:12])}, which are no traffic that the planner knows",
        reason=f"as requests it lacks {', '.join(lacking)}",
        next_step=(
            "give requests (timestamp, tokens_in, tokens_out), rate windows (window_start_s, rate_rps,"
            " mean_input_tokens, mean_output_tokens), demand (start_s, gpus) or a bill (hour, gpu_hours)"
        ),
    )


def _prometheus_file(path: Path, option: str) -> pl.LazyFrame:
    """A saved answer of /api/v1/query_range: series summed, columns start_s and gpus."""
    try:
        return prometheus_frame(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise refuse(
            option,
            str(path),
            "is not an answer of Prometheus' query_range",
            next_step="save the JSON of /api/v1/query_range for a metric of GPUs in use",
        ) from error


def prometheus_frame(answer: Mapping[str, object]) -> pl.LazyFrame:
    """Sum of all series of a matrix answer: start_s, gpus."""
    data = answer["data"]
    if not isinstance(data, dict) or data.get("resultType") != "matrix":
        raise ValueError("not a matrix")
    rows = [(float(t), float(v)) for series in data["result"] for t, v in series["values"]]
    if not rows:
        raise ValueError("no values")
    frame = pl.DataFrame(rows, schema=["start_s", "gpus"], orient="row")
    return frame.group_by("start_s").agg(pl.col("gpus").sum()).sort("start_s").lazy()
