"""`python -m benchmarks.planner.heldout`: is the policy as good on traffic that its settings were not chosen on?

Each history in turn is put aside; among the variations the one that costs least on all others is taken, and prices the
history put aside. A history is everything that comes from the same traffic: all series of a model on any GPU at any
price and its tenants are one, and so is a generated shape with all its seeds. The geometric mean over groups of cases
decides, and a variation with fewer cases above floor + 10 % by more than 0.5 % comes first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from benchmarks.planner import series
from benchmarks.planner.ratios import geomean
from headrace.planner.arrays import WEEK_HOURS, Floats, Ints
from headrace.planner.bounds import hourly_bound
from headrace.planner.experts import expert_decisions
from headrace.planner.learning import MEMORY, REACH, learned
from headrace.planner.levels import Demand, level_tables
from headrace.planner.mixing import (
    DISCOUNT,
    LEVEL_RATE,
    PROBATION,
    RATE,
    WITNESSES,
    averaged,
    by_level,
    evidenced,
    guarded,
    leaders,
    polynomial,
    proven,
    whole,
)
from headrace.planner.policies import HourlyCosts, floor_plus_ten, hourly_costs

ABOVE: Final = 1.005
SHIPPED: Final = "as shipped"


@dataclass(frozen=True, kw_only=True)
class Variation:
    """Settings of the policy, and which of its four parts take part."""

    parts: tuple[str, ...] = ("polynomial", "leaders", "by level", "learned")
    rate: float = RATE
    level_rate: float = LEVEL_RATE
    discount: float = DISCOUNT
    reach: float = REACH
    memory: float = MEMORY
    probation: int = PROBATION
    witnesses: int = WITNESSES


THREE: Final = ("polynomial", "leaders", "by level")
VARIATIONS: Final[dict[str, Variation]] = {
    SHIPPED: Variation(),
    "nothing learned by level": Variation(parts=THREE),
    "learned by level only": Variation(parts=("learned",)),
    "without polynomial": Variation(parts=("leaders", "by level", "learned")),
    "without leaders": Variation(parts=("polynomial", "by level", "learned")),
    "without by level": Variation(parts=("polynomial", "leaders", "learned")),
    "learned counts twice": Variation(parts=("polynomial", "leaders", "by level", "learned", "learned")),
    "rate 0.05": Variation(rate=0.05, level_rate=0.1),
    "rate 0.2": Variation(rate=0.2, level_rate=0.4),
    "discount 0.99": Variation(discount=0.99),
    "no discount": Variation(discount=1.0),
    "reach 0.35": Variation(reach=0.35),
    "memory 0.99": Variation(memory=0.99),
    "memory 1": Variation(memory=1.0),
    "probation 2": Variation(probation=2),
    "probation 8": Variation(probation=8),
    "witnesses 2": Variation(witnesses=2),
    "witnesses 4": Variation(witnesses=4),
}


@dataclass(frozen=True, kw_only=True)
class Found:
    """One case under every variation: cost over the lower bound; `floor` is that of floor + 10 %."""

    group: str
    history: str
    name: str
    floor: float
    ratios: dict[str, float]


@dataclass
class _Parts:
    """The parts of one case, computed once for all variations that share them."""

    costs: HourlyCosts
    answers: Floats
    known: dict[object, Floats] = field(default_factory=dict)

    def part(self, name: str, one: Variation) -> Floats:
        """One part's answers, [H + 1]."""
        makers: dict[str, tuple[object, Callable[[], Floats]]] = {
            "polynomial": (None, lambda: polynomial(self.costs, self.answers)),
            "leaders": (
                (one.rate, one.discount),
                lambda: leaders(self.costs, self.answers, rate=one.rate, discount=one.discount),
            ),
            "by level": (
                (one.level_rate, one.discount),
                lambda: by_level(self.costs, self.answers, rate=one.level_rate, discount=one.discount),
            ),
            "learned": (
                (one.reach, one.memory),
                lambda: learned(self.costs, until=self._first_days(), reach=one.reach, memory=one.memory),
            ),
        }
        settings, make = makers[name]
        if (name, settings) not in self.known:
            self.known[name, settings] = make()
        return self.known[name, settings]

    def _first_days(self) -> Floats:
        mixed = [self.part(name, Variation()) for name in THREE]
        return np.asarray(np.mean(mixed, axis=0))

    def decided(self, one: Variation) -> Ints:
        """The variation's decisions, [H + 1]."""
        mixtures = [self.part(name, one) for name in one.parts if name != "learned"]
        weight = one.parts.count("learned")
        if not mixtures:
            blend = self.part("learned", one)
        elif not weight:
            blend = np.asarray(np.mean(mixtures, axis=0))
        else:
            blend = averaged(self.costs, mixtures, self.part("learned", one), weight=weight)
        wished = evidenced(self.costs, whole(blend), witnesses=one.witnesses)
        return guarded(self.costs, proven(self.costs, wished, probation=one.probation))


def cases() -> Iterator[tuple[str, str, str, Demand, tuple[float, float]]]:
    """Group, history, name, demand, prices."""
    folder = series.data_folder()
    if folder is not None:
        for name, (gpu, demand) in series.six(folder).items():
            model = name.partition("_")[0]
            yield "six series, essay prices", model, name, demand, series.ESSAY[gpu]
            for pair, dedicated, serverless in series.TODAY[gpu]:
                yield "six series, today's prices", model, f"{name} {pair}", demand, (dedicated, serverless)
            for other in sorted(series.ESSAY.keys() - {gpu}):
                yield "six series, other GPUs' essay prices", model, f"{name} {other}", demand, series.ESSAY[other]
        for model in ("m-small", "m-large"):
            for gpu in ("T4", "A100"):
                for name, demand in series.tenants(folder, model=model, gpu=gpu).items():
                    yield "tenants as companies", model, f"{name} {gpu}", demand, series.ESSAY[gpu]
    for seed in (11, 12):
        for name, demand in series.generated(seed=seed).items():
            for gpu, prices in series.ESSAY.items():
                yield "generated", name, f"{name} {seed} {gpu}", demand, prices
    for seed in (101, 102):
        for name, demand in series.further(seed=seed).items():
            for gpu, prices in series.ESSAY.items():
                yield "generated, other structure", name, f"{name} {seed} {gpu}", demand, prices


def price(group: str, history: str, name: str, demand: Demand, prices: tuple[float, float]) -> Found | None:
    """A case under every variation; None where nothing was needed after the first week."""
    tariff = series.tariff(prices)
    tables = level_tables(demand, tariff)
    costs = hourly_costs(demand, tariff, history_hours=WEEK_HOURS, tables=tables)
    bound = float(hourly_bound(tables.serverless_usd(tariff)[WEEK_HOURS:], tariff).sum())
    if bound <= 0:
        return None
    hours = np.arange(WEEK_HOURS, costs.hours)

    def ratio(held: Ints) -> float:
        return float(costs.at(hours, held[WEEK_HOURS:-1].astype(float)).sum()) / bound

    parts = _Parts(costs=costs, answers=expert_decisions(costs)[1])
    return Found(
        group=group,
        history=history,
        name=name,
        floor=ratio(floor_plus_ten(costs)),
        ratios={variation: ratio(parts.decided(one)) for variation, one in VARIATIONS.items()},
    )


def best(found: list[Found]) -> str:
    """The variation to take from these cases."""
    groups = list(dict.fromkeys(one.group for one in found))

    def order(name: str) -> tuple[int, float]:
        above = sum(one.ratios[name] > one.floor * ABOVE for one in found)
        means = [geomean(one.ratios[name] for one in found if one.group == group) for group in groups]
        return above, geomean(means)

    return min(VARIATIONS, key=order)


def main() -> int:
    """Print both tables."""
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--cases", action="store_true", help="also print every case")
    arguments = cli.parse_args()
    found = [one for case in cases() if (one := price(*case)) is not None]
    chosen = {history: best([one for one in found if one.history != history]) for history in {f.history for f in found}}
    groups = list(dict.fromkeys(one.group for one in found))
    show = sys.stdout.write
    show("cost over the lower bound, geometric mean / worst by group\n")
    for group in groups:
        mine = [one for one in found if one.group == group]
        show(f"\n{group}: {len(mine)} cases, {len({one.history for one in mine})} histories\n")
        rows = {"chosen on the other histories": [one.ratios[chosen[one.history]] for one in mine]}
        rows |= {name: [one.ratios[name] for one in mine] for name in VARIATIONS}
        rows["floor + 10 %"] = [one.floor for one in mine]
        for name, values in rows.items():
            above = sum(value > one.floor * ABOVE for value, one in zip(values, mine, strict=True))
            show(f"  {name:32} {geomean(values):.4f} / {max(values):.4f}{f'  above: {above}' if above else ''}\n")
    show("\nchosen where this history was put aside\n")
    for history, name in sorted(chosen.items()):
        show(f"  {history:32} {name}\n")
    for one in found if arguments.cases else ():
        show(f"{one.group}: {one.name} {one.ratios[SHIPPED]:.4f} ({one.floor:.4f})\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
