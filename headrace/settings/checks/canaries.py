"""Checks on canaries: a share of a workload's conversations on another release, and pools that run it."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.errors import Problem
from headrace.settings.checks.compute import unknown
from headrace.settings.dedicated import DedicatedPool
from headrace.settings.serverless import ServerlessPool
from headrace.settings.tree import Settings


def pools_run_what_conversations_get(settings: Settings) -> Iterator[Problem]:
    """Every release that conversations get is run by a pool, and pools run nothing else."""
    running: dict[str, set[str]] = {name: set() for name in settings.workloads}
    pools: list[tuple[str, DedicatedPool | ServerlessPool]] = [
        *((f"dedicatedPools.{name}", pool) for name, pool in settings.dedicated_pools.items()),
        *((f"serverlessPools.{name}", pool) for name, pool in settings.serverless_pools.items()),
    ]
    for path, pool in pools:
        workload = settings.workloads.get(pool.workload)
        if workload is None:
            continue
        running[pool.workload].add(pool.release or workload.release)
        if pool.release is None or pool.release == workload.release:
            continue
        release = settings.releases.get(pool.release)
        if release is None:
            yield unknown(f"{path}.release", pool.release, "releases", "model release", settings.releases)
        elif pool.release not in settings.router.canary_percent.get(pool.workload, {}):
            yield Problem(
                path=f"{path}.release",
                value=pool.release,
                rule=f"it must be workload {pool.workload!r}'s own ({workload.release}) or one of its canaries",
                reason="nothing would send it a request",
                next_step=f"give it a share in router.canaryPercent.{pool.workload}, or remove it",
            )
        elif workload.context_tokens > release.max_context_tokens:
            yield Problem(
                path=f"{path}.release",
                value=pool.release,
                rule=f"it must take the {workload.context_tokens} tokens of workload {pool.workload!r}, it takes "
                f"{release.max_context_tokens}",
                reason="the model server would refuse longer requests",
                next_step="record a release with a longer context",
            )
    for name, shares in settings.router.canary_percent.items():
        for release_name, share in shares.items():
            if share and name in settings.workloads and release_name not in running[name]:
                yield Problem(
                    path=f"router.canaryPercent.{name}.{release_name}",
                    value=share,
                    rule=f"no pool of workload {name!r} runs the release",
                    reason="that share of its conversations would be refused",
                    next_step="name it as the `release` of a pool, or set the share to 0",
                )
    for name, found in running.items():
        own = settings.workloads[name].release
        if found and own not in found and sum(settings.router.canary_percent.get(name, {}).values()) < 100:
            yield Problem(
                path=f"workloads.{name}.release",
                value=own,
                rule="no pool of the workload runs it",
                reason="conversations that are in no canary would be refused",
                next_step="remove `release` from one of its pools",
            )
