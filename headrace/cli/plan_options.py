"""Options and printing that the plan commands share."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from headrace.errors import refuse
from headrace.planner.ledger import ENVIRONMENT_VARIABLE

Command = TypeVar("Command", bound=Callable[..., Any])


def json_option(command: Command) -> Command:
    """`--json`: one JSON document on standard output instead of tables."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def billing_options(command: Command) -> Command:
    """The billing rules of the serverless side."""
    idle = click.option("--idle-timeout-s", type=float, default=60.0, show_default=True, help="Billed idle seconds.")
    cold = click.option("--cold-start-s", type=float, default=30.0, show_default=True, help="Billed start seconds.")
    least = click.option("--minimum-billed-s", type=float, default=0.0, show_default=True, help="Least billed seconds.")
    return idle(cold(least(command)))


def print_json(document: object) -> None:
    """Indented JSON with stable keys; a value that is not JSON is a fault of ours and raises."""
    click.echo(json.dumps(document, indent=2, allow_nan=False))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Left-aligned first column, right-aligned others."""
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = [
            str(cell).ljust(w) if i == 0 else str(cell).rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    click.echo(line(header))
    click.echo(line(["-" * width for width in widths]))
    for row in rows:
        click.echo(line(row))


def usd(value: float) -> str:
    """US dollars with cents below a thousand."""
    return f"{value:,.2f}" if abs(value) < 1000 else f"{value:,.0f}"


def answer_options(command: Command) -> Command:
    """Traffic, workload and prices, as every command that plans takes them."""
    for decorate in (
        click.option("--demand-factor", type=float, default=1.0, show_default=True, help="Multiply the demand."),
        click.option("--only", multiple=True, metavar="COLUMN=VALUE", help="Keep rows of one model, tenant, feature."),
        click.option("--on", "day", type=click.DateTime(["%Y-%m-%d"]), help="Day whose prices hold (default today)."),
        click.option("--prices", type=click.Path(path_type=Path), help="Your own price file, before the catalogue."),
        click.option("--workload", "workload_path", type=click.Path(path_type=Path), required=True, help="YAML file."),
        click.argument("traffic_path", metavar="TRAFFIC", envvar=ENVIRONMENT_VARIABLE),
    ):
        command = decorate(command)
    return command


def parse_only(only: Sequence[str]) -> dict[str, str]:
    """`column=value` pairs."""
    pairs = {}
    for item in only:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise refuse("--only", item, "is not COLUMN=VALUE", next_step="write for example --only model=llama-8b")
        pairs[name] = value
    return pairs


def day_or_today(day: datetime | None) -> date:
    """The day asked for, else today in UTC."""
    return day.date() if day is not None else datetime.now(tz=UTC).date()


def check_factor(factor: float) -> float:
    """A demand factor that makes sense."""
    if not 0 < factor <= 1000:
        raise refuse("--demand-factor", factor, "must be more than 0 and at most 1000", next_step="give 1.3 for +30 %")
    return factor
