"""Checks on what AWS and the serverless vendors offer: values that are well formed and that nobody sells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from headrace.catalog import load as catalog
from headrace.catalog.price import price_book
from headrace.errors import Problem, Refused
from headrace.settings.cluster import ClusterSettings
from headrace.settings.dedicated import CapacityType
from headrace.settings.network import Egress
from headrace.settings.serverless import ServerlessPool, ServerlessProvider
from headrace.settings.tree import Settings

# AWS's families on Graviton: a "g" behind the generation, as in m7g or c7gn, and a1 (EC2 naming, 2026-11-22).
_GRAVITON: Final = re.compile(r"^([a-z]+\d+g[a-z]*|a1)\.")
# What CloudWatch Logs accepts (API reference, PutRetentionPolicy, 2026-11-22).
LOG_RETENTION_DAYS: Final = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
# AWS takes ten notifications per budget; one of ours tells of the forecast (AWS Budgets quotas, 2026-11-22).
MAX_THRESHOLDS: Final = 9
# Bounds of the vendors (RunPod API reference v2; modal 1.6.4), both of 2026-11-21.
RUNPOD_IDLE_S: Final = (1, 3600)
MODAL_IDLE_S: Final = (2, 3600)
MODAL_TIMEOUT_S: Final = 24 * 3600


def logs_are_kept_for_a_time_that_exists(settings: Settings) -> Iterator[Problem]:
    """CloudWatch Logs keeps logs for certain numbers of days only."""
    kept = {"cluster.logRetentionDays": settings.cluster.log_retention_days}
    if settings.network.adopt is None:
        kept["network.flowLogRetentionDays"] = settings.network.flow_log_retention_days
    if settings.router.image is not None:
        kept["dataStores.database.logRetentionDays"] = settings.data_stores.database.log_retention_days
    for path, days in kept.items():
        if days not in LOG_RETENTION_DAYS:
            longer = next((one for one in LOG_RETENTION_DAYS if one > days), LOG_RETENTION_DAYS[-1])
            yield Problem(
                path=path,
                value=days,
                rule=f"it must be one of {', '.join(map(str, LOG_RETENTION_DAYS))}",
                reason="CloudWatch Logs knows no other",
                next_step=f"write {longer}",
            )


def the_cluster_can_be_made(settings: Settings) -> Iterator[Problem]:
    """Somebody administers the cluster, and its add-ons have versions for its Kubernetes."""
    yield from cluster_problems(settings.cluster)


def cluster_problems(cluster: ClusterSettings) -> Iterator[Problem]:
    """What keeps a cluster from being made or used: no administrator, an add-on whose version would float."""
    if not cluster.admin_principal_arns:
        yield Problem(
            path="cluster.adminPrincipalArns",
            value=None,
            rule="it must name at least one IAM role",
            reason="the creator of the cluster gets no rights of its own, so nobody could deploy to it",
            next_step="name the role that runs the pipeline",
        )
    version = cluster.version or catalog.default_eks_version().name
    pinned = {row.name: row.kubernetes for row in catalog.eks_addons().values()}
    missing = [name for name, made_for in pinned.items() if made_for != version and name not in cluster.addon_versions]
    if missing:
        yield Problem(
            path="cluster.addonVersions",
            value=None,
            rule=f"for Kubernetes {version} it must give {', '.join(missing)}",
            reason="the catalogue pins add-ons for its default version only and an unpinned one changes by itself",
            next_step="ask `aws eks describe-addon-versions --addon-name NAME --kubernetes-version "
            f"{version}`, or take Kubernetes {catalog.default_eks_version().name}",
        )


def machines_run_the_node_image(settings: Settings) -> Iterator[Problem]:
    """CPU machines take the node image, which is built for x86."""
    machines = {"cluster.systemInstanceType": settings.cluster.system_instance_type}
    if settings.router.image is not None:
        machines["router.instanceType"] = settings.router.instance_type
    for path, machine in machines.items():
        if _GRAVITON.match(machine):
            yield Problem(
                path=path,
                value=machine,
                rule="it must be an x86 machine",
                reason="the node image is built for x86, and EKS makes no node group of the two",
                next_step="take the same size of an x86 family, for instance m7i",
            )


def reserved_capacity_has_its_id(settings: Settings) -> Iterator[Problem]:
    """Machines start only against a reservation that was made beforehand."""
    for name, pool in settings.dedicated_pools.items():
        if pool.capacity.type is CapacityType.RESERVATION and pool.capacity.reservation_id is None:
            yield Problem(
                path=f"dedicatedPools.{name}.capacity.reservationId",
                value=None,
                rule="a reservation needs its id",
                reason="this stack makes no reservations, it uses those that somebody approved and made",
                next_step="copy the id from `aws ec2 describe-capacity-reservations`",
            )


def replicas_fit_the_ceiling(settings: Settings) -> Iterator[Problem]:
    """A pool has room for the model servers that it fixes."""
    for name, pool in settings.dedicated_pools.items():
        release = settings.release_of(pool)
        instance = catalog.instance_types().get(pool.instance_type)
        if pool.replicas is None or pool.follows_nodes or release is None or instance is None:
            continue
        per_node = instance.gpu_count // release.tensor_parallel
        if per_node and pool.replicas > pool.ceiling_nodes * per_node:
            yield Problem(
                path=f"dedicatedPools.{name}.replicas",
                value=pool.replicas,
                rule=f"it must be at most {pool.ceiling_nodes * per_node}",
                reason=f"a node holds {per_node} of them and the ceiling is {pool.ceiling_nodes} nodes, the rest would "
                "never start",
                next_step="lower it, or raise the ceiling",
            )


def serverless_can_be_reached(settings: Settings) -> Iterator[Problem]:
    """There is a way to the vendors, for the router and for the job that warms a RunPod pool up."""
    routed = settings.router.image is not None and settings.serverless_pools
    if routed and settings.network.egress is Egress.NONE:
        yield Problem(
            path="network.egress",
            value="none",
            rule="for a router with serverless pools it must be nat-per-zone",
            reason="it could reach none of them, so what spills would fail",
            next_step="set it to nat-per-zone, or remove the serverless pools",
        )
    for name, pool in settings.serverless_pools.items():
        if pool.warm_up and pool.provider is ServerlessProvider.RUNPOD and settings.router.image is None:
            yield Problem(
                path=f"serverlessPools.{name}.warmUp",
                value=None,
                rule="on RunPod it needs the stack's own router",
                reason="the job that sets the minimum runs on the router's machines, the only ones with a way out",
                next_step="set router.image, or use minInstances",
            )


def vendors_sell_what_pools_ask_for(settings: Settings) -> Iterator[Problem]:
    """What a vendor can't express is refused."""
    for name, pool in settings.serverless_pools.items():
        yield from vendor_problems(f"serverlessPools.{name}", pool)


def vendor_problems(path: str, pool: ServerlessPool) -> Iterator[Problem]:
    """What the pool's vendor doesn't sell or take."""
    modal = pool.provider is ServerlessProvider.MODAL
    yield from (_modal if modal else _runpod)(path, pool)


def _runpod(path: str, pool: ServerlessPool) -> Iterator[Problem]:
    sold = {gpu for row in catalog.runpod_pools().values() for gpu in row.gpus}
    yield from _sold_gpus(path, pool, sold, "RunPod")
    yield from _within(f"{path}.idleTimeoutS", pool.idle_timeout_s, RUNPOD_IDLE_S, "RunPod")
    if pool.volume is None and len(pool.regions) != 1:
        yield Problem(
            path=f"{path}.regions",
            value=", ".join(pool.regions) or None,
            rule="it must name one data centre where the pool has no `volume`",
            reason="the volume with the weights lies in one data centre, and workers start only beside it",
            next_step="name one data centre, or the id of a volume that you made",
        )


def _modal(path: str, pool: ServerlessPool) -> Iterator[Problem]:
    sold = catalog.modal_gpus()
    yield from _sold_gpus(path, pool, {gpu for row in sold.values() for gpu in row.gpus}, "Modal")
    for row in sold.values():
        most = row.max_per_container
        if pool.gpu in row.gpus and most is not None and pool.gpu_count > most:
            yield Problem(
                path=f"{path}.gpuCount",
                value=pool.gpu_count,
                rule=f"it must be at most {most} for {pool.gpu}",
                reason="Modal puts no more of them into one container",
                next_step="lower it, or choose another GPU",
            )
    yield from _within(f"{path}.idleTimeoutS", pool.idle_timeout_s, MODAL_IDLE_S, "Modal")
    yield from _within(f"{path}.executionTimeoutS", pool.execution_timeout_s, (1, MODAL_TIMEOUT_S), "Modal")


def _sold_gpus(path: str, pool: ServerlessPool, sold: set[str], vendor: str) -> Iterator[Problem]:
    named = [(f"{path}.gpu", pool.gpu)]
    named += [(f"{path}.gpuFallbacks[{index}]", gpu) for index, gpu in enumerate(pool.gpu_fallbacks)]
    for where, gpu in named:
        if gpu in catalog.gpus() and gpu not in sold:  # one that nobody knows is told by itself
            yield Problem(
                path=where,
                value=gpu,
                rule=f"it is not sold by {vendor}",
                reason=f"the catalogue knows {', '.join(sorted(sold))}",
                next_step="choose one of those, or the other provider",
            )


def _within(path: str, value: int, bounds: tuple[int, int], vendor: str) -> Iterator[Problem]:
    if not bounds[0] <= value <= bounds[1]:
        yield Problem(
            path=path,
            value=value,
            rule=f"it must lie between {bounds[0]} and {bounds[1]} seconds",
            reason=f"{vendor} takes nothing else",
            next_step="correct it",
        )


def prices_are_known(settings: Settings) -> Iterator[Problem]:
    """A router weighs pools by their prices on `router.priceDate`; without that day, by the catalogue's newest."""
    day, seen = settings.router.price_date, set[str]()
    if settings.router.image is None or day is None:
        return
    for pool in settings.serverless_pools.values():
        for gpu in (pool.gpu, *pool.gpu_fallbacks):
            try:
                price_book().find(pool.provider.value, gpu, "flex", day)
            except Refused as refusal:
                seen.add(refusal.problems[0].path)
    for one in settings.dedicated_pools.values():
        if price_book().machine(one.instance_type, settings.region, day) is None:
            seen.add(f"aws/{one.instance_type}")
    if seen:
        yield Problem(
            path="router.priceDate",
            value=day.isoformat(),
            rule=f"on that day there is no price of {', '.join(sorted(seen))}",
            reason="a missing price is never taken for zero",
            next_step="take a later day, or remove it: then the catalogue's newest prices hold",
        )


def alerts_fit_a_budget(settings: Settings) -> Iterator[Problem]:
    """AWS takes only so many notifications per budget."""
    thresholds = settings.budgets.alert_thresholds_percent
    if not 1 <= len(thresholds) <= MAX_THRESHOLDS:
        yield Problem(
            path="budgets.alertThresholdsPercent",
            value=f"{len(thresholds)} values",
            rule=f"it must have one to {MAX_THRESHOLDS}",
            reason="AWS takes ten notifications per budget, and one tells of the forecast",
            next_step="keep the few that somebody acts upon",
        )


def storage_can_grow(settings: Settings) -> Iterator[Problem]:
    """A database starts with no more than the most that it may grow to."""
    database = settings.data_stores.database
    if database.max_storage_gib < database.storage_gib:
        yield Problem(
            path="dataStores.database.maxStorageGib",
            value=database.max_storage_gib,
            rule=f"it must be at least storageGib ({database.storage_gib})",
            reason="it is the most that storage grows to by itself",
            next_step="raise it",
        )
