"""Model releases and the workloads that run them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from headrace.settings.base import Digest, ImageByDigest, Name, SettingsModel


class ModelRelease(SettingsModel):
    """Immutable: an artifact digest plus an image digest. Both halves of the stack run the same release.

    `weights_gib` is the size in GPU memory at the served precision; `kv_cache_kib_per_token` the KV cache of one token
    over all layers; both decide which GPU fits.
    """

    artifact_uri: Annotated[str, StringConstraints(pattern=r"^s3://[a-z0-9.-]+/.+$")]
    artifact_digest: Digest
    image: ImageByDigest
    cuda_version: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+$")]
    minimum_compute_capability: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+$")] = "7.5"
    quantization: str | None = None
    weights_gib: float = Field(gt=0)
    kv_cache_kib_per_token: float = Field(gt=0)
    max_context_tokens: int = Field(gt=0)
    tensor_parallel: int = Field(default=1, ge=1)
    serving_args: list[str] = Field(default_factory=list)
    forward_compatibility_package: bool = False


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
    percentile: float = Field(default=95, gt=0, lt=100)


class Workload(SettingsModel):
    """What is served. `residency` lists the jurisdictions its data may be in (catalogue `jurisdictions`)."""

    workload_class: WorkloadClass = Field(alias="class")
    release: Name
    slo: Slo | None = None
    data_classification: DataClassification
    residency: list[str] = Field(min_length=1)
    context_tokens: int = Field(gt=0)
