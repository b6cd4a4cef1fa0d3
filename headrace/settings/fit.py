"""Does a model fit a GPU: weights and KV cache against the memory of one replica. Pure arithmetic, shared with rules,
router and planner.

Memory that a replica may use = tensor_parallel x GPU memory x 0.90. The share is vLLM's default
`gpu_memory_utilization`; the rest holds the CUDA context, activations and graphs.
KV cache of one request = context tokens x KiB per token / 1048576 GiB (vLLM shards weights and KV heads evenly).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

GPU_MEMORY_UTILIZATION: Final = 0.90
_KIB_PER_GIB: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class MemoryFit:
    """Memory of one replica, all in GiB."""

    usable_gib: float
    weights_gib: float
    request_gib: float
    """KV cache of one request at full context."""

    @property
    def fits(self) -> bool:
        """Whether the weights and one request at full context fit."""
        return self.weights_gib + self.request_gib <= self.usable_gib

    @property
    def full_context_slots(self) -> int:
        """Requests at full context that fit at once; 0 where the weights alone do not."""
        return max(0, int((self.usable_gib - self.weights_gib) / self.request_gib + 1e-9))


def memory_fit(
    *,
    gpu_memory_gib: float,
    tensor_parallel: int,
    weights_gib: float,
    kv_cache_kib_per_token: float,
    context_tokens: int,
) -> MemoryFit:
    """Memory of one replica that spans `tensor_parallel` GPUs of `gpu_memory_gib` each."""
    return MemoryFit(
        usable_gib=tensor_parallel * gpu_memory_gib * GPU_MEMORY_UTILIZATION,
        weights_gib=weights_gib,
        request_gib=context_tokens * kv_cache_kib_per_token / _KIB_PER_GIB,
    )
