"""`python -m benchmarks.router`: what our router adds, beside HAProxy, vllm-router and LiteLLM on the same backend.

In rounds, all in turns in one run: one connection for added latency, eight for requests per second and CPU time per
request, two hundred streams at once for the time to the first token. Ratios count, seconds depend on the machine; CPU
time per request depends least on what else it does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.router import decisions
from benchmarks.router.contestants import BODY, KEY, PROGRAMS, Contestant, environment, running
from headrace_sandbox import gobuild

NAMES = ("headrace", "haproxy", "vllm-router", "litellm")
STREAMS = 200
_COLUMNS = {
    "addedP50Ms": "added P50 ms",
    "addedP99Ms": "added P99 ms",
    "requestsPerSecond": "requests/s",
    "cpuMsPerRequest": "CPU ms/request",
    "requestsPerCoreSecond": "requests/s per core",
    "firstTokenP50Ms": "first token P50 ms",
    "firstTokenP99Ms": "P99 ms",
    "memoryMib": "memory MiB",
}


def load(kind: str, at: Contestant, body: dict[str, Any], connections: int, amount: float) -> dict[str, float]:
    """One run of the load generator; an error of any request ends the benchmark."""
    program = gobuild.build("load", modules=PROGRAMS)
    text = json.dumps(body, separators=(",", ":"))
    done = subprocess.run(
        [program, kind, at.url, KEY, text, str(connections), str(amount)], check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    if found["errors"]:
        raise RuntimeError(f"{at.name}: {found}")
    return found


def one_round(at: Contestant, seconds: float) -> dict[str, float]:
    """Latency alone, then throughput with its CPU time."""
    alone = load("whole", at, BODY, 1, seconds)
    before = at.cpu_s()
    many = load("whole", at, BODY, 8, seconds)
    return {
        "p50": alone["p50Ms"],
        "p99": alone["p99Ms"],
        "rps": many["rps"],
        "cpuMs": (at.cpu_s() - before) * 1000 / many["requests"],
    }


def report(found: dict[str, Contestant], rows: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Medians of the rounds, streams and memory; latencies as added to the direct call of the same round."""
    made: dict[str, dict[str, float]] = {}
    for name, at in found.items():
        middle = {key: statistics.median(row[key] for row in rows[name]) for key in rows[name][0]}
        added = {
            key: statistics.median(own[key] - plain[key] for own, plain in zip(rows[name], rows["direct"], strict=True))
            for key in ("p50", "p99")
        }
        streams = load("streams", at, {**BODY, "stream": True}, STREAMS, 3)
        made[name] = {
            "addedP50Ms": round(added["p50"], 3),
            "addedP99Ms": round(added["p99"], 3),
            "requestsPerSecond": round(middle["rps"]),
            "cpuMsPerRequest": round(middle["cpuMs"], 4),
            "requestsPerCoreSecond": round(1000 / middle["cpuMs"]),
            "firstTokenP50Ms": round(streams["p50Ms"], 1),
            "firstTokenP99Ms": round(streams["p99Ms"], 1),
            "memoryMib": round(at.memory_mib()),
        }
    return made


def aims(rows: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    """What issue and figures say, beside each other."""
    own = rows["headrace"]
    made: list[dict[str, Any]] = [
        {"aim": "added at P50, ms", "limit": "<= 1", "found": own["addedP50Ms"], "met": own["addedP50Ms"] <= 1},
        {"aim": "added at P99, ms", "limit": "<= 3", "found": own["addedP99Ms"], "met": own["addedP99Ms"] <= 3},
    ]
    for name, least in (("haproxy", 0.5), ("litellm", 30.0), ("vllm-router", None)):
        if name not in rows:
            continue
        for key, words in (("requestsPerSecond", "requests/s"), ("requestsPerCoreSecond", "requests/s per core")):
            ratio = own[key] / rows[name][key]
            made.append(
                {
                    "aim": f"{words} beside {name}",
                    "limit": f">= {least:g}" if least is not None else "-",
                    "found": round(ratio, 3),
                    "met": ratio >= least if least is not None else None,
                }
            )
    return made


def show(document: dict[str, Any]) -> None:
    """The tables."""
    console = Console(width=150)
    table = Table("", *_COLUMNS.values())
    for name, row in document["rows"].items():
        table.add_row(name, *(f"{row[key]:g}" for key in _COLUMNS))
    console.print(table)
    table = Table("aim", "limit", "found", "met")
    for one in document["aims"]:
        met = {True: "yes", False: "no", None: "-"}[one["met"]]
        table.add_row(one["aim"], one["limit"], f"{one['found']:g}", met)
    console.print(table)
    for name, why in document["missing"].items():
        console.print(f"{name} is missing: {why}")
    console.print(f"decide(): {document['decide']}; machine: {document['machine']}")


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.router")
    parser.add_argument("--seconds", type=float, default=3, help="of each of a round's two runs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=NAMES, default=NAMES, help="beside the direct call")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    given = parser.parse_args()
    machine = environment()
    with tempfile.TemporaryDirectory() as name, running(Path(name), frozenset(given.only)) as (found, missing):
        rows: dict[str, list[dict[str, float]]] = {key: [] for key in found}
        for _ in range(given.rounds):
            for key, at in found.items():
                rows[key].append(one_round(at, given.seconds))
        made = report(found, rows)
    document = {
        "machine": machine,
        "seconds": given.seconds,
        "rounds": given.rounds,
        "streams": STREAMS,
        "rows": made,
        "missing": missing,
        "decide": decisions.measure(),
        "aims": aims(made) if "headrace" in made else [],
    }
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    show(document)


if __name__ == "__main__":
    main()
