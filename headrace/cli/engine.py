"""`headrace engine`: find or build the Pulumi engine, and use it."""

from __future__ import annotations

import json
import os
import shlex

import click

from headrace_sandbox import engine as engines
from headrace_sandbox import environment


@click.group()
def engine() -> None:
    """The Pulumi engine: from PATH, from the vendor's installer, or built from source."""


@engine.command()
def path() -> None:
    """Print the engine's path, building it first where it has to be built."""
    click.echo(engines.find().path)


@engine.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(*, as_json: bool) -> None:
    """Which engine is used, and which language host serves Python programs."""
    found = engines.find()
    host = str(found.language_host) if found.language_host else "headrace's own"
    facts = {"path": str(found.path), "version": found.version, "source": found.source, "languageHost": host}
    if as_json:
        click.echo(json.dumps(facts))
    else:
        click.echo(f"pulumi {found.version} at {found.path} ({found.source}); Python language host: {host}")


@engine.command()
def env() -> None:
    """Print shell lines that put the engine on PATH: eval "$(headrace engine env)"."""
    click.echo(shell_lines(environment.tool_environment(engines.find())))


@engine.command(
    "exec",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def execute(arguments: tuple[str, ...]) -> None:
    """Run pulumi with ARGUMENTS, in the sandbox if it runs (the `pulumi` of the environment does this)."""
    from headrace_sandbox.wrapper import run

    run(list(arguments))


def shell_lines(variables: dict[str, str], *, unset: tuple[str, ...] = ()) -> str:
    """`export` lines for the differences to the present environment."""
    changed = {name: value for name, value in variables.items() if os.environ.get(name) != value}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(changed.items())]
    return "\n".join([*lines, *(f"unset {name}" for name in unset if name in os.environ and name not in variables)])
