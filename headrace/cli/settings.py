"""`headrace settings`: validate stack files, print their schema, explain a key."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from headrace.errors import Problem, Refused, refuse
from headrace.settings import read_stack_file, validate
from headrace.settings.problems import keys_at, setting_at
from headrace.settings.schema import schema_text
from headrace.settings.suggest import did_you_mean
from headrace.settings.tree import Settings

_EXIT_REFUSED = 2


@click.group()
def settings() -> None:
    """Validate settings and print their schema."""


@settings.command("validate")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option("--json", "as_json", is_flag=True, help="Print problems and warnings as JSON.")
def validate_files(files: Sequence[Path], *, as_json: bool) -> None:
    """Check stack files and show every problem at once. Exit code 2 where there is one."""
    reports = [_report(path) for path in files]
    failed = any(not report["valid"] for report in reports)
    if as_json:
        click.echo(json.dumps({"valid": not failed, "files": reports}, indent=2))
    else:
        for report in reports:
            _print_report(report)
    if failed:
        sys.exit(_EXIT_REFUSED)


def _report(path: Path) -> dict[str, Any]:
    try:
        verdict = validate(read_stack_file(path))
    except Refused as refused:
        return {"file": str(path), "valid": False, "problems": [_as_json(p) for p in refused.problems], "warnings": []}
    return {
        "file": str(path),
        "valid": not verdict.problems,
        "problems": [_as_json(problem) for problem in verdict.problems],
        "warnings": [_as_json(warning) for warning in verdict.warnings],
    }


def _as_json(problem: Problem) -> dict[str, Any]:
    value = problem.value
    return {
        "path": problem.path,
        "value": value if isinstance(value, str | int | float | bool | None) else str(value),
        "rule": problem.rule,
        "reason": problem.reason,
        "nextStep": problem.next_step,
        "sentence": str(problem),
    }


def _print_report(report: dict[str, Any]) -> None:
    problems, warnings = report["problems"], report["warnings"]
    if problems:
        click.echo(f"{report['file']}: {len(problems)} {'problem' if len(problems) == 1 else 'problems'}", err=True)
    else:
        extra = f", {len(warnings)} {'warning' if len(warnings) == 1 else 'warnings'}" if warnings else ""
        click.echo(f"{report['file']}: valid{extra}")
    for problem in problems:
        click.echo(f"  {problem['sentence']}", err=True)
    for warning in warnings:
        click.echo(f"  warning: {warning['sentence']}", err=True)


@settings.command("schema")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file instead.")
def schema(*, out: Path | None) -> None:
    """Print the JSON Schema of a stack file, for editors."""
    if out is None:
        click.echo(schema_text(), nl=False)
        return
    try:
        out.write_text(schema_text(), encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise refuse("--out", str(out), "it can't be written", reason=reason, next_step="choose another path") from None
    click.echo(f"wrote {out}")


@settings.command("explain")
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def explain(key: str, *, as_json: bool) -> None:
    """Say what a setting means: `headrace settings explain network.zones`. Names of entries may be left out."""
    path = key.removeprefix("inference:")
    found = setting_at(Settings, path)
    if found is None:
        raise _unknown_key(path)
    annotation, description = found
    keys = keys_at(annotation)
    if as_json:
        click.echo(json.dumps({"key": path, "description": description, "type": _type(annotation), "keys": keys}))
        return
    click.echo(f"{path} ({_type(annotation)})")
    click.echo(f"  {description}")
    for name in keys:
        child = setting_at(Settings, f"{path}.{name}")
        click.echo(f"  {name}: {child[1] if child else ''}")


def _unknown_key(path: str) -> Refused:
    parts = path.split(".")
    for length in range(len(parts) - 1, -1, -1):
        parent = ".".join(parts[:length])
        found = setting_at(Settings, parent)
        if found is not None:
            known = keys_at(found[0])
            where = f" below {parent}" if parent else ""
            return refuse(
                "KEY",
                path,
                f"there is no setting {parts[length]!r}{where}",
                next_step=did_you_mean(parts[length], known),
            )
    raise AssertionError("the root always exists")


def _type(annotation: object) -> str:
    return getattr(annotation, "__name__", str(annotation)).replace("typing.", "")
