"""What all tests share: sockets are off in the unit tier; the engine tier has a sandbox and stacks of its own."""

from __future__ import annotations

import gc
import json
import os
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import hypothesis
import pytest
import pytest_socket

from headrace_sandbox import engine, environment, parts, prerequisites, stack_config, supervise
from headrace_sandbox.service import SandboxContext
from headrace_sandbox.stack import Stack

ROOT = Path(__file__).resolve().parents[1]

# How long an example takes says more about the machine than about the code, and where many people wait for one run it
# has to be the same run each time: random examples are for the desk.
hypothesis.settings.register_profile(
    "headrace",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize="CI" in os.environ,
    print_blob=True,
)
hypothesis.settings.load_profile("headrace")


WHOLE_STACKS = {
    f"unit/{file}.py"
    for file in (
        "components/test_component_hourly_floor",
        "components/test_component_platform",
        "components/test_component_router",
        "policies/test_policy_cases",
        "rules/test_mutations",
        "rules/test_rules_money",
        "rules/test_rules_never_crash",
    )
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The unit tier talks to nobody (Unix sockets stay: event loops wake themselves through a pair of them)."""
    if item.get_closest_marker("engine") or item.get_closest_marker("enable_socket"):
        pytest_socket.enable_socket()
    else:
        pytest_socket.disable_socket(allow_unix_socket=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the whole sandbox comes last: it then runs until the session ends, and nothing that measures time
    shares the machine with a control plane that it doesn't need."""
    needing = {item.path for item in items if "sandbox" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path in needing)
    for item in items:
        # Of several processes one gets all that looks at whole stacks, which each would have to register for itself.
        whole = str(item.path.relative_to(ROOT / "tests")) in WHOLE_STACKS
        item.add_marker(pytest.mark.xdist_group("whole stacks" if whole else str(item.path.name)))


def pytest_collection_finish() -> None:
    """What is loaded by now stays: walking over it at each collection of garbage is a tenth of the fast tier's time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def sandbox_context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxContext]:
    """A sandbox folder of this test session, nothing started. State and plugins of `stack` lie beside it."""
    pytest_socket.enable_socket()
    context = supervise.open_context(tmp_path_factory.mktemp("headrace") / "sandbox")
    yield context
    supervise.down(context.directory)


@pytest.fixture(scope="session")
def pulumi_engine(sandbox_context: SandboxContext) -> engine.Engine:
    """The engine, with the sandbox's plugins installed. The first ever run builds it, which takes minutes."""
    found = engine.find(ROOT)
    environment.install_plugins(sandbox_context, found)
    return found


@pytest.fixture(scope="session")
def sandbox(sandbox_context: SandboxContext) -> SandboxContext:
    """The whole sandbox, running: `supervise.endpoints(sandbox.directory)` has its URLs."""
    supervise.up(sandbox_context, parts.all_services(sandbox_context))
    return sandbox_context


class MakeStack(Protocol):
    """`stack(...)` in a test."""

    def __call__(
        self,
        program: str | Mapping[str, str] | Path,
        *,
        name: str = "test",
        config: str = "",
        policy_packs: tuple[Path, ...] = (),
        variables: Mapping[str, str] | None = None,
    ) -> Stack: ...


@pytest.fixture
def stack(sandbox_context: SandboxContext, pulumi_engine: engine.Engine, tmp_path: Path) -> Iterator[MakeStack]:
    """Make a stack; it is destroyed and removed when the test ends. Ask for `sandbox` too if it deploys something.

    `program` is the text of a `__main__.py`, or files by name, or the folder of a project that exists (`ROOT` for the
    repository's own, with `name` one of its stacks). `config` is the YAML below `config:` of the stack's file.
    """
    made: list[Stack] = []

    def make(
        program: str | Mapping[str, str] | Path,
        *,
        name: str = "test",
        config: str = "",
        policy_packs: tuple[Path, ...] = (),
        variables: Mapping[str, str] | None = None,
    ) -> Stack:
        project = program if isinstance(program, Path) else _write(program, tmp_path / f"project-{len(made)}")
        if not isinstance(program, Path):
            settings = textwrap.indent(textwrap.dedent(config), "  ") or "  {}"
            (project / f"Pulumi.{name}.yaml").write_text(f"config:\n{settings}\n", encoding="utf-8")
        result = Stack(
            name=name,
            project=project,
            context=sandbox_context,
            engine=pulumi_engine,
            policy_packs=policy_packs,
            variables=variables or {},
        )
        prerequisites.provide(sandbox_context, stack_config.settings(project, name))  # nothing unless it is up
        result.ensure()
        made.append(result)
        return result

    yield make
    for one in made:
        if _holds_something(one) and one.destroy(check=False).returncode != 0:
            one.cancel()  # a command of it was killed
            one.destroy(check=False)
        if _holds_something(one):
            one.remove()
        for file in _state_files(one, "*"):
            file.unlink()
        (sandbox_context.directory.parent / "config" / f"Pulumi.{one.name}.yaml").unlink(missing_ok=True)


def _holds_something(one: Stack) -> bool:
    """Whether the stack's state names a resource, read from the backend's folder: a command takes a second."""
    checkpoints = (json.loads(file.read_text(encoding="utf-8"))["checkpoint"] for file in _state_files(one, ""))
    latest = (checkpoint.get("latest") or {} for checkpoint in checkpoints)
    return any(state.get("resources") or state.get("pending_operations") for state in latest)


def _state_files(one: Stack, ending: str) -> list[Path]:
    """The stack's state in the backend's folder, and with the ending `*` its backup too."""
    return list((one.context.directory.parent / "state" / ".pulumi" / "stacks").glob(f"*/{one.name}.json{ending}"))


def _write(program: str | Mapping[str, str], folder: Path) -> Path:
    files = {"__main__.py": program} if isinstance(program, str) else dict(program)
    folder.mkdir(parents=True)
    files.setdefault("Pulumi.yaml", "name: inference\nruntime: python\n")
    for relative, text in files.items():
        file = folder / relative
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
    return folder
