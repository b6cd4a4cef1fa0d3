"""What every command that plans shares: its options, and the answer computed from them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from headrace.cli.plan_options import day_or_today
from headrace.errors import refuse
from headrace.planner.answer import answer
from headrace.planner.ledger import ENVIRONMENT_VARIABLE


def answered(command: Callable[..., None]) -> Callable[..., None]:
    """Traffic, workload and prices as options; the command gets their answer as `found`. Stale prices warn."""

    @functools.wraps(command)
    def ask(
        *,
        traffic_path: str,
        workload_path: Path,
        prices: Path | None,
        day: datetime | None,
        only: tuple[str, ...],
        demand_factor: float,
        hourly: bool,
        **others: Any,
    ) -> None:
        found = answer(
            traffic_path,
            workload_path,
            day=day_or_today(day),
            prices=prices,
            only=parse_only(only),
            demand_factor=check_factor(demand_factor),
            hourly=hourly,
        )
        for sentence in found.stale:
            click.echo(f"warning: {sentence}", err=True)
        command(found=found, **others)

    asked: Callable[..., None] = ask
    for decorate in (
        click.option("--hourly", is_flag=True, help="Allow a floor that follows its traffic every hour."),
        click.option("--demand-factor", type=float, default=1.0, show_default=True, help="Multiply the demand."),
        click.option("--only", multiple=True, metavar="COLUMN=VALUE", help="Keep rows of one model, tenant, feature."),
        click.option("--on", "day", type=click.DateTime(["%Y-%m-%d"]), help="Day whose prices hold (default today)."),
        click.option("--prices", type=click.Path(path_type=Path), help="Your own price file, before the catalogue."),
        click.option("--workload", "workload_path", type=click.Path(path_type=Path), required=True, help="YAML file."),
        click.argument("traffic_path", metavar="TRAFFIC", envvar=ENVIRONMENT_VARIABLE),
    ):
        asked = decorate(asked)
    return asked


def parse_only(only: Sequence[str]) -> dict[str, str]:
    """`column=value` pairs."""
    pairs = {}
    for item in only:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise refuse("--only", item, "is not COLUMN=VALUE", next_step="write for example --only model=llama-8b")
        pairs[name] = value
    return pairs


def check_factor(factor: float) -> float:
    """A demand factor that makes sense."""
    if not 0 < factor <= 1000:
        raise refuse("--demand-factor", factor, "must be more than 0 and at most 1000", next_step="give 1.3 for +30 %")
    return factor
