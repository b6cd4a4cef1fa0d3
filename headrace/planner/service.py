"""How long a GPU is busy with a request: a measured profile where there is one, else a roofline model with sources.

The unit of demand is a *replica*: the GPUs that serve one copy of the model (tensor parallel). Two numbers suffice for
cost: prefill tokens per second and decode tokens per second of a replica at its working batch. Latency follows from the
same batch. The roofline (Williams, Waterman and Patterson 2009):

    prefill  2 * parameters * tokens / (FLOP/s * efficiency)          compute-bound
    decode   (weights + batch * context * KV bytes per token) / (bandwidth * efficiency) per step   memory-bound
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Any, Final

from pydantic import Field, TypeAdapter

from headrace.catalog.base import Sourced
from headrace.catalog.load import gpus
from headrace.errors import refuse
from headrace.yamlfile import parse

GIB: Final = 1024.0**3
# Share of the data sheet that serving engines reach in practice; both are assumptions that the report states.
COMPUTE_EFFICIENCY: Final = 0.5
BANDWIDTH_EFFICIENCY: Final = 0.6
# vLLM's default gpu_memory_utilization (vLLM engine arguments, 2026-11-21).
MEMORY_SHARE: Final = 0.9
# Loss of each doubling of tensor parallelism to communication; an assumption that the report states.
TENSOR_PARALLEL_EFFICIENCY: Final = 0.9
LARGEST_BATCH: Final = 256


class GpuPerformance(Sourced):
    """A GPU's data-sheet limits."""

    fp16_tflops: float = Field(gt=0)
    """Dense FP16 or BF16 tensor throughput in TFLOP/s."""
    bandwidth_gb_s: float = Field(gt=0)
    """Memory bandwidth in GB/s."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """What is served. Sizes in GPU memory at the served precision."""

    name: str
    weights_gib: float
    kv_cache_kib_per_token: float
    max_context_tokens: int
    tensor_parallel: int = 1
    parameters_billion: float | None = None

    @property
    def parameters(self) -> float:
        """Parameters; two bytes each where not stated."""
        return self.parameters_billion * 1e9 if self.parameters_billion else self.weights_gib * GIB / 2


@dataclass(frozen=True, kw_only=True)
class ServiceModel:
    """Speed of one replica at its working batch. `source` says where the numbers come from."""

    gpu: str
    gpus_per_replica: int
    prefill_tokens_s: float
    decode_tokens_s: float
    batch: int
    source: str

    def work_s(self, tokens_in: float, tokens_out: float) -> float:
        """Replica-seconds of one request."""
        return tokens_in / self.prefill_tokens_s + tokens_out / self.decode_tokens_s

    def latency_s(self, tokens_in: float, tokens_out: float) -> float:
        """Seconds from start to last token at the working batch."""
        return tokens_in / self.prefill_tokens_s + tokens_out * self.batch / self.decode_tokens_s


@cache
def performance() -> dict[str, GpuPerformance]:
    """Data-sheet limits by GPU."""
    text = (files("headrace.catalog") / "data" / "gpu_performance.yaml").read_text(encoding="utf-8")
    document: Any = parse(text)
    rows = {name: {**document["defaults"], **row, "name": name} for name, row in document["rows"].items()}
    return TypeAdapter(dict[str, GpuPerformance]).validate_python(rows)


def working_batch(model: Model, gpu: str, *, context_tokens: float) -> int:
    """Requests that fit at once: memory left after the weights, over the KV cache of a request. Refused if none."""
    if gpu not in gpus():
        raise refuse("gpu", gpu, "is not in the catalogue of GPUs", next_step=f"use one of {', '.join(sorted(gpus()))}")
    memory = gpus()[gpu].memory_gib * model.tensor_parallel * MEMORY_SHARE
    left_gib = memory - model.weights_gib
    request_gib = context_tokens * model.kv_cache_kib_per_token / 1024**2
    longest_gib = model.max_context_tokens * model.kv_cache_kib_per_token / 1024**2
    if left_gib < longest_gib:
        raise refuse(
            "gpu",
            gpu,
            f"doesn't fit the model {model.name}",
            reason=(
                f"{model.tensor_parallel} x {gpus()[gpu].memory_gib:g} GiB x {MEMORY_SHARE:g} = {memory:.1f} GiB hold"
                f" {model.weights_gib:g} GiB of weights and {longest_gib:.1f} GiB of KV cache for"
                f" {model.max_context_tokens} tokens only if {model.weights_gib + longest_gib:.1f} GiB fit"
            ),
            next_step="choose a larger GPU, raise tensorParallel or lower maxContextTokens",
        )
    return max(1, min(LARGEST_BATCH, int(left_gib / request_gib))) if request_gib > 0 else LARGEST_BATCH


def roofline(model: Model, gpu: str, *, tokens_in: float, tokens_out: float) -> ServiceModel:
    """Speed from the data sheet, at the batch that fits for requests of this mean size."""
    context = tokens_in + tokens_out / 2
    batch = working_batch(model, gpu, context_tokens=context)
    if gpu not in performance():
        raise refuse(
            "gpu",
            gpu,
            "has no performance figures in the catalogue",
            next_step="give a measured `profile` in the workload file",
        )
    limits = performance()[gpu]
    scale = model.tensor_parallel * TENSOR_PARALLEL_EFFICIENCY ** (model.tensor_parallel.bit_length() - 1)
    flops = limits.fp16_tflops * 1e12 * COMPUTE_EFFICIENCY * scale
    bandwidth = limits.bandwidth_gb_s * 1e9 * BANDWIDTH_EFFICIENCY * scale
    moved = model.weights_gib * GIB + batch * context * model.kv_cache_kib_per_token * 1024
    return ServiceModel(
        gpu=gpu,
        gpus_per_replica=model.tensor_parallel,
        prefill_tokens_s=flops / (2 * model.parameters),
        decode_tokens_s=batch / (moved / bandwidth),
        batch=batch,
        source=(
            f"roofline: {limits.source}, {COMPUTE_EFFICIENCY:.0%} of compute, {BANDWIDTH_EFFICIENCY:.0%} of bandwidth"
        ),
    )


def measured(
    path: Path, *, model: str, hardware: str, gpu: str, tensor_parallel: int, tokens_in: float
) -> ServiceModel:
    """Speed from a measured profile: columns model, hardware, prompt_size, batch_size, token_size, prompt_time and
    token_time (milliseconds), tensor_parallel. Takes the batch with the best decode throughput at the nearest prompt.
    """
    if not path.is_file():
        raise refuse("profile.file", str(path), "no such file", next_step="check the path in the workload file")
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        needed = {"model", "hardware", "prompt_size", "batch_size", "prompt_time", "token_time", "tensor_parallel"}
        missing = needed - set(reader.fieldnames or ())
        if missing:
            raise refuse(
                "profile.file", str(path), f"lacks the columns {', '.join(sorted(missing))}", next_step="add them"
            )
        rows = [
            row
            for row in reader
            if row["model"] == model and row["hardware"] == hardware and int(row["tensor_parallel"]) == tensor_parallel
        ]
    if not rows:
        raise refuse(
            "profile.file",
            str(path),
            f"has no rows for {model} on {hardware} with tensor parallelism {tensor_parallel}",
            next_step="name a model, hardware and tensorParallel that were measured",
        )
    prompt = min((int(row["prompt_size"]) for row in rows), key=lambda size: abs(size - tokens_in))
    by_batch: dict[int, list[dict[str, str]]] = {}
    for row in rows:
        if int(row["prompt_size"]) == prompt:
            by_batch.setdefault(int(row["batch_size"]), []).append(row)
    batch = max(by_batch, key=lambda size: size / _median(by_batch[size], "token_time"))
    prefill = max(size * prompt / _median(group, "prompt_time") for size, group in by_batch.items())
    return ServiceModel(
        gpu=gpu,
        gpus_per_replica=tensor_parallel,
        prefill_tokens_s=prefill * 1000,
        decode_tokens_s=batch / _median(by_batch[batch], "token_time") * 1000,
        batch=batch,
        source=f"measured: {path.name}, {model} on {hardware}, prompt {prompt}, batch {batch}",
    )


def _median(rows: Iterable[dict[str, str]], column: str) -> float:
    return median(float(row[column]) for row in rows)
