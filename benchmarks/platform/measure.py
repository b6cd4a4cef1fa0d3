"""Seconds of engine commands, two programs in turn, and memory of the sandbox's processes."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.platform import bare
from headrace_sandbox import engine, prerequisites, stack_config, supervise_process
from headrace_sandbox.service import SandboxContext
from headrace_sandbox.stack import Stack

ROOT: Final = Path(__file__).resolve().parents[2]
STACK: Final = "sandbox"
BARE: Final = "bare"


@dataclass
class Timing:
    """One command over all rounds, in seconds by program. Rounds are paired: round i of each ran side by side."""

    command: str
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, program: str, seconds: float) -> None:
        self.seconds.setdefault(program, []).append(round(seconds, 2))

    def median(self, program: str) -> float:
        return statistics.median(self.seconds[program])

    def ratio(self, program: str, base: str = "bare") -> float:
        """Median of the paired ratios, which a machine that gets busier half-way does not bend."""
        pairs = zip(self.seconds[program], self.seconds[base], strict=True)
        return statistics.median(one / other for one, other in pairs)

    def report(self) -> dict[str, Any]:
        others = [program for program in self.seconds if program != "bare"]
        return {**asdict(self), "ratioToBare": {program: round(self.ratio(program), 3) for program in others}}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The platform, the platform behind its policy pack, and the bare program, each a stack of its own."""

    platform: Stack
    gated: Stack
    bare: Stack

    def programs(self) -> dict[str, Stack]:
        return {"bare": self.bare, "platform": self.platform, "platform with policies": self.gated}


def platform_project(folder: Path, config: Mapping[str, Any]) -> Path:
    """The repository's program with a configuration of its own."""
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "Pulumi.yaml", folder)
    (folder / "stacks").mkdir()
    shutil.copy(ROOT / "stacks" / "__main__.py", folder / "stacks")
    (folder / "components").symlink_to(ROOT / "components")  # Pulumi.yaml names our plugin by this path
    (folder / "stacks" / f"Pulumi.{STACK}.yaml").write_text(json.dumps({"config": config}), encoding="utf-8")
    return folder


def bare_project(folder: Path, resources: Sequence[Mapping[str, Any]], region: str) -> Path:
    """The bare program of a deployed stack's resources."""
    folder.mkdir(parents=True)
    plugin = {"name": "headrace", "path": str(ROOT / "components")}
    project = {"name": "bare", "runtime": "python", "plugins": {"providers": [plugin]}}
    (folder / "Pulumi.yaml").write_text(json.dumps(project), encoding="utf-8")
    (folder / f"Pulumi.{BARE}.yaml").write_text(json.dumps({"config": {"aws:region": region}}), encoding="utf-8")
    (folder / "__main__.py").write_text(bare.program(resources), encoding="utf-8")
    return folder


def stack(context: SandboxContext, found: engine.Engine, project: Path, name: str, *packs: Path) -> Stack:
    """A stack of a project in the sandbox, made if need be."""
    settings = stack_config.settings(project, name)
    prerequisites.provide(context, settings)
    made = Stack(
        name=name,
        project=project,
        context=context,
        engine=found,
        policy_packs=packs,
        variables={"AWS_REGION": str(settings["aws:region"])},
    )
    made.ensure()
    return made


def seconds(stack: Stack, command: str) -> float:
    """One command of the engine, from its start to its end."""
    started = time.monotonic()
    stack.run(command, *(() if command == "preview" else ("--yes", "--skip-preview")), timeout_s=3600)
    return time.monotonic() - started


def previews(programs: Mapping[str, Stack], *, rounds: int, what: str) -> Timing:
    """Previews in turn; each round starts with another program, so that none always runs on the warmer machine."""
    timing = Timing(what)
    names = list(programs)
    for place in range(rounds):
        turn = names[place % len(names) :] + names[: place % len(names)]
        for name in turn:
            timing.add(name, seconds(programs[name], "preview"))
    return timing


def deployments(pair: Pair, *, rounds: int) -> list[Timing]:
    """Up, a preview that finds nothing, destroy: the two programs in turn, for both want the same names."""
    timings = {name: Timing(name) for name in ("up", "preview without change", "destroy")}
    for place in range(rounds):
        turn = [("bare", pair.bare), ("platform", pair.platform)]
        for name, one in turn if place % 2 == 0 else reversed(turn):
            timings["up"].add(name, seconds(one, "up"))
            timings["preview without change"].add(name, seconds(one, "preview"))
            timings["destroy"].add(name, seconds(one, "destroy"))
    return list(timings.values())


def peak_memory_mib(context: SandboxContext) -> dict[str, float]:
    """Part of the sandbox -> most memory it ever held (VmHWM, with its children), in MiB."""
    found = {}
    for record in supervise_process.load(context.directory):
        if supervise_process.alive(record):
            leader = psutil.Process(record.pid)
            family = [leader, *leader.children(recursive=True)]
            found[record.name] = round(sum(_peak_kib(process.pid) for process in family) / 1024, 1)
    return found


def _peak_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


def make_up(directory: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """`headrace up` in a folder of its own, as `make up` runs it; what it wrote into up.json."""
    argv = [str(ROOT / ".venv" / "bin" / "headrace"), "up"]
    subprocess.run(argv, cwd=ROOT, env={**variables, "HEADRACE_SANDBOX_DIR": str(directory)}, check=True)
    written: dict[str, Any] = json.loads((directory.parent / "up.json").read_text(encoding="utf-8"))
    return written
