"""The twelve-month report for people who pay and people who run it: one context, rendered as HTML or as PDF."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from headrace.errors import refuse
from headrace.pages import Plot, templates
from headrace.planner import charts
from headrace.planner.advice import Step, Way, tree, ways
from headrace.planner.answer import Answer, outcome_sentence
from headrace.planner.planning import Sensitivity
from headrace.planner.year import LESS, MONTHS, MORE, SAME, Line, year
from headrace.settings.stack_text import replace_file


@dataclass(frozen=True, kw_only=True)
class Context:
    """Everything that the templates print, as text and plain rows."""

    title: str
    subtitle: str
    verdict: str
    headline: tuple[tuple[str, str], ...]
    money: tuple[tuple[str, ...], ...]
    money_note: str
    committed: str
    figures: tuple[Plot, ...]
    ways: tuple[Way, ...]
    steps: tuple[Step, ...]
    sensitivity: tuple[tuple[str, ...], ...]
    commitments: tuple[tuple[str, ...], ...]
    risks: tuple[str, ...]
    assumptions: tuple[tuple[str, str, str, str], ...]
    quality: tuple[str, ...]
    stale: tuple[str, ...]
    coupled: str


def context(answer: Answer) -> Context:
    """Numbers into sentences."""
    plan = answer.plan
    money = year(answer)
    saved, (least, most) = money.saved_usd[SAME], money.range_usd
    risks = tuple(_risks(answer))
    share = plan.regret_usd_per_month / plan.bound_usd_per_month if plan.bound_usd_per_month else 0.0
    return Context(
        title=f"GPU inference for {answer.workload.name}: twelve months",
        subtitle=(
            f"{answer.service.gpu}, prices of {answer.day}, {answer.traffic.days:.1f} days of traffic; amounts in US"
            " dollars"
        ),
        verdict=plan.verdict.sentence,
        headline=(
            (f"{money.now.name}, a month", _usd(money.now.month)),
            (f"{money.planned.name}, a month", _usd(money.planned.month)),
            (
                f"saved in {MONTHS} months" if saved >= 0 else f"costs more in {MONTHS} months",
                f"{_usd(abs(saved))} ({abs(saved) / max(money.now.year[SAME], 1e-9):.0%})",
            ),
            ("saved if demand falls or rises by 30 %", f"{_usd(least)} to {_usd(most)}"),
            ("first token in time", f"{answer.slo.plan.attained:.2%} (objective {answer.slo.target:.0%})"),
            (
                f"dedicated replicas, {plan.policy}",
                _span(int(plan.schedule.min()), plan.most),
            ),
        ),
        money=(
            *(_row(line) for line in (money.now, money.planned)),
            _row(
                Line(name="saved", month=money.now.month - money.planned.month, year=money.saved_usd),
            ),
            _row(money.bound),
        ),
        money_note=(
            f"The plan lies {_usd(plan.regret_usd_per_month)} a month ({share:.1%}) above the lower bound, which no"
            " plan that holds GPUs for whole hours can beat: its regret."
            + (
                f" A floor that follows its traffic every hour (--hourly) would save {_usd(hourly)} a month of it."
                if (hourly := plan.hourly_saves_usd_per_month) > 0
                else ""
            )
            + f" Other demands price the same {'policy' if plan.hourly else 'schedule'}"
            + (
                ", serverless only as its traffic would cost."
                if answer.workload.current_usd_per_month is None
                else "; today's bill is taken in proportion to demand."
            )
        ),
        committed=money.committed,
        figures=_figures(answer, money.now.month),
        ways=tuple(ways(answer)),
        steps=tuple(tree(answer)),
        sensitivity=tuple(
            (
                *(_change(factor) for factor in (item.demand, item.dedicated_price, item.serverless_price)),
                _usd(item.plan_usd),
                _usd(item.replanned_usd),
                _usd(item.bound_usd),
                item.verdict,
            )
            for item in plan.sensitivity
        ),
        commitments=tuple(
            (
                item.offer.name,
                str(item.replicas),
                str(item.offer.months),
                *(_usd(item.saved_usd[factor]) for factor in (0.7, 1.0, 1.3)),
                "never in its term" if item.break_even_month is None else f"month {item.break_even_month:.1f}",
            )
            for item in answer.commitments
        ),
        risks=risks,
        assumptions=tuple((item.name, item.value, item.source, item.as_of) for item in plan.assumptions),
        quality=tuple(answer.traffic.quality.sentences()),
        stale=answer.stale,
        coupled="" if answer.coupled is None else outcome_sentence(answer.coupled),
    )


def _figures(answer: Answer, against: float) -> tuple[Plot, ...]:
    plots = [
        Plot(
            title="Spending over twelve months",
            caption="The band is the same plan if demand falls or rises by 30 %. Operations are left out here.",
            svg=charts.year_chart(answer, against),
        ),
        Plot(
            title="What everything else would have cost",
            caption="Each policy was walked over the traffic's own past and knew only the hours before each decision.",
            svg=charts.alternatives_chart(answer),
        ),
        Plot(
            title="Demand and planned floor",
            caption="What lies above the orange line is served serverless.",
            svg=charts.demand_chart(answer),
        ),
        Plot(
            title="Which levels pay for a dedicated GPU",
            caption=(
                "A level is cheaper dedicated where its billed share lies above the break-even."
                " The level is the k-th replica in use at once."
            ),
            svg=charts.levels_chart(answer),
        ),
    ]
    if answer.slo.ladder:
        plots.append(
            Plot(
                title="The price of waiting less",
                caption=(
                    "Simulated request by request over the busiest stretch; each point adds dedicated replicas or"
                    " minimum instances. The simulation fills every slot before it overflows, where the plan counts on"
                    f" {answer.workload.target_utilization:.0%} utilisation: its costs compare with each other only."
                ),
                svg=charts.slo_chart(answer),
            )
        )
    return tuple(plots)


def _world(item: Sensitivity) -> str:
    """What differs from today, in words."""
    factors = {
        "demand": item.demand,
        "the dedicated price": item.dedicated_price,
        "the serverless price": item.serverless_price,
    }
    changes = [
        f"{name} {'rises' if factor > 1 else 'falls'} by {abs(factor - 1):.0%}"
        for name, factor in factors.items()
        if factor != 1
    ]
    return " and ".join(changes)


def _risks(answer: Answer) -> list[str]:
    plan = answer.plan
    risks = []
    low = next(item for item in plan.sensitivity if item.demand == 0.7)
    idle = low.plan_usd - low.replanned_usd
    if idle > 0.02 * plan.usd_per_month:
        risks.append(f"If demand falls by 30 % and nobody re-plans, the floor wastes {_usd(idle)} a month.")
    changed = [item for item in plan.sensitivity if item.verdict != plan.sensitivity[1].verdict]
    risks += [f"If {_world(item)}, the verdict becomes: {item.verdict}." for item in changed]
    if answer.profile.breaks_h:
        days = ", ".join(f"{hour / 24:.1f}" for hour in answer.profile.breaks_h[:5])
        risks.append(f"The level of demand changed for good at day {days}: older weeks are a poor guide.")
    if not answer.slo.met:
        better = answer.slo.cheapest_that_meets
        fix = (
            f"; the cheapest variant that keeps it has +{better.extra_floor} dedicated and +{better.extra_warm} minimum"
            f" instances for {_usd(better.usd_per_month)} a month"
            if better
            else ""
        )
        risks.append(f"The latency objective is missed ({answer.slo.plan.attained:.2%}){fix}.")
    risks += [
        f"Commitment {item.offer.name} loses {_usd(-item.saved_usd[0.7])} over its term if demand falls by 30 %."
        for item in answer.commitments
        if item.saved_usd[0.7] < 0
    ]
    if answer.stale:
        risks.append(f"{len(answer.stale)} prices have not been checked for longer than their limit.")
    return risks or ["None of the tested changes of demand (±30 %) and prices (±20 %) changes the verdict."]


def _usd(value: float) -> str:
    return f"${value:,.0f}" if value >= 0 else f"-${-value:,.0f}"


def _span(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low} to {high}"


def _change(factor: float) -> str:
    return "same" if factor == 1.0 else f"{factor - 1:+.0%}"


def _row(line: Line) -> tuple[str, ...]:
    """Name, a month, twelve months, twelve months at 30 % less and 30 % more demand."""
    return (line.name, _usd(line.month), *(_usd(line.year[factor]) for factor in (SAME, LESS, MORE)))


def html(values: Context) -> str:
    """One self-contained page."""
    return templates("headrace.planner").get_template("report.html.j2").render(report=values)


def pdf(values: Context) -> bytes:
    """An A4 document, typeset by typst."""
    import typst

    environment = templates("headrace.planner")
    environment.filters["typ"] = _typst_text
    with tempfile.TemporaryDirectory(prefix="headrace-report-") as folder:
        for number, figure in enumerate(values.figures, start=1):
            (Path(folder) / f"{number}.svg").write_text(figure.svg, encoding="utf-8")
        source = Path(folder) / "report.typ"
        source.write_text(environment.get_template("report.typ.j2").render(report=values), encoding="utf-8")
        return bytes(typst.compile(str(source)))


def _typst_text(text: object) -> str:
    """Text that typst prints as it stands."""
    return "".join(f"\\{char}" if char in "\\#$*_`<>@[]~=-+/\"'" else char for char in str(text))


def check_format(out: Path) -> None:
    """Refuse a format that isn't written, before anything is computed."""
    if out.suffix not in (".html", ".pdf"):
        raise refuse("--out", str(out), "is neither .html nor .pdf", next_step="name it report.html or report.pdf")


def write_report(answer: Answer, out: Path) -> None:
    """Write .html or .pdf, beside and renamed."""
    check_format(out)
    values = context(answer)
    content = html(values).encode() if out.suffix == ".html" else pdf(values)
    replace_file(out, content, option="--out")
