"""Model releases and the workloads that run them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from headrace.settings.base import (
    ARTIFACT_URI_PATTERN,
    VERSION_PATTERN,
    Digest,
    ImageByDigest,
    Name,
    SettingsModel,
)


class ModelRelease(SettingsModel):
    """Immutable: an artifact digest plus an image digest. Both halves of the stack run the same release.

    `weights_gib` is the size in GPU memory at the served precision; `kv_cache_kib_per_token` the KV cache of one token
    over all layers; both decide which GPU fits.
    """

    artifact_uri: Annotated[str, StringConstraints(pattern=ARTIFACT_URI_PATTERN)]
    """Where the weights lie: s3://bucket/prefix."""
    artifact_digest: Digest
    """Digest of the artifact's manifest."""
    image: ImageByDigest
    """Container image of the model server, by digest."""
    cuda_version: Annotated[str, StringConstraints(pattern=VERSION_PATTERN)]
    """CUDA version inside the image, for instance 12.8. Quote it in YAML."""
    minimum_compute_capability: Annotated[str, StringConstraints(pattern=VERSION_PATTERN)] = "7.5"
    """Oldest GPU its kernels and quantization run on. Quote it in YAML."""
    quantization: str | None = None
    """Served precision where it isn't the model's own, for instance fp8."""
    weights_gib: float = Field(gt=0, allow_inf_nan=False)
    """Weights in GPU memory at the served precision, in GiB over all GPUs of a replica."""
    kv_cache_kib_per_token: float = Field(gt=0, allow_inf_nan=False)
    """KV cache of one token over all layers, in KiB: 2 x layers x KV heads x head size x bytes / 1024."""
    max_context_tokens: int = Field(gt=0)
    """Longest context that a workload may ask of it; a model server is started with its workload's `contextTokens`."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs that one replica spans."""
    serving_args: list[str] = Field(default_factory=list)
    """Further arguments of the model server; equal in both halves of the stack."""
    forward_compatibility_package: bool = False
    """Whether the image brings cuda-compat, which lets a data-centre GPU run a CUDA newer than its driver's."""


class WorkloadClass(StrEnum):
    """What the user of a workload notices first: waiting, memory, or nothing at all."""

    LATENCY_SENSITIVE = "latency-sensitive"
    MEMORY_BOUND = "memory-bound"
    BATCH = "batch"


class DataClassification(StrEnum):
    """How sensitive the prompts are."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    RESTRICTED = "restricted"


class Slo(SettingsModel):
    """Service-level objective: time to first token at a percentile."""

    time_to_first_token_ms: int = Field(gt=0)
    """Milliseconds from the request to the first token."""
    percentile: float = Field(default=95, gt=0, lt=100)
    """Share of requests, in percent, that must keep it."""


class Workload(SettingsModel):
    """What is served. `residency` lists the jurisdictions its data may be in (catalogue `jurisdictions`)."""

    workload_class: WorkloadClass = Field(alias="class")
    """What its users notice first."""
    release: Name
    """The model release it runs."""
    slo: Slo | None = None
    """Service-level objective; batch work has none."""
    data_classification: DataClassification
    """How sensitive its prompts are."""
    residency: list[str] = Field(min_length=1)
    """Jurisdictions its data may be in."""
    context_tokens: int = Field(gt=0)
    """Longest prompt plus answer it sends, in tokens."""
    peak_parallel_requests: int | None = Field(default=None, ge=1)
    """Most requests at once that its owner expects; the pools together must take them."""
