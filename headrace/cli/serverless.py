"""`headrace serverless`: the serverless endpoints, live."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from headrace.errors import refuse

if TYPE_CHECKING:
    from headrace_components.serverless_status import EndpointStatus

_EXIT_PROBLEM = 1


@click.group()
def serverless() -> None:
    """Look at the serverless endpoints live."""


@serverless.command()
@click.option("--stack", "stack_name", default="sandbox", show_default=True, help="The stack that declares them.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def status(stack_name: str, *, as_json: bool) -> None:
    """Workers, queue, GPUs placed, and drift against the stack, of every endpoint. Exit code 1 where one can't be read.

    Credentials come from the environment (RUNPOD_API_KEY, MODAL_TOKEN_ID, MODAL_TOKEN_SECRET); a running sandbox is
    used where there is one."""
    resources = _resources(stack_name)
    from headrace_components.provider.vendors import Vendors
    from headrace_components.serverless_status import statuses

    async def ask() -> list[EndpointStatus]:
        vendors = Vendors()
        try:
            return await statuses(resources, vendors)
        finally:
            await vendors.close()

    found = asyncio.run(ask())
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        _show(found)
    if any(one.problem for one in found):
        sys.exit(_EXIT_PROBLEM)


@serverless.command()
@click.argument("endpoint")
@click.option("--input", "payload", default='{"prompt": "ping", "max_tokens": 1}', show_default=True, help="JSON.")
@click.option("--timeout", "timeout_s", type=click.IntRange(1, 3600), default=600, show_default=True, help="Seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print the output as JSON.")
def warm(endpoint: str, payload: str, timeout_s: int, *, as_json: bool) -> None:
    """Run one job on a RunPod queue ENDPOINT to its end, so that a worker is warm."""
    try:
        wanted = json.loads(payload)
    except ValueError as error:
        raise refuse("--input", payload, "must be JSON", reason=str(error), next_step="correct it") from error
    _use_sandbox()
    from headrace_components.provider.resource import ProviderError
    from headrace_components.provider.vendors import Vendors
    from headrace_components.serverless_status import warm as run

    try:
        output = run(Vendors(), endpoint, {"input": wanted}, timeout_s=timeout_s)
    except ProviderError as error:
        click.echo(f"headrace: {error}", err=True)
        sys.exit(_EXIT_PROBLEM)
    click.echo(json.dumps(output) if as_json else f"{endpoint} answered")


def _use_sandbox() -> dict[str, str] | None:
    """The environment of a running sandbox, taken over by this process; None where none runs."""
    from headrace_sandbox import environment

    context = environment.current()
    if context is None:
        return None
    found = environment.process_environment(context)
    os.environ.update(found)
    return found


def _resources(stack_name: str) -> list[dict[str, Any]]:
    """The resources in the stack's state."""
    from headrace_sandbox import checkout, engine, environment

    project = checkout.root()
    found = engine.find(project)
    known = _use_sandbox() or {**os.environ, **environment.tool_environment(found)}
    done = subprocess.run(  # noqa: S603 - our own argv
        [str(found.path), "stack", "export", "--stack", stack_name, "--non-interactive"],
        cwd=project,
        env=known,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise refuse(
            "--stack",
            stack_name,
            "its state can't be read",
            reason=" ".join(done.stderr.split())[-300:] or "the engine gave no reason",
            next_step="deploy it first, or log in to its backend",
        )
    exported: dict[str, Any] = json.loads(done.stdout)
    resources: list[dict[str, Any]] = (exported.get("deployment") or {}).get("resources") or []
    return resources


def _show(found: list[EndpointStatus]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in ("pool", "vendor", "id", "instances", "workers", "waiting", "placed", "drift"):
        table.add_column(column, overflow="fold")
    for one in found:
        workers = ", ".join(f"{count} {state}" for state, count in (one.workers or {}).items() if count)
        table.add_row(
            one.pool,
            one.vendor,
            one.id,
            "?" if one.min_instances is None else f"{one.min_instances} to {one.max_instances}",
            workers or ("none" if not one.problem else "?"),
            "-" if one.waiting is None else str(one.waiting),
            ", ".join(f"{count} on {where}" for where, count in (one.placed or {}).items()) or "-",
            one.problem or ", ".join(one.drift) or "none",
        )
    Console(width=None if sys.stdout.isatty() else 180).print(table)
    if not found:
        click.echo("the stack has no serverless endpoint")
