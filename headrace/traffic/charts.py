"""Plots of a replayed day as SVG text."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from headrace.planner.arrays import Floats
from headrace.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, YELLOW, figure, svg
from headrace.router.config import RouterConfig
from headrace.traffic.figures import BINS, Figures

_FLOORS = (BLUE, SKY, "#004B75")
_OVERFLOWS = (ORANGE, YELLOW, "#9C6B00")
_OTHERS = (RED, PURPLE, GREY, GREEN, SKY)


def _legend(axes: Axes, columns: int) -> None:
    """Above the plot, where it hides nothing."""
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2, ncols=columns)


def colours(policy: RouterConfig) -> dict[str, str]:
    """Blues for floors, oranges for overflow, the same in every plot."""
    floors = [name for name, pool in policy.pools.items() if pool.dedicated]
    others = [name for name, pool in policy.pools.items() if not pool.dedicated]
    return {name: _FLOORS[at % len(_FLOORS)] for at, name in enumerate(floors)} | {
        name: _OVERFLOWS[at % len(_OVERFLOWS)] for at, name in enumerate(others)
    }


def _hours(axes: Axes, label: str = "hour of the generated day") -> None:
    axes.set_xlim(0, BINS)
    axes.set_xticks(range(0, BINS + 1, 3))
    axes.set_xlabel(label)


def requests_chart(figures: Figures, policy: RouterConfig) -> str:
    """Answered requests in each hour by pool, and what was refused."""
    colour = colours(policy)
    made, axes = figure(3.2)
    _stack(axes, {name: values for name, values in figures.timeline.requests.items() if any(values)}, colour)
    refused = _summed(figures.timeline.refusals)
    if refused.any():
        refused[refused == 0] = np.nan  # a bar of no height would still draw its edge
        base = _summed(figures.timeline.requests)
        axes.bar(
            np.arange(BINS) + 0.5,
            refused,
            bottom=base,
            width=0.9,
            color="white",
            edgecolor=RED,
            hatch="////",
            lw=0.8,
            label="refused",
        )
    _hours(axes)
    axes.set_ylabel("requests in the hour's share of the replay")
    _legend(axes, 5)
    return svg(made)


def _summed(series: Mapping[str, tuple[int, ...]]) -> Floats:
    return np.asarray(sum((np.array(values, dtype=float) for values in series.values()), np.zeros(BINS)))


def _stack(axes: Axes, series: Mapping[str, tuple[int, ...]], colour: Mapping[str, str]) -> None:
    base = np.zeros(BINS)
    for name, values in series.items():
        axes.bar(np.arange(BINS) + 0.5, values, bottom=base, width=0.9, color=colour[name], label=name)
        base += np.array(values)


def load_chart(figures: Figures, policy: RouterConfig) -> str:
    """Requests in flight against the slots of the floor."""
    colour = colours(policy)
    made, axes = figure(3.2)
    shown = {name: np.array(values) for name, values in figures.timeline.in_flight.items() if any(values)}
    shown = dict(sorted(shown.items(), key=lambda item: not policy.pools[item[0]].dedicated))
    if shown:
        moments = np.arange(len(next(iter(shown.values())))) / len(next(iter(shown.values()))) * BINS
        axes.stackplot(
            moments, *shown.values(), colors=[colour[name] for name in shown], labels=list(shown), step="post", lw=0
        )
    slots = sum(pool.slots for pool in policy.pools.values() if pool.dedicated)
    if slots:
        axes.axhline(slots, color=RED, ls="--", lw=1.3)
        axes.text(0.2, slots, f"slots of the floor: {slots}", color=RED, fontsize=9, va="bottom")
    _hours(axes)
    axes.set_ylim(0, max(slots, *(int(v.max()) for v in shown.values()), 1) * 1.45 if shown else None)
    axes.set_ylabel("requests in flight")
    _legend(axes, 5)
    return svg(made)


def first_token_chart(figures: Figures) -> str:
    """Percentiles of the time to the first token, hour by hour, against the objective."""
    made, axes = figure(3.2)
    at = np.arange(BINS) + 0.5
    for label, colour, mark in (("P50", BLUE, "o"), ("P95", ORANGE, "s"), ("P99", GREY, "^")):
        values = np.array(
            [np.nan if one is None else max(one, 1e-3) for one in figures.timeline.first_token[label]], dtype=float
        )
        axes.plot(at, values, color=colour, marker=mark, ms=4, lw=1.5, label=label)
    axes.set_yscale("log")
    for slo in figures.slo:
        axes.axhline(slo.limit_s, color=RED, ls="--", lw=1.3)
        axes.text(
            0.2, slo.limit_s, f"objective of {slo.workload}: {slo.limit_s:g} s", color=RED, fontsize=9, va="bottom"
        )
    _hours(axes)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylabel("time to first token, s (log scale)")
    _legend(axes, 3)
    return svg(made)


def reasons_chart(figures: Figures) -> str:
    """Spills and refusals by reason, hour by hour."""
    made, axes = figure(3.0)
    series = {f"spilled: {name}": values for name, values in figures.timeline.spills.items()}
    series |= {f"refused: {name}": values for name, values in figures.timeline.refusals.items()}
    names = sorted(series, key=lambda name: (not name.startswith("spilled"), -sum(series[name])))
    spills = [name for name in names if name.startswith("spilled")]
    palette = {name: _OVERFLOWS[at % len(_OVERFLOWS)] for at, name in enumerate(spills)}
    palette |= {
        name: _OTHERS[at % len(_OTHERS)] for at, name in enumerate([name for name in names if name not in palette])
    }
    _stack(axes, {name: series[name] for name in names}, palette)
    if not series:
        axes.text(0.5, 0.5, "nothing spilled and nothing was refused", transform=axes.transAxes, ha="center")
    else:
        _legend(axes, 2)
    _hours(axes)
    axes.set_ylabel("requests in the hour's share")
    return svg(made)


def cost_chart(figures: Figures, policy: RouterConfig) -> str:
    """US dollars a day of the hybrid and of both sides alone, by who is paid."""
    colour = colours(policy)
    made, axes = figure(2.6)
    bars: list[tuple[str, list[tuple[str, float, str]]]] = [
        ("hybrid (replayed)", [(pool.name, figures.per_day(pool.usd), colour[pool.name]) for pool in figures.pools]),
        (
            "all dedicated (simulated)",
            [
                (f"{side.instances} x {side.gpu} for {side.workload}", figures.per_day(side.usd), _FLOORS[at % 3])
                for at, side in enumerate(figures.dedicated.sides)
            ],
        ),
        (
            "all serverless (simulated)",
            [
                (f"{side.provider} {side.gpu} for {side.workload}", figures.per_day(side.usd), _OVERFLOWS[at % 3])
                for at, side in enumerate(figures.serverless.sides)
            ],
        ),
    ]
    most = max((sum(value for _, value, _ in parts) for _, parts in bars), default=1.0) or 1.0
    for at, (_, parts) in enumerate(bars):
        left = 0.0
        for name, value, shade in parts:
            axes.barh(at, value, left=left, color=shade, height=0.6, edgecolor="white")
            if value > most * 0.12:
                dark = shade in (BLUE, "#004B75", "#9C6B00")
                axes.text(
                    left + value / 2,
                    at,
                    name if value > most * 0.2 else "",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if dark else "black",
                )
            left += value
        axes.text(left + most * 0.01, at, f"${left:,.0f}", va="center", fontsize=9)
    axes.set_yticks(range(len(bars)), [name for name, _ in bars])
    axes.invert_yaxis()
    axes.set_xlim(0, most * 1.1)
    axes.set_xlabel("US dollars for 24 hours at the replayed loads")
    return svg(made)
