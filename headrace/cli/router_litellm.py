"""`headrace router litellm`: the router inside the LiteLLM proxy."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

_ENVIRONMENT = click.option(
    "--environment",
    type=click.Path(path_type=Path, file_okay=False),
    help="Virtual environment with requirements-litellm.lock; made in the cache where unset.",
)
_CONFIG = click.option("--config", required=True, type=click.Path(path_type=Path), help="The router's configuration.")
_BASE = click.option(
    "--base", type=click.Path(path_type=Path), help="The team's own LiteLLM configuration; ours is merged into it."
)
_KEEP = click.option(
    "--keep-model",
    multiple=True,
    metavar="NAME",
    help="A model of --base that its callbacks and guardrails may call, outside of residency and budgets.",
)
_INTEGRATIONS = click.option(
    "--keep-callback",
    multiple=True,
    metavar="NAME",
    help="An integration of LiteLLM's in --base that may see requests: langfuse, datadog, …",
)


@click.group()
def litellm() -> None:
    """Run the router inside the LiteLLM proxy."""


@litellm.command("render")
@_CONFIG
@_BASE
@_KEEP
@_INTEGRATIONS
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file instead.")
def render(
    *, config: Path, base: Path | None, keep_model: tuple[str, ...], keep_callback: tuple[str, ...], out: Path | None
) -> None:
    """Print LiteLLM's own configuration as `serve` makes it from the router's, and from the team's own with --base.

    Exit code 2, with one sentence for each setting, where the team's own would break a promise of the router.
    """
    from headrace.router.litellm.base import rendered
    from headrace.router.options import read_config

    merged = rendered(read_config(config), base, keep_model, keep_callback)
    for name in merged.replaced:
        click.echo(f"headrace: {name} of {base} is served by the router's pools now", err=True)
    if out is None:
        click.echo(merged.text, nl=False)
    else:
        out.write_text(merged.text, encoding="utf-8")
        click.echo(f"wrote {out}")


@litellm.command("check")
@_ENVIRONMENT
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def check(*, environment: Path | None, as_json: bool) -> None:
    """Say whether an environment's LiteLLM may run. Nothing in it is executed; exit code 2 where it may not."""
    found = _checked(environment)
    if as_json:
        click.echo(json.dumps(found))
    else:
        click.echo(f"{found['environment']}: litellm {found['litellm']}, {found['packages']} packages as locked")


@litellm.command("serve")
@_CONFIG
@click.option("--keys", required=True, type=click.Path(path_type=Path), help="Key file.")
@click.option("--spool", required=True, type=click.Path(path_type=Path), help="Folder of this replica's journal.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, help="Port of the API.")
@click.option("--admin-port", default=8081, show_default=True, help="Port of health and metrics.")
@click.option("--replica", default="router-0", show_default=True, help="Name of this replica, stable over restarts.")
@_BASE
@_KEEP
@_INTEGRATIONS
@_ENVIRONMENT
def serve(
    *,
    environment: Path | None,
    base: Path | None,
    keep_model: tuple[str, ...],
    keep_callback: tuple[str, ...],
    **given: Any,
) -> None:
    """Run one replica inside LiteLLM until SIGTERM. Takes what `headrace router serve` takes, and its environment."""
    from headrace_sandbox.litellm_environment import own_package

    found = _checked(environment)
    python = str(Path(found["environment"]) / "bin" / "python")
    arguments = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    arguments += [] if base is None else ["--base", str(base)]
    arguments += [part for name in keep_model for part in ("--keep-model", name)]
    arguments += [part for name in keep_callback for part in ("--keep-callback", name)]
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    settings["PYTHONPATH"] = str(own_package())
    os.execve(python, [python, "-m", "headrace.router.litellm", *arguments], settings)  # noqa: S606 - we become it


def _checked(environment: Path | None) -> dict[str, Any]:
    """The environment after its check from outside. Raises `Refused`."""
    from headrace.router.litellm import versions
    from headrace_sandbox import litellm_environment

    folder = environment if environment is not None else litellm_environment.make()
    packages = versions.site_packages_of(folder)
    version = versions.check(packages, lock=litellm_environment.lock_file().read_text(encoding="utf-8"))
    return {"environment": str(folder), "litellm": version, "packages": len(versions.installed_in(packages))}
