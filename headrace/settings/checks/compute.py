"""Checks on machines: references, capacity, bounds, schedules, and whether a model fits its GPU."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from headrace.catalog import load as catalog
from headrace.catalog.drivers import version_key
from headrace.catalog.schema import Gpu
from headrace.errors import Problem
from headrace.settings.cron import cron_fault
from headrace.settings.dedicated import CapacityType, DedicatedPool
from headrace.settings.fit import GPU_MEMORY_UTILIZATION, memory_fit
from headrace.settings.releases import ModelRelease, Workload
from headrace.settings.serverless import ServerlessPool
from headrace.settings.suggest import did_you_mean
from headrace.settings.tree import Settings


def unknown(path: str, value: object, section: str, word: str, known: Collection[str]) -> Problem:
    """A reference to something that `section` of the settings does not define."""
    return Problem(
        path=path,
        value=value,
        rule=f"there is no {word} of that name",
        reason=f"{section} does not define it",
        next_step=did_you_mean(value, known) if known else f"define it under {section}",
    )


def workloads_name_their_release(settings: Settings) -> Iterator[Problem]:
    """A workload runs a release that exists and that is started with enough context."""
    for name, workload in settings.workloads.items():
        release = settings.releases.get(workload.release)
        if release is None:
            yield unknown(f"workloads.{name}.release", workload.release, "releases", "model release", settings.releases)
        elif workload.context_tokens > release.max_context_tokens:
            yield Problem(
                path=f"workloads.{name}.contextTokens",
                value=workload.context_tokens,
                rule=f"it must be at most {release.max_context_tokens}, the context of release {workload.release!r}",
                reason="the model server refuses longer requests",
                next_step="shorten the context, or record a release with a longer one",
            )


def releases_lie_in_the_model_store(settings: Settings) -> Iterator[Problem]:
    """Artifacts lie in the stack's own bucket: its policy, key and pod roles reach no other."""
    bucket = settings.model_store.bucket_name
    for name, release in settings.releases.items():
        found = release.artifact_uri.removeprefix("s3://").partition("/")[0]
        if bucket is not None and found != bucket:
            yield Problem(
                path=f"releases.{name}.artifactUri",
                value=release.artifact_uri,
                rule=f"it must lie in the model store's bucket {bucket}",
                reason="pods may read no other bucket, and object lock keeps releases in this one",
                next_step=f"copy the artifact to s3://{bucket}/ and write that address",
            )


def images_are_not_compromised(settings: Settings) -> Iterator[Problem]:
    """No image whose name and tag say that it is a release known to carry malicious code."""
    images = [(f"releases.{name}.image", release.image) for name, release in settings.releases.items()]
    if settings.router.image is not None:
        images.append(("router.image", settings.router.image))
    for path, image in images:
        repository, _, tag = image.partition("@")[0].rpartition(":")
        for row in catalog.compromised_releases().values():
            if (
                row.package in repository.split("/")[-1]
                and tag.removeprefix("v").removeprefix("main-v") in row.versions
            ):
                yield Problem(
                    path=path,
                    value=image,
                    rule=f"{row.package} {tag} is known to be compromised",
                    reason=row.reason,
                    next_step="use another version, and rotate every secret that this one could read",
                )


def pools_name_what_exists(settings: Settings) -> Iterator[Problem]:
    """Pools name a workload, an instance type or GPU that exist."""
    for name, pool in settings.dedicated_pools.items():
        path = f"dedicatedPools.{name}"
        if pool.workload not in settings.workloads:
            yield unknown(f"{path}.workload", pool.workload, "workloads", "workload", settings.workloads)
        if pool.instance_type not in catalog.instance_types():
            yield Problem(
                path=f"{path}.instanceType",
                value=pool.instance_type,
                rule="it must be an AWS instance type with GPUs from the catalogue",
                reason="GPU, memory and network interfaces of others are not known",
                next_step=did_you_mean(pool.instance_type, catalog.instance_types()),
            )
    for name, serverless in settings.serverless_pools.items():
        path = f"serverlessPools.{name}"
        if name in settings.dedicated_pools:
            yield Problem(
                path=path,
                value=name,
                rule="a dedicated pool has this name already",
                reason="router and reports name pools without their kind",
                next_step="rename one of the two",
            )
        if serverless.workload not in settings.workloads:
            yield unknown(f"{path}.workload", serverless.workload, "workloads", "workload", settings.workloads)
        wanted = [(f"{path}.gpu", serverless.gpu)]
        wanted += [(f"{path}.gpuFallbacks[{index}]", gpu) for index, gpu in enumerate(serverless.gpu_fallbacks)]
        for gpu_path, gpu in wanted:
            if gpu not in catalog.gpus():
                yield Problem(
                    path=gpu_path,
                    value=gpu,
                    rule="it must be a GPU of the catalogue",
                    reason="memory and compute capability of others are not known",
                    next_step=did_you_mean(gpu, catalog.gpus()),
                )


def capacity_has_its_single_zone(settings: Settings) -> Iterator[Problem]:
    """Reserved capacity exists in one zone; a block has an id and comes only in some types."""
    for name, pool in settings.dedicated_pools.items():
        yield from _capacity(f"dedicatedPools.{name}", pool)


def _capacity(path: str, pool: DedicatedPool) -> Iterator[Problem]:
    capacity = pool.capacity
    if capacity.type is CapacityType.ON_DEMAND:
        if capacity.reservation_id is not None:
            yield Problem(
                path=f"{path}.capacity.reservationId",
                value=capacity.reservation_id,
                rule="on-demand capacity has no reservation",
                reason="the id would be ignored",
                next_step="set capacity.type to reservation or capacity-block, or remove the id",
            )
        return
    kind = "capacity block" if capacity.type is CapacityType.CAPACITY_BLOCK else "reservation"
    if capacity.zone is None:
        yield Problem(
            path=f"{path}.capacity.zone",
            value=None,
            rule=f"a {kind} needs its single zone",
            reason="reserved machines exist in one zone and a node group elsewhere never gets them",
            next_step="add the zone that the purchase names",
        )
    elif pool.zones is not None and pool.zones != [capacity.zone]:
        yield Problem(
            path=f"{path}.zones",
            value=", ".join(pool.zones),
            rule=f"with a {kind} it must be [{capacity.zone}] or unset",
            reason="reserved machines exist in one zone",
            next_step="remove zones",
        )
    if capacity.type is CapacityType.CAPACITY_BLOCK:
        if capacity.reservation_id is None:
            yield Problem(
                path=f"{path}.capacity.reservationId",
                value=None,
                rule="a capacity block needs the id of its purchase",
                reason="this stack does not buy blocks on its own",
                next_step="buy it with an approval, then write its id",
            )
        instance = catalog.instance_types().get(pool.instance_type)
        if instance is not None and not instance.capacity_blocks:
            yield Problem(
                path=f"{path}.instanceType",
                value=pool.instance_type,
                rule="AWS sells no capacity blocks of it",
                reason="blocks exist for P4d, P4de, P5, P5e, P5en and P6 types",
                next_step="choose one of those, or another capacity.type",
            )


def bounds_are_in_order(settings: Settings) -> Iterator[Problem]:
    """Least is not more than most."""
    for name, pool in settings.dedicated_pools.items():
        if pool.floor_nodes > pool.ceiling_nodes:
            yield _floor(f"dedicatedPools.{name}.floorNodes", pool.floor_nodes, "ceilingNodes", pool.ceiling_nodes)
    for name, serverless in settings.serverless_pools.items():
        yield from instances_are_in_order(f"serverlessPools.{name}", serverless)
    if settings.router.min_replicas > settings.router.max_replicas:
        yield _floor("router.minReplicas", settings.router.min_replicas, "maxReplicas", settings.router.max_replicas)


def instances_are_in_order(path: str, pool: ServerlessPool) -> Iterator[Problem]:
    """Always running, in a warm-up, at most: each is not more than the next; and warm-ups have a time zone."""
    if pool.min_instances > pool.max_instances:
        yield _floor(f"{path}.minInstances", pool.min_instances, "maxInstances", pool.max_instances)
    for index, window in enumerate(pool.warm_up):
        at = f"{path}.warmUp[{index}]"
        if window.min_instances > pool.max_instances:
            yield _floor(f"{at}.minInstances", window.min_instances, "maxInstances", pool.max_instances)
        if window.min_instances < pool.min_instances:
            yield Problem(
                path=f"{at}.minInstances",
                value=window.min_instances,
                rule=f"it must be at least minInstances ({pool.min_instances})",
                reason="a warm-up adds to what always runs",
                next_step="correct it",
            )
        yield from _time_zone(f"{at}.timeZone", window.time_zone)


def _floor(path: str, value: int, ceiling: str, limit: int) -> Problem:
    return Problem(
        path=path,
        value=value,
        rule=f"it must be at most {ceiling} ({limit})",
        reason="the least can't exceed the most",
        next_step=f"lower it, or raise {ceiling}",
    )


def _time_zone(path: str, time_zone: str) -> Iterator[Problem]:
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield Problem(
            path=path,
            value=time_zone,
            rule="it must be an IANA time zone",
            reason="offsets such as UTC+1 don't know daylight saving",
            next_step="write a name such as Europe/Berlin or UTC",
        )


def schedules_hold(settings: Settings) -> Iterator[Problem]:
    """Schedules have their own names, a cron expression, a time zone and bounds within the pool's."""
    for name, pool in settings.dedicated_pools.items():
        seen: set[str] = set()
        for index, schedule in enumerate(pool.schedules):
            path = f"dedicatedPools.{name}.schedules[{index}]"
            if schedule.name in seen:
                yield Problem(
                    path=f"{path}.name",
                    value=schedule.name,
                    rule="two schedules of a pool can't share a name",
                    reason="the second would replace the first",
                    next_step="rename one",
                )
            seen.add(schedule.name)
            fault = cron_fault(schedule.cron)
            if fault is not None:
                yield Problem(
                    path=f"{path}.cron",
                    value=schedule.cron,
                    rule="it must be a cron expression of five fields",
                    reason=fault,
                    next_step="write for instance '0 7 * * MON-FRI'",
                )
            yield from _time_zone(f"{path}.timeZone", schedule.time_zone)
            if schedule.floor_nodes > schedule.ceiling_nodes:
                yield _floor(f"{path}.floorNodes", schedule.floor_nodes, "ceilingNodes", schedule.ceiling_nodes)
            if schedule.ceiling_nodes > pool.ceiling_nodes:
                yield Problem(
                    path=f"{path}.ceilingNodes",
                    value=schedule.ceiling_nodes,
                    rule=f"it must be at most the pool's ceilingNodes ({pool.ceiling_nodes})",
                    reason="quotas and budgets count with the pool's ceiling",
                    next_step="lower it, or raise the pool's ceiling",
                )


def model_servers_follow_or_are_fixed(settings: Settings) -> Iterator[Problem]:
    """Where nodes come and go, model servers go with them."""
    for name, pool in settings.dedicated_pools.items():
        if pool.follows_nodes and pool.replicas is not None:
            mover = "schedules" if pool.schedules else "hourlyFloor"
            yield Problem(
                path=f"dedicatedPools.{name}.replicas",
                value=pool.replicas,
                rule=f"a pool with {mover} can't fix its model servers",
                reason="their number follows its nodes, which come and go",
                next_step=f"remove it, or {mover}",
            )


@dataclass(frozen=True, kw_only=True)
class _Placement:
    """A release on a kind of GPU, in a pool."""

    pool: str
    path: str
    machine: str
    gpu: Gpu
    gpu_count: int
    slots: int
    workload: Workload
    release_name: str
    release: ModelRelease


def _placements(settings: Settings) -> Iterator[_Placement]:
    for name, pool in settings.dedicated_pools.items():
        workload = settings.workloads.get(pool.workload)
        release_name = settings.release_name(pool) or ""
        release = settings.releases.get(release_name)
        instance = catalog.instance_types().get(pool.instance_type)
        if workload and release and instance:
            yield _Placement(
                pool=f"dedicatedPools.{name}",
                path=f"dedicatedPools.{name}.instanceType",
                machine=pool.instance_type,
                gpu=catalog.gpus()[instance.gpu],
                gpu_count=instance.gpu_count,
                slots=pool.slots_per_replica,
                workload=workload,
                release_name=release_name,
                release=release,
            )
    for name, serverless in settings.serverless_pools.items():
        workload = settings.workloads.get(serverless.workload)
        release_name = settings.release_name(serverless) or ""
        release = settings.releases.get(release_name)
        for index, gpu_name in enumerate([serverless.gpu, *serverless.gpu_fallbacks]):
            gpu = catalog.gpus().get(gpu_name)
            if workload and release and gpu:
                key = "gpu" if index == 0 else f"gpuFallbacks[{index - 1}]"
                yield _Placement(
                    pool=f"serverlessPools.{name}",
                    path=f"serverlessPools.{name}.{key}",
                    machine=gpu_name,
                    gpu=gpu,
                    gpu_count=serverless.gpu_count,
                    slots=serverless.concurrency_per_instance,
                    workload=workload,
                    release_name=release_name,
                    release=release,
                )


def models_fit_their_gpus(settings: Settings) -> Iterator[Problem]:
    """A replica has the GPUs, the compute capability and the memory that its release needs."""
    for place in _placements(settings):
        release, gpu = place.release, place.gpu
        if release.tensor_parallel > place.gpu_count:
            yield Problem(
                path=place.path,
                value=place.machine,
                rule=f"it must have at least {release.tensor_parallel} GPUs and has {place.gpu_count}",
                reason=f"release {place.release_name!r} spans {release.tensor_parallel} GPUs of one machine",
                next_step="choose a larger machine, or a release with a smaller tensorParallel",
            )
            continue
        if version_key(gpu.compute_capability) < version_key(release.minimum_compute_capability):
            yield Problem(
                path=place.path,
                value=place.machine,
                rule=f"its GPU {gpu.name} must have compute capability {release.minimum_compute_capability} or newer "
                f"and has {gpu.compute_capability}",
                reason=f"the kernels of release {place.release_name!r} don't run on older ones",
                next_step="choose a newer GPU, or a release built for this one",
            )
        fit = memory_fit(
            gpu_memory_gib=gpu.memory_gib,
            tensor_parallel=release.tensor_parallel,
            weights_gib=release.weights_gib,
            kv_cache_kib_per_token=release.kv_cache_kib_per_token,
            context_tokens=place.workload.context_tokens,
        )
        if not fit.fits:
            yield Problem(
                path=place.path,
                value=place.machine,
                rule=f"release {place.release_name!r} does not fit: weights {fit.weights_gib:.1f} GiB + KV cache "
                f"{fit.request_gib:.1f} GiB (one request of {place.workload.context_tokens} tokens x "
                f"{release.kv_cache_kib_per_token:g} KiB) = {fit.weights_gib + fit.request_gib:.1f} GiB, but "
                f"{release.tensor_parallel} x {gpu.name} give {fit.usable_gib:.1f} GiB "
                f"({GPU_MEMORY_UTILIZATION:.0%} of {release.tensor_parallel} x {gpu.memory_gib:g})",
                reason="the model server would fail at start",
                next_step="choose a GPU with more memory, a larger tensorParallel, a quantized release, "
                "or a shorter contextTokens",
            )


def slot_warnings(settings: Settings) -> Iterator[Problem]:
    """Slots that can't all hold the full context at once: the server would preempt requests and recompute them."""
    for place in _placements(settings):
        fit = memory_fit(
            gpu_memory_gib=place.gpu.memory_gib,
            tensor_parallel=place.release.tensor_parallel,
            weights_gib=place.release.weights_gib,
            kv_cache_kib_per_token=place.release.kv_cache_kib_per_token,
            context_tokens=place.workload.context_tokens,
        )
        if 0 < fit.full_context_slots < place.slots:
            key = "slotsPerReplica" if place.pool.startswith("dedicated") else "concurrencyPerInstance"
            yield Problem(
                path=f"{place.pool}.{key}",
                value=place.slots,
                rule=f"only {fit.full_context_slots} requests at {place.workload.context_tokens} tokens fit in the "
                f"KV cache of a replica on {place.machine}",
                reason="beyond that the model server preempts requests and computes them again",
                next_step=f"lower it to {fit.full_context_slots}, or shorten the workload's contextTokens",
            )
