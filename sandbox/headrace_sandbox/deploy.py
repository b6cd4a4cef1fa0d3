"""`make up` and `make down`: from nothing to a deployed stack in the sandbox, and back to nothing."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from headrace.errors import Refused, refuse
from headrace_sandbox import (
    cache,
    checkout,
    deploy_events,
    engine,
    environment,
    gobuild,
    parts,
    prerequisites,
    stack_config,
    supervise,
)
from headrace_sandbox import supervise_process as processes
from headrace_sandbox.service import SandboxContext, Service
from headrace_sandbox.stack import Stack
from headrace_sandbox.supervise_ports import write_json

POLICIES: Final = "policies"
# What a sandbox leaves beside its own folder.
_BESIDE: Final = ("state", "config", "pulumi-home", "logs", "passphrase", "up.json", "traffic.html")


@dataclass
class Result:
    """What `headrace up` found out. `rows` is the table: component, resource, id, state, where it runs."""

    phases: dict[str, float] = field(default_factory=dict)
    resources: dict[str, int] = field(default_factory=dict)
    findings: dict[str, int] = field(default_factory=dict)
    second_preview_changes: int = 0
    endpoints: dict[str, str] = field(default_factory=dict)
    rows: list[tuple[str, str, str, str, str]] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    traffic: dict[str, Any] | None = None

    def report(self) -> dict[str, Any]:
        """The content of `up.json`."""
        return {
            "phases": {name: round(seconds, 1) for name, seconds in self.phases.items()},
            "resources": self.resources,
            "findings": self.findings,
            "second_preview_changes": self.second_preview_changes,
            "endpoints": self.endpoints,
            "traffic": self.traffic,
        }


class DeployFailed(Exception):
    """The engine could not do it. The message is what it said, for a person."""


Traffic = Callable[[SandboxContext, Sequence[Service]], dict[str, Any] | None]
"""Replays traffic beside the running parts of a sandbox; returns what up.json holds of it, None without a router."""


def up(*, stack_name: str = "sandbox", directory: Path | None = None, traffic: Traffic | None = None) -> Result:
    """Engine, control plane, sandbox, `pulumi up` with the policy pack, then a preview that should find nothing.

    `traffic` then replays traffic through what was deployed.
    """
    project = checkout.root()
    result = Result()
    setup = project / ".venv" / "setup-seconds"
    if setup.is_file():
        result.phases["setup"] = float(setup.read_text(encoding="utf-8"))
    _need_stack(project, stack_name)
    with _phase(result, "engine"):
        found = engine.find(project)
    context = supervise.open_context(directory)
    with _phase(result, "control plane"):
        _build_control_plane()
    with _phase(result, "sandbox"):
        services = parts.all_services(context)
        supervise.up(context, services)
        environment.install_plugins(context, found)
        prerequisites.provide(context, stack_config.settings(project, stack_name))
    stack = _stack(project, stack_name, context, found)
    with _phase(result, "deploy"):
        stack.ensure()
        stack.cancel()  # a lock of a run that was killed; ours is the only one, see the sandbox's own lock
        progress = _run(stack, "up", "--yes")
    _take(result, stack, progress)
    with _phase(result, "second preview"):
        second = _run(stack, "preview")
    result.second_preview_changes = second.changed()
    result.changed = [
        f"{operation} {deploy_events.name_of(urn)}"
        for urn, operation in second.operations.items()
        if operation not in {"same", "read"}
    ]
    result.endpoints = supervise.endpoints(context.directory)
    if traffic is not None:
        with _phase(result, "traffic"):
            result.traffic = traffic(context, services)
    write_json(context.directory.parent / "up.json", result.report())
    return result


@dataclass(frozen=True, kw_only=True)
class Previewed:
    """What the preview of one stack said. `failure` is empty where it went through."""

    stack: str
    seconds: float
    changes: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    failure: str = ""


def preview(stack_names: Sequence[str], *, directory: Path | None = None) -> list[Previewed]:
    """Preview stacks in the sandbox, starting it if need be; each one's failure is its own."""
    project = checkout.root()
    for name in stack_names:
        _need_stack(project, name)
    found = engine.find(project)
    context = supervise.open_context(directory)
    supervise.up(context, parts.all_services(context))
    environment.install_plugins(context, found)
    for name in stack_names:
        prerequisites.provide(context, stack_config.settings(project, name))
    return [_preview(_stack(project, name, context, found)) for name in stack_names]


def _preview(stack: Stack) -> Previewed:
    started = time.monotonic()
    cache.say(f"{stack.name} …")
    stack.ensure()
    try:
        seen = _run(stack, "preview")
    except DeployFailed as failed:
        return Previewed(stack=stack.name, seconds=time.monotonic() - started, failure=str(failed))
    findings = [f"{found.level} {found.policy}: {found.message}" for found in sorted(seen.findings, key=str)]
    return Previewed(
        stack=stack.name,
        seconds=time.monotonic() - started,
        changes=dict(sorted(seen.changes.items())),
        findings=findings,
    )


def down(*, stack_name: str = "sandbox", directory: Path | None = None) -> list[str]:
    """Destroy the stack, stop everything, remove what is left; returns what was done, for the reader.

    Works on what it finds: also when `up` was killed at any point. Where the destroy fails, the rest still goes, and
    the failure is raised at the end.
    """
    project = checkout.root()
    folder = (directory or supervise.default_directory()).resolve()
    base = folder.parent
    done: list[str] = []
    failure: Exception | None = None
    if processes.stop_marked(_mark(folder)):
        done.append("ended a deployment that was under way")
    if any((base / "state").rglob(f"stacks/**/{stack_name}.json")):
        try:
            _destroy(project, stack_name, supervise.open_context(folder))
            done.append(f"destroyed the stack {stack_name}")
        except (DeployFailed, Refused) as error:
            failure = error
    stopped = supervise.down(folder, purge=True)
    if stopped:
        done.append(f"stopped {', '.join(stopped)}")
    for name in _BESIDE:
        path = base / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if base.is_dir() and not any(base.iterdir()):
        base.rmdir()
    if failure is not None:
        raise failure
    return done


def _destroy(project: Path, stack_name: str, context: SandboxContext) -> None:
    found = engine.find(project)
    supervise.up(context, parts.all_services(context))
    environment.install_plugins(context, found)
    prerequisites.provide(context, stack_config.settings(project, stack_name))
    stack = _stack(project, stack_name, context, found)
    stack.cancel()
    _run(stack, "destroy", "--yes")
    stack.remove()


def _mark(folder: Path) -> str:
    return f"{folder}/pulumi"


def _stack(project: Path, name: str, context: SandboxContext, found: engine.Engine) -> Stack:
    pack = project / POLICIES
    region = stack_config.settings(project, name).get("inference:region")
    return Stack(
        name=name,
        project=project,
        context=context,
        engine=found,
        policy_packs=(pack,) if (pack / "PulumiPolicy.yaml").is_file() else (),
        variables={processes.MARK: _mark(context.directory), **({"AWS_REGION": str(region)} if region else {})},
    )


def _need_stack(project: Path, stack_name: str) -> None:
    file = stack_config.source(project, stack_name)
    if file.is_file():
        return
    known = sorted(path.name.split(".")[1] for path in file.parent.glob("Pulumi.*.yaml"))
    raise refuse(
        "--stack", stack_name, f"there is no file {file.name}", next_step=f"name one of {', '.join(known) or 'none'}"
    )


def _build_control_plane() -> None:
    from headrace_sandbox.kubernetes.services import BINARIES

    for module in BINARIES:
        gobuild.build(module)


@contextlib.contextmanager
def _phase(result: Result, name: str) -> Iterator[None]:
    started = time.monotonic()
    cache.say(f"{name} …")
    yield
    result.phases[name] = time.monotonic() - started
    cache.say(f"{name}: {result.phases[name]:.1f} s")


def _run(stack: Stack, command: str, *arguments: str) -> deploy_events.Progress:
    """An engine command with progress; raises `DeployFailed` with its diagnostics when it fails."""
    log = stack.context.directory.parent / "logs" / f"{command}.log"
    started = time.monotonic()
    code, progress = deploy_events.run(
        stack.argv(command, *arguments),
        cwd=stack.project,
        environment=stack.environment(),
        output=log,
        report=lambda line: cache.say(f"{command}: {line} ({time.monotonic() - started:.0f} s)"),
    )
    if code != 0:
        said = progress.messages + [
            f"{finding.level} {finding.policy}: {finding.message}" for finding in sorted(progress.findings, key=str)
        ]
        shown = "\n".join(said) or log.read_text(encoding="utf-8", errors="replace")[-3000:]
        raise DeployFailed(f"pulumi {command} ended with code {code}\n{shown}\n(all of it: {log})")
    return progress


def _take(result: Result, stack: Stack, progress: deploy_events.Progress) -> None:
    resources = stack.resources()
    result.resources = dict(sorted(Counter(str(resource["type"]) for resource in resources).items()))
    result.findings = {level: progress.count(level) for level in ("mandatory", "advisory")}
    result.messages = [
        f"{finding.level} {finding.policy}: {finding.message}" for finding in sorted(progress.findings, key=str)
    ] + progress.messages
    places = _places(stack)
    for resource in resources:
        if not resource.get("custom") or str(resource["type"]).startswith("pulumi:providers:"):
            continue
        urn = str(resource["urn"])
        result.rows.append(
            (
                deploy_events.name_of(str(resource.get("parent", ""))),
                deploy_events.name_of(urn),
                str(resource.get("id", "")),
                _STATES.get(progress.operations.get(urn, "same"), "changed"),
                _where(resource, places),
            )
        )


def _where(resource: dict[str, Any], places: dict[str, str]) -> str:
    """Where a resource runs; a serverless endpoint with its instances, the least and the most."""
    kind = str(resource["type"])
    if kind.startswith("kubernetes:helm.sh/"):
        return "recorded"
    package, module = kind.split(":")[:2]
    place = places.get(module if package == "headrace" else package, "")
    outputs = resource.get("outputs", {})
    workers = outputs.get("workers", {})
    bounds = {
        "headrace:runpod:Endpoint": (workers.get("min"), workers.get("max")),
        "headrace:modal:App": (outputs.get("minContainers"), outputs.get("maxContainers")),
    }.get(kind)
    return f"{place}, {int(bounds[0])} to {int(bounds[1])} instances" if bounds and None not in bounds else place


_STATES: Final = {"same": "unchanged", "create": "created", "update": "updated", "replace": "replaced"}


def _places(stack: Stack) -> dict[str, str]:
    """Package -> where its resources run, in the sandbox's own words."""
    known = {row.name: row for row in supervise.status(stack.context.directory)}
    found = {}
    for package, part in (
        ("aws", "aws"),
        ("kubernetes", "kube-apiserver"),
        ("runpod", "runpod"),
        ("modal", "modal"),
    ):
        if part in known:
            found[package] = f"{part} ({known[part].kind})"
    return found
