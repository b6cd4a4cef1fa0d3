"""Reading a demand file: columns `start_s,gpus`, each value in force until the next row."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from headrace.errors import refuse
from headrace.planner.arrays import BIN_S, HOUR_S, Floats
from headrace.planner.levels import Demand
from headrace.planner.moments import start_seconds
from headrace.planner.sources import DEMAND_COLUMNS, match
from headrace.planner.textfile import check_file, decimal_points, separator

# A trace of more than five years is taken for milliseconds, and so is a start after the year 5138.
LONGEST_S: Final = 5 * 366 * 86400.0
LATEST_S: Final = 1e11
# Rows further apart than a week are no demand; fewer steps than this tell nothing about their unit.
LONGEST_STEP_S: Final = 7 * 86400.0
FEWEST_STEPS: Final = 10
# A fleet larger than this is taken for a mistake (requests, tokens) rather than for GPUs.
MOST_GPUS: Final = 20_000


@dataclass(frozen=True, kw_only=True)
class DemandFile:
    """A demand and what reading it met."""

    demand: Demand
    rows: int
    broken_rows: int
    duplicate_starts: int
    was_unsorted: bool


def read_table(path: Path, option: str) -> pl.DataFrame:
    """A CSV (also .gz), JSONL or Parquet file with every CSV column as text; refused if it can't be read."""
    check_file(path, option)
    try:
        name = path.name.removesuffix(".gz")
        if name.endswith(".parquet"):
            frame = pl.read_parquet(path)
        elif name.endswith((".jsonl", ".ndjson")):
            frame = pl.read_ndjson(path)
        else:
            frame = _read_csv(path, separator(path, option))
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise refuse(
            option, str(path), f"can't be read ({first_line})", next_step="give CSV, CSV.gz, JSONL or Parquet"
        ) from error
    if frame.is_empty():
        raise refuse(option, str(path), "has no rows", next_step="give a file with at least one row")
    return frame.rename({column: column.strip() for column in frame.columns})


def _read_csv(path: Path, between: str) -> pl.DataFrame:
    """Every column as text; where commas don't separate columns, one between digits is a decimal comma."""
    frame = pl.read_csv(path, infer_schema=False, truncate_ragged_lines=True, separator=between, encoding="utf8-lossy")
    if between == ",":
        return frame
    return frame.with_columns(decimal_points())


def read_demand(path: Path, *, option: str = "--demand") -> DemandFile:
    """A demand file on the model's grid, in whole hours; see `piecewise` for the end of the last row."""
    frame = read_table(path, option)
    names = match({column.lower(): column for column in frame.columns}, DEMAND_COLUMNS)
    missing = [column for column in DEMAND_COLUMNS if column not in names]
    if missing:
        raise refuse(
            option,
            str(path),
            f"lacks the column {', '.join(missing)}",
            reason=f"it has {', '.join(frame.columns[:12])}",
            next_step="give the columns start_s (seconds) and gpus (concurrent GPUs)",
        )
    gpus = frame[names["gpus"]].cast(pl.Float64, strict=False).to_numpy()
    start = frame.select(start_seconds(frame.lazy(), names["start_s"], option)).to_series().to_numpy()
    valid = np.isfinite(start) & np.isfinite(gpus)
    if not valid.any():
        raise refuse(
            option,
            str(path),
            "holds no row with two numbers",
            reason=f"its first row is {', '.join(f'{name} {frame[name][0]!r}' for name in names.values())}",
            next_step="give start_s in seconds and gpus as a number",
        )
    start, gpus = start[valid], gpus[valid]
    _check_values(path, option, start, gpus)
    order = np.argsort(start, kind="stable")
    unsorted = bool(np.any(np.diff(start) < 0))
    start, gpus = start[order], gpus[order]
    return DemandFile(
        demand=piecewise(start, gpus),
        rows=len(frame),
        broken_rows=int((~valid).sum()),
        duplicate_starts=int((np.diff(start) == 0).sum()),
        was_unsorted=unsorted,
    )


def _check_values(path: Path, option: str, start: Floats, gpus: Floats) -> None:
    if gpus.min() < 0:
        raise refuse(option, float(gpus.min()), "a number of GPUs can't be negative", next_step=f"correct {path}")
    check_size(float(gpus.max()), option)
    if start.min() < 0:
        raise refuse(option, float(start.min()), "start_s can't be negative", next_step=f"correct {path}")
    check_span(float(start.min()), float(start.max()), "start_s", option)
    check_steps(np.unique(start), "start_s", option)


def check_size(gpus: float, option: str) -> None:
    """Refuse a demand that can't be GPUs."""
    if not gpus <= MOST_GPUS:
        raise refuse(
            option,
            round(gpus, 1),
            f"more than {MOST_GPUS:,} concurrent GPUs",
            reason="the column probably counts requests or tokens, or a rate or a size is in another unit",
            next_step="give concurrent GPUs, or requests with their tokens",
        )


def check_span(first_s: float, last_s: float, column: str, option: str) -> None:
    """Refuse times that only make sense as milliseconds."""
    if last_s - first_s > LONGEST_S or abs(last_s) > LATEST_S or abs(first_s) > LATEST_S:
        raise refuse(
            option,
            last_s,
            f"{column} looks like milliseconds",
            reason=f"as seconds the file would span {(last_s - first_s) / 86400 / 365:,.3g} years",
            next_step="divide the column by 1000",
        )


def check_steps(starts: Floats, column: str, option: str) -> None:
    """Refuse short series in milliseconds, whose span is still believable: every step is then a multiple of 1000, and a
    usual one is hours long without being whole hours, or longer than a week."""
    steps = np.diff(starts)
    if len(steps) < FEWEST_STEPS or np.any(steps % 1000):
        return
    typical = float(np.median(steps))
    if typical > LONGEST_STEP_S or (typical >= 10_000 and np.any(steps % HOUR_S)):
        raise refuse(
            option,
            f"{typical:.0f}",
            f"{column} looks like milliseconds",
            reason="this is the usual step between rows, and every step is a multiple of 1000",
            next_step="divide the column by 1000",
        )


def piecewise(start_s: Floats, gpus: Floats) -> Demand:
    """Piecewise-constant values on the grid, from the hour of the first row on.

    The last row lasts as long as the median row. An hour at the end counts if at least half of it is covered; the rest
    of it keeps the last value, as it does in the pricing rule.
    """
    steps = np.diff(start_s)
    steps = steps[steps > 0]
    typical = float(np.median(steps)) if len(steps) else float(HOUR_S)
    origin = int(start_s[0] // HOUR_S) * HOUR_S
    end = float(start_s[-1]) + typical
    hours = max(int(np.floor((end - origin) / HOUR_S + 0.5)), 1)
    grid = origin + np.arange(0, hours * HOUR_S, BIN_S)
    at = np.searchsorted(start_s, grid, side="right") - 1
    values = np.where(at >= 0, gpus[np.maximum(at, 0)], 0.0)
    return Demand(origin_s=origin, gpus=values)
