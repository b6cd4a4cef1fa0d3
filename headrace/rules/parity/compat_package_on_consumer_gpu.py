"""A compatibility package on a GPU that ignores it.

**What.** A release that brings cuda-compat runs on data-centre GPUs only.

**Why.** NVIDIA supports forward compatibility on data-centre GPUs; elsewhere CUDA fails to initialise.

**Passes.** L4, L40S, A10G, A100, H100 and their kin.

**Violates.** GeForce and workstation GPUs, also as a fallback of a serverless pool.

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
    from headrace.catalog import load

    for pool, facts in view.graph.records(DedicatedPoolFacts):
        if facts.release.forward_compatibility_package and facts.gpu_class != "data-center":
            yield Broken(resource=pool.urn, sentence=_sentence(facts.release.name, facts.gpu, facts.gpu_class))
    for serverless in serverless_pools.pools(view):
        release = serverless.release
        if not release.forward_compatibility_package:
            continue
        for gpu in serverless.gpus:
            row = load.gpus().get(gpu)
            if row is None:
                yield Undecided(resource=serverless.where, what="the class of its GPU", value=f"gpu ({gpu})")
            elif not row.forward_compatible:
                yield Broken(
                    resource=serverless.where, sentence=_sentence(serverless.release_name, gpu, row.gpu_class.value)
                )


def _sentence(release: str, gpu: str, gpu_class: str) -> str:
    return f"{release} relies on cuda-compat, which {gpu} ({gpu_class}) does not support"


RULE: Final = Rule(
    id="compat-package-on-consumer-gpu",
    severity=Severity.HIGH,
    title="Compatibility package on a consumer GPU",
    description="Releases with a CUDA compatibility package run on data-centre GPUs only.",
    remediation="use a data-centre GPU, or an image without the package for a CUDA version that the driver runs",
    references=("NVIDIA CUDA compatibility guide",),
    reads=("dedicatedPool", "settings"),
    since="0.1.0",
    early=("headrace:index:DedicatedPool", "headrace:index:HybridPlatform"),
    check=check,
)
