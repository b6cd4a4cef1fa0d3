"""A declared peak that the pools together can't take.

**What.** The slots that all pools of a workload can come to are at least its `peakParallelRequests`. A dedicated pool
comes to its ceiling where schedules or an hourly floor bring nodes, else it stays at its floor.

**Why.** The promise was made on paper; at the peak the router has to refuse.

**Passes.** Dedicated nodes x replicas x slots + serverless maximum x concurrency at or above the peak.

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
            release = view.settings.release_of(pool)
            per_node = row.gpu_count // (release.tensor_parallel if release else 1)
            # Nothing brings a node above the floor, nor a model server on it, but a schedule or the hour's job.
            nodes = pool.ceiling_nodes if pool.follows_nodes else pool.floor_nodes
            servers = pool.replicas if pool.replicas is not None else nodes * per_node
            slots += servers * pool.slots_per_replica
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
