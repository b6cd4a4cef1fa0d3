"""How many nodes a dedicated pool holds in the coming hour: the reactive policy on what the pool's workload has done.

Traffic comes as ten-minute windows of requests in flight, sixty values each; divided by a replica's slots they are the
demand in replicas, so no model of service times is needed. An hour is any six windows: the walk is binned so that its
last hour ends at the decision and nothing of the present is left out.

Nothing here knows a database or a cloud. docs/planner/hourly.md says how it is run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from headrace.planner.arrays import BIN_S, DAY_HOURS, HOUR_S, WEEK_HOURS, Floats, Ints
from headrace.planner.caps import hour_peaks, least_held
from headrace.planner.levels import Demand, LevelTables, cost_per_hour, level_tables
from headrace.planner.mixing import adaptive
from headrace.planner.policies import hourly_costs
from headrace.planner.schedule import later_starts, switch_cost_usd
from headrace.planner.tariff import Tariff
from headrace.planner.traffic import BINS_PER_WINDOW, WINDOW_S, repair, silent_windows

Bools = npt.NDArray[np.bool_]

WINDOWS_PER_HOUR: Final = HOUR_S // WINDOW_S
# Four weeks: what the policy's forecasters look back on (`experts.REACH`).
MOST_HOURS: Final = 4 * WEEK_HOURS
# With less the forecasters have not seen an hour of the day often enough; the stack's floor stays.
FEWEST_HOURS: Final = 3 * DAY_HOURS
# Hours that are history only, as in the plan's own walk (`planning.TRAIN_DAYS`).
TRAIN_HOURS: Final = WEEK_HOURS


@dataclass(frozen=True, kw_only=True)
class History:
    """Windows of ten minutes without a hole between them, from `origin_s` on.

    arrivals: requests that began in each, [windows]. in_flight: mean requests in flight every ten seconds, without
    those that waited for a place or for a start, [60 windows]. heard: whether the ledger holds anything of the window,
    of any workload, [windows]: then silence is silence and no gap.
    """

    origin_s: int
    arrivals: Floats
    in_flight: Floats
    heard: Bools

    def __post_init__(self) -> None:
        if len(self.in_flight) != len(self.arrivals) * BINS_PER_WINDOW or self.origin_s % WINDOW_S:
            raise ValueError("a window is sixty values from a multiple of ten minutes on")

    @property
    def missing(self) -> Bools:
        """Windows without a request where plenty is usual, of which the ledger holds nothing else either."""
        return np.asarray(silent_windows(self.arrivals) & ~self.heard)

    @property
    def end_s(self) -> int:
        return self.origin_s + len(self.arrivals) * WINDOW_S

    @property
    def hours(self) -> int:
        """Whole hours that end where the history ends."""
        return min(len(self.arrivals) // WINDOWS_PER_HOUR, MOST_HOURS)


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """What the pool may hold. `serverless_slots` is what the workload's overflow may work on at once; None: no cap."""

    floor_nodes: int
    ceiling_nodes: int
    replicas_per_node: int
    slots_per_replica: int
    lead_time_s: float
    serverless_slots: int | None = None

    @property
    def serverless_replicas(self) -> int | None:
        """The overflow's cap in replicas of this pool."""
        return None if self.serverless_slots is None else self.serverless_slots // self.slots_per_replica

    def nodes(self, replicas: Ints) -> Ints:
        """Nodes that hold so many replicas, within floor and ceiling."""
        return np.clip(-(-replicas // self.replicas_per_node), self.floor_nodes, self.ceiling_nodes)


class Reason(StrEnum):
    """Why so many nodes."""

    TRAFFIC = "traffic"
    TOO_SHORT = "history-too-short"
    FLOOR = "floor"
    CEILING = "ceiling"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A decision and what it rests on. Means and peaks are replicas of the last hour.

    wanted_replicas: what the policy asked for before the bounds. gap_windows: ten-minute windows that were filled.
    saved_usd_hour: what following the traffic would have saved an hour against the floor alone over the last
    `compared_hours`; negative where it would have cost more, None where there is nothing to compare.
    """

    nodes: int
    reason: Reason
    wanted_replicas: int
    history_hours: int
    gap_windows: int
    mean_replicas: float
    peak_replicas: int
    saved_usd_hour: float | None
    compared_hours: int


class StaleTraffic(Exception):
    """The newest windows are silent where plenty was usual: the ledger is behind, and no decision is made on it."""


def choose(history: History, tariff: Tariff, fleet: Fleet) -> Choice:
    """The nodes of the hour after the history. `tariff` is per replica. Raises `StaleTraffic`."""
    missing = history.missing
    if len(missing) and missing[-1]:
        silent = int(np.argmin(missing[::-1])) if not missing.all() else len(missing)
        raise StaleTraffic(f"it holds nothing of the last {silent * WINDOW_S // 60} minutes, where plenty is usual")
    hours = history.hours
    if hours < 1:
        return _short(fleet, hours)
    demand = demand_of(history, fleet.slots_per_replica)
    last = demand.gpus[-HOUR_S // BIN_S :]
    if hours < FEWEST_HOURS:
        return _short(fleet, hours, mean=float(last.mean()), peak=_whole(last))
    tables = level_tables(demand, tariff)
    walked = decisions(demand, tariff, fleet.serverless_replicas, tables)
    nodes = fleet.nodes(walked)
    wanted = int(walked[-1])
    chosen = int(nodes[-1])
    asked = math.ceil(wanted / fleet.replicas_per_node)
    compared = min(WEEK_HOURS, hours - FEWEST_HOURS)
    return Choice(
        nodes=chosen,
        reason=Reason.TRAFFIC if chosen == asked else Reason.FLOOR if chosen > asked else Reason.CEILING,
        wanted_replicas=wanted,
        history_hours=hours,
        gap_windows=int(missing[-hours * WINDOWS_PER_HOUR :].sum()),
        mean_replicas=float(last.mean()),
        peak_replicas=_whole(last),
        saved_usd_hour=_saved(tables, tariff, fleet, nodes, compared) if compared else None,
        compared_hours=compared,
    )


def _short(fleet: Fleet, hours: int, *, mean: float = 0.0, peak: int = 0) -> Choice:
    return Choice(
        nodes=fleet.floor_nodes,
        reason=Reason.TOO_SHORT,
        wanted_replicas=fleet.floor_nodes * fleet.replicas_per_node,
        history_hours=hours,
        gap_windows=0,
        mean_replicas=mean,
        peak_replicas=peak,
        saved_usd_hour=None,
        compared_hours=0,
    )


def demand_of(history: History, slots_per_replica: int) -> Demand:
    """Replicas in use, gaps filled by the planner's own repair, in whole hours that end where the history ends."""
    filled = repair(history.in_flight / slots_per_replica, history.missing)
    bins = history.hours * HOUR_S // BIN_S
    return Demand(origin_s=history.end_s - history.hours * HOUR_S, gpus=filled[-bins:])


def decisions(demand: Demand, tariff: Tariff, serverless_cap: int | None, tables: LevelTables | None = None) -> Ints:
    """The reactive policy, and at least what the serverless cap leaves to the floor: replicas, [hours + 1]. The last
    one is for the hour after the data."""
    train = max(min(TRAIN_HOURS, demand.hours // 2), 1)
    held = adaptive(hourly_costs(demand, tariff, history_hours=train, tables=tables))
    if serverless_cap is None:
        return held
    peaks = hour_peaks(demand)
    least = np.array(
        [least_held(peaks[:hour], serverless_cap, period=DAY_HOURS)[hour % DAY_HOURS] for hour in range(len(held))],
        dtype=np.int64,
    )
    return np.maximum(held, least)


def _saved(tables: LevelTables, tariff: Tariff, fleet: Fleet, nodes: Ints, hours: int) -> float:
    """US dollars an hour: the floor alone against these decisions, starts of nodes included, over the last hours."""
    serverless = tables.serverless_usd(tariff)[-hours:]
    held = nodes[-hours - 1 : -1] * fleet.replicas_per_node
    floor = np.full(hours, fleet.floor_nodes * fleet.replicas_per_node, dtype=np.int64)
    started = later_starts(held)
    followed = cost_per_hour(serverless, held, tariff).sum() + started * switch_cost_usd(tariff, fleet.lead_time_s)
    return float(cost_per_hour(serverless, floor, tariff).sum() - followed) / hours


def _whole(replicas: Floats) -> int:
    return math.ceil(float(replicas.max(initial=0.0)) - 1e-9)
