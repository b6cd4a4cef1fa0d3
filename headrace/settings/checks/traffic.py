"""Checks on the router's settings."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.errors import Problem
from headrace.settings.checks.compute import unknown
from headrace.settings.tree import Settings


def router_names_what_exists(settings: Settings) -> Iterator[Problem]:
    """Spend ceilings and canaries name what exists; canary shares leave room for the main release."""
    router = settings.router
    for pool in router.pool_spend_ceilings_usd_per_hour:
        if pool not in settings.serverless_pools:
            yield unknown(
                f"router.poolSpendCeilingsUsdPerHour.{pool}",
                pool,
                "serverlessPools",
                "serverless pool",
                settings.serverless_pools,
            )
    for workload, shares in router.canary_percent.items():
        path = f"router.canaryPercent.{workload}"
        if workload not in settings.workloads:
            yield unknown(path, workload, "workloads", "workload", settings.workloads)
        for release in shares:
            if release not in settings.releases:
                yield unknown(f"{path}.{release}", release, "releases", "model release", settings.releases)
        if sum(shares.values()) > 100:
            yield Problem(
                path=path,
                value=sum(shares.values()),
                rule="canary shares must add up to at most 100",
                reason="the rest runs the workload's own release",
                next_step="lower the shares",
            )


def spill_thresholds_are_in_order(settings: Settings) -> Iterator[Problem]:
    """Spilling stops below the point at which it starts, or it flaps."""
    spill = settings.router.spill
    if spill.stop_at_percent >= spill.start_at_percent:
        yield Problem(
            path="router.spill.stopAtPercent",
            value=spill.stop_at_percent,
            rule=f"it must be less than startAtPercent ({spill.start_at_percent:g})",
            reason="without a gap the router would switch back and forth",
            next_step="lower it by 10 or more",
        )
