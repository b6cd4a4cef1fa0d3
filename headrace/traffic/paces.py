"""How fast a pool's model servers are, from their GPU's data sheet: the planner's roofline at the pool's own batch."""

from __future__ import annotations

from typing import Final

from headrace.planner.service import (
    BANDWIDTH_EFFICIENCY,
    COMPUTE_EFFICIENCY,
    GIB,
    TENSOR_PARALLEL_EFFICIENCY,
    performance,
)
from headrace.router.config import PoolConfig, RouterConfig
from headrace.settings.releases import ModelRelease
from headrace.settings.tree import Settings
from headrace.traffic.day import Pace

# Bytes of a weight by quantization; unquantized weights are FP16 or BF16.
_BYTES: Final = {"fp8": 1.0, "int8": 1.0, "awq": 0.5, "gptq": 0.5, "int4": 0.5, "nvfp4": 0.5}
_UNQUANTIZED: Final = 2.0
# Tokens of a request in the middle of its answer, for the KV cache that each decode step reads.
_CONTEXT_TOKENS: Final = 700
# GPUs without a line in the table of performance run at the pace that the router expects anyway.
_UNKNOWN_PREFILL: Final = 4000.0
_UNKNOWN_TOKEN_S: Final = 0.04


def paces(policy: RouterConfig, settings: Settings) -> dict[str, Pace]:
    """Pace of each pool of a configuration; `settings` hold the sizes of the releases."""
    return {name: pace(pool, settings.releases.get(pool.release)) for name, pool in policy.pools.items()}


def pace(pool: PoolConfig, release: ModelRelease | None) -> Pace:
    """One pool with all its slots in use: the cautious figure, since a smaller batch decodes faster."""
    limits = performance().get(pool.gpu)
    if limits is None or release is None:
        return Pace(prefill_tokens_s=_UNKNOWN_PREFILL, token_s=_UNKNOWN_TOKEN_S, source="assumed")
    weight_bytes = release.weights_gib * GIB
    parameters = weight_bytes / _BYTES.get(release.quantization or "", _UNQUANTIZED)
    span = pool.gpus_per_instance
    scale = span * TENSOR_PARALLEL_EFFICIENCY ** (span.bit_length() - 1)
    moved = weight_bytes + pool.slots_per_instance * _CONTEXT_TOKENS * release.kv_cache_kib_per_token * 1024
    return Pace(
        prefill_tokens_s=limits.fp16_tflops * 1e12 * COMPUTE_EFFICIENCY * scale / (2 * parameters),
        token_s=moved / (limits.bandwidth_gb_s * 1e9 * BANDWIDTH_EFFICIENCY * scale),
        source=f"roofline of {pool.gpu} at {pool.slots_per_instance} requests at once",
    )
