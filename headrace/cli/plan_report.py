"""`headrace plan report`: twelve months for the people who pay and the people who run it."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli.plan_answer import answered
from headrace.cli.plan_options import json_option, print_json
from headrace.planner.answer import Answer
from headrace.planner.document import document
from headrace.planner.report import check_format, write_report


def _checked(_context: click.Context, _option: click.Parameter, out: Path) -> Path:
    check_format(out)
    return out


@click.command()
@answered
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, callback=_checked, help="report.html or report.pdf."
)
@json_option
def report(*, found: Answer, out: Path, as_json: bool) -> None:
    """Write the report: savings, alternatives, commitments, risk, assumptions with sources."""
    write_report(found, out)
    if as_json:
        print_json(document(found) | {"report": str(out)})
    else:
        click.echo(f"{found.plan.verdict.sentence} Report: {out}")
