"""Schedules by dynamic programming: each level is rented or serverless in each hour, and changing over costs money.

Levels are independent (docs/planner/cost-model.md, B.2), so each is a two-state shortest path over the hours; all
levels run side by side in one pass of O(hours x levels). A change to dedicated costs the GPU's lead time: it is paid
while it boots and loads the model, and the level stays serverless in the meantime.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from headrace.planner.arrays import DAY_HOURS, HOUR_S, WEEK_HOURS, Floats, Ints
from headrace.planner.levels import Demand
from headrace.planner.tariff import Tariff

# Five minutes of boot, image pull and model load, if nothing else is said (facts/planner.md B.3 uses the same).
DEFAULT_LEAD_S: Final = 300.0


def switch_cost_usd(tariff: Tariff, lead_time_s: float) -> float:
    """What one change of a level to dedicated costs: its lead time at the dedicated price."""
    return tariff.dedicated_usd_hour * lead_time_s / HOUR_S


def best_schedule(serverless: Floats, tariff: Tariff, *, lead_time_s: float, cyclic: bool = False) -> Ints:
    """Dedicated GPUs per hour with the least cost including changes, [hours].

    serverless: cost of each level in each hour, [hours, levels]. With `cyclic` the last hour is followed by the first
    (a daily or weekly schedule); otherwise the first hour starts with nothing dedicated.
    """
    if not serverless.shape[1]:
        return np.zeros(len(serverless), dtype=np.int64)
    change = switch_cost_usd(tariff, lead_time_s)
    hours = len(serverless)
    table = np.concatenate((serverless, serverless, serverless)) if cyclic else serverless
    held = _viterbi(table, tariff.dedicated_usd_hour, change)
    if cyclic:  # the middle copy has forgotten both ends
        held = held[hours : 2 * hours]
    return np.asarray(held.sum(1), dtype=np.int64)


def _viterbi(serverless: Floats, dedicated: float, change: float) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    hours, levels = serverless.shape
    rent, free = np.full(levels, change), np.zeros(levels)
    came_free = np.zeros((hours, levels), dtype=np.bool_)  # rented now, serverless before
    came_rent = np.zeros((hours, levels), dtype=np.bool_)  # serverless now, rented before
    for hour in range(hours):
        if hour:
            came_free[hour] = free + change < rent
            came_rent[hour] = rent < free
            rent, free = np.minimum(rent, free + change), np.minimum(free, rent)
        rent = rent + dedicated
        free = free + serverless[hour]
    held = np.zeros((hours, levels), dtype=np.bool_)
    state = rent < free
    for hour in range(hours - 1, -1, -1):
        held[hour] = state
        state = np.where(state, ~came_free[hour], came_rent[hour])
    return held


def changes(dedicated: Ints, *, cyclic: bool = False) -> int:
    """How many GPUs are started over the hours (from nothing, or from the last hour if cyclic)."""
    before = np.concatenate(((dedicated[-1:] if cyclic else np.zeros(1, dtype=np.int64)), dedicated[:-1]))
    return int(np.maximum(dedicated - before, 0).sum())


def later_starts(dedicated: Ints) -> int:
    """How many GPUs are started after the first hour: those that it begins with may have run before."""
    return changes(dedicated) - int(dedicated[0]) if len(dedicated) else 0


def slot_costs(serverless: Floats, *, period: int, first_slot: int = 0) -> Floats:
    """Mean serverless cost of each level in each slot of a day (24) or week (168), [period, levels]."""
    slots = (np.arange(len(serverless)) + first_slot) % period
    sums = np.zeros((period, serverless.shape[1]))
    np.add.at(sums, slots, serverless)
    counts = np.bincount(slots, minlength=period)
    return np.asarray(sums / np.maximum(counts, 1)[:, None])


def slot_of_hour(demand: Demand, *, period: int) -> int:
    """Slot of the demand's first hour. Hour of the week counts from Monday 00:00 UTC (the epoch was a Thursday)."""
    hour = demand.origin_s // HOUR_S
    return int((hour + 3 * DAY_HOURS) % WEEK_HOURS) if period == WEEK_HOURS else int(hour % period)


def expand(schedule: Ints, demand: Demand) -> Ints:
    """A daily or weekly schedule over the hours of a demand, [hours]."""
    period = len(schedule)
    first = slot_of_hour(demand, period=period)
    return np.asarray(schedule[(np.arange(demand.hours) + first) % period])
