"""One deployment of the repository's own program and policy pack, shared by the tests of this folder."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headrace_sandbox import engine, prerequisites, stack_config
from headrace_sandbox.service import SandboxContext
from headrace_sandbox.stack import Stack
from tests.engine.hybrid_platform import inventory
from tests.engine.hybrid_platform.live import REGION, Live, administrator, clients

ROOT = Path(__file__).resolve().parents[3]
ALERTS = "inference:budgets.alertWebhookUrl"


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's project with stack files that a test may change: the same program, the same settings."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "Pulumi.yaml", folder)
    shutil.copytree(ROOT / "stacks", folder / "stacks", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "components").symlink_to(ROOT / "components")  # the plugin that Pulumi.yaml names
    return folder


@pytest.fixture(scope="session")
def webhook() -> str:
    """An alert address that holds a secret, as those of chat systems do."""
    return f"https://hooks.example.com/services/{secrets.token_hex(16)}"


MakeLive = Callable[[str], Live]


@pytest.fixture(scope="session")
def make_live(sandbox: SandboxContext, pulumi_engine: engine.Engine, project: Path) -> Iterator[MakeLive]:
    """Make a stack of the platform by the name of its file; it is destroyed when the session ends."""
    made: list[Live] = []

    def make(name: str) -> Live:
        settings = stack_config.settings(project, name)
        prerequisites.provide(sandbox, settings)
        stack = Stack(
            name=name,
            project=project,
            context=sandbox,
            engine=pulumi_engine,
            policy_packs=(ROOT / "policies",),
            variables={"AWS_REGION": str(settings["inference:region"])},
        )
        stack.ensure()
        boto = clients(sandbox, REGION)
        live = Live(
            stack=stack,
            context=sandbox,
            aws_before=frozenset(inventory.aws_ids(boto)),
            made_before=frozenset(inventory.aws_made(boto)),
            objects_before=frozenset(inventory.kubernetes_objects(administrator(sandbox))),
        )
        made.append(live)
        return live

    yield make
    for live in made:
        live.stack.cancel()
        live.stack.destroy(check=False)
        live.stack.remove()


@pytest.fixture(scope="session")
def live(make_live: MakeLive, webhook: str) -> Live:
    """The stack `sandbox` with a secret among its settings, not deployed yet."""
    made = make_live("sandbox")
    argv = [str(made.stack.engine.path), "config", "set", "--secret", "--path", ALERTS, "--stack", "sandbox"]
    subprocess.run(argv, cwd=made.stack.project, env=made.stack.environment(), input=webhook, text=True, check=True)
    return made


@pytest.fixture(scope="session")
def up_text(live: Live) -> str:
    """What the first deployment of the stack `sandbox` printed."""
    done = live.stack.up("--diff")
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def deployed(live: Live, up_text: str) -> Live:
    """The stack `sandbox`, deployed."""
    assert "Resources:" in up_text
    return live
