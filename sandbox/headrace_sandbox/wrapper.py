"""The `pulumi` of the environment: in the sandbox where one runs, else in the user's own accounts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from headrace.errors import Refused
from headrace_sandbox import cache, checkout, engine, environment, prerequisites, stack_config
from headrace_sandbox.service import SandboxContext
from headrace_sandbox.stack import Stack


def run(arguments: list[str]) -> NoReturn:
    """Become pulumi. A backend that the user chose, or HEADRACE_SANDBOX=off, keeps it off the sandbox."""
    found = engine.find()
    off = os.environ.get("HEADRACE_SANDBOX") == "off"
    chosen = os.environ.get("PULUMI_BACKEND_URL")
    sandbox = None if off or (chosen and "HEADRACE_SANDBOX_DIR" not in os.environ) else environment.current()
    if sandbox is None:
        variables = {**os.environ, **environment.tool_environment(found)}
    else:
        if "HEADRACE_SANDBOX_DIR" not in os.environ:
            cache.say(
                f"pulumi: working in the sandbox {sandbox.directory} (HEADRACE_SANDBOX=off for your own accounts)"
            )
        environment.install_plugins(sandbox, found)
        variables = environment.process_environment(sandbox, found=found)
        variables |= _configuration(found, arguments, variables, sandbox)
    os.execve(found.path, [str(found.path), *arguments], variables)  # noqa: S606 - no shell wanted


def _configuration(
    found: engine.Engine, arguments: list[str], variables: dict[str, str], sandbox: SandboxContext
) -> dict[str, str]:
    """Which configuration file the engine reads and as whom it works, for commands that read a whole one."""
    command = next((argument for argument in arguments if not argument.startswith("-")), "")
    if command not in stack_config.COMMANDS or stack_config.VARIABLE in variables or "--config-file" in arguments:
        return {}
    project = next((at for at in (Path.cwd(), *Path.cwd().parents) if (at / checkout.PROJECT_FILE).is_file()), None)
    stack = stack_config.chosen_stack(found.path, arguments, variables) if project else None
    if project is None or stack is None:
        return {}
    prerequisites.provide(sandbox, stack_config.settings(project, stack))
    if command in stack_config.DEPLOYING and stack_config.source(project, stack).is_file():
        # A stack that the project has a file for: the sandbox's backend is new, and nobody made it there yet.
        Stack(name=stack, project=project, context=sandbox, engine=found).ensure(select=False)
    copy = stack_config.working_copy(project, stack, sandbox.directory.parent)
    using = environment.engine_environment(sandbox, found=found)
    return using | ({stack_config.VARIABLE: str(copy)} if copy else {})


def main() -> None:
    """Entry point of the script in the environment's `bin`."""
    try:
        run(sys.argv[1:])
    except Refused as refused:
        for problem in refused.problems:
            print(f"pulumi: {problem}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
