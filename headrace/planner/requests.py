"""Requests into concurrent replicas, in batches, so that memory depends on the trace's length and not on its rows.

A request holds work / latency of a replica from its arrival until its last token. Each edge of that interval adds to
two neighbouring bins of a difference array, so that the mean concurrency of every bin is exact:

    edge of weight w at bin b, fraction f:  delta[b] += (1 - f) w,  delta[b + 1] += f w;  concurrency = cumsum(delta)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from headrace.errors import refuse
from headrace.planner.arrays import BIN_S, BINS_PER_HOUR, HOUR_S, Floats, Ints
from headrace.planner.demand_file import check_size, check_span
from headrace.planner.levels import Demand
from headrace.planner.moments import seconds, time_unit
from headrace.planner.service import ServiceModel
from headrace.planner.sources import Source
from headrace.planner.traffic import BINS_PER_WINDOW, Log, Quality, Traffic, repair, silent_windows

BATCH_ROWS: Final = 500_000
# Repeated rows are searched up to this many rows: the search holds one hash table of them.
MOST_ROWS_SEARCHED: Final = 20_000_000
# Requests kept for replay, 24 bytes each.
MOST_ROWS_KEPT: Final = 3_000_000
# Group demand is kept for the busiest groups while groups x bins stays under this.
MOST_GROUP_CELLS: Final = 60_000_000
# Half of all requests don't last longer than this.
LONGEST_LATENCY_S: Final = 600.0
GROUPINGS: Final = ("tenant", "feature", "model")
OTHERS: Final = "(others)"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A first pass over the requests: counts, times and means; `unit` is the unit of the time column."""

    rows: int
    valid: int
    negative: int
    zero_tokens: int
    first_s: float
    last_s: float
    mean_in: float
    mean_out: float
    unit: str


def rows_of(source: Source, unit: str) -> pl.LazyFrame:
    """Requests under canonical names: t (seconds), i, o, latency_s, and the groupings as text."""
    columns = source.columns
    schema = source.frame.collect_schema()
    chosen = [
        seconds(columns["timestamp"], schema[columns["timestamp"]], unit).alias("t"),
        pl.col(columns["tokens_in"]).cast(pl.Float64, strict=False).alias("i"),
        pl.col(columns["tokens_out"]).cast(pl.Float64, strict=False).alias("o"),
    ]
    if "latency_s" in columns:
        chosen.append(pl.col(columns["latency_s"]).cast(pl.Float64, strict=False).alias("latency_s"))
    elif "latency_ms" in columns:
        chosen.append((pl.col(columns["latency_ms"]).cast(pl.Float64, strict=False) / 1e3).alias("latency_s"))
    chosen += [pl.col(columns[name]).cast(pl.String).alias(name) for name in (*GROUPINGS, "id") if name in columns]
    return source.frame.select(chosen)


_FINITE: Final = pl.all_horizontal(pl.col("t", "i", "o").is_finite().fill_null(value=False))
_VALID: Final = _FINITE & (pl.col("i") >= 0) & (pl.col("o") >= 0)


def shape_of(source: Source, option: str = "TRAFFIC") -> Shape:
    """Counts, time span and mean sizes; refuses a file without a usable row or with times in the wrong unit."""
    unit = time_unit(source.frame, source.columns["timestamp"], option=option)
    rows = rows_of(source, unit)
    negative = _FINITE & ((pl.col("i") < 0) | (pl.col("o") < 0))
    found = (
        rows.select(
            pl.len().alias("rows"),
            _VALID.sum().alias("valid"),
            negative.sum().alias("negative"),
            (_VALID & (pl.col("i") + pl.col("o") == 0)).sum().alias("zero"),
            pl.col("t").filter(_VALID).min().alias("first"),
            pl.col("t").filter(_VALID).max().alias("last"),
            pl.col("i", "o").filter(_VALID).mean().name.prefix("mean_"),
        )
        .collect(engine="streaming")
        .row(0, named=True)
    )
    if not found["valid"]:
        _refuse_unusable(source, found["rows"], found["negative"], option)
    check_span(found["first"], found["last"], source.columns["timestamp"], option)
    if "latency_s" in source.columns:
        _check_latency(rows, source.columns["latency_s"], option)
    return Shape(
        rows=found["rows"],
        valid=found["valid"],
        negative=found["negative"],
        zero_tokens=found["zero"],
        first_s=found["first"],
        last_s=found["last"],
        mean_in=found["mean_i"],
        mean_out=found["mean_o"],
        unit=unit,
    )


def _check_latency(rows: pl.LazyFrame, column: str, option: str) -> None:
    """Refuse latencies that only make sense as milliseconds, by the first hundred thousand."""
    positive = pl.col("latency_s").filter(pl.col("latency_s").is_finite() & (pl.col("latency_s") > 0))
    usual = rows.select(positive).head(100_000).collect(engine="streaming")["latency_s"].median()
    if isinstance(usual, float) and usual > LONGEST_LATENCY_S:
        raise refuse(
            option,
            round(usual, 1),
            f"{column} looks like milliseconds",
            reason="this is the usual latency, and half of the requests would last longer than ten minutes",
            next_step="name the column latency_ms, or divide it by 1000",
        )


def _refuse_unusable(source: Source, rows: int, negative: int, option: str) -> None:
    if not rows:
        raise refuse(option, str(source.path), "has a header and no rows", next_step="give at least one request")
    if negative == rows:
        raise refuse(
            option, str(source.path), "has negative tokens in every row", next_step="give counts of tokens, 0 or more"
        )
    raise refuse(
        option,
        str(source.path),
        f"has no row with a time and two counts of tokens among {rows:,}",
        next_step="check the separator and the format of the time column",
    )


def traffic_of(source: Source, shape: Shape, service: ServiceModel, *, utilization: float) -> Traffic:
    """Second pass: concurrency per bin, by group, repeated rows out, gaps filled."""
    rows = rows_of(source, shape.unit).filter(_VALID)
    searched = shape.valid <= MOST_ROWS_SEARCHED
    if searched:
        rows = _distinct(rows, by_id="id" in source.columns)
    origin, hours = _frame(shape)
    bins = hours * BINS_PER_HOUR
    groups = {name: _names(rows, name, bins) for name in GROUPINGS if name in source.columns}
    total = np.zeros(bins + 2)
    counts = np.zeros(bins // BINS_PER_WINDOW)
    by_group = {name: np.zeros((len(names) + 1, bins + 2)) for name, names in groups.items()}
    kept, last, is_unsorted = 0, -np.inf, False
    logged: list[tuple[Floats, Floats, Floats]] = []
    for batch in _batches(rows):
        t = batch["t"].to_numpy()
        is_unsorted |= bool(t[0] < last or np.any(np.diff(t) < 0))
        kept, last = kept + len(t), float(t[-1])
        work = (batch["i"].to_numpy() / service.prefill_tokens_s + batch["o"].to_numpy() / service.decode_tokens_s) / (
            utilization
        )
        lasting = _latency(batch, service, work, utilization)
        start, end = t - origin, t - origin + lasting
        weight = work / lasting
        _add_edges(total, start, weight, bins)
        _add_edges(total, end, -weight, bins)
        inside = (start >= 0) & (start < bins * BIN_S)
        if shape.valid <= MOST_ROWS_KEPT:
            logged.append((start[inside], batch["i"].to_numpy()[inside], batch["o"].to_numpy()[inside]))
        counts += np.bincount((start[inside] // 600).astype(np.int64), minlength=len(counts))
        for name, names in groups.items():
            code = _codes(batch[name], names)
            table = by_group[name]
            _add_edges(table.reshape(-1), start, weight, bins, offset=code * (bins + 2))
            _add_edges(table.reshape(-1), end, -weight, bins, offset=code * (bins + 2))
    missing = silent_windows(counts)
    check_size(float(np.nan_to_num(total.cumsum(), nan=np.inf).max(initial=0.0)), "TRAFFIC")
    demand = repair(np.maximum(total.cumsum()[:bins], 0.0), missing)
    notes = list(source.notes)
    if not searched:
        notes.append(f"over {MOST_ROWS_SEARCHED:,} rows: repeated rows were not searched")
    quality = Quality(
        kind="requests",
        rows=shape.rows,
        kept=kept,
        broken=shape.rows - shape.valid - shape.negative,
        negative=shape.negative,
        repeated=shape.valid - kept,
        zero_tokens=shape.zero_tokens,
        unsorted=is_unsorted,
        gap_windows=int(missing.sum()),
        windows=len(missing),
        time_unit=shape.unit,
        notes=tuple(notes),
    )
    return Traffic(
        demand=Demand(origin_s=origin, gpus=demand),
        quality=quality,
        mean_tokens_in=shape.mean_in,
        mean_tokens_out=shape.mean_out,
        requests=float(kept),
        log=_log(logged),
        by_group={
            name: {
                label: repair(np.maximum(table[at].cumsum()[:bins], 0.0), missing)
                for at, label in enumerate([*groups[name], OTHERS])
                if table[at].any()
            }
            for name, table in by_group.items()
        },
    )


def _log(parts: list[tuple[Floats, Floats, Floats]]) -> Log | None:
    """The kept requests in order of time."""
    if not parts:
        return None
    arrival, tokens_in, tokens_out = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(arrival, kind="stable")
    return Log(arrival_s=arrival[order], tokens_in=tokens_in[order], tokens_out=tokens_out[order])


def _batches(rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    for batch in rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True, engine="streaming"):
        if len(batch):
            yield batch


def _distinct(rows: pl.LazyFrame, *, by_id: bool) -> pl.LazyFrame:
    """Repeated rows once: by id, else identical rows, but only where time has fractions (whole seconds repeat)."""
    if by_id:
        return rows.unique(subset=["id"], keep="first", maintain_order=True)
    # A row index keeps rows of whole seconds apart; rows with fractions share the index -1.
    numbered = rows.with_row_index("n").with_columns(
        pl.when(pl.col("t") % 1 == 0).then(pl.col("n").cast(pl.Int64)).otherwise(-1).alias("n")
    )
    return numbered.unique(keep="first", maintain_order=True).drop("n")


def _frame(shape: Shape) -> tuple[int, int]:
    """First second and number of hours: whole clock hours if the trace has two days, else from the first request."""
    span = shape.last_s - shape.first_s
    if span >= 48 * HOUR_S:
        first = int(np.ceil(shape.first_s / HOUR_S - 0.02))
        last = int(np.floor(shape.last_s / HOUR_S + 0.02))
        return first * HOUR_S, max(last - first, 1)
    return int(shape.first_s // BIN_S) * BIN_S, max(int(np.ceil(span / HOUR_S - 0.25)), 1)


def _latency(batch: pl.DataFrame, service: ServiceModel, work: Floats, utilization: float) -> Floats:
    """Seconds that each request holds its share: measured latency where given, else the model's."""
    modelled = (
        batch["i"].to_numpy() / service.prefill_tokens_s
        + batch["o"].to_numpy() * service.batch / service.decode_tokens_s
    )
    if "latency_s" in batch.columns:
        given = batch["latency_s"].fill_null(float("nan")).to_numpy()
        modelled = np.where(np.isfinite(given) & (given > 0), given, modelled)
    return np.asarray(np.maximum(modelled, np.maximum(work * utilization, 1e-3)))


def _add_edges(delta: Floats, at_s: Floats, weight: Floats, bins: int, offset: Ints | int = 0) -> None:
    where = np.clip(at_s / BIN_S, 0.0, float(bins))
    low = where.astype(np.int64)
    part = where - low
    np.add.at(delta, offset + low, weight * (1.0 - part))
    np.add.at(delta, offset + low + 1, weight * part)


def _names(rows: pl.LazyFrame, column: str, bins: int) -> list[str]:
    """The busiest groups, as many as memory allows; the rest are counted together."""
    most = max(1, MOST_GROUP_CELLS // max(bins, 1) - 1)
    ranked = (
        rows.group_by(column)
        .agg((pl.col("i") + pl.col("o")).sum().alias("tokens"))
        .sort("tokens", descending=True)
        .head(most)
        .collect(engine="streaming")
    )
    return [name for name in ranked[column].to_list() if name is not None]


def _codes(column: pl.Series, names: list[str]) -> Ints:
    """Index of each name, `len(names)` for others."""
    codes = column.replace_strict(names, list(range(len(names))), default=len(names), return_dtype=pl.Int64)
    return codes.to_numpy()
