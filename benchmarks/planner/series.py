"""The traces of the benchmark: six demand series, tenants as separate companies, a replayed hour, and generated ones.

Real traces are read from the data folder beside the checkout (HEADRACE_DATA overrides); nothing of them is kept here.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from headrace.planner.arrays import DAY_HOURS, Floats
from headrace.planner.demand_file import read_demand
from headrace.planner.levels import Demand
from headrace.planner.service import ServiceModel
from headrace.planner.sources import recognise
from headrace.planner.tariff import Tariff
from headrace.planner.windows import windows_traffic

ROOT: Final = Path(__file__).parents[2]
# The 8B-class token rates that the six series were derived with (prefill, decode tokens per second).
RATES: Final = {"T4": (2500.0, 450.0), "A100": (14000.0, 2600.0), "H100": (30000.0, 4800.0)}
# The essay's prices (January 2026), and pairs in force in November 2026 (headrace/catalog/data/prices).
ESSAY: Final = {"T4": (0.40, 0.000164), "A100": (2.17, 0.00104), "H100": (5.95, 0.00190)}
TODAY: Final = {
    "T4": (("aws / modal", 0.526, 0.000164),),
    "A100": (("runpod / runpod", 1.79, 0.00076), ("runpod / modal", 1.79, 0.000694), ("aws / runpod", 3.4309, 0.00076)),
    "H100": (("runpod / runpod", 3.99, 0.00116), ("runpod / modal", 3.99, 0.001097)),
}


def data_folder() -> Path | None:
    """Where the real traces lie, None if absent."""
    folder = Path(os.environ.get("HEADRACE_DATA", ROOT.parent / "shared" / "data"))
    return folder if (folder / "demand").is_dir() else None


def tariff(pair: tuple[float, float]) -> Tariff:
    """Prices with the judge's billing rules (60 s idle, 30 s cold start)."""
    return Tariff(dedicated_usd_hour=pair[0], serverless_usd_second=pair[1])


def six(folder: Path) -> dict[str, tuple[str, Demand]]:
    """Name -> (GPU, demand)."""
    found = {}
    for path in sorted((folder / "demand").glob("*.csv.gz")):
        name = path.name.removesuffix(".csv.gz")
        found[name] = (name.rsplit("_", 1)[1], read_demand(path).demand)
    return found


def tenants(folder: Path, *, model: str, gpu: str, least_mean: float = 0.2, most: int = 12) -> dict[str, Demand]:
    """Tenants of a model as separate companies: those with a mean of at least `least_mean` GPUs in both weeks."""
    source = recognise(folder / "servegen" / "tenant_windows.csv.gz")
    prefill, decode = RATES[gpu]
    service = ServiceModel(
        gpu=gpu, gpus_per_replica=1, prefill_tokens_s=prefill, decode_tokens_s=decode, batch=16, source="ServeGen rates"
    )
    source = replace(source, frame=source.frame.filter(pl.col("model") == model))
    traffic = windows_traffic(source, service, utilization=1.0)
    groups = traffic.by_group["tenant"]
    half = traffic.demand.hours * 360 // 2
    large = [name for name, gpus in groups.items() if min(gpus[:half].mean(), gpus[half:].mean()) >= least_mean]
    large.sort(key=lambda name: -float(groups[name].mean()))
    return {f"{model}/{name}": Demand(origin_s=0, gpus=groups[name]) for name in large[:most]}


def generated(*, days: int = 21, seed: int = 11) -> dict[str, Demand]:
    """Shapes that the real traces do not have; made up, the same bytes for the same seed."""
    rng = np.random.default_rng(seed)
    hours = np.arange(days * DAY_HOURS * 6) / 6
    clock, weekday = hours % 24, (hours // 24) % 7
    wave = np.exp(0.9 * np.sin((clock - 9) / 24 * 2 * np.pi) + 0.25 * np.sin((clock - 4) / 12 * 2 * np.pi))
    office = ((clock >= 9) & (clock < 18) & (weekday < 5)).astype(float)
    shapes: dict[str, Floats] = {
        "consumer wave": 40 * wave * _drift(rng, len(hours), 0.05, 0.98),
        "small consumer wave": 4 * wave * _drift(rng, len(hours), 0.05, 0.98),
        "weekend dip": 20 * wave * np.where(weekday >= 5, 0.6, 1.0) * _drift(rng, len(hours), 0.06, 0.97),
        "office hours": 0.3 + 12 * office * _drift(rng, len(hours), 0.15, 0.95),
        "halved in week two": 20 * np.where(hours > 24 * 11, 0.5, 1.0) * wave**0.5 * _drift(rng, len(hours), 0.1, 0.97),
        "doubled in week two": 12
        * np.where(hours > 24 * 11, 2.2, 1.0)
        * wave**0.6
        * _drift(rng, len(hours), 0.1, 0.97),
        "growth": 5 * np.exp(hours / 240) * wave**0.5 * _drift(rng, len(hours), 0.1, 0.97),
        "night batch": 4 * wave**0.7 + 15 * ((clock >= 1) & (clock < 4)) * _drift(rng, len(hours), 0.2, 0.9),
        "random walk": np.exp(np.clip(2.5 + np.cumsum(rng.normal(0, 0.06, len(hours))), 0, 4.5)),
        "flat": np.full(len(hours), 7.0),
    }
    made = {name: Demand(origin_s=0, gpus=_noisy(rng, level, flat=name == "flat")) for name, level in shapes.items()}
    made["sparse sessions"] = Demand(origin_s=0, gpus=_sessions(rng, days, per_hour=20, seconds=120))
    return made


def further(*, days: int = 21, seed: int = 101) -> dict[str, Demand]:
    """Shapes of other structure than `generated`, which no setting was chosen on before they were written."""
    rng = np.random.default_rng(seed)
    windows = days * DAY_HOURS * 6
    hours = np.arange(windows) / 6
    clock, day = hours % 24, (hours // 24).astype(np.int64)
    wave = np.exp(0.6 * np.sin((clock - 9) / 24 * 2 * np.pi))
    office = ((clock >= 8) & (clock < 19)).astype(float)
    holiday = np.isin(day, rng.choice(days, 3, replace=False))
    busy_day = rng.random(days)[day] < 0.4
    jobs = np.zeros(windows)
    for start in np.flatnonzero(rng.random(windows) < 1 / 60):  # a batch about every ten hours, of half an hour to four
        jobs[start : start + int(rng.integers(3, 24))] += float(rng.integers(3, 15))
    bursts = np.ones(windows)
    for start in np.flatnonzero(rng.random(windows) < 1 / 36):  # heavy-tailed, gone within the hour
        bursts[start : start + int(rng.integers(1, 6))] += float(rng.pareto(1.6))
    regime = np.repeat(rng.lognormal(0, 0.6, windows // 216 + 1), 216)[:windows]  # a new level every 36 hours
    shapes: dict[str, Floats] = {
        "bursty": 9 * wave * np.minimum(bursts, 12.0),
        "batch at any hour": 3 * wave**0.5 + jobs,
        "some days only": 0.05 + 10 * busy_day * office * _drift(rng, windows, 0.1, 0.9),
        "nearly constant": 15 * _drift(rng, windows, 0.015, 0.9),
        "office with holidays": 1 + 18 * office * np.where((day % 7 >= 5) | holiday, 0.15, 1.0),
        "up and back": 10 * wave * np.where((hours > 24 * 9) & (hours < 24 * 14), 2.0, 1.0),
        "new level every 36 hours": 12 * regime * wave**0.4,
        "decline": 25 * np.exp(-hours / 300) * wave * _drift(rng, windows, 0.08, 0.97),
        "every other hour": np.where(clock.astype(np.int64) % 2, 12.0, 4.0),
        "two zones": 8 * wave
        + 8 * np.exp(0.9 * np.sin((clock - 20) / 24 * 2 * np.pi)) * _drift(rng, windows, 0.1, 0.97),
    }
    return {name: Demand(origin_s=0, gpus=_noisy(rng, level, flat=False)) for name, level in shapes.items()}


def _drift(rng: np.random.Generator, count: int, size: float, memory: float) -> Floats:
    level = np.zeros(count)
    for at, step in enumerate(rng.normal(0, 1, count)):
        level[at] = (memory * level[at - 1] if at else 0.0) + np.sqrt(1 - memory**2) * step
    return np.asarray(np.exp(size * level))


def _noisy(rng: np.random.Generator, level: Floats, *, flat: bool) -> Floats:
    fine = np.repeat(level, 60)
    return fine if flat else np.asarray(rng.gamma(fine / 0.3, 0.3))


def _sessions(rng: np.random.Generator, days: int, *, per_hour: float, seconds: float) -> Floats:
    count = days * DAY_HOURS * 360
    clock = (np.arange(count) / 360) % 24
    starts = rng.poisson(per_hour / 360 * np.exp(np.sin((clock - 9) / 24 * 2 * np.pi)))
    edges = np.zeros(count + 2000)
    at = np.repeat(np.arange(count), starts)
    length = np.maximum(rng.exponential(seconds, len(at)) // 10, 1).astype(np.int64)
    np.add.at(edges, at, 1)
    np.add.at(edges, np.minimum(at + length, count + 1999), -1)
    return np.asarray(edges.cumsum()[:count])
