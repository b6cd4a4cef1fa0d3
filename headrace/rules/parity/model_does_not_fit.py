"""A model that doesn't fit its GPU with the context that the workload sends.

**What.** Weights and the KV cache of one request at the workload's longest context fit the GPUs of one replica, in
every pool (`headrace.settings.fit` has the arithmetic); a node or instance has as many GPUs as a replica spans.

**Why.** The server doesn't start, or it refuses the longest prompts, on one half of the stack only.

**Passes.** Weights + one request within 90 % of the GPUs' memory.

**Violates.** More than that; `tensorParallel` above the GPUs of a node.

**Undecidable when** the catalogue doesn't know the GPU of a serverless pool.
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
        one = facts.release
        yield from _fits(
            pool.urn, facts.gpu, facts.gpu_memory_gib, facts.gpus_per_node, one.tensor_parallel, one.weights_gib,
            one.kv_cache_kib_per_token, facts.workload.context_tokens, one.max_context_tokens,
        )  # fmt: skip
    from headrace.catalog import load

    for serverless in serverless_pools.pools(view):
        release = serverless.release
        for gpu in serverless.gpus:
            row = load.gpus().get(gpu)
            if row is None:
                yield Undecided(resource=serverless.where, what=f"the memory of {gpu}", value="gpu")
                continue
            yield from _fits(
                serverless.where, gpu, row.memory_gib, serverless.gpu_count, release.tensor_parallel,
                release.weights_gib, release.kv_cache_kib_per_token, serverless.context_tokens,
                release.max_context_tokens,
            )  # fmt: skip


def _fits(
    where: str, gpu: str, memory: float, gpus: int, span: int, weights: float, kv: float, context: int, longest: int
) -> Iterator[Said]:
    from headrace.settings.fit import memory_fit

    if span > gpus:
        yield Broken(resource=where, sentence=f"a replica spans {span} GPUs, and there are {gpus}")
    fit = memory_fit(
        gpu_memory_gib=memory,
        tensor_parallel=span,
        weights_gib=weights,
        kv_cache_kib_per_token=kv,
        context_tokens=context,
    )
    if not fit.fits:
        yield Broken(
            resource=where,
            sentence=f"{weights:g} GiB of weights and {fit.request_gib:.1f} GiB for one request of {context} tokens do "
            f"not fit the {fit.usable_gib:.1f} GiB of {span} x {gpu}",
        )
    if context > longest:
        yield Broken(
            resource=where, sentence=f"the workload sends {context} tokens, the release is started with {longest}"
        )


RULE: Final = Rule(
    id="model-does-not-fit",
    severity=Severity.HIGH,
    title="Model doesn't fit",
    description="Weights and one request at full context fit the GPUs of a replica in every pool.",
    remediation="use a larger GPU, more of them (tensorParallel), a stronger quantization, or a shorter context",
    references=("SOC 2 A1.1",),
    reads=("dedicatedPool", "settings"),
    since="0.1.0",
    early=("headrace:index:DedicatedPool", "headrace:index:HybridPlatform"),
    check=check,
)
