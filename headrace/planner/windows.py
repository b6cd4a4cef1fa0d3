"""Rate windows, demand, bills and Prometheus answers into concurrent replicas.

A rate window says how many requests a second arrived on average and how unevenly (cv, the coefficient of variation of
the time between arrivals). Arrivals per ten seconds are drawn from a gamma distribution with that mean and the variance
that renewals of such spacing have within ten seconds (`dispersion`), from a stream seeded by the group's name, so that
the same file gives the same bytes.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from headrace.errors import refuse
from headrace.planner.arrays import BIN_S, BINS_PER_HOUR, HOUR_S, Floats, Ints, in_threads
from headrace.planner.demand_file import check_size, check_span, piecewise, read_demand
from headrace.planner.levels import Demand
from headrace.planner.moments import seconds, start_seconds, time_unit
from headrace.planner.service import ServiceModel
from headrace.planner.sources import BILL_COLUMNS, Source, match
from headrace.planner.traffic import BINS_PER_WINDOW, WINDOW_S, Quality, Traffic, repair

GROUPINGS: Final = ("tenant", "feature", "model")
# A mean request of the file is assumed for windows without token counts.
FALLBACK_TOKENS: Final = (512.0, 256.0)


def window_means(source: Source) -> tuple[float, float]:
    """Mean tokens in and out over the windows, weighted by rate."""
    rows = _window_rows(source).collect(engine="streaming")
    known = rows.filter(pl.col("i").is_finite() & pl.col("o").is_finite() & (pl.col("rate") > 0))
    if known.is_empty():
        return FALLBACK_TOKENS
    rate = known["rate"].to_numpy()
    return (
        float(np.average(known["i"].to_numpy(), weights=rate)),
        float(np.average(known["o"].to_numpy(), weights=rate)),
    )


def _window_rows(source: Source) -> pl.LazyFrame:
    columns = source.columns

    def number(name: str, default: float) -> pl.Expr:
        if name not in columns:
            return pl.lit(default)
        return pl.col(columns[name]).cast(pl.Float64, strict=False)

    nan = float("nan")
    keys = [pl.col(columns[name]).cast(pl.String).alias(name) for name in GROUPINGS if name in columns]
    return source.frame.select(
        start_seconds(source.frame, columns["start_s"], "TRAFFIC").alias("t"),
        number("rate_rps", nan).alias("rate"),
        number("cv", 1.0).fill_null(1.0).alias("cv"),
        number("tokens_in", nan).fill_null(nan).alias("i"),
        number("tokens_out", nan).fill_null(nan).alias("o"),
        *keys,
    )


def windows_traffic(source: Source, service: ServiceModel, *, utilization: float, option: str = "TRAFFIC") -> Traffic:
    """Concurrency of a file of rate windows; a window in which no group has a row is a gap."""
    rows = _window_rows(source).collect(engine="streaming")
    finite = pl.col("t").is_finite() & pl.col("rate").is_finite()
    valid = rows.filter(finite.fill_null(value=False))
    negative = valid.filter((pl.col("rate") < 0) | (pl.col("i") < 0) | (pl.col("o") < 0)).height
    valid = valid.filter((pl.col("rate") >= 0) & ~((pl.col("i") < 0) | (pl.col("o") < 0)))
    if valid.is_empty():
        raise refuse(option, str(source.path), "has no usable window", next_step="check window_start_s and rate_rps")
    starts = np.unique(valid["t"].to_numpy())
    if starts[0] < 0:
        raise refuse(option, float(starts[0]), "a window can't start before zero", next_step="correct window_start_s")
    step = float(np.median(np.diff(starts))) if len(starts) > 1 else float(WINDOW_S)
    if step >= WINDOW_S * 1000:
        raise refuse(
            option,
            str(source.path),
            "window starts look like milliseconds",
            reason=f"windows would be {step:,.0f} s apart",
            next_step="divide window_start_s by 1000",
        )
    check_span(float(starts[0]), float(starts[-1]), "window_start_s", option)
    keys = [name for name in GROUPINGS if name in valid.columns]
    distinct = valid.unique(subset=["t", *keys], keep="first", maintain_order=True) if keys else valid
    first = int(starts[0] // WINDOW_S) * WINDOW_S
    window = ((distinct["t"].to_numpy() - first) // WINDOW_S).astype(np.int64)
    count = max(int(np.ceil((window.max() + 1) / 6)) * 6, 6)
    mean_in, mean_out = window_means(source)
    tokens_in = np.nan_to_num(distinct["i"].to_numpy(), nan=mean_in)
    tokens_out = np.nan_to_num(distinct["o"].to_numpy(), nan=mean_out)
    work = (tokens_in / service.prefill_tokens_s + tokens_out / service.decode_tokens_s) / utilization
    rate = distinct["rate"].to_numpy()
    cv = np.nan_to_num(distinct["cv"].to_numpy(), nan=1.0)
    check_size(float((rate * work).max(initial=0.0)), option)
    missing = np.ones(count, dtype=np.bool_)
    missing[window] = False
    missing[window.max() + 1 :] = False
    by_group: dict[str, dict[str, Floats]] = {}
    total = np.zeros(count * BINS_PER_WINDOW)
    base = keys[0] if keys else None
    labels = distinct[base].fill_null("(none)").to_numpy() if base else np.full(len(window), "(all)")
    smooth_s = service.latency_s(mean_in, mean_out)
    series: dict[str, Floats] = {}
    names, codes = np.unique(labels.astype(str), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    edges = np.searchsorted(codes[order], np.arange(len(names) + 1))

    def spread(at: int) -> Floats:
        mine = order[edges[at] : edges[at + 1]]
        return _spread(window[mine], rate[mine], cv[mine], work[mine], count, seed=str(names[at]), smooth_s=smooth_s)

    for label, values in zip(names.tolist(), in_threads(spread, range(len(names))), strict=True):
        series[label] = values
        total += values
    if base:
        by_group[base] = {label: repair(values, missing) for label, values in series.items()}
    unknown = int((~np.isfinite(distinct["i"].to_numpy()) | ~np.isfinite(distinct["o"].to_numpy())).sum())
    notes = [f"{unknown:,} windows without token counts take the mean of the others"] if unknown else []
    quality = Quality(
        kind="rate windows",
        rows=rows.height,
        kept=distinct.height,
        broken=rows.height - valid.height - negative,
        negative=negative,
        repeated=valid.height - distinct.height,
        unsorted=bool(np.any(np.diff(distinct["t"].to_numpy()) < 0)) and not keys,
        gap_windows=int(missing.sum()),
        windows=count,
        notes=tuple(notes),
    )
    return Traffic(
        demand=Demand(origin_s=first, gpus=repair(total, missing)),
        quality=quality,
        mean_tokens_in=mean_in,
        mean_tokens_out=mean_out,
        requests=float((rate * WINDOW_S).sum()),
        by_group=by_group,
    )


def _spread(window: Ints, rate: Floats, cv: Floats, work: Floats, count: int, *, seed: str, smooth_s: float) -> Floats:
    """Concurrency per bin of one group: drawn arrivals times work, held over the mean latency."""
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    mean = rate * BIN_S
    shape = (np.maximum(mean, 1e-12) / dispersion(rate, cv)).astype(np.float32)
    drawn = rng.standard_gamma(shape[:, None], (len(mean), BINS_PER_WINDOW), dtype=np.float32)
    # Rates are measured, so each window keeps its mean, in which the gamma distribution's scale cancels; only the
    # unevenness inside it is drawn. A window whose draws all fell to zero is even.
    sums = drawn.mean(1, dtype=np.float64)
    drawn[sums == 0] = 1.0
    scale = rate * work / np.where(sums > 0, sums, 1.0)
    flow = np.zeros((count, BINS_PER_WINDOW))
    if len(np.unique(window)) == len(window):
        flow[window] = drawn * scale[:, None]
    else:
        np.add.at(flow, window, drawn * scale[:, None])
    return _held(flow.reshape(-1), smooth_s)


def dispersion(rate: Floats, cv: Floats) -> Floats:
    """Variance over mean of the arrivals in one bin, given requests per second and the variation of their spacing.

    Over long times it is cv squared, in a bin of ten seconds less where spacing varies much: most of the variation of
    a window with cv 100 is one silence of minutes. Above 1 it is that of renewals with hyperexponential spacing of
    balanced means (Whitt 1982, "Approximating a point process by a renewal process, I"): with
    g = 2 rate / (cv^2 + 1), I(t) = cv^2 - (cv^2 - 1) (1 - exp(-g t)) / (g t). It never exceeds 1 + rate t.
    """
    square = np.maximum(cv, 1e-3) ** 2
    grown = np.maximum(2 * rate * BIN_S / (square + 1), 1e-30)
    # (1 - exp(-x)) / x loses its digits for small x; x / 2 - x^2 / 6 is what is missing from 1 there.
    lost = np.where(grown < 1e-4, grown / 2 - grown**2 / 6, 1 + np.expm1(-grown) / grown)
    return np.asarray(np.where(square > 1, 1 + (square - 1) * lost, square))


def _held(flow: Floats, seconds_held: float) -> Floats:
    """A moving mean over the time that requests last: work arrives at once and is done over that time."""
    width = max(1, round(seconds_held / BIN_S))
    if width == 1:
        return flow
    sums = np.concatenate((np.zeros(width), flow)).cumsum()
    sums = np.concatenate(([0.0], sums))
    return np.asarray((sums[width:] - sums[:-width])[1 : len(flow) + 1] / width)


def demand_traffic(source: Source) -> Traffic:
    """A file of concurrent GPUs as it stands."""
    read = read_demand(source.path, option="TRAFFIC")
    quality = Quality(
        kind="concurrent-GPU demand",
        rows=read.rows,
        kept=read.rows - read.broken_rows - read.duplicate_starts,
        broken=read.broken_rows,
        repeated=read.duplicate_starts,
        unsorted=read.was_unsorted,
        windows=read.demand.hours * 6,
        notes=("a broken row leaves the value before it in force",) if read.broken_rows else (),
    )
    return Traffic(demand=read.demand, quality=quality)


def prometheus_traffic(source: Source) -> Traffic:
    """GPUs in use sampled by Prometheus; a hole of more than three steps is a gap."""
    frame = source.frame.collect()
    kept = frame.filter(pl.col("gpus").is_finite() & (pl.col("gpus") >= 0))
    if kept.is_empty():
        raise refuse("TRAFFIC", str(source.path), "has no sample that is a number of GPUs", next_step="check the query")
    start, gpus = kept["start_s"].to_numpy(), kept["gpus"].to_numpy()
    check_span(float(start[0]), float(start[-1]), "the time stamp", "TRAFFIC")
    check_size(float(gpus.max()), "TRAFFIC")
    demand = piecewise(start, gpus)
    missing = _holes(
        start, demand, limit_s=max(3 * float(np.median(np.diff(start))) if len(start) > 1 else 0, WINDOW_S)
    )
    quality = Quality(
        kind="samples of Prometheus",
        rows=len(frame),
        kept=len(kept),
        broken=int((~frame["gpus"].is_finite()).sum()),
        negative=int((frame["gpus"] < 0).sum()),
        gap_windows=int(missing.sum()),
        windows=len(missing),
    )
    filled = Demand(origin_s=demand.origin_s, gpus=repair(demand.gpus, missing))
    return Traffic(demand=filled, quality=quality)


def _holes(start: Floats, demand: Demand, *, limit_s: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Ten-minute windows that lie in a hole between samples longer than the limit."""
    missing = np.zeros(demand.hours * 6, dtype=np.bool_)
    for at in np.flatnonzero(np.diff(start) > limit_s):
        low = int(np.ceil((start[at] - demand.origin_s) / WINDOW_S))
        high = int((start[at + 1] - demand.origin_s) // WINDOW_S)
        missing[low:high] = True
    return missing


def bill_traffic(source: Source, option: str = "TRAFFIC") -> Traffic:
    """GPU-hours per hour of a billing export, summed over its lines; bursts within an hour are invisible."""
    columns = source.columns
    schema = source.frame.collect_schema()
    unit = time_unit(source.frame, columns["hour"], option=option)
    if "gpu_hours" in columns:
        amount = pl.col(columns["gpu_hours"]).cast(pl.Float64, strict=False)
    else:
        usd = pl.col(columns["usd"]).cast(pl.Float64, strict=False)
        amount = usd / pl.col(columns["usd_per_gpu_hour"]).cast(pl.Float64, strict=False)
    rows = source.frame.select(
        seconds(columns["hour"], schema[columns["hour"]], unit).alias("t"), amount.alias("gpus")
    ).collect(engine="streaming")
    valid = rows.filter(
        pl.all_horizontal(pl.col("t", "gpus").is_finite().fill_null(value=False)) & (pl.col("gpus") >= 0)
    )
    if valid.is_empty():
        raise refuse(
            option,
            str(source.path),
            f"has no line with an hour and an amount ({', '.join(match({n: n for n in columns}, BILL_COLUMNS))})",
            next_step="give columns hour and gpu_hours",
        )
    hourly = valid.group_by((pl.col("t") // HOUR_S * HOUR_S).alias("t")).agg(pl.col("gpus").sum()).sort("t")
    start, gpus = hourly["t"].to_numpy(), hourly["gpus"].to_numpy()
    check_span(float(start[0]), float(start[-1]), columns["hour"], option)
    check_size(float(gpus.max()), option)
    origin = int(start[0])
    hours = int((start[-1] - start[0]) // HOUR_S) + 1
    known = np.zeros(hours, dtype=np.bool_)
    level = np.zeros(hours)
    at = ((start - origin) // HOUR_S).astype(np.int64)
    known[at], level[at] = True, gpus
    missing = np.repeat(~known, 6)
    quality = Quality(
        kind="lines of an hourly bill",
        rows=rows.height,
        kept=valid.height,
        broken=rows.height - valid.height,
        gap_windows=int(missing.sum()),
        windows=len(missing),
        time_unit=unit,
        notes=("an hourly bill shows means: bursts and cold starts inside the hour are not seen",),
    )
    filled = repair(np.repeat(level, BINS_PER_HOUR), missing)
    return Traffic(demand=Demand(origin_s=origin, gpus=filled), quality=quality)


def saved(path: Path, demand: Demand) -> None:
    """Write a demand as start_s,gpus, equal neighbours once."""
    changed = np.concatenate(([True], np.diff(demand.gpus) != 0))
    start = demand.origin_s + np.flatnonzero(changed) * BIN_S
    pl.DataFrame({"start_s": start, "gpus": demand.gpus[changed].round(4)}).write_csv(path)
