"""Exactness, robustness, attainment and speed of the planner, each as a dictionary of plain numbers."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.planner import series
from benchmarks.planner.ratios import geomean
from headrace.planner.arrays import BIN_S, HOUR_S
from headrace.planner.backtest import Backtest, run_backtest
from headrace.planner.ingest import ingest
from headrace.planner.levels import Demand, best_constant, cost_per_hour, level_tables
from headrace.planner.planning import HOURLY, Constraints, make_plan
from headrace.planner.pool import simulate_pool
from headrace.planner.requests import shape_of, traffic_of
from headrace.planner.schedule import later_starts, switch_cost_usd
from headrace.planner.service import ServiceModel
from headrace.planner.simulate import Tiers, simulate
from headrace.planner.slo import synthesise
from headrace.planner.sources import recognise
from headrace.planner.statistics import pooling
from headrace.planner.tariff import Tariff
from headrace.planner.traffic import repair
from headrace.planner.workload import Workload

SERVICE = ServiceModel(
    gpu="A100-80GB", gpus_per_replica=1, prefill_tokens_s=14000, decode_tokens_s=2600, batch=16, source="ServeGen rates"
)


def exactness(*, rounds: int, seed: int = 5) -> dict[str, object]:
    """Formula against the explicit worker pool, and d* against trying every constant."""
    rng = np.random.default_rng(seed)
    worst, equal = 0.0, 0
    for _ in range(rounds):
        values: list[int] = []
        while len(values) < 3 * 360:
            values += [int(rng.integers(0, 6))] * int(rng.integers(1, 50))
        need = values[: 3 * 360]
        prices = Tariff(
            dedicated_usd_hour=float(rng.uniform(0.2, 6)),
            serverless_usd_second=float(rng.uniform(0.0003, 0.003)),
            idle_timeout_s=float(rng.choice([0, 10, 60, 300])),
            cold_start_s=float(rng.choice([0, 5, 30, 120])),
        )
        table = level_tables(Demand(origin_s=0, gpus=np.array(need, dtype=float)), prices).serverless_usd(prices)
        tried = [simulate_pool(need, [gpus] * 3, prices) for gpus in range(7)]
        for gpus, cost in enumerate(tried):
            held = np.full(3, gpus, dtype=np.int64)
            formula = float(cost_per_hour(table, held, prices).sum())
            worst = max(worst, abs(formula - cost) / max(cost, 1e-12))
        equal += int(abs(tried[best_constant(table, prices)] - min(tried)) <= 1e-9 * min(tried))
    return {"rounds": rounds, "worstRelativeError": worst, "bruteForceEqual": equal, "gate": 1e-9}


def robustness(demands: dict[str, Demand], prices: Tariff, *, rounds: int, seed: int = 9) -> dict[str, object]:
    """2 % of ten-minute windows lost and repaired: by how many GPUs the plan moves at most, per slot."""
    rng = np.random.default_rng(seed)
    worst, moved = 0, []
    for name, demand in demands.items():
        whole = make_plan(demand, prices, Constraints())
        for _ in range(rounds):
            lost = rng.random(demand.hours * 6) < 0.02
            holed = Demand(origin_s=demand.origin_s, gpus=repair(demand.gpus, lost))
            plan = make_plan(holed, prices, Constraints())
            same = len(plan.schedule) == len(whole.schedule)
            step = int(np.abs(plan.schedule - whole.schedule).max()) if same else -1
            if step < 0 or step > 1:
                moved.append(f"{name}: {step if same else 'another kind of schedule'}")
            worst = max(worst, abs(step))
    return {"cases": len(demands) * rounds, "mostGpusMoved": worst, "beyondOne": moved, "gate": 1}


def attainment(demand: Demand, prices: Tariff) -> dict[str, object]:
    """Requests whose wait stays under five seconds at the plan, simulated."""
    plan = make_plan(demand, prices, Constraints())
    load = synthesise(demand, SERVICE, tokens_in=1000, tokens_out=250, utilization=0.8)
    tiers = Tiers(
        dedicated=plan.dedicated[load.first_hour : load.first_hour + load.hours],
        warm=np.zeros(load.hours, dtype=np.int64),
        slots=SERVICE.batch,
        serverless_cap=plan.peak_replicas + 64,
        spill_after_s=1.0,
        cold_start_s=30,
    )
    done = simulate(load.arrival_s, load.service_s, tiers, prices)
    return {
        "requests": len(load.arrival_s),
        "within5s": round(float((done.wait_s <= 5).mean()), 5),
        "coldStartsPerDay": round(done.cold_starts / load.hours * 24, 1),
        "overflowShare": round(float((done.tier == 1).mean()), 4),
    }


def simulation_speed(*, requests: int = 2_000_000) -> dict[str, object]:
    """Requests per second through the two-tier simulation, best of three, compilation left out."""
    rng = np.random.default_rng(0)
    arrival = np.sort(rng.uniform(0, 24 * 3600, requests))
    length = rng.exponential(6, requests)
    tiers = Tiers(
        dedicated=np.full(24, 7, dtype=np.int64),
        warm=np.zeros(24, dtype=np.int64),
        slots=16,
        serverless_cap=40,
        spill_after_s=1,
        cold_start_s=30,
    )
    prices = series.tariff(series.ESSAY["A100"])
    simulate(arrival[:1000], length[:1000], tiers, prices)
    rounds = [_timed(lambda: simulate(arrival, length, tiers, prices)) for _ in range(3)]
    return {
        "requests": requests,
        "perSecond": round(requests / min(wall for wall, _ in rounds)),
        "perCpuSecond": round(requests / min(cpu for _, cpu in rounds)),
        "gate": 5_000_000,
    }


def ingest_speed(*, requests: int) -> dict[str, object]:
    """Rows per second from a Parquet file of requests to concurrent replicas, duplicates searched."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        path = Path(folder) / "requests.parquet"
        _write_requests(path, requests)
        source = recognise(path)
        started = time.perf_counter()
        traffic = traffic_of(source, shape_of(source), SERVICE, utilization=0.8)
        spent = time.perf_counter() - started
    return {"requests": requests, "kept": traffic.quality.kept, "perSecond": round(requests / spent)}


def memory(*, requests: int) -> dict[str, object]:
    """Peak resident memory of a process of its own that ingests a long trace, in MiB."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        path = Path(folder) / "requests.parquet"
        _write_requests(path, requests)
        size = path.stat().st_size
        code = "import sys; from benchmarks.planner.checks import ingest_only; ingest_only(sys.argv[1])"
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, cwd=series.ROOT
        )
        spent = time.perf_counter() - started
    return {
        "requests": requests,
        "fileMib": round(size / 2**20),
        "peakMib": round(float(done.stdout)),
        "seconds": round(spent, 1),
    }


def ingest_only(path: str) -> None:
    """Body of the memory benchmark's process: prints its peak memory in MiB."""
    source = recognise(Path(path))
    traffic_of(source, shape_of(source), SERVICE, utilization=0.8)
    sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def _write_requests(path: Path, requests: int, *, days: int = 14) -> None:
    """Requests in 14 days, written in parts so that writing needs no more memory than reading."""
    parts = max(1, requests // 2_000_000)
    rng = np.random.default_rng(2)

    def part(index: int) -> pl.DataFrame:
        count = requests // parts
        low, high = index / parts, (index + 1) / parts
        return pl.DataFrame(
            {
                "timestamp": 1_790_000_000 + np.sort(rng.uniform(low, high, count)) * days * 86400,
                "tokens_in": rng.integers(50, 4000, count),
                "tokens_out": rng.integers(1, 800, count),
            }
        )

    folder = path.parent / "parts"
    folder.mkdir()
    for index in range(parts):
        part(index).write_parquet(folder / f"{index:04}.parquet")
    pl.scan_parquet(folder / "*.parquet").sink_parquet(path)
    for piece in folder.iterdir():
        piece.unlink()


def plan_speed(*, tenants: int = 200) -> dict[str, object]:
    """A 14-day plan of many tenants from rate windows: ingest, plan, pooling by tenant; seconds."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        path = Path(folder) / "windows.parquet"
        _write_windows(path, tenants)
        workload = Workload.model_validate(
            {
                "model": {"weightsGib": 15, "kvCacheKibPerToken": 128},
                "gpu": "A100-80GB",
                "profile": {"prefillTokensPerSecond": 14000, "decodeTokensPerSecond": 2600},
                "dedicated": {"usdPerHour": "1.79"},
                "serverless": {"usdPerSecond": "0.00076"},
            }
        )
        started, cpu = time.perf_counter(), time.process_time()
        traffic, _ = ingest(str(path), workload, folder=Path(folder))
        prices = series.tariff((1.79, 0.00076))
        plan = make_plan(traffic.demand, prices, Constraints())
        pooled = pooling(traffic.by_group["tenant"], prices)
        spent, cpu = time.perf_counter() - started, time.process_time() - cpu
    return {
        "tenants": tenants,
        "days": 14,
        "seconds": round(spent, 2),
        "cpuSeconds": round(cpu, 2),
        "policy": plan.policy,
        "pooledSaving": round(pooled.saved, 3),
        "gate": 5.0,
    }


def _write_windows(path: Path, tenants: int) -> None:
    rng = np.random.default_rng(3)
    window = np.arange(14 * 144) * 600.0
    rows = []
    for tenant in range(tenants):
        size = rng.lognormal(0, 1.2)
        rate = size * np.exp(0.7 * np.sin((window / 3600 % 24 - rng.uniform(6, 14)) / 24 * 2 * np.pi))
        rows.append(
            pl.DataFrame(
                {
                    "tenant": [f"t{tenant:03}"] * len(window),
                    "window_start_s": window,
                    "rate_rps": rate * rng.gamma(20, 1 / 20, len(window)),
                    "cv": np.full(len(window), 1.5),
                    "mean_input_tokens": np.full(len(window), 900.0),
                    "mean_output_tokens": np.full(len(window), 220.0),
                }
            )
        )
    pl.concat(rows).write_parquet(path)


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of wall time and of CPU; the second is what other work on the machine disturbs least."""
    started, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - cpu


def hourly_saving(demand: Demand, tariff: Tariff) -> dict[str, object]:
    """What a floor that follows its traffic every hour costs beside the best plan without, US dollars a month; starts
    of nodes paid."""
    plan = make_plan(demand, tariff, Constraints())
    hourly = next(item.usd_per_month for item in plan.candidates if item.name == HOURLY)
    return {
        "policy": plan.policy,
        "usd": round(plan.usd_per_month),
        "hourlyUsd": round(hourly),
        "saved": round(1 - hourly / plan.usd_per_month, 4),
    }


def lead_times(demands: list[tuple[Demand, Tariff]], *, lead_time_s: float = 600) -> dict[str, float]:
    """What an hourly floor costs over the clairvoyant hourly bound, geometric means of the hours after seven days.

    With nodes that serve at once, and where each start pays its lead time, decided at the full hour or as much before.
    """
    ahead = int((HOUR_S - lead_time_s) / BIN_S)
    binned = [
        (replace(demand, gpus=demand.gpus[ahead : len(demand.gpus) - 360 + ahead]), own) for demand, own in demands
    ]
    walked = [run_backtest(demand, own) for demand, own in demands]
    early = [run_backtest(demand, own) for demand, own in binned]
    return {
        "atOnce": _over_bound(walked, 0.0),
        "atTheFullHour": _over_bound(walked, lead_time_s),
        "before": _over_bound(early, lead_time_s),
    }


def _over_bound(walked: list[Backtest], lead_time_s: float) -> float:
    ratios = []
    for one in walked:
        held = one.chosen.dedicated
        started = later_starts(held)
        paid = one.chosen.cost_usd + started * switch_cost_usd(one.tariff, lead_time_s)
        ratios.append(paid / one.bound.hourly_usd)
    return round(geomean(ratios), 4)
