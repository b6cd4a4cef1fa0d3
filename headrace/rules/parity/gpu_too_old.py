"""A GPU that can't run the release's kernels.

**What.** The compute capability of every GPU of a pool is at least the release's minimum, and FP8 runs only where the
GPU has it.

**Why.** Kernels that a GPU lacks fail at start, or fall back to something many times slower.

**Passes.** Capability at or above the minimum.

**Violates.** Below it, also as a fallback of a serverless pool.

**Undecidable when** the catalogue doesn't know the GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules import serverless_pools
from headrace.rules.facts import DedicatedPoolFacts
from headrace.rules.finding import Severity
from headrace.rules.rule import Broken, Rule, Said, Undecided, View


def check(view: View) -> Iterator[Said]:
    """Dedicated pools by facts, serverless ones by settings."""
    for pool, facts in view.graph.records(DedicatedPoolFacts):
        yield from _gpu(
            pool.urn,
            facts.gpu,
            facts.release.name,
            facts.release.minimum_compute_capability,
            facts.release.quantization,
        )
    for serverless in serverless_pools.pools(view):
        release = serverless.release
        for gpu in serverless.gpus:
            yield from _gpu(
                serverless.where, gpu, serverless.release_name, release.minimum_compute_capability, release.quantization
            )


def _gpu(where: str, gpu: str, release: str, minimum: str, quantization: str | None) -> Iterator[Said]:
    from headrace.catalog import load
    from headrace.catalog.drivers import version_key

    row = load.gpus().get(gpu)
    if row is None:
        yield Undecided(
            resource=where,
            what=f"the compute capability of {gpu}",
            value="gpu",
            remediation="use a GPU of the catalogue, or add it to headrace/catalog/data/gpus.yaml",
        )
    elif version_key(row.compute_capability) < version_key(minimum):
        yield Broken(
            resource=where,
            sentence=f"{gpu} has compute capability {row.compute_capability}, {release} needs {minimum}",
        )
    elif quantization == "fp8" and not row.fp8:
        yield Broken(resource=where, sentence=f"{gpu} has no FP8, {release} is quantized to it")


RULE: Final = Rule(
    id="gpu-too-old",
    severity=Severity.HIGH,
    title="GPU too old for the release",
    description="Every GPU of a pool runs the release's kernels and quantization.",
    remediation="choose a newer GPU, or a release for this one",
    references=("NVIDIA CUDA GPU compute capability table", "SOC 2 A1.1"),
    reads=("dedicatedPool", "settings"),
    since="0.1.0",
    early=("headrace:index:DedicatedPool", "headrace:index:HybridPlatform"),
    check=check,
)
