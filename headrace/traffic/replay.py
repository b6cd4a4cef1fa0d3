"""One replay: snapshot, send, wait for the ledger, snapshot, compare, count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import httpx

from headrace.errors import refuse
from headrace.router.config import RouterConfig
from headrace.traffic import ledger
from headrace.traffic.account import Snapshot, added, mismatches, read_metrics, together
from headrace.traffic.client import replay
from headrace.traffic.day import Ask
from headrace.traffic.figures import Figures, figures
from headrace.traffic.pricing import Alternative

_POLL_S = 0.1
_LEASES_S = 30.0
_LEDGER_S = 20.0


@dataclass(frozen=True, kw_only=True)
class RouterAt:
    """One replica of the router: the writer of its journal, and where it answers callers and operators."""

    name: str
    url: str
    admin_url: str


@dataclass(frozen=True, kw_only=True)
class World:
    """Running routers and what stands around them. `platform` turns a wall-clock moment into the routers' time."""

    policy: RouterConfig
    routers: tuple[RouterAt, ...]
    fleet_url: str
    dsn: str
    keys: Mapping[tuple[str, str], str]
    speed: float
    platform: Callable[[float], float]
    shares: Mapping[str, float] = field(default_factory=dict)
    say: Callable[[str], None] = lambda _: None


async def snapshot(world: World, http: httpx.AsyncClient) -> Snapshot:
    """What everybody says now; the routers' own counts are added up."""
    metrics, states, servers = await asyncio.gather(
        asyncio.gather(*(http.get(f"{one.admin_url}/metrics") for one in world.routers)),
        asyncio.gather(*(http.get(f"{one.admin_url}/state") for one in world.routers)),
        http.get(world.fleet_url),
    )
    return Snapshot(
        metrics=added([read_metrics(one.text) for one in metrics]),
        accounts=together([one.json()["accounts"] for one in states]),
        servers=servers.json(),
    )


async def leased(world: World) -> None:
    """Wait until the routers hold all shares: a Redis that has just started gives none for two seconds."""
    wanted = [f"pool/{name}/{'slots' if pool.dedicated else 'instances'}" for name, pool in world.policy.pools.items()]
    deadline = time.monotonic() + _LEASES_S
    async with httpx.AsyncClient(timeout=5.0, trust_env=False) as http:
        while True:
            states = [(await http.get(f"{one.admin_url}/state")).json()["leases"] for one in world.routers]
            shares = {name: [leases.get(name, 0) for leases in states] for name in wanted}
            if all(all(held) and sum(held) >= world.policy.totals[name] for name, held in shares.items()):
                return
            if time.monotonic() >= deadline:
                raise refuse(
                    "router",
                    None,
                    f"its replicas did not get all shares of its limits within {_LEASES_S:g} s",
                    next_step="look into the logs of the routers and redis in the sandbox's folder",
                )
            await asyncio.sleep(_POLL_S)


async def run(
    world: World,
    asks: Sequence[Ask],
    *,
    name: str,
    source: str,
    seconds: float,
    alternatives: tuple[Alternative, Alternative],
    settle: bool = False,
) -> Figures:
    """Replay `asks` over `seconds` of platform time; `settle` waits for idle serverless instances to stop."""
    async with httpx.AsyncClient(timeout=10.0, trust_env=False) as http:
        before = await snapshot(world, http)
        since = await ledger.sizes(world.dsn, [one.name for one in world.routers])
        began = time.time()
        seen = await replay(
            asks, urls=[one.url for one in world.routers], keys=world.keys, speed=world.speed, say=world.say
        )
        await asyncio.sleep(max(0.0, seconds / world.speed - (time.time() - began)))
        rows = await ledger.rows(world.dsn, since=since, expected=len(asks), patience_s=_LEDGER_S)
        if settle:
            await _settled(world, http)
        after = await _quiet(world, http)
        overhead = await ledger.overhead(world.dsn, since=since)
    streams = frozenset(one.id for one in seen if one.ask.stream)
    wanted = {name for name, config in world.policy.workloads.items() if config.time_to_first_token_s is not None}
    return figures(
        world.policy,
        rows,
        name=name,
        source=source,
        start_s=world.platform(began),
        seconds=seconds,
        speed=world.speed,
        callers_first_s=[one.first_s for one in seen if one.complete and one.ask.stream and one.ask.workload in wanted],
        late_s=[one.late_s for one in seen],
        streams=streams,
        shares=world.shares,
        before=before,
        after=after,
        alternatives=alternatives,
        started_ahead=len(overhead),
        mismatches=mismatches(world.policy, seen, rows, overhead, before, after),
    )


async def _settled(world: World, http: httpx.AsyncClient) -> None:
    """Until only minimum instances are left, so that the last idle time is on the bill."""
    longest = max((pool.idle_timeout_s for pool in world.policy.pools.values() if not pool.dedicated), default=0.0)
    deadline = time.monotonic() + (longest + 5) / world.speed
    while time.monotonic() < deadline:
        states = (await http.get(world.fleet_url)).json()
        if all(
            states[name]["live"] <= pool.min_instances
            for name, pool in world.policy.pools.items()
            if not pool.dedicated and name in states
        ):
            return
        await asyncio.sleep(_POLL_S)


async def _quiet(world: World, http: httpx.AsyncClient) -> Snapshot:
    """A snapshot in which nothing is reserved any more: a caller that hung up leaves its request for a moment."""
    deadline = time.monotonic() + _LEASES_S
    while True:
        found = await snapshot(world, http)
        if not any(one["reservedNano"] for one in found.accounts.values()) or time.monotonic() >= deadline:
            return found
        await asyncio.sleep(_POLL_S)
