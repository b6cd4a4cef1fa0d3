"""Entry point: a table of commands, each imported only when asked for, and one place where a refusal is printed."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any, Final

import click

from headrace.errors import Refused

EXIT_REFUSED: Final = 2

# command name -> (module, attribute, one-line help). Importing all of them would cost seconds (polars, pulumi, modal).
COMMANDS: Final[dict[str, tuple[str, str, str]]] = {
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
        for problem in refused.problems:
            click.echo(f"headrace: {problem}", err=True)
        sys.exit(EXIT_REFUSED)
