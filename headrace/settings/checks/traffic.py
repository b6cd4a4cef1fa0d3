"""Checks on the router's settings."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from headrace.errors import Problem
from headrace.settings.checks.compute import unknown
from headrace.settings.network import Egress
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


def traces_have_a_way(settings: Settings) -> Iterator[Problem]:
    """The collector of traces is where the router's network policies let it send: nothing else says that they are
    lost."""
    endpoint = settings.router.otlp_endpoint
    if endpoint is None:
        return
    rule, next_step = _way_of_traces(urlsplit(endpoint), settings)
    if rule:
        yield Problem(
            path="router.otlpEndpoint",
            value=endpoint,
            rule=rule,
            reason="the router reaches no other collector, and its traces would be lost",
            next_step=next_step,
        )


def _way_of_traces(address: SplitResult, settings: Settings) -> tuple[str, str]:
    """The rule that an address breaks, if any, and what to do."""
    host, inside = address.hostname or "", "run a collector in the cluster, and name that: it can pass them on"
    try:
        port = address.port
    except ValueError:
        return "its port must be at most 65535", "correct it"
    if settings.router.traces_stay_inside:
        if "." in host:
            return "", ""
        return (
            "it must name the collector's namespace",
            f"write {host}.NAMESPACE, of a namespace with the label headrace.dev/role: monitoring",
        )
    if address.scheme != "https" or port not in {None, 443} or _not_public(host):
        return "outside of the cluster it must be a public HTTPS address on port 443", inside
    if settings.network.egress is Egress.NONE:
        return "without a way out of the network (network.egress) it must be in the cluster", inside
    return "", ""


def _not_public(host: str) -> bool:
    """Whether a literal address is private, loopback or link-local; of a name nobody knows."""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return False


def api_keys_name_what_exists(settings: Settings) -> Iterator[Problem]:
    """A key belongs to a tenant's project, may use workloads that exist, and is one key."""
    seen: dict[str, str] = {}
    for name, key in settings.router.api_keys.items():
        path = f"router.apiKeys.{name}"
        tenant = settings.tenants.get(key.tenant)
        if tenant is None:
            yield unknown(f"{path}.tenant", key.tenant, "tenants", "tenant", settings.tenants)
        elif key.project not in tenant.projects:
            section = f"tenants.{key.tenant}.projects"
            yield unknown(f"{path}.project", key.project, section, "project", tenant.projects)
        for workload in key.workloads:
            if workload not in settings.workloads:
                yield unknown(f"{path}.workloads", workload, "workloads", "workload", settings.workloads)
        if key.sha256 in seen:
            yield Problem(
                path=f"{path}.sha256",
                value=None,
                rule=f"it must differ from that of router.apiKeys.{seen[key.sha256]}",
                reason="one key would be two callers",
                next_step="make a new key with `headrace router key`",
            )
        seen[key.sha256] = name
