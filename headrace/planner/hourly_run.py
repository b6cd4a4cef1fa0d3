"""One run of the hourly floor: read, decide, note down, carry out. Any fault leaves the fleet as it is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from headrace.catalog.price import price_book
from headrace.errors import refuse
from headrace.planner.arrays import HOUR_S
from headrace.planner.hourly import Choice, Fleet, History, Reason, StaleTraffic, choose
from headrace.planner.hourly_clock import hour_of
from headrace.planner.hourly_fleet import Sizes
from headrace.planner.hourly_store import Store
from headrace.planner.tariff import Tariff
from headrace.router.config import PoolConfig, RouterConfig

_NANO: Final = 1e9


class Nodes(Protocol):
    """Where nodes are asked for."""

    def sizes(self) -> Sizes:
        """Bounds and size of now."""

    def hold(self, nodes: int) -> None:
        """Asks for so many."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What the stack says of a pool."""

    pool: str
    floor_nodes: int
    ceiling_nodes: int
    replicas_per_node: int
    lead_time_s: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run did. `before` is what the group was asked to hold; `repeated`: the hour was decided already."""

    pool: str
    hour: datetime
    choice: Choice
    nodes: int
    before: int
    repeated: bool
    dry: bool


def pool_of(config: RouterConfig, name: str) -> tuple[PoolConfig, PoolConfig]:
    """The pool and the cheapest overflow of its workload."""
    pool = config.pools.get(name)
    if pool is None or not pool.dedicated:
        known = sorted(key for key, one in config.pools.items() if one.dedicated)
        raise refuse(
            "--pool",
            name,
            "is no dedicated pool of the router's configuration",
            next_step=f"name one of {', '.join(known) or 'its dedicated pools (there is none)'}",
        )
    overflow = [one for one in config.pools.values() if not one.dedicated and one.workload == pool.workload]
    if not overflow:
        raise refuse(
            "--pool",
            name,
            f"its workload {pool.workload} has no serverless pool",
            reason="then all of it is dedicated, and there is no price to weigh a node against",
            next_step="add a serverless pool, or remove hourlyFloor",
        )
    return pool, min(overflow, key=lambda one: one.nano_usd_per_instance_second / one.slots_per_instance)


def tariff_of(pool: PoolConfig, overflow: PoolConfig) -> Tariff:
    """The prices by which the router itself books work, for one replica: the overflow's for as many slots."""
    share = pool.slots_per_instance / overflow.slots_per_instance
    return Tariff(
        dedicated_usd_hour=pool.nano_usd_per_instance_second * HOUR_S / _NANO,
        serverless_usd_second=overflow.nano_usd_per_instance_second * share / _NANO,
        idle_timeout_s=overflow.idle_timeout_s,
        cold_start_s=overflow.cold_start_s,
        minimum_billed_s=price_book().rules(overflow.provider).minimum_seconds,
    )


def fleet_of(config: RouterConfig, bounds: Bounds) -> Fleet:
    """Bounds, slots and the overflow's cap."""
    pool, _ = pool_of(config, bounds.pool)
    overflow = [one for one in config.pools.values() if not one.dedicated and one.workload == pool.workload]
    return Fleet(
        floor_nodes=bounds.floor_nodes,
        ceiling_nodes=bounds.ceiling_nodes,
        replicas_per_node=bounds.replicas_per_node,
        slots_per_replica=pool.slots_per_instance,
        lead_time_s=bounds.lead_time_s,
        serverless_slots=sum(one.slots for one in overflow),
    )


async def run(config: RouterConfig, bounds: Bounds, dsn: str, nodes: Nodes, *, now: datetime, dry: bool) -> Outcome:
    """A run. Raises `Refused` in one sentence; what was decided before a fault is in the record as not carried out."""
    pool, overflow = pool_of(config, bounds.pool)
    fleet, tariff = fleet_of(config, bounds), tariff_of(pool, overflow)
    hour = hour_of(now, bounds.lead_time_s)
    store = await Store.open(dsn)
    try:
        known = await store.decided(bounds.pool, hour)
        choice = known or _chosen(await store.history(pool.workload, hour, keep=not dry), tariff, fleet)
        if known is None and not dry:
            limits = (bounds.floor_nodes, bounds.ceiling_nodes)
            choice = await store.decide(bounds.pool, hour, choice, bounds=limits, price_version=config.price_version)
        # The stack may have been deployed with other bounds since the hour was decided.
        wanted = min(max(choice.nodes, bounds.floor_nodes), bounds.ceiling_nodes)
        sizes = await asyncio.to_thread(nodes.sizes)
        _within(wanted, sizes)
        if not dry:
            if wanted != sizes.desired:
                await asyncio.to_thread(nodes.hold, wanted)
            await store.applied(bounds.pool, hour, before=sizes.desired)
    finally:
        store.close()
    return Outcome(
        pool=bounds.pool,
        hour=hour,
        choice=choice,
        nodes=wanted,
        before=sizes.desired,
        repeated=known is not None,
        dry=dry,
    )


def _chosen(history: History, tariff: Tariff, fleet: Fleet) -> Choice:
    try:
        return choose(history, tariff, fleet)
    except StaleTraffic as stale:
        raise refuse(
            "ledger",
            None,
            str(stale),
            reason="it is behind, and the fleet stays as it is",
            next_step="see why the router's journals are not drained",
        ) from None


def _within(nodes: int, sizes: Sizes) -> None:
    if not sizes.least <= nodes <= sizes.most:
        raise refuse(
            "--group",
            nodes,
            f"the group holds {sizes.least} to {sizes.most} nodes",
            reason="its bounds are not the stack's any more, so the fleet stays as it is",
            next_step="deploy the stack again",
        )


_WHY: Final = {
    Reason.TRAFFIC: "as its traffic asks",
    Reason.FLOOR: "its floor, though its traffic asks for less",
    Reason.CEILING: "its ceiling, though its traffic asks for more",
    Reason.TOO_SHORT: "its floor, until there are three days of traffic",
}


def sentence(outcome: Outcome) -> str:
    """The run in one line."""
    choice = outcome.choice
    move = "stays at" if outcome.nodes == outcome.before else f"goes from {outcome.before} to"
    if outcome.dry:
        move = "would stay at" if outcome.nodes == outcome.before else f"would go from {outcome.before} to"
    nodes = f"{outcome.nodes} node{'' if outcome.nodes == 1 else 's'}"
    text = (
        f"{outcome.pool} from {outcome.hour:%Y-%m-%d %H:%M} UTC: {move} {nodes}, {_WHY[choice.reason]};"
        f" the last hour used {choice.mean_replicas:.1f} replicas on average and {choice.peak_replicas} at its peak"
        f" ({choice.history_hours} hours seen"
    )
    text += f", {choice.gap_windows} windows of them filled)" if choice.gap_windows else ")"
    if choice.saved_usd_hour is not None:
        verb = "saved" if choice.saved_usd_hour >= 0 else "cost"
        text += (
            f"; over the last {choice.compared_hours} hours this {verb} {abs(choice.saved_usd_hour):,.2f} USD an hour"
            " against the floor alone"
        )
    return text + ("; decided before, applied again" if outcome.repeated and not outcome.dry else "")
