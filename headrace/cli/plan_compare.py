"""`headrace plan compare` and `headrace plan advise`."""

from __future__ import annotations

from dataclasses import asdict

import click

from headrace.cli.plan_answer import answered
from headrace.cli.plan_options import json_option, print_json, print_table, usd
from headrace.planner.advice import tree, ways
from headrace.planner.answer import Answer


@click.command()
@answered
@json_option
def compare(*, found: Answer, as_json: bool) -> None:
    """Dedicated, serverless and hybrid side by side: cost, latency, effort."""
    rows = ways(found)
    if as_json:
        print_json({"verdict": found.plan.verdict.sentence, "ways": [asdict(row) for row in rows]})
        return
    print_table(
        ("way", "USD/month", "within objective", "wait p95", "engineer hours", "notes"),
        [
            (
                row.name,
                usd(row.usd_per_month),
                f"{row.attained:.2%}",
                f"{row.wait_p95_s:.1f} s",
                f"{row.effort_hours:g}",
                row.notes,
            )
            for row in rows
        ],
    )
    click.echo(f"Lower bound {usd(found.plan.bound_usd_per_month)} USD a month. {found.plan.verdict.sentence}")
    click.echo("Engineer hours are assumptions (docs/planner/plan.md); put a price on them with operationsUsdPerMonth.")


@click.command()
@answered
@json_option
def advise(*, found: Answer, as_json: bool) -> None:
    """The decision tree answered with computed numbers, and where a rule of thumb would have been wrong."""
    steps = tree(found)
    if as_json:
        print_json({"verdict": found.plan.verdict.sentence, "steps": [asdict(step) for step in steps]})
        return
    for step in steps:
        click.echo(step.question)
        click.echo(f"  measured: {step.measured}")
        click.echo(f"  rule of thumb: {step.rule_says}; computed: {step.we_say}")
        click.echo(f"  {'the rule is wrong here' if step.wrong else 'the rule holds here'}: {step.because}")
    click.echo(found.plan.verdict.sentence)
