"""One Pulumi stack in a sandbox, driven through the engine's own command line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from headrace_sandbox import engine, environment, stack_config
from headrace_sandbox.service import SandboxContext

DEFAULT_TIMEOUT_S: Final = 900.0


SHOWN_LINES: Final = 60


class StackError(Exception):
    """A command of the engine failed. The message is the command and the end of what it printed: the engine puts its
    diagnostics there, and a log that is cut keeps them. Everything it printed is in `done`."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        shown = " ".join(map(str, done.args))
        printed = f"{last_lines(done.stdout)}\n{done.stderr}".rstrip()
        super().__init__(f"{shown} ended with code {done.returncode}\n{printed}".rstrip())
        self.done = done


def last_lines(text: str, count: int = SHOWN_LINES) -> str:
    """The diagnostics of the engine's output where it has some, else its last lines."""
    lines = text.rstrip().splitlines()
    start = next((at for at, line in enumerate(lines) if line.startswith("Diagnostics:")), len(lines) - count)
    return "\n".join(lines[max(0, start) :][: 2 * count])


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack by name, in the project folder `project`, deployed into the sandbox of `context`.

    `policy_packs` guard every preview and update. `variables` are added to the engine's environment.
    """

    name: str
    project: Path
    context: SandboxContext
    engine: engine.Engine
    policy_packs: tuple[Path, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """The engine's environment, as the sandbox is now."""
        return {**environment.process_environment(self.context, found=self.engine), **self.variables}

    def argv(self, command: str, *arguments: str) -> list[str]:
        """A whole command line; commands that read the configuration or run the program get file and packs."""
        options = ["--stack", self.name, "--non-interactive"]
        if command in stack_config.COMMANDS:
            copy = stack_config.working_copy(self.project, self.name, self.context.directory.parent)
            options += ["--config-file", str(copy)] if copy else []
        if command in {"preview", "up"}:  # refresh has no such flag
            options += [part for pack in self.policy_packs for part in ("--policy-pack", str(pack))]
        return [str(self.engine.path), command, *arguments, *options]

    def run(
        self, command: str, *arguments: str, check: bool = True, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """Run one command of the engine on this stack; raises `StackError` when it fails and `check` is set."""
        done = subprocess.run(  # noqa: S603 - our own argv
            self.argv(command, *arguments),
            cwd=self.project,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise StackError(done)
        return done

    def ensure(self, *, select: bool = True) -> None:
        """Make the stack if the backend does not have it; `select` makes it the folder's current one. The usual case, a
        stack that is there and shall not be selected, runs no command of the engine."""
        if not select and self._is_kept():
            return
        how = ["select", "--create"] if select else ["init", "--no-select"]
        argv = [str(self.engine.path), "stack", *how, self.name, "--non-interactive"]
        copy = stack_config.working_copy(self.project, self.name, self.context.directory.parent)
        keep = stack_config.source(self.project, self.name)
        before = keep.read_bytes() if keep.is_file() else None
        done = subprocess.run(  # noqa: S603 - our own argv
            argv, cwd=self.project, env=self.environment(), capture_output=True, text=True, check=False
        )
        if done.returncode != 0 and (select or "already exists" not in done.stderr):
            raise StackError(done)
        if before is not None and copy is not None and copy != keep and keep.read_bytes() != before:
            # Making a stack writes the salt into its file and offers no other place: it belongs into our copy.
            copy.write_bytes(keep.read_bytes())
            keep.write_bytes(before)

    def _is_kept(self) -> bool:
        """Whether the backend is a folder that has the stack's file; False also where that can't be told."""
        backend = urlsplit(self.environment().get("PULUMI_BACKEND_URL", ""))
        project = stack_config.project_name(self.project)
        if backend.scheme != "file" or not project:
            return False
        # Where the engine's file backend keeps a stack, compressed or not (github.com/pulumi/pulumi, pkg/backend/diy).
        kept = Path(backend.path) / ".pulumi" / "stacks" / project
        return any((kept / f"{self.name}{end}").is_file() for end in (".json", ".json.gz"))

    def preview(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("preview", *arguments, check=check)

    def up(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("up", "--yes", *arguments, check=check)

    def refresh(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("refresh", "--yes", *arguments, check=check)

    def destroy(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("destroy", "--yes", *arguments, check=check)

    def cancel(self) -> None:
        """Release the lock that a killed command left behind (nothing to do is no error)."""
        self.run("cancel", "--yes", check=False)

    def remove(self) -> None:
        """Forget the stack. Its committed configuration file stays."""
        self.run("stack", "rm", "--yes", "--preserve-config", check=False)

    def exists(self) -> bool:
        """Whether the backend knows the stack."""
        return self.run("stack", check=False).returncode == 0

    def changes(self) -> dict[str, int]:
        """What a preview would do: count per operation (`same`, `create`, `update`, `replace`, `delete`)."""
        shown = json.loads(self.run("preview", "--json").stdout)
        return {str(name): int(count) for name, count in shown.get("changeSummary", {}).items()}

    def state(self) -> dict[str, Any]:
        """The exported deployment (secrets stay encrypted)."""
        exported: dict[str, Any] = json.loads(self.run("stack", "export").stdout)
        return exported

    def resources(self) -> list[dict[str, Any]]:
        """The resources in the state, providers and components included."""
        found: list[dict[str, Any]] = self.state()["deployment"].get("resources", [])
        return found

    def outputs(self, *, show_secrets: bool = False) -> dict[str, Any]:
        """The stack's outputs."""
        secrets = ("--show-secrets",) if show_secrets else ()
        shown: dict[str, Any] = json.loads(self.run("stack", "output", "--json", *secrets).stdout)
        return shown
