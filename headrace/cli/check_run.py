"""Runs the policy pack through the real engine: on stacks, on a settings file, on a program, or on what is deployed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from headrace.audit import waiver_uses
from headrace.errors import refuse
from headrace.settings.load import load as load_settings
from headrace.settings.load import read_stack_file, read_yaml_file
from headrace_sandbox import (
    cache,
    checkout,
    deploy_events,
    engine,
    environment,
    parts,
    prerequisites,
    stack_config,
    supervise,
)
from headrace_sandbox.service import SandboxContext
from headrace_sandbox.stack import Stack, StackError

PACK: Final = "policies"
_REPORT: Final = "HEADRACE_POLICY_REPORT"
_SETTINGS: Final = "HEADRACE_POLICY_SETTINGS"
_ORDER: Final = ("critical", "high", "medium", "low")
# What the pack prints beside findings; the engine shows it as information.
_COST: Final = re.compile(r"monthly cost [^\n]*")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is checked: a stack of a project. `source` is the file that whoever reads a finding would open."""

    name: str
    stack: Stack
    source: Path


@dataclass
class Checked:
    """What was found on one subject. `open` blocks, `advice` doesn't, `waived` was excused; each is the pack's record.
    `failure` is what the engine said where it could not even finish. `source` is the file that findings point at."""

    subject: str
    source: str = ""
    seconds: float = 0.0
    open: list[dict[str, Any]] = field(default_factory=list)
    advice: list[dict[str, Any]] = field(default_factory=list)
    waived: list[dict[str, Any]] = field(default_factory=list)
    cost: str = ""
    failure: str = ""

    def report(self) -> dict[str, Any]:
        """As JSON."""
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The running sandbox and the engine."""

    root: Path
    context: SandboxContext
    found: engine.Engine

    @property
    def folder(self) -> Path:
        """Where reports and temporary projects go: beside the sandbox, never into the tree."""
        return self.context.directory.parent / "check"


def start() -> Bench:
    """The sandbox, up, with its plugins. No credential of any cloud is looked at."""
    root = checkout.root()
    found = engine.find(root)
    context = supervise.open_context(None)
    supervise.up(context, parts.all_services(context))
    environment.install_plugins(context, found)
    bench = Bench(root=root, context=context, found=found)
    bench.folder.mkdir(parents=True, exist_ok=True)
    return bench


def known_stacks(root: Path) -> list[str]:
    """Stacks of the repository."""
    return sorted(file.name.split(".")[1] for file in (root / "stacks").glob("Pulumi.*.yaml"))


def of_stack(bench: Bench, name: str) -> Subject:
    """A stack of the repository, by its name."""
    if name not in known_stacks(bench.root):
        known = ", ".join(known_stacks(bench.root))
        raise refuse("STACK", name, "there is no such stack", next_step=f"name one of {known}")
    stack = _stack(bench, bench.root, name)
    return Subject(name=name, stack=stack, source=stack_config.source(bench.root, name))


def of_settings(bench: Bench, file: Path) -> Subject:
    """The repository's program with the settings of a file."""
    environment_name = load_settings(read_stack_file(file)).environment
    project = _fresh(bench, f"settings-{environment_name}")
    for name in ("__main__.py",):
        shutil.copy(bench.root / "stacks" / name, project / name)
    shutil.copy(file, project / f"Pulumi.{environment_name}.yaml")
    (project / "Pulumi.yaml").write_text(_project(bench.root), encoding="utf-8")
    return Subject(name=str(file), stack=_stack(bench, project, environment_name), source=file)


def of_program(bench: Bench, folder: Path, stack_name: str | None) -> Subject:
    """A Pulumi program of somebody's own."""
    if not (folder / "Pulumi.yaml").is_file():
        raise refuse(
            "--program", str(folder), "there is no Pulumi.yaml", next_step="name the folder of a Pulumi project"
        )
    found = sorted(file.name.split(".")[1] for file in folder.glob("Pulumi.*.yaml"))
    name = stack_name or (found[0] if found else "check")
    project = _fresh(bench, f"program-{folder.resolve().name}")
    shutil.copytree(folder, project, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".git", ".venv", "node_modules"))
    own = folder / f"Pulumi.{name}.yaml"
    source = own if own.is_file() else folder / "Pulumi.yaml"
    return Subject(name=str(folder), stack=_stack(bench, project, name), source=source)


def _fresh(bench: Bench, name: str) -> Path:
    project = bench.folder / name
    if project.is_dir():
        shutil.rmtree(project)
    project.mkdir(parents=True)
    return project


def _project(root: Path) -> str:
    """The repository's project file for a program elsewhere: paths made absolute, the program beside it."""
    import yaml

    document = read_yaml_file(root / "Pulumi.yaml")
    assert isinstance(document, dict)  # noqa: S101 - the file is ours
    project = {key: value for key, value in document.items() if key not in ("main", "stackConfigDir")}
    for kind in (project.get("plugins") or {}).values():
        for plugin in kind:
            plugin["path"] = str((root / plugin["path"]).resolve())
    return str(yaml.safe_dump(project, sort_keys=False))


def _stack(bench: Bench, project: Path, name: str, **more: str) -> Stack:
    region = stack_config.settings(project, name).get("inference:region")
    variables: dict[str, str] = {**({"AWS_REGION": str(region)} if region else {}), **more}
    return Stack(
        name=name,
        project=project,
        context=bench.context,
        engine=bench.found,
        policy_packs=(bench.root / PACK,),
        variables=variables,
    )


def check(bench: Bench, subject: Subject, policy_config: Path | None) -> Checked:
    """Previews the subject with the pack and reads what it found."""
    started = time.monotonic()
    cache.say(f"checking {subject.name} …")
    report = _report_file(bench, subject)
    stack = _with(subject.stack, {_REPORT: str(report), waiver_uses.DIRECTORY_VARIABLE: str(record(bench).parent)})
    prerequisites.provide(bench.context, stack_config.settings(stack.project, stack.name))
    stack.ensure()
    arguments = ["--policy-pack-config", str(policy_config)] if policy_config else []
    log = bench.folder / f"{report.stem}.log"
    log.unlink(missing_ok=True)
    code, progress = deploy_events.run(
        stack.argv("preview", *arguments), cwd=stack.project, environment=stack.environment(), output=log, report=_quiet
    )
    result = _read(subject, report)
    result.seconds = round(time.monotonic() - started, 1)
    text = log.read_text(encoding="utf-8", errors="replace")
    result.cost = next(iter(_COST.findall(text)), "")
    _add_unreported(result, progress)
    if code != 0 and not result.open:
        result.failure = "\n".join(progress.messages) or text[-2000:]
    return result


def against_live(bench: Bench, subject: Subject) -> Checked:
    """Runs the pack on the state that is deployed, without its program and without any cloud."""
    started = time.monotonic()
    report = _report_file(bench, subject)
    source = stack_config.source(subject.stack.project, subject.stack.name)
    stack = _with(
        subject.stack,
        {
            _REPORT: str(report),
            _SETTINGS: str(source),
            waiver_uses.DIRECTORY_VARIABLE: str(record(bench).parent),
        },
    )
    if not _deployed(stack):
        raise refuse(
            "--against live",
            stack.name,
            "nothing of this stack is deployed here",
            reason="an empty state would pass every policy",
            next_step="deploy it first, or leave out --against live",
        )
    done = subprocess.run(  # noqa: S603 - our own argv
        [str(bench.found.path), "policy", "analyze", "--policy-pack", str(bench.root / PACK), "--stack", stack.name],
        cwd=stack.project,
        env=stack.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    result = _read(subject, report)
    result.seconds = round(time.monotonic() - started, 1)
    result.cost = next(iter(_COST.findall(done.stdout + done.stderr)), "")
    if done.returncode != 0 and not result.open:
        result.failure = (done.stderr or done.stdout).strip()[-2000:]
    return result


def _deployed(stack: Stack) -> bool:
    try:
        return any(resource.get("custom") for resource in stack.resources())
    except StackError:  # the backend doesn't know the stack
        return False


def record(bench: Bench) -> Path:
    """Where the pack enters uses of waivers: the record of this checkout, or of HEADRACE_AUDIT_DIR."""
    return waiver_uses.path(bench.root).resolve()


def _quiet(_: str) -> None:
    """No progress lines: a check is short, and its output may be read by a machine."""


def _with(stack: Stack, variables: Mapping[str, str]) -> Stack:
    from dataclasses import replace

    return replace(stack, variables={**stack.variables, **variables})


def _report_file(bench: Bench, subject: Subject) -> Path:
    name = re.sub(r"[^A-Za-z0-9-]+", "-", subject.name).strip("-")[-60:]
    report = bench.folder / f"{name}.jsonl"
    report.unlink(missing_ok=True)
    return report


def _read(subject: Subject, report: Path) -> Checked:
    result = Checked(subject=subject.name, source=str(subject.source))
    lines = report.read_text(encoding="utf-8").splitlines() if report.is_file() else []
    for line in dict.fromkeys(lines):
        record = json.loads(line)
        {"open": result.open, "advice": result.advice, "waived": result.waived}[record.pop("kind")].append(record)
    for found in (result.open, result.advice, result.waived):
        found.sort(key=lambda one: (_ORDER.index(one["severity"]), one["policy"], one["resource"], one["sentence"]))
    return result


def _add_unreported(result: Checked, progress: deploy_events.Progress) -> None:
    """What the engine was told by policies that are no rules (settings that can't be read), and whatever it found out
    by itself (a policy that could not run)."""
    known = {one["policy"] for one in (*result.open, *result.advice)}
    for finding in sorted(progress.findings, key=str):
        policy = finding.policy.rsplit("/", 1)[-1]
        if policy in known:
            continue
        record = {
            "policy": policy,
            "severity": "high" if finding.level == "mandatory" else "low",
            "status": "violation",
            "resource": finding.urn or "stack",
            "sentence": finding.message.splitlines()[-1].strip(),
            "remediation": "",
        }
        (result.open if finding.level == "mandatory" else result.advice).append(record)
