"""`headrace router waste`: the ledger read as a report on what was paid for nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.errors import refuse

if TYPE_CHECKING:
    from headrace.audit.record import Entry
    from headrace.router.waste import Episode, Sum, Waste

_NANO = 1_000_000_000


@click.command("waste")
@click.argument("journal", metavar="[SPOOL|FILE]", type=click.Path(path_type=Path), required=False)
@click.option("--dsn", envvar="HEADRACE_POSTGRES_DSN", help="Read all replicas' entries from Postgres instead.")
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="With --dsn: only the last days.")
@click.option("--window", "window_s", default=60.0, show_default=True, help="Seconds of a loop or a storm.")
@click.option("--loop", default=5, show_default=True, help="Same prompts within the window that are a loop.")
@click.option("--storm", default=10, show_default=True, help="Failures within the window that are a storm.")
@click.option("--top", default=10, show_default=True, help="Rows of each list.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def waste(
    *,
    journal: Path | None,
    dsn: str | None,
    days: float | None,
    window_s: float,
    loop: int,
    storm: int,
    top: int,
    as_json: bool,
) -> None:
    """Say what requests cost by feature, project, user and conversation, and what of it was for nothing.

    Reads a journal's folder, an export of one, or Postgres. Users, conversations and prompts are keyed hashes.
    """
    from headrace.router.waste import Rules
    from headrace.router.waste import waste as report

    if min(loop, storm) < 2 or window_s <= 0 or top < 1:
        raise refuse(
            "--loop, --storm, --window, --top",
            None,
            "a loop and a storm are 2 or more, a window and a list more than 0",
            next_step="correct the number",
        )
    rules = Rules(window_s=window_s, loop_requests=loop, storm_failures=storm, top=top)
    made = report(_entries(journal, dsn, days), rules)
    if as_json:
        click.echo(json.dumps(document(made), indent=2))
    else:
        _print(made)


def _entries(journal: Path | None, dsn: str | None, days: float | None) -> Iterator[Entry]:
    from headrace.audit import lines
    from headrace.audit.record import RecordError, parse
    from headrace.audit.segments import Damaged, Torn, read_links

    if journal is not None:
        if not journal.exists():
            raise refuse("SPOOL|FILE", str(journal), "it is not there", next_step="give a journal or an export of one")
        links = lines.read(journal, "") if journal.is_file() else read_links(journal, "")
        for item in links:
            if isinstance(item, Damaged):
                continue
            if isinstance(item, Torn):
                return
            try:
                yield parse(item.record)
            except RecordError as error:
                raise refuse(
                    "SPOOL|FILE", str(journal), f"entry {item.sequence}: {error}", next_step="run headrace audit verify"
                ) from None
        return
    if dsn is None:
        raise refuse("SPOOL|FILE", None, "nothing to read was named", next_step="give a journal, an export, or --dsn")
    import asyncio

    from headrace.audit.sinks.base import SinkUnavailable
    from headrace.audit.sinks.postgres import outcomes

    try:
        yield from asyncio.run(outcomes(dsn, days=days))
    except SinkUnavailable as error:
        raise refuse("--dsn", None, f"the database does not answer ({error})", next_step="check it") from None


def _sum(total: Sum) -> dict[str, Any]:
    ratio = total.input_to_output
    return {
        "requests": total.requests,
        "costUsd": total.cost_nano / _NANO,
        "usdPerRequest": total.cost_nano / _NANO / total.requests if total.requests else None,
        "tokensIn": total.tokens_in,
        "tokensOut": total.tokens_out,
        "tokensCached": total.tokens_cached,
        "inputToOutput": round(ratio, 3) if ratio is not None else None,
    }


def _episodes(found: list[Episode]) -> list[dict[str, Any]]:
    return [
        {
            "caller": one.caller,
            "feature": one.feature,
            "beganUs": one.began_us,
            "seconds": one.seconds,
            **_sum(one.sum),
        }
        for one in found
    ]


def document(made: Waste) -> dict[str, Any]:
    """The report as JSON."""

    def groups(found: Mapping[str, Sum]) -> dict[str, Any]:
        return {name: _sum(total) for name, total in found.items()}

    return {
        "total": _sum(made.total),
        "ownRequests": _sum(made.own),
        "byFeature": groups(made.features),
        "byProject": groups(made.projects),
        "byUser": groups(made.users),
        "byConversation": groups(made.conversations),
        "repeatedPrompts": _sum(made.repeated),
        "resentContext": {"tokens": made.resent_tokens, "cachedTokens": made.resent_cached},
        "abandoned": _sum(made.abandoned),
        "failed": _sum(made.failed),
        "stoppedRequests": made.stopped,
        "loops": _episodes(made.loops),
        "retryStorms": _episodes(made.storms),
    }


def _print(made: Waste) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=140)
    for title, found in (
        ("feature", made.features),
        ("project", made.projects),
        ("user", made.users),
        ("conversation", made.conversations),
    ):
        table = Table(title, "requests", "cost $", "$/request", "tokens in", "tokens out", "in:out", "cached")
        for name, total in found.items():
            table.add_row(name, *_row(total))
        if title == "feature":
            table.add_section()
            table.add_row("all", *_row(made.total))
        console.print(table)
    table = Table("for nothing", "requests", "cost $", "share of cost", "tokens in", "what")
    for name, total, what in (
        ("repeated prompts", made.repeated, "answered before, word for word: cache the answer"),
        ("abandoned", made.abandoned, "the caller went away: shorten time limits, stream, cancel"),
        ("failed", made.failed, "paid, and no whole answer came"),
    ):
        share = total.cost_nano / made.total.cost_nano if made.total.cost_nano else 0.0
        cost = f"{total.cost_nano / _NANO:.6f}"
        table.add_row(name, str(total.requests), cost, f"{share:.1%}", str(total.tokens_in), what)
    console.print(table)
    share = made.resent_tokens / made.total.tokens_in if made.total.tokens_in else 0.0
    console.print(
        f"context sent again: {made.resent_tokens} of {made.total.tokens_in} prompt tokens ({share:.1%}), "
        f"{made.resent_cached} of them from the prefix cache"
    )
    console.print(f"stopped by the breaker of their caller: {made.stopped} requests")
    for title, episodes in (("loop", made.loops), ("retry storm", made.storms)):
        for one in episodes:
            console.print(
                f"{title}: {one.caller} {one.feature}: {one.sum.requests} requests in {one.seconds:.1f} s, "
                f"{one.sum.cost_nano / _NANO:.6f} $"
            )


def _row(total: Sum) -> tuple[str, ...]:
    ratio = total.input_to_output
    each = total.cost_nano / _NANO / total.requests if total.requests else 0.0
    return (
        str(total.requests),
        f"{total.cost_nano / _NANO:.6f}",
        f"{each:.6f}",
        str(total.tokens_in),
        str(total.tokens_out),
        f"{ratio:.2f}" if ratio is not None else "-",
        str(total.tokens_cached),
    )
