"""`headrace plan TRAFFIC --workload FILE`: the plan, and on demand the stack's settings."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli.plan_answer import answered
from headrace.cli.plan_options import json_option, print_json, print_table, usd
from headrace.errors import refuse
from headrace.planner.answer import Answer, outcome_sentence
from headrace.planner.document import document, sizing
from headrace.planner.forecast import forecast
from headrace.planner.slo import SloResult
from headrace.planner.stack_config import Change, write


@click.command()
@answered
@click.option("--write", "stack", type=click.Path(path_type=Path), help="Merge the plan into this stack file.")
@click.option("--forecast", "with_forecast", is_flag=True, help="Add a week's forecast with intervals (slow).")
@json_option
def traffic(*, found: Answer, stack: Path | None, with_forecast: bool, as_json: bool) -> None:
    """Plan the cheapest safe mix for a traffic file (or a Prometheus query_range URL)."""
    if stack is not None and found.plan.shortage is not None:
        raise refuse(
            "--write",
            str(stack),
            "stays as it is",
            reason=found.plan.shortage,
            next_step="raise maximumGpus of dedicated or serverless in the workload file",
        )
    changes, unlike = write(stack, found.workload.name, sizing(found)) if stack is not None else ([], [])
    if as_json:
        result = document(found)
        if with_forecast:
            result["forecast"] = _forecast(found)
        result["written"] = [{"path": c.path, "before": _plain(c.before), "after": _plain(c.after)} for c in changes]
        result["unlike"] = unlike
        print_json(result)
        return
    _print(found)
    if with_forecast:
        _print_forecast(found)
    if stack is not None:
        _print_changes(stack, changes)
        for sentence in unlike:
            click.echo(f"note: {sentence}")


def _plain(value: object) -> object:
    return value if isinstance(value, int | float | str | None) else str(value)


def _forecast(found: Answer) -> dict[str, object]:
    ahead = forecast(found.plan.demand)
    return {
        "model": ahead.model,
        "coveredBefore": ahead.covered,
        "mean": ahead.mean.round(3).tolist(),
        "low": ahead.low.round(3).tolist(),
        "high": ahead.high.round(3).tolist(),
    }


def _print_forecast(found: Answer) -> None:
    ahead = forecast(found.plan.demand)
    click.echo("")
    click.echo(
        f"Next week: mean {ahead.mean.mean():.1f}, peak hour {ahead.mean.max():.1f}"
        f" ({ahead.low.max():.1f} to {ahead.high.max():.1f} in 80 %) by {ahead.model}"
        + ("" if ahead.covered is None else f"; the interval held {ahead.covered:.0%} of the last two days")
    )


def _print(found: Answer) -> None:
    plan, unit = found.plan, found.gpus_per_replica
    for sentence in found.traffic.quality.sentences():
        click.echo(f"traffic: {sentence}")
    click.echo("")
    click.echo(plan.verdict.sentence)
    click.echo(
        f"Policy: {plan.policy}; dedicated {_range(plan.schedule.min() * unit, plan.most * unit)} GPUs,"
        f" {usd(plan.usd_per_month)} USD a month; the clairvoyant lower bound is {usd(plan.bound_usd_per_month)}"
        f" (regret {usd(plan.regret_usd_per_month)})."
    )
    if plan.hourly_saves_usd_per_month > 0:
        click.echo(
            f"Re-planned every hour (--hourly) it would save {usd(plan.hourly_saves_usd_per_month)} USD a month."
        )
    if len(plan.schedule) > 1:
        rows = plan.schedule.reshape(-1, 24) * unit
        names = ("every day",) if len(rows) == 1 else ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
        for name, row in zip(names, rows, strict=True):
            click.echo(f"  {name:9} UTC 00-23: {' '.join(str(count) for count in row)}")
    click.echo("")
    click.echo(f"Walked over {plan.evaluated_hours} hours of the data's own past, each hour from the hours before it:")
    ranked = [
        (item.name + ("" if item.deployable else " (with --hourly)"), item.usd_per_month) for item in plan.candidates
    ]
    ranked += [(name, value) for name, value in plan.baselines.items() if name not in dict(ranked)]
    rows_out = [(name, usd(value), _ratio(value, plan.bound_usd_per_month)) for name, value in ranked]
    print_table(("policy", "USD/month", "of bound"), rows_out)
    _print_rest(found)


def _print_rest(found: Answer) -> None:
    plan = found.plan
    click.echo("")
    print_table(
        ("demand x, dedicated x, serverless x", "this plan", "re-planned", "bound", "verdict"),
        [
            (
                f"{item.demand:g}, {item.dedicated_price:g}, {item.serverless_price:g}",
                usd(item.plan_usd),
                usd(item.replanned_usd),
                usd(item.bound_usd),
                item.verdict,
            )
            for item in plan.sensitivity
        ],
    )
    click.echo("")
    _print_slo(found.slo)
    for share, usd_day, price in plan.warm.ladder:
        click.echo(f"Avoiding {share:.0%} of cold starts: {usd(usd_day)} USD a day, the last ones {price:.2f} each.")
    for name, pooled in found.pooling.items():
        click.echo(f"One pool for {pooled.groups} {name}s saves {pooled.saved:.0%} against one plan each.")
    for advice in found.commitments:
        month = (
            "never within the term" if advice.break_even_month is None else f"in month {advice.break_even_month:.1f}"
        )
        low, high = advice.saved_usd[0.7], advice.saved_usd[1.0]
        click.echo(
            f"Commitment {advice.offer.name}: {advice.replicas} replicas for {advice.offer.months} months save"
            f" {usd(high)} USD (at -30 % demand {usd(low)}); paid back {month}."
        )
    if found.coupled is not None:
        click.echo(outcome_sentence(found.coupled))
    if plan.batch_free_share is not None:
        click.echo(f"{plan.batch_free_share:.0%} of the batch work fits into idle floor, free of charge.")
    click.echo("")
    click.echo("Assumptions:")
    for item in plan.assumptions:
        click.echo(f"  {item.name}: {item.value} ({item.source}{', ' + item.as_of if item.as_of else ''})")


def _print_slo(slo: SloResult) -> None:
    kind = "synthesised" if slo.synthesised else "replayed"
    click.echo(
        f"{slo.plan.attained:.2%} of {slo.requests:,} {kind} requests get their first token within {slo.limit_s:g} s"
        f" (objective {slo.target:.0%}: {'met' if slo.met else 'missed'}); {slo.plan.cold_starts_per_day:.1f} cold"
        f" starts a day, {slo.plan.overflow_share:.1%} overflow."
    )
    for item in slo.ladder[:4]:
        click.echo(
            f"  +{item.extra_floor} dedicated, +{item.extra_warm} minimum instances: {item.attained:.2%} for"
            f" {usd(item.usd_per_month)} USD a month ({_price_of_more(item.usd_per_further_point or 0.0)})"
        )


def _price_of_more(usd_per_point: float) -> str:
    return "cheaper and better on this replay" if usd_per_point < 0 else f"{usd(usd_per_point)} per further point"


def _print_changes(stack: Path, changes: list[Change]) -> None:
    click.echo("")
    if not changes:
        click.echo(f"{stack} already says what the plan says.")
    for change in changes:
        click.echo(f"{stack}: {change.path}: {change.before} -> {change.after}")


def _range(low: int, high: int) -> str:
    return str(high) if low == high else f"{low} to {high}"


def _ratio(value: float, bound: float) -> str:
    return f"{value / bound:.3f}" if bound > 0 else "-"
