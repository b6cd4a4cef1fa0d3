"""`python -m benchmarks.platform`: what our components cost beside a bare program, and what `make up` costs."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.platform import measure, sizes
from benchmarks.platform.measure import ROOT, Pair, Timing
from headrace_sandbox import engine, environment, parts, stack_config, supervise
from headrace_sandbox.service import SandboxContext

GATE = 1.15  # issue 3: a preview may take at most so many times as long as that of the bare program


def main() -> None:
    """Measure, print tables, write JSON."""
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--rounds", type=int, default=5, help="paired rounds of each preview (default 5)")
    cli.add_argument("--deployments", type=int, default=2, help="paired rounds of up and destroy (default 2)")
    cli.add_argument("--only", choices=("default", "large", "make-up"), action="append", help="not everything")
    cli.add_argument("--cold", action="store_true", help="make up from an empty cache too (builds the engine: 15 min)")
    cli.add_argument("--json", type=Path, default=ROOT / ".headrace" / "bench" / "platform.json")
    chosen = cli.parse_args()
    wanted = chosen.only or ["default", "large", "make-up"]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's Python keeps its bytecode
    result: dict[str, Any] = {
        "when": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "loadAverage": os.getloadavg()[0],
        "commit": subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip(),
    }
    console = Console(width=120)
    for size in ("default", "large"):
        if size in wanted:
            result[size] = _size(size, chosen.rounds, chosen.deployments if size == "default" else 1)
            _print_size(console, size, result[size])
            _write(chosen.json, result)
    if "make-up" in wanted:
        result["makeUp"] = _make_up(cold=chosen.cold)
        _print_phases(console, result["makeUp"])
        _write(chosen.json, result)
    console.print(f"written to {chosen.json}")


def _size(size: str, rounds: int, deployments: int) -> dict[str, Any]:
    """One size of stack in a sandbox of its own."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        base = Path(folder)
        context = supervise.open_context(base / "box" / "sandbox")
        try:
            supervise.up(context, parts.all_services(context))
            pair, resources = _pair(context, base, size)
            timings = [measure.previews(pair.programs(), rounds=rounds, what="preview of an empty account")]
            timings += measure.deployments(pair, rounds=deployments)
            return {
                "resources": resources,
                "timings": [timing.report() for timing in timings],
                "peakMemoryMib": measure.peak_memory_mib(context),
            }
        finally:
            supervise.down(context.directory)


def _pair(context: SandboxContext, base: Path, size: str) -> tuple[Pair, int]:
    """Deploy the platform once, write the bare program from what it made, take it down again."""
    found = engine.find(ROOT)
    environment.install_plugins(context, found)
    config = stack_config.settings(ROOT, measure.STACK)
    config = sizes.large(config) if size == "large" else config
    project = measure.platform_project(base / "platform", config)
    made = measure.stack(context, found, project, measure.STACK)
    made.run("up", "--yes", "--skip-preview", timeout_s=3600)
    shown = json.loads(made.run("stack", "export", "--show-secrets").stdout)
    resources = shown["deployment"]["resources"]
    made.run("destroy", "--yes", "--skip-preview", timeout_s=3600)
    other = measure.bare_project(base / "bare", resources, str(config["aws:region"]))
    pair = Pair(
        platform=made,
        gated=measure.stack(context, found, project, measure.STACK, ROOT / "policies"),
        bare=measure.stack(context, found, other, measure.BARE),
    )
    return pair, len(resources)


def _make_up(*, cold: bool) -> dict[str, Any]:
    """Phases of `make up` on a machine that has built everything, first with no sandbox, then with one that runs."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        directory = Path(folder) / "state" / "sandbox"
        variables = dict(os.environ)
        if cold:
            variables |= {"HEADRACE_CACHE": f"{folder}/cache"}
        try:
            first = measure.make_up(directory, variables)
            second = measure.make_up(directory, variables)
        finally:
            supervise.down(directory)
    name = "cold (empty cache)" if cold else "first (engine cached)"
    return {name: first["phases"], "warm (nothing to change)": second["phases"]}


def _print_size(console: Console, size: str, measured: dict[str, Any]) -> None:
    table = Table(title=f"stack {size}: {measured['resources']} resources, medians in seconds", title_justify="left")
    for column in ("command", "program", "median s", "ratio to bare", "rounds"):
        table.add_column(column, justify="left" if column in {"command", "program"} else "right")
    for report in measured["timings"]:
        timing = Timing(report["command"], report["seconds"])
        for program in timing.seconds:
            ratio = "" if program == "bare" else f"{timing.ratio(program):.2f}"
            rounds = str(len(timing.seconds[program]))
            table.add_row(timing.command, program, f"{timing.median(program):.1f}", ratio, rounds)
        table.add_section()
    console.print(table)
    preview = next(report for report in measured["timings"] if report["command"].startswith("preview of"))
    ratio = preview["ratioToBare"]["platform"]
    console.print(f"preview: {ratio:.2f} times the bare program's ({'within' if ratio <= GATE else 'ABOVE'} {GATE})")
    memory = Table(title="peak memory of the sandbox's parts", title_justify="left")
    memory.add_column("part")
    memory.add_column("MiB", justify="right")
    for part, mib in measured["peakMemoryMib"].items():
        memory.add_row(part, f"{mib:.0f}")
    console.print(memory)


def _print_phases(console: Console, measured: dict[str, dict[str, float]]) -> None:
    table = Table(title="make up, seconds by phase", title_justify="left")
    table.add_column("phase")
    for run in measured:
        table.add_column(run, justify="right")
    for phase in next(iter(measured.values())):
        table.add_row(phase, *(f"{phases.get(phase, 0):.1f}" for phases in measured.values()))
    table.add_row("total", *(f"{sum(phases.values()):.1f}" for phases in measured.values()))
    console.print(table)


def _write(file: Path, result: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
