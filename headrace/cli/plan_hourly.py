"""`headrace plan hourly`: set a pool's nodes for the coming hour from its traffic. A CronJob of the stack runs it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.plan_options import json_option, print_json, print_table
from headrace.errors import refuse

if TYPE_CHECKING:
    from headrace.planner.hourly_run import Bounds, Outcome

_READ = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.option("--dsn", envvar="HEADRACE_FLOOR_DSN", required=True, help="The ledger; or in HEADRACE_FLOOR_DSN.")
@click.option("--pool", required=True, help="Dedicated pool.")
@click.option("--config", "config_path", type=_READ, help="The router's configuration: prices, slots, overflow.")
@click.option("--group", help="Auto Scaling group of the pool's nodes.")
@click.option("--floor-nodes", type=click.IntRange(min=0), help="Least nodes.")
@click.option("--ceiling-nodes", type=click.IntRange(min=1), help="Most nodes.")
@click.option("--replicas-per-node", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--lead-time-s", type=click.FloatRange(0, 3000), default=600, show_default=True, help="Until a node serves."
)
@click.option("--dry-run", is_flag=True, help="Decide and print; change and note down nothing.")
@click.option("--log", "latest", type=click.IntRange(min=1), help="Print the last decisions instead of making one.")
@json_option
def hourly(
    *,
    dsn: str,
    pool: str,
    config_path: Path | None,
    group: str | None,
    floor_nodes: int | None,
    ceiling_nodes: int | None,
    replicas_per_node: int,
    lead_time_s: float,
    dry_run: bool,
    latest: int | None,
    as_json: bool,
) -> None:
    """Hold as many nodes in the coming hour as the pool's traffic is worth."""
    if latest is not None:
        _print_log(dsn, pool, latest, as_json=as_json)
        return
    if config_path is None or group is None or floor_nodes is None or ceiling_nodes is None:
        raise refuse(
            "--config, --group, --floor-nodes, --ceiling-nodes",
            None,
            "all four are needed to decide",
            next_step="give them, or ask for past decisions with --log",
        )
    if floor_nodes > ceiling_nodes:
        raise refuse("--floor-nodes", floor_nodes, "is above --ceiling-nodes", next_step="lower it")
    from headrace.planner.hourly_run import Bounds, sentence

    bounds = Bounds(
        pool=pool,
        floor_nodes=floor_nodes,
        ceiling_nodes=ceiling_nodes,
        replicas_per_node=replicas_per_node,
        lead_time_s=lead_time_s,
    )
    outcome = _run(dsn, config_path, bounds, group, dry=dry_run)
    if as_json:
        print_json(document(outcome))
    else:
        click.echo(sentence(outcome))


def _run(dsn: str, config_path: Path, bounds: Bounds, group: str, *, dry: bool) -> Outcome:
    from headrace.planner.hourly_fleet import ScalingGroup
    from headrace.planner.hourly_run import run
    from headrace.router.config import from_json

    config = from_json(config_path.read_bytes())
    nodes = ScalingGroup(group, config.region)
    return asyncio.run(run(config, bounds, dsn, nodes, now=datetime.now(tz=UTC), dry=dry))


def document(outcome: Outcome) -> dict[str, Any]:
    """The run as plain JSON."""
    choice = outcome.choice
    return {
        "pool": outcome.pool,
        "hour": outcome.hour.isoformat(),
        "nodes": outcome.nodes,
        "before": outcome.before,
        "reason": choice.reason.value,
        "wantedReplicas": choice.wanted_replicas,
        "meanReplicas": round(choice.mean_replicas, 3),
        "peakReplicas": choice.peak_replicas,
        "historyHours": choice.history_hours,
        "gapWindows": choice.gap_windows,
        "savedUsdPerHour": None if choice.saved_usd_hour is None else round(choice.saved_usd_hour, 4),
        "comparedHours": choice.compared_hours,
        "repeated": outcome.repeated,
        "dryRun": outcome.dry,
    }


def _print_log(dsn: str, pool: str, count: int, *, as_json: bool) -> None:
    from headrace.planner.hourly_store import Store

    async def read() -> list[dict[str, Any]]:
        store = await Store.open(dsn)
        try:
            return await store.latest(pool, count)
        finally:
            store.close()

    rows = asyncio.run(read())
    if as_json:
        print_json([{key: _plain(value) for key, value in row.items()} for row in rows])
        return
    print_table(
        (
            "hour (UTC)",
            "nodes",
            "was",
            "reason",
            "wanted",
            "mean",
            "peak",
            "seen h",
            "filled",
            "USD/h saved",
            "applied",
        ),
        [
            (
                f"{row['hour']:%Y-%m-%d %H:%M}",
                str(row["nodes"]),
                "-" if row["nodes_before"] is None else str(row["nodes_before"]),
                str(row["reason"]),
                str(row["wanted_replicas"]),
                f"{row['mean_replicas']:.1f}",
                str(row["peak_replicas"]),
                str(row["history_hours"]),
                str(row["gap_windows"]),
                "-" if row["saved_usd_hour"] is None else f"{row['saved_usd_hour']:.2f}",
                "no" if row["applied_at"] is None else f"{row['applied_at']:%H:%M:%S}",
            )
            for row in rows
        ],
    )


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value
