"""The end of `headrace up`: the deployed router's configuration at work on a replayed day, and the page on it."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop

from headrace.router.config import PoolConfig, RouterConfig, from_json
from headrace.router.keys import KeyEntry, KeyFile, digest
from headrace.settings.load import from_stack_file
from headrace.settings.tree import Settings
from headrace.traffic import ledger, replay, trace
from headrace.traffic.day import Ask, Callers, Pace, generated_day
from headrace.traffic.figures import Figures
from headrace.traffic.paces import paces
from headrace.traffic.pricing import Alternative, alternatives, objectives
from headrace_sandbox import cache, checkout, stack_config, supervise
from headrace_sandbox.model_servers.behaviour import Behaviour
from headrace_sandbox.router_keys import KEYS
from headrace_sandbox.service import SandboxContext, Service
from headrace_sandbox.traffic import deployed, services
from headrace_sandbox.traffic.clock import Clock
from headrace_sandbox.traffic.deployed import DeployedRouter

# Platform seconds that pass in one second, and how much platform time each replay takes: half a minute altogether.
SPEED: Final = 8.0
DAY_S: Final = 264.0
TRACE_S: Final = 40.0
# Routers of those in the cluster that run here: two share every limit as more do, and the machine may have two cores.
MOST_REPLICAS: Final = 2
# Tokens that one event of a stream carries: about one event each second of platform time.
_CHUNK_TOKENS: Final = 20
GENERATED: Final = "generated day"


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What was replayed: the generated day first, then the trace where there is one.

    policy: with the model servers that there were. version: of the deployed configuration.
    """

    figures: tuple[Figures, ...]
    policy: RouterConfig
    version: str
    page: Path

    @property
    def mismatches(self) -> list[str]:
        """Disagreements between callers, ledger, metrics and model servers; any is an error."""
        return [f"{one.name}: {sentence}" for one in self.figures for sentence in one.mismatches]

    def document(self) -> dict[str, Any]:
        """`traffic` of up.json."""
        return {
            "page": str(self.page),
            "policyVersion": self.version,
            "replays": [one.document() for one in self.figures],
        }


def run(
    context: SandboxContext,
    standing: Sequence[Service],
    router: DeployedRouter,
    settings: Settings,
    *,
    root: Path,
    known_keys: Mapping[str, str],
    page: Path,
    speed: float = SPEED,
    day_s: float = DAY_S,
    trace_s: float = TRACE_S,
) -> Replayed:
    """Start router and model servers beside the `standing` parts, replay, stop them again, write the page.

    router: as the cluster holds it. known_keys: API keys by id, of those whose hashes the deployed key file holds; a
    project without a known key gets one for the replay, beside the deployed ones.
    """
    configured = from_json(router.config, where="ConfigMap router-config")
    policy = with_servers(configured, router.model_servers)
    endpoints = supervise.endpoints(context.directory)
    speeds = paces(policy, settings)
    clock = Clock(speed=speed, epoch=time.time())
    keys, callers, key_file = _keys(router.keys, policy, known_keys)
    site = services.plan(
        context,
        configured.model_dump(mode="json", by_alias=True),
        router.config,
        key_file=key_file,
        behaviours={name: _behaviour(pool, speeds[name], speed) for name, pool in policy.pools.items()},
        clock=clock,
        environment={
            **router.environment,
            "HEADRACE_REDIS_URL": endpoints["redis"],
            "HEADRACE_POSTGRES_DSN": endpoints["postgres"],
        },
        replicas=max(1, min(router.replicas, MOST_REPLICAS)),
    )
    world = replay.World(
        policy=policy,
        routers=tuple(replay.RouterAt(name=at.name, url=at.url, admin_url=at.admin_url) for at in site.routers),
        fleet_url=site.fleet_url,
        dsn=endpoints["postgres"],
        keys=keys,
        speed=speed,
        platform=clock.at,
        shares={name: w.slo.percentile / 100 for name, w in settings.workloads.items() if w.slo is not None},
        say=lambda line: cache.say(f"traffic: {line}"),
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(
                _replays(
                    context, [*standing, *site.services], world, speeds, callers, root, day_s=day_s, trace_s=trace_s
                )
            )
    finally:
        supervise.up(context, standing)  # what is not among the standing parts is stopped
    replayed = Replayed(figures=tuple(found), policy=policy, version=configured.policy_version, page=page)
    from headrace.traffic.page import write_page  # matplotlib costs a second that a failed replay need not pay

    write_page(replayed.figures, policy, page, version=replayed.version)
    return replayed


def with_servers(policy: RouterConfig, servers: Mapping[str, int]) -> RouterConfig:
    """The configuration with as many model servers as there are now: what the day is made for, and priced by."""
    pools = {
        name: pool.model_copy(update={"instances": servers[name]}) if pool.counted and name in servers else pool
        for name, pool in policy.pools.items()
    }
    return RouterConfig.model_validate({**dict(policy), "pools": pools})


def _keys(
    deployed: str, policy: RouterConfig, known: Mapping[str, str]
) -> tuple[dict[tuple[str, str], str], dict[tuple[str, str], frozenset[str] | None], str]:
    """Keys by project, what each may use, and the key file: the deployed one, and new keys for projects without one."""
    file = KeyFile.model_validate_json(deployed)
    keys: dict[tuple[str, str], str] = {}
    callers: dict[tuple[str, str], frozenset[str] | None] = {}
    for entry in file.keys:
        key = known.get(entry.id)
        if key is not None and digest(key) == entry.sha256 and not entry.disabled:
            keys[(entry.tenant, entry.project)] = key
            callers[(entry.tenant, entry.project)] = entry.workloads
    made = []
    for tenant, config in policy.tenants.items():
        for project in config.projects:
            if (tenant, project) in keys:
                continue
            key = f"hr_{project}_{secrets.token_urlsafe(32)}"
            made.append(KeyEntry(id=f"replay-{project}"[:40], sha256=digest(key), tenant=tenant, project=project))
            keys[(tenant, project)] = key
            callers[(tenant, project)] = None
    if not made:
        return keys, callers, deployed
    return keys, callers, file.model_copy(update={"keys": (*file.keys, *made)}).model_dump_json(by_alias=True, indent=2)


def _behaviour(pool: PoolConfig, pace: Pace, speed: float) -> Behaviour:
    return Behaviour(
        servers=pool.instances,
        slots=pool.slots_per_instance,
        prefill_tokens_s=pace.prefill_tokens_s,
        token_s=pace.token_s,
        cold_start_s=None if pool.dedicated else pool.cold_start_s,
        idle_timeout_s=pool.idle_timeout_s,
        min_instances=pool.min_instances,
        speed=speed,
        chunk_tokens=_CHUNK_TOKENS,
    )


async def _replays(
    context: SandboxContext,
    wanted: Sequence[Service],
    world: replay.World,
    speeds: Mapping[str, Pace],
    callers: Callers,
    root: Path,
    *,
    day_s: float,
    trace_s: float,
) -> list[Figures]:
    await ledger.prepare(world.dsn)
    await asyncio.to_thread(supervise.up, context, wanted)
    file = trace.find(root)
    plans: list[tuple[str, str, list[Ask], float]] = [
        (
            GENERATED,
            "generated from the configuration; made up",
            generated_day(world.policy, speeds, callers, seconds=day_s),
            day_s,
        )
    ]
    if file is not None and trace_s > 0:
        plans.append(("Azure trace", trace.SOURCE, trace.azure(file, world.policy, callers, seconds=trace_s), trace_s))
    held = objectives(world.policy, world.shares)
    found: list[Figures] = []
    priced: list[tuple[Alternative, Alternative]] = [
        await asyncio.to_thread(alternatives, world.policy, asks, speeds, held, seconds=seconds)
        for _, _, asks, seconds in plans
    ]
    await replay.leased(world)
    for (name, source, asks, seconds), sides in zip(plans, priced, strict=True):
        wall = seconds / world.speed
        cache.say(f"traffic: {name}: {len(asks)} requests over {seconds:.0f} s of platform time, in {wall:.0f} s")
        found.append(
            await replay.run(
                world, asks, name=name, source=source, seconds=seconds, alternatives=sides, settle=name != GENERATED
            )
        )
    return found


def replay_deployed(context: SandboxContext, standing: Sequence[Service], *, stack_name: str) -> Replayed | None:
    """Replay through the router that the stack put into the cluster; None where it has none."""
    router = deployed.read(context)
    if router is None:
        cache.say("traffic: the stack has no router, so nothing is replayed")
        return None
    root = checkout.root()
    return run(
        context,
        standing,
        router,
        from_stack_file(stack_config.source(root, stack_name)),
        root=root,
        known_keys=KEYS,
        page=context.directory.parent / "traffic.html",
    )


def show(replayed: Replayed) -> None:
    """Tables on a terminal: pools, then the three ways to pay; last the page's path."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from headrace.traffic.page import comparison, percent, seconds, verdict

    console = Console(width=None if sys.stdout.isatty() else 180)
    pools = Table(title="Traffic", title_justify="left")
    for column in ("replay", "pool", "requests", "share", "TTFT P50", "P95", "P99", "cold starts", "GPU s", "billed"):
        pools.add_column(column, justify="left" if column in ("replay", "pool") else "right")
    for one in replayed.figures:
        for place, pool in enumerate(one.pools):
            first = pool.first_token
            pools.add_row(
                one.name if place == 0 else "",
                f"{escape(pool.name)} ({pool.kind}, {pool.gpu})",
                f"{pool.requests:,}",
                percent(pool.share),
                *(seconds(value) for value in (first.p50, first.p95, first.p99)),
                f"{pool.cold_starts:,}",
                f"{pool.gpu_seconds:,.0f}",
                f"${pool.usd:.4f}",
            )
        pools.add_section()
    console.print(pools)
    for one in replayed.figures:
        spilled = ", ".join(f"{name} {count}" for name, count in one.spills.items()) or "none"
        refused = ", ".join(f"{name} {count}" for name, count in one.refusals.items()) or "none"
        console.print(
            f"{one.name}: {one.served:,} of {one.requests:,} answered; spilled: {spilled}; refused: {refused};"
            f" {one.cold_starts} cold starts; {one.abandoned} left by their callers; {one.failed} failed",
            highlight=False,
        )
        if len(one.replicas) > 1:
            console.print(
                f"{one.name}, by replica: "
                + "; ".join(f"{at.name} took {at.requests:,}, spilled {at.spilled:,}" for at in one.replicas),
                highlight=False,
            )
        if one.caution is not None:
            console.print(f"caution: {one.caution}", highlight=False)
    costs = Table(title="Three ways to pay", title_justify="left")
    for column in ("way", "GPUs and prices", "24 hours", "per 1,000 tokens", "objective kept", "note"):
        costs.add_column(column, overflow="fold", justify="right" if column[0] in "2po" else "left")
    for one in replayed.figures:
        for row in comparison(one):
            costs.add_row(*(escape(cell) for cell in row))
        costs.add_section()
    console.print(costs)
    console.print(escape(verdict(replayed.figures[0])), highlight=False)
    console.print(f"page: {escape(str(replayed.page))}", soft_wrap=True, highlight=False)
