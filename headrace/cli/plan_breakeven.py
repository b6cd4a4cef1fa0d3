"""`headrace plan breakeven` and `headrace plan prices`."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Final

import click

from headrace.catalog.price import Price, PriceBook, price_book
from headrace.cli.plan_options import billing_options, day_or_today, json_option, print_json, print_table
from headrace.errors import refuse
from headrace.planner.breakeven import BreakEven, break_even
from headrace.planner.tariff import Tariff

ESSAY: Final = "essay-b"
UTILISATIONS: Final = (0.1, 0.3, 0.5, 0.7, 1.0)


@click.command()
@click.option("--gpu", help="GPU of the catalogue; all pairs of the catalogue without it.")
@click.option("--dedicated-usd-hour", type=float, help="Price of one dedicated GPU for one hour.")
@click.option("--serverless-usd-second", type=float, help="Price of one serverless GPU-second.")
@click.option("--essay", is_flag=True, help="Reproduce the essay's table (January 2026 prices).")
@click.option("--overhead", type=float, default=1.0, show_default=True, help="Hidden costs as a factor.")
@click.option("--burst-s", type=float, default=600.0, show_default=True, help="Seconds of work per burst.")
@click.option("--on", "day", type=click.DateTime(["%Y-%m-%d"]), help="Day whose prices hold (default today).")
@click.option("--prices", type=click.Path(path_type=Path), help="Your own price file, before the catalogue.")
@billing_options
@json_option
def breakeven(
    gpu: str | None,
    dedicated_usd_hour: float | None,
    serverless_usd_second: float | None,
    overhead: float,
    burst_s: float,
    day: datetime | None,
    prices: Path | None,
    idle_timeout_s: float,
    cold_start_s: float,
    minimum_billed_s: float,
    *,
    essay: bool,
    as_json: bool,
) -> None:
    """Break-even share, idle tax and effective rate for any prices."""
    if (dedicated_usd_hour is None) != (serverless_usd_second is None):
        missing = "--serverless-usd-second" if serverless_usd_second is None else "--dedicated-usd-hour"
        raise refuse(missing, None, "is missing", reason="a break-even compares two prices", next_step="give both")
    if burst_s <= 0 or overhead < 1:
        raise refuse("--burst-s, --overhead", (burst_s, overhead), "burst > 0, overhead >= 1", next_step="correct them")
    book, on = price_book(prices), day_or_today(day)
    if dedicated_usd_hour is not None and serverless_usd_second is not None:
        pairs = [("given prices", dedicated_usd_hour, serverless_usd_second)]
    else:
        pairs = _pairs(book, date(2026, 1, 31) if essay else on, gpu, essay=essay)
    rows = [
        (
            name,
            tariff,
            break_even(tariff, burst_s=burst_s, overhead=overhead, utilisations=UTILISATIONS),
        )
        for name, hourly, second in pairs
        for tariff in [
            Tariff(
                dedicated_usd_hour=hourly,
                serverless_usd_second=second,
                idle_timeout_s=idle_timeout_s,
                cold_start_s=cold_start_s,
                minimum_billed_s=minimum_billed_s,
            )
        ]
    ]
    if as_json:
        print_json([_document(name, tariff, result) for name, tariff, result in rows])
        return
    click.echo("break-even = dedicated USD/hour / (serverless USD/second x 3600), of the billed time of each level")
    print_table(
        ("pair", "USD/h", "USD/s", "break-even", f"x {overhead:g}", f"busy, {burst_s:g}-s bursts", "USD/useful h"),
        [
            (
                name,
                f"{tariff.dedicated_usd_hour:.2f}",
                f"{tariff.serverless_usd_second:.6f}",
                f"{result.billed_share:.1%}",
                f"{result.with_hidden:.1%}",
                "never" if result.busy_share is None else f"{result.busy_share:.1%}",
                f"{result.serverless_usd_useful_hour:.2f}",
            )
            for name, tariff, result in rows
        ],
    )
    if len(rows) == 1:
        for share, cost in rows[0][2].idle_tax.items():
            click.echo(f"idle tax: at {share:.0%} use a dedicated hour of work costs {cost:.2f} USD")


def _pairs(book: PriceBook, day: date, gpu: str | None, *, essay: bool) -> list[tuple[str, float, float]]:
    """Each dedicated price against the cheapest serverless one of the same GPU (the essay: its own)."""
    gpus = [gpu] if gpu is not None else sorted({row.gpu for row in book.in_force(day)})
    pairs = []
    for name in gpus:
        rows = [row for row in book.in_force(day, gpu=name) if (row.provider == ESSAY) == essay]
        flex = [row for row in rows if row.tier == "flex"]
        held = [row for row in rows if not row.tier.serverless]
        if flex:
            pairs += [
                (f"{name}: {_name(row)} / {_name(flex[0])}", float(row.usd_per_hour), float(flex[0].usd))
                for row in held
            ]
    if not pairs:
        raise refuse(
            "--gpu",
            gpu,
            "has no pair of a dedicated and a serverless price in the catalogue",
            reason="a missing price is never taken for zero",
            next_step="give both prices, or choose a GPU of `headrace plan prices`",
        )
    return pairs


def _name(row: Price) -> str:
    return f"{row.provider} {row.tier}"


def _document(name: str, tariff: Tariff, result: BreakEven) -> dict[str, object]:
    return {
        "pair": name,
        "dedicatedUsdHour": tariff.dedicated_usd_hour,
        "serverlessUsdSecond": tariff.serverless_usd_second,
        "breakEven": round(result.billed_share, 4),
        "withHiddenCosts": round(result.with_hidden, 4),
        "busyShare": None if result.busy_share is None else round(result.busy_share, 4),
        "never": result.never,
        "serverlessUsdUsefulHour": round(result.serverless_usd_useful_hour, 4),
        "idleTaxUsdHour": {str(share): round(cost, 4) for share, cost in result.idle_tax.items()},
    }


@click.command()
@click.option("--gpu", help="One GPU only.")
@click.option("--on", "day", type=click.DateTime(["%Y-%m-%d"]), help="Day whose prices hold (default today).")
@click.option("--prices", "own", type=click.Path(path_type=Path), help="Your own price file, before the catalogue.")
@json_option
def prices(gpu: str | None, day: datetime | None, own: Path | None, *, as_json: bool) -> None:
    """The prices in force with source and age; rows nobody looked at for too long are marked."""
    book, on = price_book(own), day_or_today(day)
    rows = book.in_force(on, gpu=gpu)
    if not rows:
        raise refuse("--gpu", gpu, "has no price in force", next_step="leave it out to see all")
    if as_json:
        print_json([row.model_dump(mode="json", by_alias=True) | {"stale": row.stale(on)} for row in rows])
        return
    print_table(
        ("gpu", "provider", "tier", "USD/GPU-hour", "since", "checked", "stale", "source"),
        [
            (
                row.gpu,
                row.provider,
                row.tier.value,
                f"{row.usd_per_hour:.4f}",
                str(row.valid_from),
                str(row.checked),
                "stale" if row.stale(on) else "",
                row.source[:60],
            )
            for row in sorted(rows, key=lambda row: (row.gpu, row.usd_per_hour))
        ],
    )
