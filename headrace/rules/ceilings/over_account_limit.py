"""Pools that together exceed what an account may have.

**What.** Maximum workers over all RunPod endpoints, GPUs over all Modal apps, vCPUs of all EC2 pools at their
ceilings, and the spend per hour at full size stay within the accounts' limits.

**Why.** Each pool's maximum looks fine by itself. The vendor's limit is reached at the peak, when nobody can ask for
more.

**Passes.** Sums within `limits` of settings, or the catalogue's defaults.

**Violates.** A sum above one of them.

**Undecidable when** the sum of RunPod workers has no limit to hold it against (`limits.runpod.workersTotal`: the
account shows it), or Modal's enterprise plan doesn't say its GPUs, or a price is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from headrace.rules import serverless_pools, tables
from headrace.rules.finding import Severity
from headrace.rules.rule import Broken, Rule, Said, Undecided, View

if TYPE_CHECKING:
    from headrace.settings.tree import Settings


def check(view: View) -> Iterator[Said]:
    """One sum after the other."""
    settings = view.settings
    if settings is None:
        return
    pools = tuple(serverless_pools.pools(view))
    yield from _runpod(view, settings, [pool for pool in pools if pool.provider == "runpod"])
    yield from _modal(settings, [pool for pool in pools if pool.provider == "modal"])
    yield from _ec2(settings)


def _runpod(view: View, settings: Settings, pools: list[serverless_pools.Pool]) -> Iterator[Said]:
    from headrace.catalog import load

    if not pools:
        return
    total, limit = sum(pool.max_instances for pool in pools), settings.limits.runpod.workers_total
    if limit is None:
        row = load.provider_limits()["runpod"]
        for pool in pools:
            default = row.max_workers_per_endpoint
            if default is not None and (pool.max_instances > default or len(pools) > 1):
                yield Undecided(
                    resource="settings:limits.runpod.workersTotal",
                    what=f"whether the account may have {total} workers",
                    value="limits.runpod.workersTotal",
                    remediation="write the number that RunPod's console shows for the account",
                )
                break
    elif total > limit:
        yield Broken(
            resource="settings:limits.runpod.workersTotal",
            sentence=f"all RunPod pools together have {total} workers at most, the account may have {limit}",
        )
    spend = settings.limits.runpod.spend_usd_per_hour or float(load.provider_limits()["runpod"].spend_usd_per_hour or 0)
    dearest = 0.0
    for pool in pools:
        prices = [
            tables.serverless_usd_per_hour("runpod", gpu, pool.gpu_count, view.today, always_on=False)
            for gpu in pool.gpus
        ]
        known = [price for price in prices if price is not None]
        if len(known) < len(prices):
            return  # serverless-without-price says so
        dearest += pool.max_instances * max(known)
    if dearest > spend:
        yield Broken(
            resource="settings:limits.runpod.spendUsdPerHour",
            sentence=f"RunPod pools at full size cost {dearest:,.2f} USD an hour, the account may spend {spend:,.2f}",
        )


def _modal(settings: Settings, pools: list[serverless_pools.Pool]) -> Iterator[Said]:
    from headrace.catalog import load

    limits = settings.limits.modal
    row = load.provider_limits().get(f"modal-{limits.plan.value}")
    most = limits.concurrent_gpus or (row.max_concurrent_gpus if row else None)
    total = sum(pool.max_instances * pool.gpu_count for pool in pools)
    if not pools:
        return
    if most is None:
        yield Undecided(
            resource="settings:limits.modal.concurrentGpus",
            what=f"whether the workspace may have {total} GPUs",
            value="limits.modal.concurrentGpus",
            remediation="write the number of the contract",
        )
    elif total > most:
        yield Broken(
            resource="settings:limits.modal.concurrentGpus",
            sentence=f"all Modal pools together have {total} GPUs at most, the workspace may have {most}",
        )


def _ec2(settings: Settings) -> Iterator[Said]:
    quotas = {"g": settings.limits.aws.on_demand_g_vcpus, "p": settings.limits.aws.on_demand_p_vcpus}
    names = {"g": "onDemandGVcpus", "p": "onDemandPVcpus"}
    used = {"g": 0, "p": 0}
    blocks = 0
    for pool in settings.dedicated_pools.values():
        row = tables.instance(pool.instance_type)
        ceiling = max(pool.ceiling_nodes, *(one.ceiling_nodes for one in pool.schedules), 0)
        if pool.capacity.type.value == "capacity-block":
            blocks += 1  # has a quota of its own and doesn't count as on-demand
        elif row is not None and row.family[0] in used:
            used[row.family[0]] += ceiling * row.vcpus
    for family, quota in quotas.items():
        if quota is not None and used[family] > quota:
            yield Broken(
                resource=f"settings:limits.aws.{names[family]}",
                sentence=f"{family.upper()} pools at their ceilings have {used[family]} vCPUs, the quota is {quota}",
            )
    most = settings.limits.aws.capacity_blocks
    if most is not None and blocks > most:
        yield Broken(
            resource="settings:limits.aws.capacityBlocks",
            sentence=f"there are {blocks} capacity blocks, {most} are allowed",
        )


RULE: Final = Rule(
    id="over-account-limit",
    severity=Severity.HIGH,
    title="Over an account's limit",
    description="All pools together stay within what the accounts may have.",
    remediation="lower a pool's maximum, or have the limit raised and write it into settings",
    references=("SOC 2 A1.1",),
    reads=("settings", "serverlessPool"),
    since="0.1.0",
    early=("headrace:index:HybridPlatform",),
    check=check,
)
