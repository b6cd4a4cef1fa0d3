"""What the person who pays asks first: cost now, cost planned, saving with its range, what is committed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from headrace.planner.answer import Answer
from headrace.planner.commitment import HOURS_PER_MONTH

MONTHS: Final = 12
LESS, SAME, MORE = 0.7, 1.0, 1.3


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the money table: US dollars a month, and over twelve months with demand times 0.7, 1 and 1.3."""

    name: str
    month: float
    year: dict[float, float]


@dataclass(frozen=True, kw_only=True)
class Year:
    """Twelve months in US dollars. `saved_usd` by demand factor, negative where the plan costs more.

    now: today's bill, taken in proportion to demand, or serverless only where no bill was given. planned: the plan with
    its operations. operations_usd: what the second platform costs a month, zero where the plan has one pool only.
    """

    now: Line
    planned: Line
    bound: Line
    operations_usd: float
    committed: str

    @property
    def saved_usd(self) -> dict[float, float]:
        """Over twelve months."""
        return {factor: usd - self.planned.year[factor] for factor, usd in self.now.year.items()}

    @property
    def range_usd(self) -> tuple[float, float]:
        """The least and the most saved from -30 % to +30 % demand."""
        return min(self.saved_usd.values()), max(self.saved_usd.values())


def year(answer: Answer) -> Year:
    """The table's numbers. Other demands scale the walked month as they scale the same schedule over all data."""
    plan = answer.plan
    worlds = {
        item.demand: item for item in plan.sensitivity if item.dedicated_price == 1.0 and item.serverless_price == 1.0
    }
    base = worlds[SAME]
    share = {
        factor: (
            world.plan_usd / base.plan_usd if base.plan_usd > 0 else factor,
            world.serverless_usd / base.serverless_usd if base.serverless_usd > 0 else factor,
            world.bound_usd / base.bound_usd if base.bound_usd > 0 else factor,
        )
        for factor, world in worlds.items()
    }
    bill = answer.workload.current_usd_per_month
    mixed = bool(plan.most) and plan.serverless_peak > 0
    operations = answer.workload.operations_usd_per_month if mixed else 0.0
    now = plan.baselines["serverless-only"] if bill is None else bill
    return Year(
        now=Line(
            name="serverless only (no bill was given)" if bill is None else "today's bill",
            month=now,
            year={factor: now * MONTHS * (parts[1] if bill is None else factor) for factor, parts in share.items()},
        ),
        planned=Line(
            name="the plan" + (f" with ${operations:,.0f} of operations" if operations else ""),
            month=plan.usd_per_month + operations,
            year={factor: (plan.usd_per_month * parts[0] + operations) * MONTHS for factor, parts in share.items()},
        ),
        bound=Line(
            name="lower bound (perfect foresight)",
            month=plan.bound_usd_per_month,
            year={factor: plan.bound_usd_per_month * MONTHS * parts[2] for factor, parts in share.items()},
        ),
        operations_usd=operations,
        committed=_committed(answer),
    )


def _committed(answer: Answer) -> str:
    """What has to be signed for the plan: nothing; and which offer would pay."""
    offers = [item for item in answer.commitments if item.replicas and item.saved_usd[SAME] > 0]
    if not offers:
        checked = "none of the offers pays" if answer.commitments else "no offer was given"
        return f"Nothing: GPUs are paid by the hour, serverless by the second ({checked})."
    best = max(offers, key=lambda item: item.saved_usd[SAME] / item.offer.months)
    total = best.replicas * best.offer.usd_hour * HOURS_PER_MONTH * best.offer.months
    back = "" if best.break_even_month is None else f", paid back in month {best.break_even_month:.1f}"
    return (
        f"Nothing in the plan itself. {best.offer.name} for {best.replicas} replicas would bind ${total:,.0f} over"
        f" {best.offer.months} months{back}; against renting as needed it saves ${best.saved_usd[SAME]:,.0f}"
        f" ({_signed(best.saved_usd[LESS])} at 30 % less demand)."
    )


def _signed(usd: float) -> str:
    return f"${usd:,.0f}" if usd >= 0 else f"a loss of ${-usd:,.0f}"
