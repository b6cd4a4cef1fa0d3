"""The same requests under three ways to spill, in virtual time, on the same model-server stand-ins.

headrace: the router's own engine (`decide`, queues, start-ahead) with its clock on the virtual loop; several replicas
  have the real leasers too, over the rules of the script in Redis.
fallback: a gateway that spills on errors, as peers do (design 4.3): everything goes to the floor first; what finds its
  queue full, or has no first token after the gateway's timeout, is sent to the serverless pool.
clairvoyant: knows all requests beforehand. Every request starts at once; the floor is filled first; what exceeds it
  runs on serverless instances that are warm exactly while they are needed and always packed full. No strategy that
  serves all requests without waiting can cost less.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from benchmarks.spill.virtual import run
from benchmarks.spill.worlds import World
from headrace.catalog.load import allowed_jurisdictions
from headrace.router.engine import Admission, Engine
from headrace.router.events import Outcome
from headrace.router.lease import fixed
from headrace.router.lease_redis import STEP_S, RedisLeaser
from headrace.router.types import NANO, Refusal, RequestFacts
from headrace.traffic.day import Ask
from headrace_sandbox.model_servers.behaviour import AtCapacity, Servers
from tests.unit.router.shares import Redis, leaser

TICK_S: Final = 0.2
SCRAPE_S: Final = 1.0
# The gateway's timeout to the first token, and the floor's queue beyond which it answers 503: the same patience and the
# same queue that our router has, so that only the way to spill differs.
_ATTEMPTS: Final = 2
# Replicas don't beat in time.
_APART_S: Final = 0.03


@dataclass(kw_only=True)
class Result:
    """What a strategy did. first_s: time to the first token of each answered request, in seconds."""

    name: str
    asked: int
    first_s: list[float] = field(default_factory=list)
    refused: int = 0
    spilled: int = 0
    cold_starts: int = 0
    usd: float = 0.0
    serverless_usd: float = 0.0

    def attained(self, limit_s: float) -> float:
        """Share of all requests, refused ones included, whose first token came within the limit."""
        return sum(one <= limit_s for one in self.first_s) / self.asked if self.asked else 1.0


class _Scene:
    """Servers of every pool and the result so far."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.loop = asyncio.get_running_loop()
        self.servers = {pool: Servers(world.behaviour(pool), self.loop.time) for pool in world.policy.pools}
        self.result = Result(name=name, asked=len(world.asks))
        self.floor = next(pool for pool, config in world.policy.pools.items() if config.dedicated)
        self.overflow = next(pool for pool, config in world.policy.pools.items() if not config.dedicated)

    async def play(self, one: Callable[[Ask], Awaitable[None]]) -> None:
        """Every request at its time, to its end; the bill runs until the last instance has stopped."""
        async with asyncio.TaskGroup() as group:
            for ask in self.world.asks:
                await asyncio.sleep(max(0.0, ask.at_s - self.loop.time()))
                group.create_task(_run(one, ask))
        await asyncio.sleep(max(0.0, self.world.seconds - self.loop.time()))
        for servers in self.servers.values():
            if servers.behaviour.cold_start_s is not None:
                await asyncio.sleep(servers.behaviour.idle_timeout_s)
                _ = servers.live  # lets the last idle instance go
        self._bill()

    def _bill(self) -> None:
        for name, servers in self.servers.items():
            config = self.world.policy.pools[name]
            seconds = config.instances * self.world.seconds if config.dedicated else servers.billed_s
            usd = seconds * config.nano_usd_per_instance_second / NANO
            self.result.usd += usd
            if not config.dedicated:
                self.result.serverless_usd += usd
                self.result.cold_starts += servers.cold_starts

    def narrowed_away(self, ask: Ask) -> bool:
        """Whether the request's residency keeps it from the overflow."""
        if ask.residency is None:
            return False
        pool = self.world.policy.pools[self.overflow]
        allowed = allowed_jurisdictions([ask.residency])
        return not (pool.compute_jurisdictions | pool.ingress_jurisdictions | pool.storage_jurisdictions) <= allowed


async def _run(one: Callable[[Ask], Awaitable[None]], ask: Ask) -> None:
    await one(ask)


def headrace(world: World, *, start_ahead: bool = True, replicas: int = 1) -> Result:
    """The router's engine. Of several replicas, which divide every limit by their leasers, a request meets one at
    random, as behind a Service."""
    done = _headrace(world, start_ahead=start_ahead, replicas=replicas)
    return run(done)  # type: ignore[no-any-return] # run is generic over work


async def _headrace(world: World, *, start_ahead: bool, replicas: int) -> Result:
    name = "headrace" if start_ahead else "headrace, nothing started ahead"
    scene = _Scene(world, name if replicas == 1 else f"{name}, {replicas} replicas")
    leases = fixed(world.policy) if replicas == 1 else {}
    engines = [
        Engine(world.policy, clock=scene.loop.time, period="2026-11", leases=leases, accounts={})
        for _ in range(replicas)
    ]
    store, chosen = Redis(), random.Random(7)
    leasers = [leaser(f"router-{at}", engine, store) for at, engine in enumerate(engines)] if replicas > 1 else []
    for one_leaser in leasers * 2:  # hears of the others, then takes its part
        await one_leaser.step()
    tasks: set[asyncio.Task[Outcome]] = set()
    numbers = itertools.count()

    async def serve(engine: Engine, admission: Admission, ask: Ask | None) -> Outcome:
        servers = scene.servers[admission.route.pool]
        pace = servers.behaviour
        prompt, answer = (ask.tokens_in, ask.answer_tokens) if ask is not None else (1, 1)
        try:
            async with servers.slot(prompt + answer):
                await asyncio.sleep(prompt / pace.prefill_tokens_s)
                engine.first_byte(admission)
                if ask is None:  # as `Starter`: its one token ends it
                    engine.finish(admission, outcome=Outcome.OK, tokens=1)
                    return Outcome.OK
                scene.result.first_s.append(scene.loop.time() - admission.arrived)
                await asyncio.sleep(answer * pace.token_s)
        except AtCapacity:
            engine.finish(admission, outcome=Outcome.PUSHED_BACK, tokens=0)
            return Outcome.PUSHED_BACK
        engine.finish(admission, outcome=Outcome.OK, tokens=prompt + answer)
        return Outcome.OK

    async def share(mine: RedisLeaser, offset_s: float) -> None:
        await asyncio.sleep(offset_s)
        while True:
            await mine.step()
            await asyncio.sleep(STEP_S)

    async def beat(engine: Engine, offset_s: float) -> None:
        last = 0.0
        await asyncio.sleep(offset_s)
        while True:
            await asyncio.sleep(TICK_S)
            engine.tick()
            if start_ahead:
                for admission in engine.start_ahead(lambda: f"start-{next(numbers)}"):
                    task = asyncio.create_task(serve(engine, admission, None))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
            if scene.loop.time() - last >= SCRAPE_S:
                last = scene.loop.time()
                floor = scene.servers[scene.floor]
                engine.scraped(scene.floor, queue=floor.waiting, kv_use=floor.kv_use, servers=floor.behaviour.servers)

    async def one(ask: Ask) -> None:
        excluded: frozenset[str] = frozenset()
        engine = chosen.choice(engines)
        for _ in range(_ATTEMPTS):
            placed = await engine.place(_facts(world, ask, str(next(numbers)), excluded))
            if isinstance(placed, Refusal):
                break
            scene.result.spilled += placed.route.spilled
            if await serve(engine, placed, ask) is Outcome.OK:
                return
            excluded |= {placed.route.pool}
        scene.result.refused += 1

    hearts = [asyncio.create_task(beat(engine, at * _APART_S)) for at, engine in enumerate(engines)]
    hearts += [asyncio.create_task(share(mine, at * _APART_S)) for at, mine in enumerate(leasers)]
    await scene.play(one)
    for heart in hearts:
        heart.cancel()
    return scene.result


def _facts(world: World, ask: Ask, identifier: str, excluded: frozenset[str]) -> RequestFacts:
    workload = world.policy.workloads[ask.workload]
    return RequestFacts(
        id=identifier,
        tenant=ask.tenant,
        project=ask.project,
        environment=world.policy.environment,
        workload=ask.workload,
        workload_class=workload.workload_class,
        release=workload.release,
        prompt_tokens=ask.tokens_in,
        prompt_tokens_bound=ask.tokens_in * 4,
        max_tokens=ask.max_tokens,
        stream=True,
        residency=allowed_jurisdictions([ask.residency]) if ask.residency is not None else None,
        bucket=50.0,
        excluded=excluded,
    )


def fallback(world: World) -> Result:
    """The gateway that spills on errors."""
    return run(_fallback(world))  # type: ignore[no-any-return] # run is generic over work


async def _fallback(world: World) -> Result:
    scene = _Scene(world, "error-based fallback")
    spill = world.policy.spill
    most_waiting = int(world.policy.pools[scene.floor].slots * spill.queue_per_slot)

    async def attempt(pool: str, ask: Ask, arrived: float, timeout_s: float | None) -> bool:
        """Whether the pool answered; a first token that does not come in time is an error."""
        servers = scene.servers[pool]
        try:
            async with asyncio.timeout(timeout_s) as limit, servers.slot(ask.tokens_in + ask.answer_tokens):
                await asyncio.sleep(ask.tokens_in / servers.behaviour.prefill_tokens_s)
                limit.reschedule(None)
                scene.result.first_s.append(scene.loop.time() - arrived)
                await asyncio.sleep(ask.answer_tokens * servers.behaviour.token_s)
        except (AtCapacity, TimeoutError):
            return False
        return True

    async def one(ask: Ask) -> None:
        arrived = scene.loop.time()
        full = scene.servers[scene.floor].waiting >= most_waiting
        if not full and await attempt(scene.floor, ask, arrived, spill.patience_s):
            return
        if not scene.narrowed_away(ask):
            scene.result.spilled += 1
            if await attempt(scene.overflow, ask, arrived, None):
                return
        scene.result.refused += 1

    await scene.play(one)
    return scene.result


def clairvoyant(world: World) -> Result:
    """The bound: no waiting, no cold start, no idle second, no half-empty instance."""
    floor = next(config for config in world.policy.pools.values() if config.dedicated)
    name, overflow = next((key, config) for key, config in world.policy.pools.items() if not config.dedicated)
    pace = world.paces[name]
    result = Result(name="clairvoyant best", asked=len(world.asks))
    result.first_s = [ask.tokens_in / pace.prefill_tokens_s for ask in world.asks]
    area = _area_above(world, floor.slots)
    result.serverless_usd = area / overflow.slots_per_instance * overflow.nano_usd_per_instance_second / NANO
    result.usd = floor.instances * world.seconds * floor.nano_usd_per_instance_second / NANO + result.serverless_usd
    return result


def _area_above(world: World, slots: int) -> float:
    """Request-seconds above `slots` when every request starts at once."""
    pace = next(iter(world.paces.values()))
    edges: list[tuple[float, int]] = []
    for ask in world.asks:
        edges.append((ask.at_s, 1))
        edges.append((ask.at_s + pace.service_s(ask.tokens_in, ask.answer_tokens), -1))
    edges.sort()
    area, running, last = 0.0, 0, 0.0
    for at, change in edges:
        area += max(0, running - slots) * (at - last)
        running, last = running + change, at
    return area
