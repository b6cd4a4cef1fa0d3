"""Plans whose levels are tied together: caps, stock, several GPU types, reservations, commitment limits.

A mixed-integer program over the slots of a day or week, solved by HiGHS. In slot h:

    integer  reserved[i]        GPUs of tier i, held in every slot
    integer  rented[g, h]       on-demand GPUs of type g
    share    over[h, k] in 0..1 level k served serverless

    minimise    sum of prices
    such that   speed-weighted GPUs + sum over k of over[h, k] >= levels needed at the peak of slot h
                sum over k of over[h, k] <= serverless cap;  stock and commitment limits

The marginal cost of a level falls with k up to the effect of cold starts; it is replaced by its decreasing envelope
(pool-adjacent-violators), so the program's objective never exceeds the true cost of its plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import highspy
import numpy as np

from headrace.planner.arrays import Floats, Ints

TIME_LIMIT_S: Final = 20.0
# Levels beyond this many are merged in equal groups: the program stays small, the objective a lower bound.
MOST_LEVELS: Final = 120


@dataclass(frozen=True, kw_only=True)
class GpuType:
    """A type that may be rented by the hour. `speed` is in units of the demand's GPU."""

    name: str
    usd_hour: float
    speed: float = 1.0
    stock: int | None = None


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """A commitment for the whole period: paid in every slot."""

    name: str
    usd_hour: float
    speed: float = 1.0
    maximum: int | None = None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What ties the levels together. None: no limit."""

    serverless_cap: int | None = None
    dedicated_total: int | None = None
    commitment_usd_hour: float | None = None


@dataclass(frozen=True, kw_only=True)
class Mix:
    """GPUs: reserved by tier, rented by type and slot ([slots]); mean US dollars per period."""

    reserved: dict[str, int]
    rented: dict[str, Ints]
    cost_usd: float


@dataclass(frozen=True, kw_only=True)
class Proven:
    """The solver proved that no plan of the program is cheaper."""

    mix: Mix


@dataclass(frozen=True, kw_only=True)
class Feasible:
    """A valid plan, not proven: at most `gap` (share) dearer than the best; `bound_usd` is what can't be beaten."""

    mix: Mix
    gap: float
    bound_usd: float


@dataclass(frozen=True, kw_only=True)
class Infeasible:
    """No plan meets all limits; `clash` says which ones and by how much."""

    clash: str


@dataclass(frozen=True, kw_only=True)
class Unanswered:
    """The time was over before a plan was found; that there is none is not proven."""

    seconds: float


Outcome = Proven | Feasible | Infeasible | Unanswered


def solve(
    slot_usd: Floats,
    peak: Ints,
    types: tuple[GpuType, ...],
    *,
    reservations: tuple[Reservation, ...] = (),
    limits: Limits = Limits(),
    time_limit_s: float = TIME_LIMIT_S,
) -> Outcome:
    """The cheapest mix. slot_usd: serverless cost of each level, [slots, levels]; peak: levels needed, [slots]."""
    clash = _clash(peak, types, reservations, limits)
    if clash:
        return Infeasible(clash=clash)
    program = _Program(slot_usd, peak, types, reservations, limits)
    return program.run(time_limit_s)


def _clash(peak: Ints, types: tuple[GpuType, ...], reservations: tuple[Reservation, ...], limits: Limits) -> str | None:
    """Why no plan can exist, in words; None if capacity suffices."""
    if limits.serverless_cap is None or not len(peak):
        return None
    capacity = 0.0
    offers = [(item.stock, item.speed) for item in types] + [(item.maximum, item.speed) for item in reservations]
    for stock, speed in offers:
        most = limits.dedicated_total if stock is None else stock
        if most is None:
            return None
        capacity += most * speed
    if limits.dedicated_total is not None:
        fastest = max((speed for _, speed in offers), default=0.0)
        capacity = min(capacity, limits.dedicated_total * fastest)
    needed = int(peak.max())
    if capacity + limits.serverless_cap >= needed:
        return None
    return (
        f"the peak needs {needed} GPUs, but at most {capacity:g} dedicated and {limits.serverless_cap} serverless are"
        f" allowed; {needed - capacity - limits.serverless_cap:g} are missing"
    )


def decreasing(values: Floats) -> Floats:
    """Pool-adjacent-violators: the closest non-increasing sequence with the same running sums from the right hull."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        total, count = float(value), 1
        while blocks and blocks[-1][0] / blocks[-1][1] < total / count:
            previous_total, previous_count = blocks.pop()
            total, count = total + previous_total, count + previous_count
        blocks.append((total, count))
    return np.concatenate([np.full(count, total / count) for total, count in blocks]) if blocks else np.zeros(0)


class _Program:
    """Builds and runs the HiGHS model. Columns are numbered as they are added."""

    def __init__(
        self,
        slot_usd: Floats,
        peak: Ints,
        types: tuple[GpuType, ...],
        reservations: tuple[Reservation, ...],
        limits: Limits,
    ) -> None:
        self.slots = len(peak)
        self.types = types
        self.reservations = reservations
        self.limits = limits
        self.solver: Any = highspy.Highs()  # type: ignore[no-untyped-call] # its constructor has no annotation
        self.solver.silent()
        self.columns = 0
        self.reserved = [
            self._integer(
                item.usd_hour * self.slots, item.maximum if item.maximum is not None else limits.dedicated_total
            )
            for item in reservations
        ]
        self.rented: list[list[int]] = []
        for slot in range(self.slots):
            self._slot(slot_usd[slot], int(peak[slot]))
        if limits.commitment_usd_hour is not None and reservations:
            self._row(self.reserved, [item.usd_hour for item in reservations], -np.inf, limits.commitment_usd_hour)

    def _integer(self, usd: float, most: int | None) -> int:
        column = self._share(usd, np.inf if most is None else float(most))
        self.solver.changeColIntegrality(column, highspy.HighsVarType.kInteger)
        return column

    def _share(self, usd: float, most: float) -> int:
        self.solver.addCol(usd, 0.0, most, 0, np.array([], dtype=np.int32), np.array([]))
        self.columns += 1
        return self.columns - 1

    def _row(self, columns: list[int], weights: list[float], low: float, high: float) -> None:
        self.solver.addRow(low, high, len(columns), np.array(columns, dtype=np.int32), np.array(weights, dtype=float))

    def _slot(self, usd: Floats, peak: int) -> None:
        rented = [self._integer(item.usd_hour, item.stock) for item in self.types]
        self.rented.append(rented)
        width = max(1, -(-peak // MOST_LEVELS))
        marginal = decreasing(usd[:peak])
        over, sizes = [], []
        for low in range(0, peak, width):
            group = marginal[low : low + width]
            over.append(self._share(float(group.sum()), 1.0))
            sizes.append(float(len(group)))
        speeds = [item.speed for item in self.types] + [item.speed for item in self.reservations]
        held = rented + self.reserved
        self._row([*held, *over], [*speeds, *sizes], float(peak), np.inf)
        if self.limits.serverless_cap is not None and over:
            self._row(over, sizes, -np.inf, float(self.limits.serverless_cap))
        if self.limits.dedicated_total is not None:
            self._row(held, [1.0] * len(held), -np.inf, float(self.limits.dedicated_total))

    def run(self, time_limit_s: float) -> Outcome:
        """Solve; only a proof counts as proven."""
        self.solver.setOptionValue("time_limit", time_limit_s)
        self.solver.setOptionValue("mip_rel_gap", 1e-6)
        self.solver.run()
        status = self.solver.getModelStatus()
        info = self.solver.getInfo()
        if status == highspy.HighsModelStatus.kInfeasible:
            return Infeasible(clash="the solver found the limits contradictory")
        if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            return Unanswered(seconds=time_limit_s)
        values = np.array(self.solver.getSolution().col_value)
        mix = Mix(
            reserved={
                item.name: round(float(values[column]))
                for item, column in zip(self.reservations, self.reserved, strict=True)
            },
            rented={
                item.name: values[[row[at] for row in self.rented]].round().astype(np.int64)
                for at, item in enumerate(self.types)
            },
            cost_usd=float(info.objective_function_value),
        )
        if status == highspy.HighsModelStatus.kOptimal:
            return Proven(mix=mix)
        return Feasible(mix=mix, gap=float(info.mip_gap), bound_usd=float(info.mip_dual_bound))
