"""The `pulumi` of the environment: in the sandbox where one runs, else in the user's own accounts."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from headrace.errors import Refused
from headrace_sandbox import cache, engine, environment


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
    os.execve(found.path, [str(found.path), *arguments], variables)  # noqa: S606 - no shell wanted


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
