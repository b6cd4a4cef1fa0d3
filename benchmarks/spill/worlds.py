"""What is replayed: the configuration of the sandbox stack, its model servers, and requests.

Limits of tenants are left out, so that every strategy answers for the same requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from headrace.catalog.price import price_book
from headrace.router.config import RouterConfig
from headrace.router.render import Deployed, render
from headrace.settings.load import from_stack_file
from headrace.traffic import trace
from headrace.traffic.day import Ask, Pace, generated_day
from headrace.traffic.paces import paces
from headrace_sandbox.model_servers.behaviour import Behaviour

ROOT: Final = Path(__file__).resolve().parents[2]
STACK: Final = ROOT / "stacks" / "Pulumi.sandbox.yaml"
# Prices in force on this day, so that the figures do not move with the calendar.
DAY: Final = date(2026, 11, 22)
WORKLOAD: Final = "chat"


@dataclass(frozen=True, kw_only=True)
class World:
    """One replay's input."""

    name: str
    policy: RouterConfig
    paces: Mapping[str, Pace]
    asks: tuple[Ask, ...]
    seconds: float

    def behaviour(self, pool: str) -> Behaviour:
        """How the pool's servers spend time; virtual seconds are real ones."""
        config, pace = self.policy.pools[pool], self.paces[pool]
        return Behaviour(
            servers=config.instances,
            slots=config.slots_per_instance,
            prefill_tokens_s=pace.prefill_tokens_s,
            token_s=pace.token_s,
            cold_start_s=None if config.dedicated else config.cold_start_s,
            idle_timeout_s=config.idle_timeout_s,
            min_instances=config.min_instances,
        )


def policy() -> tuple[RouterConfig, Mapping[str, Pace]]:
    """The sandbox stack's configuration of one workload, without limits of tenants."""
    settings = from_stack_file(STACK)
    names = [name for name, pool in settings.dedicated_pools.items() if pool.workload == WORKLOAD]
    names += [name for name, pool in settings.serverless_pools.items() if pool.workload == WORKLOAD]
    deployed = {name: Deployed(url=f"http://{name}:8000/v1") for name in names}
    rendered = render(settings, deployed, prices=price_book(None), day=DAY)
    document = rendered.model_dump(mode="json", by_alias=True)
    for tenant in document["tenants"].values():
        tenant["projects"] = {name: {} for name in tenant["projects"]}
        tenant["limits"] = {}
    document["limits"] = {}
    document["workloads"] = {WORKLOAD: document["workloads"][WORKLOAD]}
    document["callerBreaker"] = {"repeats": 10**6, "retries": 10**6, "abandoned": 10**6}
    found = RouterConfig.model_validate(document, by_alias=True, by_name=False)
    return found, paces(found, settings)


def worlds(*, day_s: float, trace_s: float) -> list[World]:
    """The generated day squeezed into `day_s`, and up to `trace_s` of the Azure trace where it lies on this machine."""
    config, speeds = policy()
    callers = {(tenant, name): None for tenant, one in config.tenants.items() for name in one.projects}
    day = generated_day(config, speeds, callers, seconds=day_s)
    found = [World(name="generated day", policy=config, paces=speeds, asks=tuple(day), seconds=day_s)]
    file = trace.find(ROOT)
    if file is not None:
        asks = trace.azure(file, config, callers, seconds=trace_s)
        lasted = min(trace_s, asks[-1].at_s + 1.0)
        found.append(World(name="Azure trace", policy=config, paces=speeds, asks=tuple(asks), seconds=lasted))
    return found
