"""headrace:runpod:Endpoint: a serverless GPU endpoint.

Rules that the vendor states in prose only (API reference v2, 2026-11-21): CUDA bounds exclude each other (400); the
idle timeout does not exist for queue endpoints that scale on requests (422); load balancers scale on requests;
`timeout` is documented with a default of 300000 ms and was observed as 0 when left out, so it is always sent; a PATCH
of pools without exclusions clears them; setting one CUDA bound does not clear the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final

from headrace.protocol.values import Props, Unknown, Value, bare, is_empty
from headrace_components.provider.compare import Change, Operation
from headrace_components.provider.fields import Failure, Field, Kind
from headrace_components.runpod.answers import Json
from headrace_components.runpod.collection import Collection, pick
from headrace_components.runpod.container import CONTAINER, CUDA_VERSION, IMAGE, NOTHING, image_by_digest, strings

JOB_URL: Final = "https://api.runpod.ai/v2"
DEFAULT_IDLE_TIMEOUT_S: Final = 10
QUEUE, LOAD_BALANCER = "QUEUE", "LOAD_BALANCER"

_GPU: Final = {
    "pools": strings(
        "GPU pool ids such as `ADA_24`; a worker gets whichever listed pool has capacity.",
        required=True,
        min_items=1,
        order_free=True,
    ),
    "excludedTypes": strings("GPU type ids that no worker gets although a pool holds them.", order_free=True),
    "count": Field(kind=Kind.INTEGER, minimum=1, default=1, description="GPUs of one worker."),
    "allowedCudaVersions": Field(
        kind=Kind.ARRAY,
        items=Field(kind=Kind.STRING, pattern=CUDA_VERSION, description="a version as major.minor"),
        order_free=True,
        description="CUDA versions that a worker's host may have, matched exactly. Excludes `minCudaVersion`.",
    ),
    "minCudaVersion": Field(
        kind=Kind.STRING,
        pattern=CUDA_VERSION,
        description="Lowest CUDA version of a worker's host, as major.minor. Excludes `allowedCudaVersions`.",
    ),
}
_WORKERS: Final = {
    "min": Field(kind=Kind.INTEGER, minimum=0, default=0, description="Workers that always run, and are always paid."),
    "max": Field(kind=Kind.INTEGER, minimum=0, default=3, description="Most workers at once."),
    "idleTimeout": Field(
        kind=Kind.INTEGER,
        minimum=1,
        maximum=3600,
        description="Seconds that an idle worker is kept, and paid. Not for queue endpoints that scale on requests.",
    ),
}
_SCALING: Final = {
    "type": Field(
        kind=Kind.STRING,
        required=True,
        type_name="ScalingType",
        enum={
            "QUEUE_DELAY": "On the time that requests wait. Queue endpoints only.",
            "REQUEST_COUNT": "On requests in flight per worker.",
        },
        description="What the number of workers follows.",
    ),
    "queueDelay": Field(kind=Kind.NUMBER, minimum=0.5, description="Seconds in the queue. With QUEUE_DELAY."),
    "requestCount": Field(kind=Kind.INTEGER, minimum=1, description="Requests per worker. With REQUEST_COUNT."),
}


class Endpoint(Collection):
    """See the module."""

    urn_type = "headrace:runpod:Endpoint"
    description = "A serverless GPU endpoint of RunPod (REST API v2)."
    path, key, noun = "/serverless", "endpoints", "endpoint"
    fields: ClassVar = {
        "name": Field(kind=Kind.STRING, description="Name; made from the resource's URN by default."),
        "type": Field(
            kind=Kind.STRING,
            required=True,
            replace=True,
            type_name="EndpointType",
            enum={
                QUEUE: "Jobs wait in the vendor's queue.",
                LOAD_BALANCER: "Requests go straight to a worker's own HTTP paths.",
            },
            description="How requests reach workers. The vendor can't change it later.",
        ),
        "image": IMAGE,
        **CONTAINER,
        "gpu": Field(
            kind=Kind.OBJECT, required=True, type_name="EndpointGpu", fields=_GPU, description="GPUs of the workers."
        ),
        "workers": Field(
            kind=Kind.OBJECT,
            default={},
            type_name="EndpointWorkers",
            fields=_WORKERS,
            description="How many workers there may be.",
        ),
        "scaling": Field(
            kind=Kind.OBJECT,
            required=True,
            type_name="EndpointScaling",
            fields=_SCALING,
            description="When workers are added.",
        ),
        "dataCenterIds": strings("Preferred data centres; the vendor doesn't guarantee them.", order_free=True),
        "networkVolumes": strings("Ids of network volumes that workers mount.", order_free=True),
        "timeout": Field(
            kind=Kind.INTEGER,
            minimum=1,
            default=300000,
            description="Milliseconds after which a request is cut off. Always sent.",
        ),
        "flashboot": Field(
            kind=Kind.STRING,
            default="OFF",
            type_name="FlashBoot",
            enum={
                "OFF": "No snapshots.",
                "FLASHBOOT": "Faster cold starts from snapshots.",
                "PRIORITY_FLASHBOOT": "The same, with priority capacity.",
            },
            description="Cold-start acceleration.",
        ),
        "templateId": Field(
            kind=Kind.STRING,
            write_only=True,
            description="Template whose container settings are applied once; later changes of it don't reach the "
            "endpoint. Properties given here win.",
        ),
    }
    outputs: ClassVar = {
        "createdAt": Field(kind=Kind.STRING, description="When it was made (RFC 3339)."),
        "openaiBaseUrl": Field(kind=Kind.STRING, description="Base address of the OpenAI-compatible API."),
    }

    def complete(self, inputs: Props) -> Props:
        """Worker defaults; the idle timeout only where the vendor knows one."""
        workers = bare(inputs.get("workers"))
        if not isinstance(workers, dict):
            return inputs
        filled = {"min": 0, "max": 3, **workers}
        if _idle_timeout_applies(inputs) and bare(filled.get("idleTimeout")) is None:
            filled["idleTimeout"] = DEFAULT_IDLE_TIMEOUT_S
        return {**inputs, "workers": filled}

    def rules(self, inputs: Props) -> Iterator[Failure]:
        yield from image_by_digest(inputs)
        if inputs.get("image") is None and inputs.get("templateId") is None:
            yield Failure(path="image", reason="is required where there is no templateId")
        yield from _scaling_rules(inputs)
        yield from _worker_rules(inputs)
        gpu = bare(inputs.get("gpu"))
        chosen = gpu if isinstance(gpu, dict) else {}
        if not is_empty(chosen.get("allowedCudaVersions")) and chosen.get("minCudaVersion") is not None:
            yield Failure(
                path="gpu.minCudaVersion",
                reason="excludes gpu.allowedCudaVersions: the vendor takes a floor or an exact set, not both",
            )

    def differ(self, old: Props, new: Props, changed: dict[str, Change]) -> dict[str, Change]:
        """What was never set by anybody has no value to go back to."""
        kept = ("disk", "templateId", "image")
        return {
            path: change
            for path, change in changed.items()
            if not (path in kept and change.operation is Operation.DELETE)
        }

    def change(self, old: Props, new: Props, changed: set[str]) -> Json:
        body: Json = {}
        for name in changed - {"gpu"}:
            if new.get(name) is not None:
                body[name] = new[name]
            elif name in NOTHING:
                body[name] = NOTHING[name]
            elif name in ("dataCenterIds", "networkVolumes"):
                body[name] = []
        if "gpu" in changed:
            body["gpu"] = _gpu_change(old.get("gpu") or {}, new["gpu"])
        return body

    def inputs_of(self, live: Json) -> Props:
        inputs = pick(live, self.fields)
        gpu = live.get("gpu")
        inputs["gpu"] = {name: gpu[name] for name in _GPU if gpu.get(name) not in (None, "", [])} if gpu else None
        inputs["workers"] = {name: value for name, value in live["workers"].items() if name in _WORKERS}
        return inputs

    def outputs_of(self, live: Json) -> Props:
        id = live["id"]
        queue = live.get("type", QUEUE) == QUEUE
        return {
            "createdAt": live["createdAt"],
            "openaiBaseUrl": f"{JOB_URL}/{id}/openai/v1" if queue else f"https://{id}.api.runpod.ai/v1",
        }


def _known(value: Value) -> Value:
    value = bare(value)
    return None if isinstance(value, Unknown) else value


def _idle_timeout_applies(inputs: Props) -> bool:
    """Whether the vendor takes an idle timeout. With anything unknown, the answer waits for the update."""
    scaling = bare(inputs.get("scaling"))
    scaler = bare(scaling.get("type")) if isinstance(scaling, dict) else scaling
    kind = bare(inputs.get("type"))
    if isinstance(scaler, Unknown) or isinstance(kind, Unknown):
        return False
    return not (kind == QUEUE and scaler == "REQUEST_COUNT")


def _scaling_rules(inputs: Props) -> Iterator[Failure]:
    scaling = bare(inputs.get("scaling"))
    if not isinstance(scaling, dict):
        return
    scaler = _known(scaling.get("type"))
    if _known(inputs.get("type")) == LOAD_BALANCER and scaler == "QUEUE_DELAY":
        yield Failure(path="scaling.type", reason="must be REQUEST_COUNT: a load balancer has no queue to measure")
    wanted, other = ("queueDelay", "requestCount") if scaler == "QUEUE_DELAY" else ("requestCount", "queueDelay")
    if scaler is not None and scaling.get(wanted) is None:
        yield Failure(path=f"scaling.{wanted}", reason=f"is required with {scaler}")
    if scaler is not None and scaling.get(other) is not None:
        yield Failure(path=f"scaling.{other}", reason=f"does not go with {scaler}; the vendor refuses it")


def _worker_rules(inputs: Props) -> Iterator[Failure]:
    workers = bare(inputs.get("workers"))
    if not isinstance(workers, dict):
        return
    least, most = _known(workers.get("min")), _known(workers.get("max"))
    if least is not None and most is not None and least > most:
        yield Failure(path="workers.min", reason=f"is {least}, more than workers.max ({most})")
    scaling = bare(inputs.get("scaling"))
    settled = isinstance(scaling, dict) and _known(scaling.get("type")) and _known(inputs.get("type"))
    if settled and workers.get("idleTimeout") is not None and not _idle_timeout_applies(inputs):
        yield Failure(
            path="workers.idleTimeout",
            reason="does not apply to queue endpoints that scale on requests; the vendor refuses it",
        )


def _gpu_change(old: Json, new: Json) -> Json:
    """Pools and exclusions are one selection and go together; a CUDA bound that is no longer set is cleared."""
    body: Json = {}
    if old.get("pools") != new.get("pools") or (old.get("excludedTypes") or []) != (new.get("excludedTypes") or []):
        body["pools"] = new["pools"]
        body["excludedTypes"] = new.get("excludedTypes") or []
    if old.get("count", 1) != new.get("count", 1):
        body["count"] = new.get("count", 1)
    for name, nothing in (("allowedCudaVersions", []), ("minCudaVersion", "")):
        if (old.get(name) or nothing) != (new.get(name) or nothing):
            body[name] = new.get(name) or nothing
    return body
