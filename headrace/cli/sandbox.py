"""`headrace sandbox`: start, stop and inspect the cloud in a box."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from headrace.errors import refuse
from headrace_sandbox import parts, supervise

_directory = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="The sandbox's folder (default: $HEADRACE_SANDBOX_DIR, else .headrace/sandbox).",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


@click.group()
def sandbox() -> None:
    """A cloud in a box: real Kubernetes control plane, stand-ins for the vendors' clouds."""


@sandbox.command()
@_directory
@_as_json
def up(directory: Path | None, *, as_json: bool) -> None:
    """Start what does not run yet, wait until all of it is ready, show it."""
    context = supervise.open_context(directory)
    supervise.up(context, parts.all_services(context))
    _show(context.directory, as_json=as_json)


@sandbox.command()
@_directory
@click.option("--purge", is_flag=True, help="Remove its data, ports and logs too.")
@_as_json
def down(directory: Path | None, *, purge: bool, as_json: bool) -> None:
    """Stop every process of the sandbox, by process id."""
    stopped = supervise.down(directory or supervise.default_directory(), purge=purge)
    if as_json:
        click.echo(json.dumps({"stopped": stopped}))
    else:
        click.echo(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


@sandbox.command()
@_directory
@_as_json
def status(directory: Path | None, *, as_json: bool) -> None:
    """What runs, what it is (real, simulated or stand-in), where, and how much memory it takes."""
    _show(directory or supervise.default_directory(), as_json=as_json)


@sandbox.command()
@_directory
def env(directory: Path | None) -> None:
    """Print shell lines that point pulumi, boto3 and kubectl at the sandbox: eval "$(headrace sandbox env)"."""
    from headrace.cli.engine import shell_lines
    from headrace_sandbox import engine, environment

    context = supervise.open_context(directory)
    if not supervise.running(context.directory):
        raise refuse("sandbox", str(context.directory), "it is not running", next_step="run headrace sandbox up first")
    found = engine.find()
    environment.install_plugins(context, found)
    click.echo(shell_lines(environment.engine_environment(context, found=found), unset=environment.unset()))


def _show(directory: Path, *, as_json: bool) -> None:
    rows = supervise.status(directory)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    if not rows:
        click.echo("the sandbox is not running (headrace sandbox up starts it)")
        return
    from rich.console import Console  # costs 0.1 s that --json need not pay
    from rich.table import Table

    table = Table(title="sandbox", title_justify="left")
    for column in ("name", "kind", "state", "pid", "memory", "url", "what"):
        right = column in {"pid", "memory"}
        table.add_column(column, overflow="fold", no_wrap=column != "what", justify="right" if right else "left")
    for row in rows:
        memory = f"{row.memory_mib:.0f} MiB"
        table.add_row(row.name, row.kind, row.state, str(row.pid), memory, row.url, row.what)
    total = sum(row.memory_mib for row in rows)
    table.add_section()
    table.add_row("total", "", "", "", f"{total:.0f} MiB", "", "")
    Console(width=None if sys.stdout.isatty() else 180).print(table)
