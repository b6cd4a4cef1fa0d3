"""`python -m benchmarks.router.routers [--seconds N]`: the backend directly, HAProxy and our router,
with wrk and a compiled backend, interleaved in rounds. Prints JSON; ratios are what counts.

Needs `wrk`, `go` and, for that row, `haproxy` on PATH. Our router runs with keys, quotas, budgets, ledger and metrics.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.engine.router.world import (
    KEYS,
    PATIENT,
    Process,
    Replica,
    floor_at,
    free_port,
    process,
    wait_for,
    write_files,
)

HERE = Path(__file__).parent
BODY = json.dumps({"model": "chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 16})
STREAMS = 200


def backend(folder: Path) -> Path:
    """The compiled backend."""
    program = folder / "backend"
    subprocess.run(["go", "build", "-o", program, "."], cwd=HERE / "backend", check=True)
    return program


def script(folder: Path) -> Path:
    """What wrk sends."""
    file = folder / "post.lua"
    file.write_text(
        f"wrk.method='POST'\nwrk.body=[[{BODY}]]\nwrk.headers['Content-Type']='application/json'\n"
        f"wrk.headers['Authorization']='Bearer {KEYS['search']}'\n"
    )
    return file


def haproxy(folder: Path, port: int, upstream: int) -> list[str]:
    """HAProxy with one backend, as plain as it gets."""
    file = folder / "haproxy.cfg"
    file.write_text(
        "global\n  nbthread 1\n"
        "defaults\n  mode http\n  timeout connect 3s\n  timeout client 60s\n  timeout server 60s\n"
        f"frontend f\n  bind 127.0.0.1:{port}\n  default_backend b\n"
        f"backend b\n  server s 127.0.0.1:{upstream}\n"
    )
    return ["haproxy", "-f", str(file)]


def load(port: int, lua: Path, *, connections: int, seconds: float) -> dict[str, float]:
    """One run of wrk: requests a second, median and 99th percentile in milliseconds."""
    found = subprocess.run(
        [
            *("wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "-s", str(lua)),
            f"http://127.0.0.1:{port}/v1/chat/completions",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    if "Non-2xx" in found:
        sys.exit(f"port {port} answered errors:\n{found}")

    def number(pattern: str) -> float:
        match = re.search(pattern, found)
        if match is None:
            sys.exit(found)
        return float(match[1]) * {"us": 0.001, "ms": 1, "s": 1000, "": 1}[match[2] if match.lastindex == 2 else ""]

    return {
        "rps": number(r"Requests/sec:\s+([\d.]+)"),
        "p50": number(r"50%\s+([\d.]+)(us|ms|s)"),
        "p99": number(r"99%\s+([\d.]+)(us|ms|s)"),
    }


async def first_tokens(port: int) -> dict[str, float]:
    """Time to first token of `STREAMS` streams at once, in milliseconds."""

    async def one(session: aiohttp.ClientSession) -> float:
        started = time.perf_counter()
        async with session.post(
            f"http://127.0.0.1:{port}/v1/chat/completions",
            data=BODY[:-1] + ',"stream":true}',
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {KEYS['search']}"},
        ) as response:
            assert response.status == 200, await response.text()
            await response.content.readany()
            first = time.perf_counter() - started
            await response.read()
        return first * 1000

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        found = sorted(await asyncio.gather(*(one(session) for _ in range(STREAMS))))
    return {"p50": found[len(found) // 2], "p99": found[int(len(found) * 0.99)]}


@contextlib.contextmanager
def contestants(folder: Path) -> Iterator[dict[str, tuple[int, Process]]]:
    """Everything that is compared, running."""
    with contextlib.ExitStack() as stack:
        upstream = free_port()
        direct = stack.enter_context(process([str(backend(folder)), str(upstream)], folder / "backend.log"))
        found = {"direct": (upstream, direct)}
        limits = {
            "budgetNanoUsd": 10**18,
            "requestsPerMinute": 10**9,
            "tokensPerMinute": 10**12,
            "parallelRequests": 10**6,
        }
        write_files(
            folder,
            pools={"floor": floor_at(upstream, instances=64, slotsPerInstance=16, metricsUrl=None)},
            limits=limits,
            tenants={
                "search": {"limits": limits, "projects": {"assistant": limits}},
                "support": {"limits": {}, "projects": {"answers": {}}},
            },
            callerBreaker=PATIENT,
        )
        replica = Replica(folder=folder)
        ours = stack.enter_context(replica.start())
        wait_for(replica.ready, what="the router")
        found["headrace"] = (replica.port, ours)
        if shutil.which("haproxy"):
            port = free_port()
            found["haproxy"] = (port, stack.enter_context(process(haproxy(folder, port, upstream), folder / "ha.log")))
        time.sleep(1)
        yield found


def main() -> None:
    """Rounds over all contestants; medians and ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contestants(Path(name)) as running:
        lua = script(Path(name))
        rows: dict[str, list[dict[str, float]]] = {key: [] for key in running}
        for _ in range(given.rounds):
            for key, (port, one) in running.items():
                alone = load(port, lua, connections=1, seconds=given.seconds)
                handle = psutil.Process(one.child.pid)
                before = sum(handle.cpu_times()[:2])
                many = load(port, lua, connections=8, seconds=given.seconds)
                cpu = sum(handle.cpu_times()[:2]) - before
                rows[key].append(
                    {
                        "p50": alone["p50"],
                        "p99": alone["p99"],
                        "rps": many["rps"],
                        "cpuMs": cpu * 1000 / (many["rps"] * given.seconds),
                    }
                )
        report: dict[str, Any] = {}
        for key, (port, one) in running.items():
            middle = {name: statistics.median(row[name] for row in rows[key]) for name in rows[key][0]}
            streams = asyncio.run(first_tokens(port))
            report[key] = {
                "addedP50Ms": round(middle["p50"] - statistics.median(r["p50"] for r in rows["direct"]), 3),
                "addedP99Ms": round(middle["p99"] - statistics.median(r["p99"] for r in rows["direct"]), 3),
                "requestsPerSecond": round(middle["rps"]),
                "cpuMsPerRequest": round(middle["cpuMs"], 3),
                "requestsPerCoreSecond": round(1000 / middle["cpuMs"]) if middle["cpuMs"] else None,
                "firstTokenP50Ms": round(streams["p50"], 1),
                "firstTokenP99Ms": round(streams["p99"], 1),
                "memoryMib": round(psutil.Process(one.child.pid).memory_info().rss / 2**20),
            }
        if "haproxy" in report:
            ratio = report["headrace"]["requestsPerSecond"] / report["haproxy"]["requestsPerSecond"]
            report["headraceToHaproxy"] = round(ratio, 3)
        print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
