"""Options and printing that the plan commands share."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import click

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


def day_or_today(day: datetime | None) -> date:
    """The day asked for, else today in UTC."""
    return day.date() if day is not None else datetime.now(tz=UTC).date()
