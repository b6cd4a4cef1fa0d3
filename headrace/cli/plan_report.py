"""`headrace plan report`: twelve months for the people who pay and the people who run it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from headrace.cli.plan_options import answer_options, check_factor, day_or_today, json_option, parse_only, print_json
from headrace.planner.answer import answer
from headrace.planner.document import document
from headrace.planner.report import check_format, write_report


@click.command()
@answer_options
@click.option("--out", type=click.Path(path_type=Path), required=True, help="report.html or report.pdf.")
@json_option
def report(
    traffic_path: str,
    workload_path: Path,
    prices: Path | None,
    day: datetime | None,
    only: tuple[str, ...],
    demand_factor: float,
    out: Path,
    *,
    as_json: bool,
) -> None:
    """Write the report: savings, alternatives, commitments, risk, assumptions with sources."""
    check_format(out)
    found = answer(
        traffic_path,
        workload_path,
        day=day_or_today(day),
        prices=prices,
        only=parse_only(only),
        demand_factor=check_factor(demand_factor),
    )
    write_report(found, out)
    if as_json:
        print_json(document(found) | {"report": str(out)})
    else:
        click.echo(f"{found.plan.verdict.sentence} Report: {out}")
