"""Every request through two tiers: queueing, spilling, cold starts, idle timeouts and caps.

Rules, in the order in which a request meets them:
1. A free slot of a dedicated replica serves it at once.
2. Otherwise it waits for one if the wait is at most `spill_after_s` (first come, first served).
3. Otherwise it overflows: to the lowest free slot of a serverless worker, so that workers stay packed and the last one
   falls idle first. A worker that has been idle longer than its timeout starts cold: the request waits for it.
4. If every worker up to the cap is full, it waits for whichever slot of either tier is free first.

Service times are known to the simulator but never used for a decision except the end of work already begun (the oracle
boundary: a router does not know the length of an answer; rule 2 uses the next end, which the router observes as a free
slot within the limit). Compiled with numba; one pass, two heaps; events at the same time go end before arrival.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

import numba
import numpy as np

from headrace.planner.arrays import HOUR_S, Floats, Ints
from headrace.planner.tariff import Tariff

DEDICATED: Final = 0
SERVERLESS: Final = 1


@dataclass(frozen=True, kw_only=True)
class Tiers:
    """Capacity. dedicated: replicas per hour, [hours]; warm: minimum serverless workers per hour, [hours]."""

    dedicated: Ints
    warm: Ints
    slots: int
    serverless_cap: int
    spill_after_s: float
    cold_start_s: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What happened to each request ([requests]) and what it cost (US dollars)."""

    wait_s: Floats
    tier: Ints
    cold: np.ndarray[tuple[int], np.dtype[np.bool_]]
    cold_starts: int
    serverless_s: float
    dedicated_hours: float
    usd: float

    def attainment(self, first_token_s: Floats, limit_s: float) -> float:
        """Share of requests whose first token came within the limit; `first_token_s` is their prefill time."""
        return float((self.wait_s + first_token_s <= limit_s + 1e-9).mean()) if len(self.wait_s) else 1.0


def simulate(arrival_s: Floats, service_s: Floats, tiers: Tiers, tariff: Tariff) -> Outcome:
    """Run requests, sorted by arrival (seconds from the first hour's start), through both tiers."""
    if np.any(np.diff(arrival_s) < 0):
        raise ValueError("arrivals are in order of time")
    wait, tier, cold, billed, starts = cast(
        "tuple[Floats, Ints, Ints, float, int]",
        _run(
            arrival_s.astype(np.float64),
            service_s.astype(np.float64),
            tiers.dedicated.astype(np.int64),
            tiers.warm.astype(np.int64),
            # Of one kind each, whatever the caller wrote: every other combination is compiled anew, for seconds.
            int(tiers.slots),
            int(max(tiers.serverless_cap, 0)),
            float(tiers.spill_after_s),
            float(tariff.idle_timeout_s),
            float(tiers.cold_start_s),
        ),
    )
    hours = float(tiers.dedicated.sum())
    return Outcome(
        wait_s=wait,
        tier=tier,
        cold=cold.astype(np.bool_),
        cold_starts=int(starts),
        serverless_s=float(billed),
        dedicated_hours=hours,
        usd=hours * tariff.dedicated_usd_hour + float(billed) * tariff.serverless_usd_second,
    )


def _compiled(function: Any) -> Any:
    return numba.njit(cache=True, nogil=True)(function)


@_compiled
def _push(keys: Any, values: Any, size: int, key: float, value: int) -> int:
    at = size
    while at > 0:
        above = (at - 1) // 2
        if keys[above] < key or (keys[above] == key and values[above] <= value):
            break
        keys[at] = keys[above]
        values[at] = values[above]
        at = above
    keys[at] = key
    values[at] = value
    return size + 1


@_compiled
def _sink(keys: Any, values: Any, size: int, key: float, value: int) -> None:
    """Put an entry in place of the least one."""
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        right = child + 1
        if right < size and (
            keys[right] < keys[child] or (keys[right] == keys[child] and values[right] < values[child])
        ):
            child = right
        if key < keys[child] or (key == keys[child] and value <= values[child]):
            break
        keys[at] = keys[child]
        values[at] = values[child]
        at = child
    keys[at] = key
    values[at] = value


@_compiled
def _pop(keys: Any, values: Any, size: int) -> int:
    size -= 1
    if size > 0:
        _sink(keys, values, size, keys[size], values[size])
    return size


@_compiled
def _push_time(times: Any, size: int, time: float) -> int:
    """`_push` of keys alone: dedicated slots are all alike, and a free serverless slot is its own number."""
    at = size
    while at > 0:
        above = (at - 1) // 2
        if times[above] <= time:
            break
        times[at] = times[above]
        at = above
    times[at] = time
    return size + 1


@_compiled
def _sink_time(times: Any, size: int, time: float) -> None:
    """Put a time in place of the least one."""
    at, child = 0, 1
    while child < size:
        if child + 1 < size and times[child + 1] < times[child]:
            child += 1
        if time <= times[child]:
            break
        times[at] = times[child]
        at = child
        child = 2 * at + 1
    times[at] = time


@_compiled
def _pop_time(times: Any, size: int) -> int:
    size -= 1
    if size > 0:
        _sink_time(times, size, times[size])
    return size


@_compiled
def _run(
    arrival: Any,
    service: Any,
    dedicated: Any,
    warm: Any,
    slots: int,
    cap: int,
    spill_after: float,
    idle: float,
    cold_start: float,
) -> Any:
    count = len(arrival)
    wait = np.zeros(count)
    tier = np.zeros(count, dtype=np.int64)
    was_cold = np.zeros(count, dtype=np.int64)
    most = slots * (dedicated.max() if len(dedicated) else 0) + 1
    ded_key = np.empty(most + slots)
    ded_size, ded_target, hour = 0, 0, -1
    total = cap * slots
    free_key, free_size = np.empty(total + 1), 0  # slots by number, the lowest first
    busy_key, busy_value, busy_size = np.empty(total + 1), np.zeros(total + 1, dtype=np.int64), 0
    opened = 0  # slots with an index below this have been used; the others are free and never listed
    up_since = np.full(cap + 1, -1.0)  # start of the worker's billed period, -1 if down
    last_end = np.zeros(cap + 1)
    running = np.zeros(cap + 1, dtype=np.int64)
    ready_at = np.zeros(cap + 1)
    warm_end = np.zeros(cap + 1)  # end of the last hour in which the worker was a minimum instance
    billed, starts = 0.0, 0
    for hours_warm in range(len(warm)):
        billed += warm[hours_warm] * 3600.0
    for index in range(count):
        now = arrival[index]
        while now >= (hour + 1) * 3600.0 and hour + 1 < len(dedicated):
            hour += 1
            target = dedicated[hour] * slots
            while ded_target < target and ded_size < most:
                ded_size = _push_time(ded_key, ded_size, hour * 3600.0)
                ded_target += 1
            while ded_target > target and ded_size > 0 and ded_key[0] <= hour * 3600.0:
                ded_size = _pop_time(ded_key, ded_size)
                ded_target -= 1
        while ded_target > dedicated[hour] * slots and ded_size > 0 and ded_key[0] <= now:
            ded_size = _pop_time(ded_key, ded_size)  # a slot that is to go and has just finished its work
            ded_target -= 1
        while busy_size > 0 and busy_key[0] <= now:
            end, slot = busy_key[0], busy_value[0]
            busy_size = _pop(busy_key, busy_value, busy_size)
            free_size = _push_time(free_key, free_size, float(slot))
            worker = slot // slots
            running[worker] -= 1
            last_end[worker] = max(last_end[worker], end)
        usable = ded_size > 0 and ded_target <= dedicated[hour] * slots
        if usable and ded_key[0] - now <= spill_after:
            begin = max(now, ded_key[0])
            _sink_time(ded_key, ded_size, begin + service[index])
            wait[index] = begin - now
            continue
        if free_size > 0:
            slot = int(free_key[0])
            free_size = _pop_time(free_key, free_size)
        elif opened < total:
            slot = opened
            opened += 1
        else:
            slot = -1
        if slot < 0:
            if busy_size == 0 or (usable and ded_key[0] <= busy_key[0]):
                if not usable:  # no capacity of any kind: never served, waits for ever
                    wait[index] = np.inf
                    continue
                begin = max(now, ded_key[0])
                _sink_time(ded_key, ded_size, begin + service[index])
                wait[index] = begin - now
                continue
            begin, slot = busy_key[0], busy_value[0]
            _sink(busy_key, busy_value, busy_size, begin + service[index], slot)
            wait[index] = begin - now
            tier[index] = 1
            continue
        worker = slot // slots
        held_warm = hour < len(warm) and worker < warm[hour]
        if not held_warm and up_since[worker] < 0 and warm_end[worker] > 0:
            last_end[worker] = max(last_end[worker], warm_end[worker])
            up_since[worker] = warm_end[worker]  # from here on the worker is billed as any other
            warm_end[worker] = 0.0
        alive = up_since[worker] >= 0 and (running[worker] > 0 or now - last_end[worker] <= idle)
        if held_warm:
            if up_since[worker] >= 0:  # its own period ends where the minimum begins to pay for it
                billed += max(min(last_end[worker] + idle, hour * 3600.0) - up_since[worker], 0.0)
            up_since[worker] = -1.0
            warm_end[worker] = (hour + 1) * 3600.0
            ready_at[worker] = 0.0
        elif not alive:
            if up_since[worker] >= 0:
                billed += last_end[worker] + idle - up_since[worker]
            up_since[worker] = now
            ready_at[worker] = now + cold_start
            last_end[worker] = now + cold_start
            starts += 1
            was_cold[index] = 1
        begin = max(now, ready_at[worker])
        running[worker] += 1
        busy_size = _push(busy_key, busy_value, busy_size, begin + service[index], slot)
        wait[index] = begin - now
        tier[index] = 1
    while busy_size > 0:
        worker = busy_value[0] // slots
        last_end[worker] = max(last_end[worker], busy_key[0])
        busy_size = _pop(busy_key, busy_value, busy_size)
    for worker in range(cap):
        if up_since[worker] >= 0:
            billed += last_end[worker] + idle - up_since[worker]
    return wait, tier, was_cold, billed, starts


def hours_of(arrival_s: Floats) -> int:
    """Hours that cover all arrivals."""
    return int(arrival_s[-1] // HOUR_S) + 1 if len(arrival_s) else 1
