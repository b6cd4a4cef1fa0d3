"""`python -m benchmarks.spill [--json FILE]`: spill quality of the router beside error-based fallback and the best."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.spill.strategies import Result, clairvoyant, fallback, headrace
from benchmarks.spill.worlds import WORKLOAD, World, worlds
from headrace.traffic.figures import percentile

DAY_S = 7200.0
TRACE_S = 3600.0
REPLICAS = (2, 3)


def measure(world: World) -> dict[str, Any]:
    """Every strategy over one world."""
    limit_s = world.policy.workloads[WORKLOAD].time_to_first_token_s or 1.0
    started = time.perf_counter()
    several = [headrace(world, replicas=count) for count in REPLICAS]
    results = [clairvoyant(world), headrace(world), *several, headrace(world, start_ahead=False), fallback(world)]
    best = results[0]
    return {
        "world": world.name,
        "requests": len(world.asks),
        "seconds": world.seconds,
        "sloS": limit_s,
        "strategies": [_row(one, best, limit_s) for one in results],
        "wallS": round(time.perf_counter() - started, 1),
    }


def _row(one: Result, best: Result, limit_s: float) -> dict[str, Any]:
    return {
        "name": one.name,
        "attained": one.attained(limit_s),
        "attainedOfBest": one.attained(limit_s) / max(best.attained(limit_s), 1e-9),
        "firstTokenS": {f"p{p}": percentile(one.first_s, p) for p in (50, 95, 99)},
        "refused": one.refused,
        "spilled": one.spilled,
        "coldStarts": one.cold_starts,
        "usd": one.usd,
        "serverlessUsd": one.serverless_usd,
        "usdOfBest": one.usd / best.usd,
    }


def _print(found: dict[str, Any]) -> None:
    print(f"\n{found['world']}: {found['requests']:,} requests over {found['seconds']:,.0f} s, SLO {found['sloS']:g} s")
    print(
        f"{'':34}{'SLO kept':>9}{'of best':>9}{'P50':>8}{'P95':>8}{'P99':>8}{'spilled':>9}{'refused':>9}{'cold':>6}"
        f"{'cost':>9}{'of best':>9}"
    )
    for row in found["strategies"]:
        first = row["firstTokenS"]
        print(
            f"{row['name']:34}{row['attained']:>9.1%}{row['attainedOfBest']:>9.3f}"
            f"{first['p50']:>7.2f}s{first['p95']:>7.2f}s{first['p99']:>7.2f}s"
            f"{row['spilled']:>9,}{row['refused']:>9,}{row['coldStarts']:>6}{'$' + format(row['usd'], '.3f'):>9}"
            f"{row['usdOfBest']:>9.3f}"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--day-s", type=float, default=DAY_S, help="platform seconds that the generated day takes")
    parser.add_argument("--trace-s", type=float, default=TRACE_S, help="seconds of the Azure trace")
    given = parser.parse_args()
    found = [measure(world) for world in worlds(day_s=given.day_s, trace_s=given.trace_s)]
    for one in found:
        _print(one)
    if len(found) == 1:
        print("the Azure trace is not on this machine (HEADRACE_DATA, or ../shared/data): left out", file=sys.stderr)
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
