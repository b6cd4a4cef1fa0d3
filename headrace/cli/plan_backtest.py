"""`headrace plan backtest`: decisions from the past alone, priced beside bound and baselines."""

from __future__ import annotations

import csv
from pathlib import Path

import click

from headrace.cli.plan_options import billing_options, json_option, print_json, print_table, usd
from headrace.errors import refuse
from headrace.planner.backtest import DEFAULT_TRAIN_DAYS, Backtest, run_backtest
from headrace.planner.demand_file import DemandFile, read_demand
from headrace.planner.tariff import Tariff


@click.command()
@click.option("--demand", "demand_path", type=click.Path(path_type=Path), required=True, help="CSV: start_s,gpus.")
@click.option("--dedicated-usd-hour", type=float, required=True, help="Price of one dedicated GPU for one hour.")
@click.option("--serverless-usd-second", type=float, required=True, help="Price of one serverless GPU-second.")
@billing_options
@click.option("--train-days", type=float, default=DEFAULT_TRAIN_DAYS, show_default=True, help="Days of history only.")
@click.option("--decisions", type=click.Path(path_type=Path), help="Write hour_start_s,dedicated here.")
@json_option
def backtest(
    demand_path: Path,
    dedicated_usd_hour: float,
    serverless_usd_second: float,
    idle_timeout_s: float,
    cold_start_s: float,
    minimum_billed_s: float,
    train_days: float,
    decisions: Path | None,
    *,
    as_json: bool,
) -> None:
    """Walk the days after the training days, deciding dedicated GPUs hour by hour from the past alone."""
    tariff = Tariff(
        dedicated_usd_hour=dedicated_usd_hour,
        serverless_usd_second=serverless_usd_second,
        idle_timeout_s=idle_timeout_s,
        cold_start_s=cold_start_s,
        minimum_billed_s=minimum_billed_s,
    )
    source = read_demand(demand_path)
    result = run_backtest(source.demand, tariff, train_days=train_days)
    if decisions is not None:
        write_decisions(decisions, result)
    if as_json:
        print_json(as_document(result, source))
    else:
        _print(result, source)


def write_decisions(path: Path, result: Backtest) -> None:
    """The decisions file: a header and one row for each hour after the training."""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["hour_start_s", "dedicated"])
            writer.writerows(zip(result.hour_start_s.tolist(), result.chosen.dedicated.tolist(), strict=True))
    except OSError as error:
        raise refuse("--decisions", str(path), f"can't be written ({error.strerror})", next_step="check it") from error


def as_document(result: Backtest, source: DemandFile) -> dict[str, object]:
    """The result as plain JSON."""
    return {
        "hours": len(result.hour_start_s),
        "trainHours": result.train_hours,
        "breakEven": round(result.tariff.break_even, 6),
        "costUsd": round(result.chosen.cost_usd, 2),
        "lowerBoundUsd": round(result.bound.hourly_usd, 2),
        "fluidBoundUsd": round(result.bound.fluid_usd, 2),
        "regretUsd": round(result.regret_usd, 2),
        "ratio": _rounded(result.chosen.ratio),
        "meanDedicated": round(float(result.chosen.dedicated.mean()), 2),
        "baselines": {
            item.name: {"costUsd": round(item.cost_usd, 2), "ratio": _rounded(item.ratio)} for item in result.baselines
        },
        "input": {
            "rows": source.rows,
            "brokenRows": source.broken_rows,
            "duplicateStarts": source.duplicate_starts,
            "wasUnsorted": source.was_unsorted,
        },
    }


def _rounded(ratio: float | None) -> float | None:
    return None if ratio is None else round(ratio, 4)


def _print(result: Backtest, source: DemandFile) -> None:
    share = result.tariff.break_even
    click.echo(
        f"{len(result.hour_start_s)} hours decided after {result.train_hours} hours of history; a level is cheaper"
        f" dedicated from {share:.1%} of billed time on{' (never)' if share >= 1 else ''}."
    )
    if source.broken_rows or source.duplicate_starts or source.was_unsorted:
        click.echo(
            f"Input: {source.rows} rows, {source.broken_rows} without two numbers left out, {source.duplicate_starts}"
            f" repeated starts (the last one counts){', sorted by time' if source.was_unsorted else ''}."
        )
    rows = [(item.name, usd(item.cost_usd), _ratio(item.ratio)) for item in (result.chosen, *result.baselines)]
    rows.append(("lower bound (clairvoyant, hourly)", usd(result.bound.hourly_usd), "1.0000"))
    print_table(("policy", "USD", "ratio"), rows)
    click.echo(f"Regret {usd(result.regret_usd)} USD; mean {result.chosen.dedicated.mean():.2f} dedicated GPUs.")


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.4f}"
