"""Plots of the report as SVG text: readable in print and by people who see no red and green."""

from __future__ import annotations

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from headrace.planner.answer import Answer
from headrace.planner.arrays import BINS_PER_HOUR, DAY_HOURS
from headrace.plots import BLUE, GREEN, GREY, ORANGE, RED
from headrace.plots import figure as _figure
from headrace.plots import svg as _svg

MONTHS = 12
# Levels used for less than this share of time are left out of the plot, which says how many.
LEAST_SHARE: Final = 0.002
# Share of moments that fit into the plot of demand; higher ones are cut and named.
SHOWN: Final = 0.995
# What stands behind words that a line may cross.
PLATE: Final = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0}


def _thousands(axes: Axes, *, vertical: bool = False) -> None:
    axis = axes.yaxis if vertical else axes.xaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def demand_chart(answer: Answer) -> str:
    """Demand and planned floor over the last week of the data."""
    plan = answer.plan
    hours = min(plan.demand.hours, 7 * DAY_HOURS)
    gpus = plan.demand.gpus.reshape(-1, BINS_PER_HOUR)[-hours:]
    days = np.arange(hours) / DAY_HOURS
    figure, axes = _figure(2.9)
    axes.fill_between(days, gpus.min(1), gpus.max(1), color=GREY, alpha=0.35, lw=0, label="demand, least to most")
    axes.plot(days, gpus.mean(1), color=BLUE, lw=1.3, label="demand, hourly mean")
    axes.step(days, plan.dedicated[-hours:], where="post", color=ORANGE, lw=1.8, label="planned dedicated")
    axes.set_xlabel("days of the last week of data")
    axes.set_ylabel("replicas in use at once")
    axes.set_xlim(0, max(days[-1], 1 / DAY_HOURS))
    peak = float(gpus.max(initial=0.0))
    top = 1.15 * max(float(np.quantile(gpus, SHOWN)), float(plan.dedicated[-hours:].max(initial=0)), 1.0)
    if peak > top:
        at = float(days[int(gpus.max(1).argmax())])
        side = "right" if at > days[-1] / 2 else "left"
        axes.text(at, top, f" peak {peak:,.0f} ", ha=side, va="top", fontsize=9, color="#555555", bbox=PLATE)
    axes.set_ylim(0, max(min(top, peak * 1.05), 1.0))
    axes.legend(frameon=False, ncols=3, loc="upper left", bbox_to_anchor=(0, 1.18))
    return _svg(figure)


def alternatives_chart(answer: Answer) -> str:
    """Monthly cost of the plan and of everything it was compared with."""
    plan = answer.plan
    rows = {
        f"{item.name}{'' if item.deployable else ' (with --hourly)'}": item.usd_per_month for item in plan.candidates
    }
    rows.update({name: usd for name, usd in plan.baselines.items() if name not in rows and name != "all-dedicated"})
    ranked = sorted(rows.items(), key=lambda row: -row[1])
    figure, axes = _figure(0.25 * len(ranked) + 0.9)
    colours = [ORANGE if name == plan.policy else BLUE for name, _ in ranked]
    axes.barh([name for name, _ in ranked], [usd for _, usd in ranked], color=colours, height=0.66)
    top = max(max(rows.values()), 1.0)
    for at, (_, usd) in enumerate(ranked):
        axes.text(usd + top * 0.01, at, f"{usd:,.0f}", va="center", fontsize=9)
    axes.axvline(plan.bound_usd_per_month, color=RED, ls="--", lw=1.3)
    axes.text(
        plan.bound_usd_per_month, len(ranked) - 0.45, "lower bound", color=RED, fontsize=9, ha="center", bbox=PLATE
    )
    axes.set_ylim(-0.6, len(ranked) + 0.1)
    axes.set_xlim(0, top * 1.13)
    axes.set_xlabel("USD a month (chosen plan in orange)")
    _thousands(axes)
    return _svg(figure)


def year_chart(answer: Answer, against: float) -> str:
    """Cumulative spending over twelve months, with the band of -30 % to +30 % demand. `against` is what a month costs
    today or, where no bill was given, serverless only."""
    plan = answer.plan
    months = np.arange(MONTHS + 1)
    figure, axes = _figure(2.7)
    label = "today" if answer.workload.current_usd_per_month is not None else "serverless only"
    axes.plot(months, months * against / 1000, color=GREY, lw=1.6, ls="--", label=label)
    axes.plot(months, months * plan.usd_per_month / 1000, color=ORANGE, lw=2.2, label="plan")
    axes.plot(months, months * plan.bound_usd_per_month / 1000, color=RED, lw=1.2, ls=":", label="lower bound")
    by_demand = {item.demand: item.plan_usd for item in plan.sensitivity if item.dedicated_price == 1.0}
    base = max(by_demand.get(1.0, plan.usd_per_month), 1e-9)
    low, high = (by_demand.get(factor, base) / base * plan.usd_per_month for factor in (0.7, 1.3))
    axes.fill_between(
        months, months * low / 1000, months * high / 1000, color=ORANGE, alpha=0.2, lw=0, label="plan at ±30 % demand"
    )
    for advice in answer.commitments:
        if advice.replicas:
            saved = advice.saved_usd[1.0] / advice.offer.months
            label = f"plan with {advice.offer.name}"
            axes.plot(months, months * (plan.usd_per_month - saved) / 1000, color=GREEN, lw=1.4, label=label)
    axes.set_xlabel("month")
    axes.set_ylabel("thousand USD, cumulative")
    axes.set_xlim(0, MONTHS)
    axes.set_xticks(range(0, MONTHS + 1, 2))
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, loc="upper left")
    return _svg(figure)


def levels_chart(answer: Answer) -> str:
    """Billed share of each level against the break-even share."""
    plan = answer.plan
    used = int((plan.level_shares >= LEAST_SHARE).sum())
    shares = plan.level_shares[: max(used, 1)]
    level = np.arange(1, len(shares) + 1)
    figure, axes = _figure(2.5)
    pays = shares > plan.tariff.break_even
    axes.bar(level, shares * 100, width=0.9, color=[ORANGE if one else BLUE for one in pays])
    axes.axhline(plan.tariff.break_even * 100, color=RED, ls="--", lw=1.3)
    label = f"break-even {plan.tariff.break_even:.0%}"
    axes.text(
        len(shares) + 0.5, plan.tariff.break_even * 100 + 3, label, color=RED, ha="right", va="bottom", fontsize=9
    )
    rest = len(plan.level_shares) - len(shares)
    more = f"; {rest:,} higher ones under {LEAST_SHARE:.1%} left out" if rest else ""
    axes.set_xlabel(f"level (orange: cheaper dedicated{more})")
    axes.set_ylabel("billed share of time, %")
    axes.set_ylim(0, max(105.0, plan.tariff.break_even * 110))
    axes.set_xlim(0.5, len(shares) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _svg(figure)


def slo_chart(answer: Answer) -> str:
    """Attainment against monthly cost of the plan and its variants."""
    points = [answer.slo.plan, *answer.slo.ladder]
    figure, axes = _figure(3.0)
    x, y = [p.usd_per_month for p in points], [p.attained * 100 for p in points]
    axes.plot(x, y, color=BLUE, marker="o", lw=1.4)
    for number, (point, at_x, at_y) in enumerate(zip(points, x, y, strict=True)):
        text = "plan" if point is answer.slo.plan else f"+{point.extra_floor} floor, +{point.extra_warm} warm"
        # In turns below and above, so that neighbours keep apart.
        axes.annotate(text, (at_x, at_y), textcoords="offset points", xytext=(5, (-12, 7)[number % 2]), fontsize=8)
    axes.axhline(answer.slo.target * 100, color=RED, ls="--", lw=1.3)
    axes.margins(x=0.18, y=0.15)
    axes.text(
        0.995,
        answer.slo.target * 100,
        f"objective {answer.slo.target:.0%}",
        color=RED,
        ha="right",
        va="bottom",
        fontsize=9,
        transform=axes.get_yaxis_transform(),
    )
    axes.set_xlabel("USD a month, if every day were like the simulated stretch")
    _thousands(axes)
    axes.set_ylabel("first token in time, %")
    return _svg(figure)
