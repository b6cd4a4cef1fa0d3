"""A declared peak that the pools together can't take.

**What.** The slots of all pools of a workload at their ceilings are at least its `peakParallelRequests`.

**Why.** The promise was made on paper; at the peak the router has to refuse.

**Passes.** Dedicated ceiling x replicas x slots + serverless maximum x concurrency at or above the peak.

**Violates.** Below it.

**Undecidable when** the catalogue doesn't know a pool's machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules import serverless_pools, tables
from headrace.rules.finding import Severity
from headrace.rules.rule import Broken, Rule, Said, Undecided, View


def check(view: View) -> Iterator[Said]:
    """Every workload that declares a peak."""
    if view.settings is None:
        return
    overflow = tuple(serverless_pools.pools(view))
    for name, workload in view.settings.workloads.items():
        if workload.peak_parallel_requests is None:
            continue
        span = (
            view.settings.releases[workload.release].tensor_parallel
            if workload.release in view.settings.releases
            else 1
        )
        slots = sum(pool.max_instances * pool.concurrency for pool in overflow if pool.workload == name)
        for key, pool in view.settings.dedicated_pools.items():
            if pool.workload != name:
                continue
            row = tables.instance(pool.instance_type)
            if row is None:
                yield Undecided(
                    resource=f"settings:dedicatedPools.{key}", what="how many GPUs its nodes have", value="instanceType"
                )
                continue
            ceiling = max(pool.ceiling_nodes, *(one.ceiling_nodes for one in pool.schedules), 0)
            slots += ceiling * (row.gpu_count // span) * pool.slots_per_replica
        if slots < workload.peak_parallel_requests:
            yield Broken(
                resource=f"settings:workloads.{name}",
                sentence=f"its peak is {workload.peak_parallel_requests} requests at once, all its pools take {slots}",
            )


RULE: Final = Rule(
    id="peak-not-absorbed",
    severity=Severity.HIGH,
    title="Peak not absorbed",
    description="All pools of a workload together take its declared peak.",
    remediation="raise a ceiling or a maximum, or add a serverless pool (`headrace plan` finds the cheapest)",
    references=("SOC 2 A1.1",),
    reads=("settings", "serverlessPool"),
    since="0.1.0",
    early=("headrace:index:HybridPlatform",),
    check=check,
)
