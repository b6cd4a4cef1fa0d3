"""`headrace plan poc`: decide after a trial on a share of the traffic."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Final

import click
import numpy as np
import polars as pl

from headrace.cli.plan_options import json_option, print_json
from headrace.errors import refuse
from headrace.planner.demand_file import read_table
from headrace.planner.moments import seconds, time_unit
from headrace.planner.poc import DEFAULT_SAVING, Side, judge
from headrace.planner.sources import match

COLUMNS: Final = {
    "timestamp": ("timestamp", "ts", "time", "at"),
    "usd": ("cost_usd", "usd", "cost"),
    "latency_s": ("latency_s", "latency", "duration_s"),
    "latency_ms": ("latency_ms", "duration_ms"),
    "failed": ("failed", "error", "is_error"),
    "status": ("status", "status_code", "http_status"),
}


@click.command()
@click.option("--control", type=click.Path(path_type=Path), required=True, help="Requests that stayed where they were.")
@click.option("--trial", type=click.Path(path_type=Path), required=True, help="Requests of the trial.")
@click.option("--saving", type=click.FloatRange(0, 1), default=DEFAULT_SAVING, show_default=True, help="Least saving.")
@click.option("--slower", type=click.FloatRange(0, 10), default=0.1, show_default=True, help="Most latency added.")
@click.option("--errors", type=click.FloatRange(0, 1), default=0.001, show_default=True, help="Most errors added.")
@click.option("--percentile", type=click.FloatRange(1, 99.9), default=95.0, show_default=True, help="Of latency.")
@json_option
def poc(
    control: Path, trial: Path, saving: float, slower: float, errors: float, percentile: float, *, as_json: bool
) -> None:
    """Migrate, extend or stop: saving, latency and errors of a trial with their confidence."""
    found = judge(
        _side(control, "--control"),
        _side(trial, "--trial"),
        saving=saving,
        slower=slower,
        errors=errors,
        percentile=percentile,
    )
    if as_json:
        document = asdict(found)
        for name in ("saving", "slower", "errors"):
            if np.isnan(document[name]["value"]):
                document[name]["value"] = None
        print_json(document)
        return
    click.echo(found.sentence)
    click.echo(
        f"Share of the traffic {found.share:.1%} over {found.hours} common hours; p{percentile:g} latency"
        f" {found.slower.value:+.1%} ({found.slower.low:+.1%} to {found.slower.high:+.1%}); errors"
        f" {found.errors.value:+.3%} ({found.errors.low:+.3%} to {found.errors.high:+.3%})."
    )


def _side(path: Path, option: str) -> Side:
    frame = read_table(path, option)
    names = match({name.strip().lower(): name for name in frame.columns}, COLUMNS)
    missing = [name for name in ("timestamp", "usd") if name not in names]
    if "latency_s" not in names and "latency_ms" not in names:
        missing.append("latency_s")
    if missing:
        raise refuse(
            option,
            str(path),
            f"lacks {', '.join(missing)}",
            reason=f"it has {', '.join(frame.columns[:12])}",
            next_step="give timestamp, cost_usd, latency_s (or latency_ms) and status or failed for each request",
        )
    unit = time_unit(frame.lazy(), names["timestamp"], option=option)
    latency = (
        pl.col(names["latency_s"]).cast(pl.Float64, strict=False)
        if "latency_s" in names
        else pl.col(names["latency_ms"]).cast(pl.Float64, strict=False) / 1000
    )
    if "failed" in names:
        failed = pl.col(names["failed"]).cast(pl.String).str.to_lowercase().is_in(["1", "true", "yes"])
    elif "status" in names:
        failed = pl.col(names["status"]).cast(pl.Float64, strict=False) >= 400
    else:
        failed = pl.lit(value=False)
    rows = frame.select(
        seconds(names["timestamp"], frame.schema[names["timestamp"]], unit).alias("t"),
        pl.col(names["usd"]).cast(pl.Float64, strict=False).alias("usd"),
        latency.alias("latency"),
        failed.cast(pl.Float64).alias("failed"),
    ).drop_nulls()
    rows = rows.filter((pl.col("usd") >= 0) & (pl.col("latency") >= 0))
    if rows.is_empty():
        raise refuse(option, str(path), "has no usable row", next_step="check the numbers in it")
    return Side(
        hour=(rows["t"].to_numpy() // 3600).astype(np.int64),
        usd=rows["usd"].to_numpy(),
        latency_s=rows["latency"].to_numpy(),
        failed=rows["failed"].to_numpy(),
    )
