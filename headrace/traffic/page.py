"""The page on a replay: one self-contained HTML file, in the look of the planner's report."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.pages import Plot, templates
from headrace.router.config import RouterConfig
from headrace.traffic import charts
from headrace.traffic.account import CHECKS
from headrace.traffic.day import DAY_HOURS
from headrace.traffic.figures import Figures, served_tokens
from headrace.traffic.pricing import Alternative

_DAY_S = 86_400


@dataclass(frozen=True, kw_only=True)
class Context:
    """Everything that the template prints."""

    title: str
    subtitle: str
    verdict: str
    headline: tuple[tuple[str, str], ...]
    plots: tuple[Plot, ...]
    replays: tuple[Figures, ...]
    compared: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    checks: tuple[str, ...]
    mismatches: tuple[str, ...]
    cautions: tuple[str, ...]


def seconds(value: float | None) -> str:
    """A duration with three digits."""
    return "-" if value is None else f"{value * 1000:.0f} ms" if value < 1 else f"{value:.3g} s"


def percent(value: float) -> str:
    """A share."""
    return f"{value:.1%}"


def usd(value: float) -> str:
    """US dollars; small amounts with the digits that tell something."""
    return f"${value:,.0f}" if value >= 100 else f"${value:.2f}" if value >= 0.01 else f"${value:.5f}"


def context(replays: Sequence[Figures], policy: RouterConfig, *, version: str) -> Context:
    """Numbers into sentences. The first replay is the one that is plotted. version: of the deployed configuration."""
    day = replays[0]
    mismatches = tuple(sentence for one in replays for sentence in one.mismatches)
    return Context(
        title="A day of traffic through the deployed router",
        subtitle=(
            f"Stack {policy.environment} in {policy.region}, configuration {version[:19]}…, prices"
            f" {policy.price_version.partition('/')[0]}; {DAY_HOURS} hours squeezed into {day.seconds:.0f} s of"
            f" platform time, replayed {day.speed:g} times as fast"
        ),
        verdict=verdict(day),
        headline=headline(day),
        plots=_plots(day, policy),
        replays=tuple(replays),
        compared=tuple(row for one in replays for row in comparison(one)),
        notes=notes(replays, policy),
        checks=CHECKS,
        mismatches=mismatches,
        cautions=tuple(one.caution for one in replays if one.caution is not None),
    )


def verdict(day: Figures) -> str:
    """The headline sentence."""
    floor = sum(pool.share for pool in day.pools if pool.kind == "dedicated")
    kept = " and ".join(f"{percent(one.attained)} of {one.workload}'s streams" for one in day.slo)
    limit = f" began within {day.slo[0].limit_s:g} s" if day.slo else ""
    return (
        f"The floor answered {percent(floor)} of {day.served:,} requests, {day.spilled:,} spilled to serverless GPUs;"
        f" {kept}{limit}, at {usd(day.per_day(day.usd))} a day against {usd(day.per_day(day.dedicated.usd))}"
        f" all dedicated and {usd(day.per_day(day.serverless.usd))} all serverless."
    )


def headline(day: Figures) -> tuple[tuple[str, str], ...]:
    """The boxes under it."""
    refused = sum(day.refusals.values())
    return (
        ("answered, of all requests", f"{day.served:,} of {day.requests:,}"),
        (
            "time to first token, P50 / P95 / P99",
            " / ".join(seconds(one) for one in (day.first_token.p50, day.first_token.p95, day.first_token.p99)),
        ),
        *((f"{one.workload}: first token in {one.limit_s:g} s", percent(one.attained)) for one in day.slo),
        ("spilled", f"{day.spilled:,} ({percent(day.spilled / max(1, day.served))})"),
        ("cold starts; starts that the router asked for ahead", f"{day.cold_starts:,}; {day.started_ahead:,}"),
        ("refused", f"{refused:,} ({', '.join(f'{name} {count}' for name, count in day.refusals.items()) or 'none'})"),
        ("cost per 1,000 tokens", usd(day.per_thousand(day.usd))),
    )


def comparison(one: Figures) -> list[tuple[str, ...]]:
    """Rows of the table of three ways to pay: way, GPUs, a day, per 1,000 tokens, objective, note."""
    hybrid = ", ".join(
        f"{'' if pool.kind == 'dedicated' else 'up to '}{pool.instances} x {pool.gpu} ({pool.provider}) at"
        f" {usd(pool.usd_per_instance_hour)}/h"
        for pool in one.pools
        if pool.usd > 0
    )
    kept = one.slo[0].of_all if one.slo else 1.0
    rows: list[tuple[str, ...]] = [
        (
            f"{one.name}: hybrid, replayed",
            hybrid,
            usd(one.per_day(one.usd)),
            usd(one.per_thousand(one.usd)),
            percent(kept),
            "refused streams count as missed",
        )
    ]
    for name, found in (("all dedicated", one.dedicated), ("all serverless", one.serverless)):
        rows.append(
            (
                f"{one.name}: {name}, simulated",
                _gpus(found),
                usd(one.per_day(found.usd)),
                usd(one.per_thousand(found.usd, served_tokens(one, found))),
                percent(found.attained),
                _note(found),
            )
        )
    return rows


def _gpus(found: Alternative) -> str:
    return ", ".join(
        f"{f'{side.instances} x ' if side.instances else ''}{side.gpu} ({side.provider}, {side.workload}) at"
        f" {usd(side.usd_per_hour)}/h"
        for side in found.sides
    )


def _note(found: Alternative) -> str:
    notes = []
    if found.left_out:
        notes.append(f"{found.left_out:,} requests may not enter the provider and are left out")
    cold = sum(side.cold_starts for side in found.sides)
    if cold:
        notes.append(f"{cold} cold starts")
    if found.missing:
        notes.append(f"no such pool for {', '.join(found.missing)}")
    return "; ".join(notes)


def _plots(day: Figures, policy: RouterConfig) -> tuple[Plot, ...]:
    return (
        Plot(
            title="Where requests ran",
            caption="Answered requests by pool (blue: dedicated, orange: serverless), by the hour in which they came.",
            svg=charts.requests_chart(day, policy),
        ),
        Plot(
            title="In flight, against the floor",
            caption="What rises above the dashed line has to wait, spill or be refused.",
            svg=charts.load_chart(day, policy),
        ),
        Plot(
            title="Time to the first token",
            caption="Streams of workloads with an objective, measured by the router from arrival to first byte.",
            svg=charts.first_token_chart(day),
        ),
        Plot(
            title="Why requests spilled or were refused",
            caption="The reason that stands in each request's ledger record.",
            svg=charts.reasons_chart(day),
        ),
        Plot(
            title="The same traffic, three ways to pay",
            caption="Floors are paid for the whole day, serverless instances from start to the end of their idle time.",
            svg=charts.cost_chart(day, policy),
        ),
    )


def notes(replays: Sequence[Figures], policy: RouterConfig) -> tuple[str, ...]:
    """What is real here and what is not."""
    day = replays[0]
    steep = _DAY_S / day.seconds
    cold = max((pool.cold_start_s for pool in policy.pools.values()), default=0.0) / day.seconds * DAY_HOURS
    found = [
        (
            "Real: the router processes on the configuration read back from the cluster, their decisions, keys, limits,"
            " budgets and ledger; Redis and PostgreSQL."
            f" {_replicas(day)}"
        ),
        (
            "Stand-ins: model servers. They hold slots, read prompts and decode at the pace that the planner's roofline"
            " gives for each GPU, start cold, stop when idle and are billed as the vendor would; their text is filler."
            " No GPU took part, so times to first token are modelled times plus what the router added."
        ),
        (
            f"Time: {DAY_HOURS} hours pass in {day.seconds:.0f} s of platform time. Requests, cold starts and idle"
            f" timeouts last as long as they would: loads are right, but ramps are {steep:,.0f} times as steep, a cold"
            f" start takes {cold:.1f} hours of this day. Spills, cold starts and refusals weigh more here than they"
            " would in life (python -m benchmarks.spill replays a slower day). Costs of 24 hours are the replay's,"
            " multiplied by the time that is missing."
        ),
        (
            f"Clock: the router and the model servers run on a clock {day.speed:g} times as fast, so each millisecond"
            f" that this machine adds shows as {day.speed:g} ms."
        ),
        (
            "The day is generated from the configuration (an office day that nearly fills the floor, a product launch"
            " from 13:30 to 17:30, batch work at night, an agent in a loop at 19:30); its shape is an assumption."
        ),
    ]
    if len(replays) > 1:
        found.append(f"The second replay: {replays[1].source}; who asks is made up.")
    return tuple(found)


def _replicas(day: Figures) -> str:
    """What each replica took."""
    if len(day.replicas) < 2:
        return "One replica ran."
    each = ", ".join(
        f"{one.name} {one.requests:,} ({one.spilled:,} spilled, first token P95 {seconds(one.first_token.p95)})"
        for one in day.replicas
    )
    return f"{len(day.replicas)} replicas ran and shared every limit through Redis; callers took them in turn: {each}."


def html(values: Context) -> str:
    """The page."""
    environment = templates("headrace.traffic", "headrace.planner")
    environment.filters |= {"seconds": seconds, "percent": percent, "usd": usd}
    return environment.get_template("page.html.j2").render(page=values)


def write_page(replays: Sequence[Figures], policy: RouterConfig, out: Path, *, version: str) -> None:
    """Write it beside and rename it into place."""
    content = html(context(replays, policy, version=version))
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(content)
    Path(partial).chmod(0o644)
    Path(partial).replace(out)
