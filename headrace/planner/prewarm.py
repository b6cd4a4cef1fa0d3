"""Pre-warming as scheduled minimum instances, priced per avoided cold start.

A dummy request does not survive an idle timeout. Holding level k up during a slot costs what the slot's idle seconds
cost and saves its starts, so each (slot, level) has a price per avoided start; the cheapest are taken first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from headrace.planner.arrays import HOUR_S, Floats, Ints
from headrace.planner.levels import Demand, LevelTables
from headrace.planner.schedule import slot_of_hour
from headrace.planner.tariff import Tariff

LADDER: Final = (0.5, 0.75, 0.9)
# Vendors advise raising minimum replicas ten to fifteen minutes before the peak.
LEAD_TIME_S: Final = 900


@dataclass(frozen=True, kw_only=True)
class WarmPlan:
    """Minimum instances by slot ([slots]), what they cost and avoid per day, and the ladder of dearer choices.

    ladder: (share of starts avoided, US dollars a day, US dollars per avoided start at the margin).
    """

    minimum: Ints
    usd_per_day: float
    avoided_per_day: float
    starts_per_day: float
    ladder: tuple[tuple[float, float, float], ...]
    median_usd_per_avoided: float | None


def warm_plan(
    demand: Demand, tables: LevelTables, tariff: Tariff, dedicated: Ints, *, worth_usd: float, period: int = 24
) -> WarmPlan:
    """Minimum instances that avoid a cold start for at most `worth_usd` each. dedicated: GPUs per hour, [hours]."""
    days = demand.hours / 24
    if not tables.levels:
        nothing = np.zeros(period, dtype=np.int64)
        return WarmPlan(
            minimum=nothing,
            usd_per_day=0.0,
            avoided_per_day=0.0,
            starts_per_day=0.0,
            ladder=(),
            median_usd_per_avoided=None,
        )
    slots = (np.arange(demand.hours) + slot_of_hour(demand, period=period)) % period
    level = np.arange(tables.levels)[None, :]
    overflow = level >= dedicated[:, None]
    starts, idle = np.zeros((period, tables.levels)), np.zeros((period, tables.levels))
    np.add.at(starts, slots, np.where(overflow, tables.starts, 0.0))
    # Overflow level j of an hour is minimum instance j - d; a shift by d aligns hours with different floors.
    idle_usd = (HOUR_S - tables.billed) * tariff.serverless_usd_second
    saved_usd = tables.starts * tariff.cold_start_s * tariff.serverless_usd_second
    np.add.at(idle, slots, np.where(overflow, idle_usd - saved_usd, 0.0))
    starts, idle = _aligned(starts, dedicated, slots, period), _aligned(idle, dedicated, slots, period)
    total = float(starts.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        price = np.where(starts > 0, np.maximum(idle, 0.0) / starts, np.inf)
    order = np.argsort(price, axis=None, kind="stable")
    order = order[np.isfinite(price.reshape(-1)[order])]
    gained = starts.reshape(-1)[order].cumsum()
    spent = np.maximum(idle, 0.0).reshape(-1)[order].cumsum()
    ladder = []
    for share in LADDER:
        at = int(np.searchsorted(gained, share * total))
        if total > 0 and at < len(order):
            ladder.append((share, float(spent[at]) / days, float(price.reshape(-1)[order[at]])))
    chosen = price <= worth_usd
    # Instances are held from the first level up: a chosen level brings the ones below it.
    minimum = np.where(chosen.any(1), price.shape[1] - chosen[:, ::-1].argmax(1), 0)
    inside = np.arange(price.shape[1])[None, :] < minimum[:, None]
    return WarmPlan(
        minimum=minimum.astype(np.int64),
        usd_per_day=float(np.maximum(idle, 0.0)[inside].sum()) / days,
        avoided_per_day=float(starts[inside].sum()) / days,
        starts_per_day=total / days,
        ladder=tuple(ladder),
        median_usd_per_avoided=float(np.median(price[np.isfinite(price)])) if np.isfinite(price).any() else None,
    )


def _aligned(table: Floats, dedicated: Ints, slots: Ints, period: int) -> Floats:
    """Shift each slot left by its usual floor, so that column 0 is the first overflow level."""
    floors = np.zeros(period, dtype=np.int64)
    for slot in range(period):
        mine = dedicated[slots == slot]
        floors[slot] = int(np.median(mine)) if len(mine) else 0
    shifted = np.zeros_like(table)
    for slot, floor in enumerate(floors):
        rest = table[slot, floor:]
        shifted[slot, : len(rest)] = rest
    return shifted
