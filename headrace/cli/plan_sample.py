"""`headrace plan sample`: a generated trace for the quick start, the same bytes for the same seed."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.errors import refuse
from headrace.planner.sample import WORKLOAD, write_sample


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Requests as CSV.")
@click.option("--days", type=click.IntRange(1, 60), default=14, show_default=True)
@click.option("--requests-per-day", type=click.IntRange(100, 1_000_000), default=20_000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--workload", type=click.Path(path_type=Path), help="Also write a workload file here.")
def sample(out: Path, days: int, requests_per_day: int, seed: int, workload: Path | None) -> None:
    """Write a generated sample trace (requests of three tenants with a daily and weekly pattern)."""
    try:
        count = write_sample(out, days=days, requests_per_day=requests_per_day, seed=seed)
        if workload is not None:
            workload.write_text(WORKLOAD, encoding="utf-8")
    except OSError as error:
        raise refuse(
            "--out",
            str(out),
            f"can't be written ({error.strerror or str(error).splitlines()[0]})",
            next_step="check the folder",
        ) from error
    click.echo(f"{count:,} requests in {out}")
