"""Latency-sensitive overflow that is always cold.

**What.** In the stages of `stages`, a serverless pool of a latency-sensitive workload has minimum instances, or warm-
up windows.

**Why.** The first request that spills would wait for a cold start of minutes.

**Passes.** `minInstances` of at least one, or a warm-up window with some.

**Violates.** Neither.

**Undecidable when** nothing: settings say both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules import serverless_pools
from headrace.rules.finding import Severity
from headrace.rules.rule import Broken, Parameter, Rule, Said, View


def check(view: View) -> Iterator[Said]:
    """Pools, in the stages where somebody waits."""
    if view.settings is not None and view.settings.stage.value not in view.words("stages"):
        return
    for pool in serverless_pools.pools(view):
        if pool.workload_class != "latency-sensitive" or pool.min_instances > 0:
            continue
        if pool.warm_minimum == 0:
            yield Broken(
                resource=pool.where, sentence=f"{pool.workload} is latency-sensitive and no instance is ever warm"
            )


RULE: Final = Rule(
    id="cold-for-latency-sensitive",
    severity=Severity.MEDIUM,
    title="Cold overflow of a latency-sensitive workload",
    description="Serverless pools of latency-sensitive workloads have warm instances when they are needed.",
    remediation="set minInstances, or a warmUp window before the known peaks (`headrace plan` computes both)",
    references=("SOC 2 A1.1",),
    reads=("settings",),
    since="0.1.0",
    early=("headrace:index:HybridPlatform",),
    parameters=(Parameter(name="stages", description="Stages in which it counts.", default=("staging", "production")),),
    check=check,
)
