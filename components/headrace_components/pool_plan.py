"""What settings and the catalogue decide about a dedicated pool before anything is created."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.catalog import load
from headrace.catalog.drivers import node_driver
from headrace.catalog.schema import InstanceType
from headrace.errors import refuse
from headrace.rules.facts import DedicatedPoolFacts, ReleaseFacts, ScheduleFacts, WorkloadFacts
from headrace.settings.dedicated import CapacityType, DedicatedPool
from headrace.settings.releases import ModelRelease, Workload
from headrace_components import nodes, serving
from headrace_components.images import Registry, require_digest
from headrace_components.place import Place


@dataclass(frozen=True, kw_only=True)
class PoolPlan:
    """A pool, decided."""

    name: str
    settings: DedicatedPool
    instance: InstanceType
    workload: Workload
    release: ModelRelease
    zones: tuple[str, ...]
    replicas: int
    replicas_per_node: int
    facts: DedicatedPoolFacts

    def server(self, registry: Registry, region: str) -> serving.Server:
        """The model server, its image mapped to the account's registry."""
        return serving.Server(
            pool=self.name,
            workload_name=self.settings.workload,
            workload=self.workload,
            release_name=self.workload.release,
            release=self.release,
            image=registry.mapped(self.release.image),
            instance=self.instance,
            replicas=self.replicas,
            slots=self.settings.slots_per_replica,
            region=region,
        )


def plan_pool(
    name: str,
    place: Place,
    *,
    settings: DedicatedPool,
    workload: Workload,
    release: ModelRelease,
    kubernetes_version: str,
    network_zones: tuple[str, ...],
) -> PoolPlan:
    """The pool's zones, replicas and facts; refuses what AWS would refuse only after minutes, or never."""
    path = f"dedicatedPools.{name}"
    instance = load.instance_types().get(settings.instance_type)
    if instance is None:
        raise refuse(
            f"{path}.instanceType",
            settings.instance_type,
            "must be an instance type of the catalogue",
            reason="its GPUs, memory and network are unknown otherwise",
            next_step="correct the name, or add the type to headrace/catalog/data/instance_types.yaml",
        )
    if settings.capacity.type is CapacityType.CAPACITY_BLOCK and not instance.capacity_blocks:
        raise refuse(
            f"{path}.capacity.type",
            settings.capacity.type.value,
            f"must not be a capacity block for {instance.name}",
            reason="AWS sells no capacity blocks of that type",
            next_step="use a reservation or on-demand machines, or another type",
        )
    if settings.floor_nodes > settings.ceiling_nodes:
        raise refuse(
            f"{path}.floorNodes",
            settings.floor_nodes,
            f"must not exceed ceilingNodes ({settings.ceiling_nodes})",
            reason="the floor always runs, and the ceiling is the most that may",
            next_step="raise the ceiling or lower the floor",
        )
    require_digest(release.image, f"releases.{workload.release}.image")
    zones = nodes.pool_zones(name, settings.capacity, settings.zones, network_zones)
    per_node = serving.replicas_per_node(name, instance, release)
    replicas = _replicas(name, settings, per_node)
    return PoolPlan(
        name=name,
        settings=settings,
        instance=instance,
        workload=workload,
        release=release,
        zones=zones,
        replicas=replicas,
        replicas_per_node=per_node,
        facts=_facts(name, place, settings, instance, workload, release, kubernetes_version, zones, replicas),
    )


def _replicas(name: str, settings: DedicatedPool, per_node: int) -> int:
    if settings.replicas is None:
        return settings.floor_nodes * per_node
    if settings.replicas > settings.ceiling_nodes * per_node:
        raise refuse(
            f"dedicatedPools.{name}.replicas",
            settings.replicas,
            f"must be at most {settings.ceiling_nodes * per_node}",
            reason=f"a node holds {per_node} of them and the ceiling is {settings.ceiling_nodes} nodes, the rest would "
            "never start",
            next_step="lower it, or raise the ceiling",
        )
    return settings.replicas


def release_facts(name: str, release: ModelRelease) -> ReleaseFacts:
    """A release as rules see it."""
    return ReleaseFacts(
        name=name,
        artifact_uri=release.artifact_uri,
        artifact_digest=release.artifact_digest,
        image=release.image,
        cuda_version=release.cuda_version,
        minimum_compute_capability=release.minimum_compute_capability,
        quantization=release.quantization,
        weights_gib=release.weights_gib,
        kv_cache_kib_per_token=release.kv_cache_kib_per_token,
        max_context_tokens=release.max_context_tokens,
        tensor_parallel=release.tensor_parallel,
        serving_args=tuple(release.serving_args),
        forward_compatibility_package=release.forward_compatibility_package,
    )


def workload_facts(name: str, workload: Workload) -> WorkloadFacts:
    """A workload as rules see it."""
    return WorkloadFacts(
        name=name,
        workload_class=workload.workload_class.value,
        data_classification=workload.data_classification.value,
        residency=tuple(workload.residency),
        context_tokens=workload.context_tokens,
        time_to_first_token_ms=workload.slo.time_to_first_token_ms if workload.slo else None,
        time_to_first_token_percentile=workload.slo.percentile if workload.slo else None,
    )


def _facts(
    name: str,
    place: Place,
    settings: DedicatedPool,
    instance: InstanceType,
    workload: Workload,
    release: ModelRelease,
    kubernetes_version: str,
    zones: tuple[str, ...],
    replicas: int,
) -> DedicatedPoolFacts:
    gpu = load.gpus()[instance.gpu]
    driver = (
        node_driver(settings.node_image.value, settings.node_release_version, instance.name)
        if settings.node_release_version
        else None
    )
    return DedicatedPoolFacts(
        **place.facts(),
        name=name,
        instance_type=instance.name,
        gpu=gpu.name,
        gpu_class=gpu.gpu_class.value,
        gpus_per_node=instance.gpu_count,
        gpu_memory_gib=gpu.memory_gib,
        compute_capability=gpu.compute_capability,
        vcpus_per_node=instance.vcpus,
        efa_interfaces=instance.efa_interfaces,
        capacity_type=settings.capacity.type.value,
        reservation_id=settings.capacity.reservation_id,
        zones=zones,
        floor_nodes=settings.floor_nodes,
        ceiling_nodes=settings.ceiling_nodes,
        schedules=tuple(
            ScheduleFacts(
                name=schedule.name,
                cron=schedule.cron,
                time_zone=schedule.time_zone,
                floor_nodes=schedule.floor_nodes,
                ceiling_nodes=schedule.ceiling_nodes,
            )
            for schedule in settings.schedules
        ),
        replicas=replicas,
        slots_per_replica=settings.slots_per_replica,
        node_image=settings.node_image.value,
        node_release_version=settings.node_release_version,
        kubernetes_version=kubernetes_version,
        drivers=(driver.version,) if driver else (),
        driver_chosen_at_boot=bool(driver and driver.row.chosen_at_boot),
        subnets_private=True,
        public_ip=False,
        root_volume_gib=settings.root_volume_gib,
        root_volume_encrypted=True,
        imds_v2_required=True,
        imds_hop_limit=nodes.IMDS_HOP_LIMIT,
        node_repair=True,
        namespace=serving.pool_namespace(name),
        disruption_budget=True,
        release=release_facts(workload.release, release),
        workload=workload_facts(settings.workload, workload),
    )
