"""`headrace up` and `headrace down`: the whole of it in the sandbox, and nothing of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from headrace_sandbox import deploy
from headrace_sandbox.service import SandboxContext, Service

if TYPE_CHECKING:
    from headrace.cli.up_traffic import Replayed

_stack = click.option("--stack", "stack_name", default="sandbox", show_default=True, help="The stack to deploy.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON (what up.json holds).")
_EXIT_FAILED = 1


@click.command()
@_stack
@click.option("--traffic/--no-traffic", default=True, show_default=True, help="Replay a day through the router.")
@_as_json
def up(stack_name: str, *, traffic: bool, as_json: bool) -> None:
    """Start the sandbox, deploy the stack, preview it once more, replay a day of traffic, show what exists."""
    replays: list[Replayed] = []

    def replay(context: SandboxContext, standing: Sequence[Service]) -> dict[str, Any] | None:
        from headrace.cli import up_traffic

        done = up_traffic.replay_deployed(context, standing, stack_name=stack_name)
        if done is None:
            return None
        replays.append(done)
        return done.document()

    try:
        result = deploy.up(stack_name=stack_name, traffic=replay if traffic else None)
    except deploy.DeployFailed as failed:
        click.echo(f"headrace: {failed}", err=True)
        sys.exit(_EXIT_FAILED)
    if as_json:
        click.echo(json.dumps(result.report(), indent=2))
    else:
        _show(result)
        _show_traffic(replays)
    if any(done.mismatches for done in replays):
        click.echo("headrace: the traffic was counted differently, which it must not be:", err=True)
        click.echo("\n".join(f"  {line}" for done in replays for line in done.mismatches[:20]), err=True)
        sys.exit(_EXIT_FAILED)
    if result.second_preview_changes:
        click.echo("headrace: a second preview found something to change, which it must not:", err=True)
        click.echo("\n".join(f"  {line}" for line in result.changed), err=True)
        sys.exit(_EXIT_FAILED)


@click.command()
@click.argument("stacks", nargs=-1, required=True, metavar="STACK…")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def preview(stacks: tuple[str, ...], *, as_json: bool) -> None:
    """Preview STACKs in the sandbox, with the policy pack. Exit code 1 where one does not go through."""
    results = deploy.preview(stacks)
    if as_json:
        click.echo(json.dumps([asdict(result) for result in results], indent=2))
    for result in () if as_json else results:
        counts = ", ".join(f"{count} {operation}" for operation, count in result.changes.items())
        click.echo(f"{result.stack}: {'FAILED' if result.failure else counts or 'empty'} ({result.seconds:.0f} s)")
        for line in [*result.findings, *result.failure.splitlines()]:
            click.echo(f"  {line}")
    if any(result.failure for result in results):
        sys.exit(_EXIT_FAILED)


@click.command()
@_stack
def down(stack_name: str) -> None:
    """Destroy the stack, stop what was started, leave nothing."""
    try:
        done = deploy.down(stack_name=stack_name)
    except deploy.DeployFailed as failed:
        click.echo(f"headrace: {failed}", err=True)
        click.echo("headrace: everything was stopped and removed all the same", err=True)
        sys.exit(_EXIT_FAILED)
    click.echo("\n".join(done) or "there was nothing to take down")


def _short(named: str) -> str:
    """`aws:eks/nodeGroup:NodeGroup floor` as `eks NodeGroup floor`; ours and Kubernetes' kinds by kind and name."""
    token, _, name = named.partition(" ")
    package, module, kind = (["", "", "", *token.split(":")])[-3:]
    service = module.partition("/")[0] if package not in {"headrace", "kubernetes"} else ""
    return " ".join(part for part in (service, kind, name) if part)


def _show(result: deploy.Result) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 180)
    table = Table(title="What exists now", title_justify="left")
    for column in ("component", "resource", "id", "state", "where"):
        table.add_column(column, overflow="fold")
    for component, rows in groupby(sorted(result.rows), key=lambda row: row[0]):
        for place, row in enumerate(rows):
            _, resource, *rest = row
            table.add_row(
                *(escape(cell) for cell in (_short(component) if place == 0 else "", _short(resource), *rest))
            )
        table.add_section()
    console.print(table)
    for name, url in result.endpoints.items():
        console.print(f"{escape(name)}: {escape(url)}", soft_wrap=True)
    for message in result.messages:
        console.print(escape(message))
    phases = Table(title="Seconds", title_justify="left")
    phases.add_column("phase")
    phases.add_column("s", justify="right")
    for name, seconds in result.phases.items():
        phases.add_row(name, f"{seconds:.1f}")
    console.print(phases)
    found = result.findings
    console.print(
        f"{sum(result.resources.values())} resources; findings: {found['mandatory']} mandatory, "
        f"{found['advisory']} advisory; second preview: {result.second_preview_changes} changes"
    )


def _show_traffic(replays: Sequence[Replayed]) -> None:
    if replays:
        from headrace.cli.up_traffic import show

        show(replays[0])
