"""What settings and the catalogue decide about a serverless endpoint before anything is created: the vendor's own words
for it, its facts, and what the vendor can't express."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from headrace.catalog import load
from headrace.errors import Problem, Refused
from headrace.rules.facts import ServerlessPoolFacts, WarmUpFacts
from headrace.settings.checks.compute import instances_are_in_order
from headrace.settings.checks.offers import vendor_problems
from headrace.settings.checks.places import regions_of_the_vendor
from headrace.settings.releases import ModelRelease, Workload
from headrace.settings.serverless import ServerlessPool, ServerlessProvider
from headrace_components.images import require_digest
from headrace_components.place import Place
from headrace_components.pool_plan import release_facts, workload_facts

PORT: Final = 8000
# Where RunPod mounts a network volume in a serverless worker (docs.runpod.io, network volumes, read 2026-11-21).
RUNPOD_MOUNT: Final = "/runpod-volume"
MODAL_MOUNT: Final = "/models"
# Routing region of an app that names none (catalogue, regions.yaml).
MODAL_DEFAULT_INGRESS: Final = "us-east"
# A network volume holds the weights of one release, with room to upload the next one beside it.
VOLUME_SHARE: Final = 2.5
VOLUME_LEAST_GB: Final = 10


@dataclass(frozen=True, kw_only=True)
class EndpointPlan:
    """An endpoint, decided."""

    name: str
    settings: ServerlessPool
    workload: Workload
    release: ModelRelease
    facts: ServerlessPoolFacts

    @property
    def model_path(self) -> str:
        """Where the server finds the weights."""
        mount = MODAL_MOUNT if self.settings.provider is ServerlessProvider.MODAL else RUNPOD_MOUNT
        return f"{mount}/{self.workload.release}"

    def serving_arguments(self) -> list[str]:
        """The same arguments as on the dedicated pool: what changes results belongs to the release."""
        release, settings = self.release, self.settings
        return [
            self.model_path,
            f"--served-model-name={settings.workload}",
            f"--port={PORT}",
            f"--tensor-parallel-size={release.tensor_parallel}",
            f"--max-model-len={self.workload.context_tokens}",
            f"--max-num-seqs={settings.concurrency_per_instance}",
            *([f"--quantization={release.quantization}"] if release.quantization else []),
            *release.serving_args,
        ]


def plan_endpoint(
    name: str, place: Place, *, settings: ServerlessPool, workload: Workload, release: ModelRelease
) -> EndpointPlan:
    """The plan; refuses what the vendor can't do, all of it at once."""
    path = f"serverlessPools.{name}"
    require_digest(release.image, f"releases.{workload.release}.image")
    problems = [
        *instances_are_in_order(path, settings),
        *regions_of_the_vendor(path, settings),
        *vendor_problems(path, settings),
        *_room(path, settings, release),
    ]
    if problems:
        raise Refused(*problems)
    return EndpointPlan(
        name=name,
        settings=settings,
        workload=workload,
        release=release,
        facts=_facts(name, place, settings, workload, release),
    )


def _room(path: str, settings: ServerlessPool, release: ModelRelease) -> Iterator[Problem]:
    if release.tensor_parallel > settings.gpu_count:
        yield Problem(
            path=f"{path}.gpuCount",
            value=settings.gpu_count,
            rule=f"must be at least {release.tensor_parallel}",
            reason="the release splits the model over that many GPUs of one instance",
            next_step="raise it, or use a release with a smaller `tensorParallel`",
        )


def runpod_gpus(settings: ServerlessPool) -> dict[str, Any]:
    """Pools that hold the wanted GPUs, without the others that they hold. RunPod picks by capacity, not by order."""
    wanted = (settings.gpu, *settings.gpu_fallbacks)
    pools, excluded = [], []
    for pool, row in load.runpod_pools().items():
        if any(gpu in row.gpus for gpu in wanted):
            pools.append(pool)
            excluded += [row.gpu_type_ids[gpu] for gpu in row.gpus if gpu not in wanted]
    return {"pools": pools, "count": settings.gpu_count, **({"excludedTypes": excluded} if excluded else {})}


def modal_gpu(gpu: str) -> str:
    """Modal's name of one of our GPUs."""
    return next(name for name, row in load.modal_gpus().items() if gpu in row.gpus)


def endpoint_inputs(plan: EndpointPlan, volume: Any) -> dict[str, Any]:
    """Inputs of `headrace:runpod:Endpoint`. vLLM's own HTTP paths behind the load balancer; the image's entry point is
    `vllm serve`, so `args` begin with the model."""
    settings = plan.settings
    return {
        "type": "LOAD_BALANCER",
        "image": plan.release.image,
        "args": " ".join(plan.serving_arguments()),
        "disk": 20,
        "env": {
            "PORT": str(PORT),
            "PORT_HEALTH": str(PORT),
            "HEALTH_CHECK_PATH": "/health",
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
        },
        "ports": [f"{PORT}/http"],
        "gpu": {**runpod_gpus(settings), "minCudaVersion": plan.release.cuda_version},
        "workers": {
            "min": settings.min_instances,
            "max": settings.max_instances,
            "idleTimeout": settings.idle_timeout_s,
        },
        "scaling": {"type": "REQUEST_COUNT", "requestCount": settings.concurrency_per_instance},
        "dataCenterIds": list(settings.regions),
        "networkVolumes": [volume],
        "timeout": settings.execution_timeout_s * 1000,
        "flashboot": "FLASHBOOT",
    }


def app_inputs(plan: EndpointPlan, volume: Any) -> dict[str, Any]:
    """Inputs of `headrace:modal:App`."""
    settings = plan.settings
    return {
        "image": plan.release.image,
        "command": ["vllm", "serve", *plan.serving_arguments()],
        "gpu": modal_gpu(settings.gpu),
        "gpuCount": settings.gpu_count,
        "gpuFallbacks": [modal_gpu(gpu) for gpu in settings.gpu_fallbacks],
        "minContainers": settings.min_instances,
        "maxContainers": settings.max_instances,
        "scaledownWindow": settings.idle_timeout_s,
        "targetConcurrency": settings.concurrency_per_instance,
        "regions": list(settings.regions),
        "routingRegion": settings.ingress_region or MODAL_DEFAULT_INGRESS,
        "env": {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"},
        "volumes": {MODAL_MOUNT: volume},
        "port": PORT,
        "proxyAuth": True,
        "timeout": settings.execution_timeout_s,
        "warmUp": warm_up_windows(settings),
        "warmUpLeadTime": settings.warm_up_lead_time_s,
    }


def warm_up_windows(settings: ServerlessPool) -> list[dict[str, Any]]:
    """The schedule as the jobs read it."""
    return [
        {"hours": sorted(window.hours), "minInstances": window.min_instances, "timeZone": window.time_zone}
        for window in settings.warm_up
    ]


def volume_gb(release: ModelRelease) -> int:
    """Size of the network volume for a release."""
    return max(VOLUME_LEAST_GB, round(release.weights_gib * 1.074 * VOLUME_SHARE))


def _facts(
    name: str, place: Place, settings: ServerlessPool, workload: Workload, release: ModelRelease
) -> ServerlessPoolFacts:
    modal = settings.provider is ServerlessProvider.MODAL
    known = load.modal_regions() if modal else load.runpod_data_centers()
    ingress = (settings.ingress_region or MODAL_DEFAULT_INGRESS) if modal else None
    row = load.modal_routing_regions().get(ingress) if ingress else None
    return ServerlessPoolFacts(
        **place.facts(),
        name=name,
        provider=settings.provider.value,
        gpus=(settings.gpu, *settings.gpu_fallbacks),
        gpu_count=settings.gpu_count,
        min_instances=settings.min_instances,
        max_instances=settings.max_instances,
        concurrency_per_instance=settings.concurrency_per_instance,
        idle_timeout_s=settings.idle_timeout_s,
        execution_timeout_s=settings.execution_timeout_s,
        regions=tuple(settings.regions),
        jurisdictions=tuple(
            dict.fromkeys(known[region].jurisdiction if region in known else "unknown" for region in settings.regions)
        ),
        # A volume pins RunPod's workers to its data centre, data centre ids alone are a preference; Modal's regions
        # bind.
        placement_guaranteed=bool(settings.regions) and (modal or settings.volume is None),
        ingress_region=ingress,
        ingress_jurisdiction=row.jurisdiction if row else None,
        authenticated=True,
        warm_up=tuple(
            WarmUpFacts(hours=tuple(window.hours), min_instances=window.min_instances, time_zone=window.time_zone)
            for window in settings.warm_up
        ),
        warm_up_lead_time_s=settings.warm_up_lead_time_s,
        release=release_facts(workload.release, release),
        workload=workload_facts(settings.workload, workload),
    )
