"""Cost over the clairvoyant hourly lower bound on held-out weeks, beside every baseline."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.planner import series
from headrace.planner.backtest import run_backtest
from headrace.planner.levels import Demand
from headrace.planner.tariff import Tariff


@dataclass(frozen=True, kw_only=True)
class Case:
    """One trace at one pair of prices: policy -> cost over lower bound."""

    group: str
    name: str
    prices: str
    ratios: dict[str, float]


def run(case_group: str, name: str, prices: str, demand: Demand, tariff: Tariff) -> Case | None:
    """Walk the hours after the first seven days; None without any demand there."""
    result = run_backtest(demand, tariff)
    rows = {item.name: item.ratio for item in (result.chosen, *result.baselines)}
    known = {policy: ratio for policy, ratio in rows.items() if ratio is not None}
    return Case(group=case_group, name=name, prices=prices, ratios=known) if known else None


def cases(folder: Path | None, *, quick: bool) -> Iterable[Case]:
    """All cases; the real traces only if their folder is there."""
    if folder is not None:
        yield from _real(folder, quick=quick)
    for name, demand in series.generated().items():
        for gpu in ("A100",) if quick else series.ESSAY:
            case = run("generated, essay prices", name, f"{gpu} essay", demand, series.tariff(series.ESSAY[gpu]))
            if case is not None:
                yield case


def _real(folder: Path, *, quick: bool) -> Iterable[Case]:
    for name, (gpu, demand) in series.six(folder).items():
        own = run("six series, essay prices", name, f"{gpu} essay", demand, series.tariff(series.ESSAY[gpu]))
        found = [own]
        for pair, dedicated, serverless in series.TODAY[gpu]:
            found.append(
                run("six series, today's prices", name, f"{gpu} {pair}", demand, series.tariff((dedicated, serverless)))
            )
        for other in () if quick else sorted(series.ESSAY.keys() - {gpu}):
            prices = series.tariff(series.ESSAY[other])
            found.append(run("six series, other GPUs' essay prices", name, f"{other} essay", demand, prices))
        yield from (case for case in found if case is not None)
    for model in ("m-small", "m-large"):
        for gpu in ("A100",) if quick else ("T4", "A100"):
            for name, demand in series.tenants(folder, model=model, gpu=gpu, most=4 if quick else 12).items():
                case = run(
                    "tenants as companies, essay prices", name, f"{gpu} essay", demand, series.tariff(series.ESSAY[gpu])
                )
                if case is not None:
                    yield case


def geomean(values: Iterable[float]) -> float:
    """Geometric mean."""
    return float(np.exp(np.mean(np.log(list(values)))))


def summary(found: list[Case]) -> list[dict[str, object]]:
    """Per group and policy: geometric mean and worst; and in how many cases the plan is 0.5 % above floor + 10 %."""
    rows: list[dict[str, object]] = []
    groups = {group: [case for case in found if case.group == group] for group in dict.fromkeys(c.group for c in found)}
    six = [case for case in found if case.group.startswith("six series")]
    if six:
        groups = {"six series, three GPUs' essay prices and today's": six, **groups}
    for group, members in groups.items():
        policies = {
            policy: {
                "geomean": round(geomean(case.ratios[policy] for case in members), 4),
                "worst": round(max(case.ratios[policy] for case in members), 4),
            }
            for policy in members[0].ratios
        }
        above = [
            f"{case.name} ({case.prices})"
            for case in members
            if case.ratios["adaptive"] > case.ratios["floor-plus-ten"] * 1.005
        ]
        rows.append({"group": group, "cases": len(members), "policies": policies, "aboveFloorPlusTen": above})
    return rows
