"""What `headrace plan --write` puts into a stack file is what the engine then plans to make, and nothing else moves."""

from __future__ import annotations

import json
import re
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from headrace.catalog.price import price_book
from headrace.cli.plan import plan
from headrace.planner.sample import write_sample
from headrace.router.render import render
from headrace.settings.load import from_stack_file
from headrace_sandbox import stack_config
from headrace_sandbox.service import SandboxContext
from headrace_sandbox.stack import Stack
from tests.conftest import MakeStack
from tests.unit.planner.conftest import ON_L4

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parents[3]
GPUS_PER_NODE = 4  # chat-floor of the stack `sandbox`: g6.12xlarge
DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The repository's program with stack files that this test may change."""
    folder = tmp_path / "project"
    shutil.copytree(ROOT / "stacks", folder / "stacks", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Pulumi.yaml", folder)
    (folder / "components").symlink_to(ROOT / "components")  # Pulumi.yaml names our plugin by its folder
    return folder


@pytest.fixture
def traffic(tmp_path: Path) -> tuple[Path, Path]:
    """Nine days of generated traffic, and a workload whose cold starts are worth avoiding."""
    write_sample(tmp_path / "traffic.csv", days=9, requests_per_day=6000, seed=3)
    workload = tmp_path / "workload.yaml"
    workload.write_text(f"{ON_L4}coldStartPenaltyUsd: 0.2\n", encoding="utf-8")
    return tmp_path / "traffic.csv", workload


def inputs(stack: Stack) -> dict[str, dict[str, Any]]:
    """Inputs of everything that a preview would make, by type and name."""
    shown = json.loads(stack.run("preview", "--json").stdout)
    states = [step["newState"] for step in shown["steps"] if step["op"] == "create"]
    return {f"{one['type']} {one['urn'].rpartition('::')[2]}": one.get("inputs", {}) for one in states}


def shape(found: dict[str, Any] | None) -> str:
    """Inputs without the seven random digits that the engine gives to names anew in each preview."""
    return re.sub(r"-[0-9a-f]{7}(?=[\"/:])", "-random", json.dumps(found, sort_keys=True))


def of_type(found: dict[str, dict[str, Any]], kind: str, name: str) -> list[dict[str, Any]]:
    return [one for key, one in found.items() if kind in key.split()[0] and key.split()[1].startswith(name)]


def nodes_by_hour(actions: list[dict[str, Any]], hours: int) -> list[int]:
    """Nodes that scheduled actions have running as each hour of a day or week begins; the last action holds."""
    moments = []
    for action in actions:
        minute, hour, _, _, weekday = action["recurrence"].split()
        assert action["timeZone"] == "UTC"
        day = 0 if weekday == "*" else DAYS.index(weekday)
        moments.append((day * 1440 + int(hour) * 60 + int(minute), int(action["minSize"])))
    moments.sort()
    before = [(at - hours * 60, nodes) for at, nodes in moments]
    return [[nodes for at, nodes in before + moments if at <= hour * 60][-1] for hour in range(hours)]


def test_a_preview_shows_exactly_the_plan_that_was_written(
    project: Path, traffic: tuple[Path, Path], sandbox: SandboxContext, stack: MakeStack
) -> None:
    region = str(stack_config.settings(project, "sandbox")["inference:region"])
    made = stack(project, name="sandbox", variables={"AWS_REGION": region})
    before = inputs(made)
    file = stack_config.source(project, "sandbox")
    argv = [str(traffic[0]), "--workload", str(traffic[1]), "--on", "2026-11-21", "--demand-factor", "20"]
    result = CliRunner().invoke(plan, [*argv, "--write", str(file), "--json"])
    assert result.exception is None, result.exception
    said = json.loads(result.stdout)
    after = inputs(made)

    nodes = [-(-gpus // GPUS_PER_NODE) for gpus in said["plan"]["scheduleGpus"]]
    assert min(nodes) < max(nodes), "guard: the plan has a schedule"
    (group,) = of_type(after, "nodeGroup", "chat-floor")
    assert group["scalingConfig"]["minSize"] == min(nodes)
    assert group["scalingConfig"]["maxSize"] >= max(nodes)
    actions = of_type(after, "autoscaling/schedule", "chat-floor-")
    assert nodes_by_hour(actions, len(nodes)) == nodes
    assert {action["maxSize"] for action in actions} == {group["scalingConfig"]["maxSize"]}

    warm = said["plan"]["minInstances"]
    assert max(warm) > 0, "guard: cold starts are worth avoiding"
    (endpoint,) = [one for one in of_type(after, "headrace:runpod:", "chat-overflow") if "workers" in one]
    assert endpoint["workers"]["min"] == min(warm)
    assert endpoint["workers"]["max"] == max(said["plan"]["serverlessMost"], *warm)
    (job,) = of_type(after, "batch/v1:CronJob", "chat-overflow")
    container = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    assert any(one["name"] == "SCHEDULE" for one in container["env"]), "the warm-up windows are carried out by a job"
    settings = from_stack_file(file)
    windows = settings.serverless_pools["chat-overflow"].warm_up
    week = [min(warm)] * 168
    for window in windows:
        assert window.time_zone == "UTC"
        for hour in window.hours:
            week[hour] = window.min_instances
    assert week == [warm[hour % len(warm)] for hour in range(168)]

    spill = render(settings, {}, prices=price_book(None), day=date(2026, 11, 21)).spill
    written = {change["path"]: change["after"] for change in said["written"]}
    assert spill.start_at * 100 == pytest.approx(written.get("router.spill.startAtPercent", 85))
    assert spill.max_wait_s * 1000 == pytest.approx(written["router.spill.maxWaitMs"])

    changed = {key for key in before.keys() | after.keys() if shape(before.get(key)) != shape(after.get(key))}
    ours = {key for key in changed if key.split()[1].startswith(("chat-floor", "chat-overflow"))}
    rest = {
        key for key in changed - ours if not key.startswith(("headrace:index:HybridPlatform", "pulumi:pulumi:Stack"))
    }
    assert rest == set(), "only the planned pools move"
