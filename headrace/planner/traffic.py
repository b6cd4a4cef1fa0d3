"""Traffic as replica-seconds of work per ten seconds, with every doubt counted and every gap named.

A row is one of: kept, repeated (counted once), broken (a field that is not a number, negative tokens, a time that can't
be read), or of zero tokens (kept: it costs a start). A gap is ten minutes without a row where the same time of other
days makes silence incredible; it is filled by a stated method and never becomes zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from headrace.planner.arrays import BIN_S, DAY_HOURS, HOUR_S, Floats
from headrace.planner.levels import Demand

# How times that are text are called; here, because the hourly job, whose image has no data frames, needs this module.
TEXT: Final = "text"
WINDOW_S: Final = 600
BINS_PER_WINDOW: Final = WINDOW_S // BIN_S
WINDOWS_PER_DAY: Final = DAY_HOURS * HOUR_S // WINDOW_S
# Ten minutes of silence count as a gap if at least this many requests were usual: for Poisson arrivals the chance of
# silence is then under exp(-20), about 2e-9.
USUAL_REQUESTS: Final = 20.0
# Gaps up to this many windows (one hour) are bridged straight, longer ones follow the same time of other days.
SHORT_GAP: Final = 6
REPAIR_METHOD: Final = (
    "gaps up to one hour: straight line between the ten minutes before and after; longer gaps: mean of the same time on"
    " the other days, scaled to the level around the gap"
)


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What reading the traffic met. Counts are rows, except gaps (ten-minute windows)."""

    kind: str
    rows: int
    kept: int
    broken: int = 0
    negative: int = 0
    repeated: int = 0
    zero_tokens: int = 0
    unsorted: bool = False
    gap_windows: int = 0
    windows: int = 0
    time_unit: str = "s"
    notes: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """The data-quality summary, one fact a line."""
        lines = [f"{self.rows:,} rows of {self.kind}; {self.kept:,} kept"]
        if self.broken:
            lines.append(f"{self.broken:,} broken rows left out (a field that can't be read)")
        if self.negative:
            lines.append(f"{self.negative:,} rows with negative numbers left out")
        if self.repeated:
            lines.append(f"{self.repeated:,} repeated rows counted once")
        if self.zero_tokens:
            lines.append(f"{self.zero_tokens:,} rows without tokens kept (they cost a start, no time)")
        if self.unsorted:
            lines.append("rows were not in order of time; sorted")
        if self.time_unit.startswith(TEXT):
            if self.time_unit != TEXT:
                lines.append(f"dates read as {self.time_unit.removeprefix('text, ')}, as days after the twelfth tell")
        elif self.time_unit != "s":
            lines.append(f"time stamps are in {self.time_unit} by their size; converted to seconds")
        if self.gap_windows:
            share = self.gap_windows / max(self.windows, 1)
            lines.append(f"{self.gap_windows:,} of {self.windows:,} ten-minute windows missing ({share:.1%}) filled")
            lines.append(f"method: {REPAIR_METHOD}")
        return [*lines, *self.notes]

    def document(self) -> dict[str, object]:
        """The same as plain JSON."""
        return {
            "kind": self.kind,
            "rows": self.rows,
            "kept": self.kept,
            "broken": self.broken,
            "negative": self.negative,
            "repeated": self.repeated,
            "zeroTokens": self.zero_tokens,
            "unsorted": self.unsorted,
            "gapWindows": self.gap_windows,
            "windows": self.windows,
            "timeUnit": self.time_unit,
            "repairMethod": REPAIR_METHOD if self.gap_windows else None,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, kw_only=True)
class Log:
    """Requests for replay: seconds from the demand's first bin, in order, and their tokens; all [requests]."""

    arrival_s: Floats
    tokens_in: Floats
    tokens_out: Floats


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Concurrent replicas needed in total and by group, and how requests look on average.

    by_group: group name -> replicas per bin (same length as demand), for each of tenant, feature and model.
    log: the requests themselves where they were given and are few enough to keep.
    """

    demand: Demand
    quality: Quality
    mean_tokens_in: float = 0.0
    mean_tokens_out: float = 0.0
    requests: float = 0.0
    by_group: Mapping[str, Mapping[str, Floats]] = field(default_factory=dict)
    log: Log | None = None

    @property
    def days(self) -> float:
        return self.demand.hours / DAY_HOURS


def silent_windows(counts: Floats) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Windows without a request where the same time of other days, or the neighbours, had plenty, [windows]."""
    usual = _usual(counts)
    around = np.minimum(_neighbour(counts, -1), _neighbour(counts, 1))
    return np.asarray((counts == 0) & (np.maximum(usual, around) >= USUAL_REQUESTS))


def _usual(counts: Floats) -> Floats:
    """Lower quartile over the days of the same window of the day, zero days left out if most have traffic."""
    usual = np.zeros(len(counts))
    for slot in range(min(WINDOWS_PER_DAY, len(counts))):
        same = counts[slot::WINDOWS_PER_DAY]
        busy = same[same > 0]
        if len(busy) * 2 > len(same):
            usual[slot::WINDOWS_PER_DAY] = np.quantile(busy, 0.25)
    return usual


def _neighbour(counts: Floats, direction: int) -> Floats:
    """Count of the next non-silent window in a direction, at most an hour away; 0 where there is none."""
    found = np.zeros(len(counts))
    for step in range(SHORT_GAP, 0, -1):
        shifted = np.zeros(len(counts))
        if direction < 0:
            shifted[step:] = counts[:-step]
        else:
            shifted[:-step] = counts[step:]
        found = np.where(shifted > 0, shifted, found)
    return found


def repair(gpus: Floats, missing: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Floats:
    """Demand per bin with missing ten-minute windows filled by `REPAIR_METHOD`."""
    if not missing.any() or missing.all():
        return gpus
    windows = gpus.reshape(-1, BINS_PER_WINDOW).copy()
    level = windows.mean(1)
    known = ~missing
    starts = np.flatnonzero(missing & np.concatenate(([True], known[:-1])))
    for start in starts:
        end = int(start)
        while end < len(missing) and missing[end]:
            end += 1
        windows[start:end] = _fill(windows, level, known, int(start), end)
    return np.asarray(windows.reshape(-1))


def _fill(
    windows: Floats, level: Floats, known: np.ndarray[tuple[int], np.dtype[np.bool_]], start: int, end: int
) -> Floats:
    before, after = start - 1, end
    sides = [at for at in (before, after) if 0 <= at < len(level) and known[at]]
    if end - start > SHORT_GAP:
        rows = []
        for at in range(start, end):
            same = [other for other in range(at % WINDOWS_PER_DAY, len(level), WINDOWS_PER_DAY) if known[other]]
            rows.append(windows[same].mean(0) if same else np.full(BINS_PER_WINDOW, np.nan))
        filled = np.array(rows)
        if np.isfinite(filled).all():
            return filled * _scale(level, known, sides)
    left = level[before] if before >= 0 and known[before] else level[sides[-1]]
    right = level[after] if after < len(level) and known[after] else left
    # The neighbours' own unevenness is kept, so that a straight line does not hide bursts.
    donor = windows[sides[0]] / level[sides[0]] if level[sides[0]] > 0 else np.ones(BINS_PER_WINDOW)
    line = np.linspace(left, right, end - start + 2)[1:-1]
    return np.asarray(line[:, None] * donor)


def _scale(level: Floats, known: np.ndarray[tuple[int], np.dtype[np.bool_]], sides: list[int]) -> float:
    """Level around the gap against the same time on other days, between a third and three."""
    here = sum(level[at] for at in sides)
    there = 0.0
    for at in sides:
        same = [o for o in range(at % WINDOWS_PER_DAY, len(level), WINDOWS_PER_DAY) if known[o]]
        there += float(np.mean(level[same]))
    return float(np.clip(here / there, 1 / 3, 3.0)) if there > 0 else 1.0
