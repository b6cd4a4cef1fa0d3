"""Entry point: a table of commands, each imported only when asked for, and one place where a refusal is printed."""

from __future__ import annotations

import errno
import importlib
import importlib.util
import sys
from typing import Any, Final, NoReturn

import click

from headrace.errors import Refused, refuse

EXIT_REFUSED: Final = 2
# What a machine may lack at any write: errno -> the rule and the next step.
_ELSEWHERE: Final = "or name another place with HEADRACE_CACHE or HEADRACE_SANDBOX_DIR"
_MACHINE: Final[dict[int, tuple[str, str]]] = {
    errno.ENOSPC: ("the disk is full", f"free some space, {_ELSEWHERE}"),
    errno.EDQUOT: ("your share of the disk is used up", f"free some space, {_ELSEWHERE}"),
    errno.EROFS: ("it can't be written, the file system is read-only", f"make it writable, {_ELSEWHERE}"),
    errno.EACCES: ("you may not read or write it", f"change its permissions, {_ELSEWHERE}"),
    errno.ENOTDIR: ("a part of this path is a file and not a folder", f"move the file away, {_ELSEWHERE}"),
}
_INSTALL: Final = "run the command in a checkout after make setup, or install headrace with the extra that has it"

# command name -> (module, attribute, one-line help). Importing all of them would cost seconds (polars, pulumi, modal).
COMMANDS: Final[dict[str, tuple[str, str, str]]] = {
    "audit": ("headrace.cli.audit", "audit", "Verify journals of the router."),
    "check": ("headrace.cli.check", "check", "Run the policy pack on a stack, a settings file or a program."),
    "down": ("headrace.cli.stack", "down", "Destroy the sandbox stack and stop everything it started."),
    "engine": ("headrace.cli.engine", "engine", "Find or build the Pulumi engine."),
    "plan": ("headrace.cli.plan", "plan", "Turn traffic into the cheapest safe mix."),
    "preview": ("headrace.cli.stack", "preview", "Preview stacks in the sandbox, with the policy pack."),
    "release": ("headrace.cli.release", "release", "Record model releases in settings."),
    "router": ("headrace.cli.router", "router", "Serve, check and explain the router."),
    "sandbox": ("headrace.cli.sandbox", "sandbox", "Start, stop and inspect the cloud in a box."),
    "serverless": ("headrace.cli.serverless", "serverless", "Look at the serverless endpoints live."),
    "settings": ("headrace.cli.settings", "settings", "Validate settings and print their schema."),
    "up": ("headrace.cli.stack", "up", "Start the sandbox, deploy the stack and show what exists."),
}


class LazyGroup(click.Group):
    """A click group that imports a command's module when the command is used (click's documented pattern)."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, (module, _, _) in COMMANDS.items() if importlib.util.find_spec(module) is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None or importlib.util.find_spec(entry[0]) is None:
            return None
        command = getattr(importlib.import_module(entry[0]), entry[1])
        assert isinstance(command, click.Command)  # noqa: S101 - the table above is ours
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, without importing them."""
        names = self.list_commands(ctx)
        if not names:
            return
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][2]) for name in names])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="headrace")
def cli() -> None:
    """Hybrid GPU inference as one stack."""


def main(argv: list[str] | None = None) -> Any:
    """Run the command line; a refusal becomes its sentence and exit code 2."""
    try:
        return cli.main(args=argv, prog_name="headrace")
    except Refused as refused:
        _end(refused)
    except OSError as error:
        if error.errno not in _MACHINE:
            raise
        rule, step = _MACHINE[error.errno]
        _end(refuse(str(error.filename or "disk"), None, rule, next_step=step))
    except ModuleNotFoundError as error:
        package = (error.name or "headrace").partition(".")[0]
        if package == "headrace" or importlib.util.find_spec(package) is not None:
            raise
        _end(refuse(package, None, "this command needs it, and it is not installed here", next_step=_INSTALL))


def _end(refused: Refused) -> NoReturn:
    for problem in refused.problems:
        click.echo(f"headrace: {problem}", err=True)
    sys.exit(EXIT_REFUSED)
