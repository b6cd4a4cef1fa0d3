"""A generated trace for the quick start: three tenants with a working day, an evening peak, nights and a weekend.

Made up, and says so; nothing of it is measured. The same arguments give the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from headrace.planner.arrays import Floats

# Monday 2026-10-05 00:00 UTC.
FIRST_S: Final = 1_791_158_400
# tenant, share of requests, hour of its peak, weekend factor, mean tokens in and out
TENANTS: Final = (
    ("search", 0.5, 11.0, 0.45, 900.0, 220.0),
    ("support", 0.35, 15.0, 0.35, 1400.0, 350.0),
    ("science", 0.15, 21.0, 1.0, 2400.0, 600.0),
)
WORKLOAD: Final = """\
# Workload of the generated sample trace: an 8B model on A100, prices of the catalogue.
name: chat
model: {name: llama-3.1-8b, weightsGib: 15.0, kvCacheKibPerToken: 128, maxContextTokens: 8192, parametersBillion: 8.03}
gpu: A100-80GB
# Tokens per second of one replica at its working batch; measure your own.
profile: {prefillTokensPerSecond: 1600, decodeTokensPerSecond: 110, batch: 4}
dedicated: {provider: runpod, tier: secure, leadTimeS: 600}
serverless: {provider: runpod, tier: flex, coldStartS: 30}
slo: {timeToFirstTokenMs: 4000, percentile: 95}
operationsUsdPerMonth: 500
"""


def write_sample(path: Path, *, days: int, requests_per_day: int, seed: int) -> int:
    """Write the trace, sorted by time; returns the number of requests."""
    rng = np.random.default_rng(seed)
    frames = [
        _tenant(rng, name, days, requests_per_day * share, peak, weekend, tokens)
        for name, share, peak, weekend, *tokens in TENANTS
    ]
    frame = pl.concat(frames).sort("timestamp")
    frame.write_csv(path)
    return frame.height


def _tenant(
    rng: np.random.Generator, name: str, days: int, per_day: float, peak: float, weekend: float, tokens: list[float]
) -> pl.DataFrame:
    minutes = np.arange(days * 1440)
    hour = minutes / 60 % 24
    day = np.exp(1.1 * np.cos((hour - peak) / 24 * 2 * np.pi))
    week = np.where(minutes // 1440 % 7 >= 5, weekend, 1.0)
    drift = _drift(rng, len(minutes))
    rate: Floats = day * week * drift
    rate *= per_day * days / rate.sum()
    counts = rng.poisson(rate)
    start = np.repeat(minutes * 60.0, counts)
    when = FIRST_S + np.sort(start + rng.uniform(0, 60, len(start)))
    size = [np.maximum(rng.lognormal(np.log(mean) - 0.32, 0.8, len(start)), 1.0).astype(np.int64) for mean in tokens]
    return pl.DataFrame(
        {"timestamp": when.round(3), "tokens_in": size[0], "tokens_out": size[1], "tenant": [name] * len(start)}
    )


def _drift(rng: np.random.Generator, minutes: int) -> Floats:
    """Slow unevenness of about a fifth, with a memory of hours."""
    steps = rng.normal(0, 1, minutes // 60 + 2)
    level = np.zeros(len(steps))
    for at in range(1, len(steps)):
        level[at] = 0.9 * level[at - 1] + 0.44 * steps[at]
    return np.asarray(np.exp(0.2 * np.interp(np.arange(minutes) / 60, np.arange(len(level)), level)))
