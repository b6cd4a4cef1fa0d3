"""A stack that costs more than its budget.

**What.** The stack's monthly cost at the floor (dedicated floor, minimum instances, cluster, network, storage) at list
prices stays within the environment's budget. A floor that follows its traffic (`hourlyFloor`) counts at its ceiling:
nobody decides again before it gets there. The high end, with every pool at its ceiling all month, is shown. GPU
machines cost what their type costs on demand in the stack's region (`headrace/catalog/data/instance_prices.yaml`);
where that is not known, the dearest region's price is taken, and the preview says so.

**Why.** The budget's alert comes when the money is gone; the preview comes before.

**Passes.** That sum within `budgets.environmentUsdPerMonth`.

**Violates.** More: the budget can't hold even without any traffic, or nothing keeps an hourly floor within it.

**Undecidable when** the catalogue has no price for something that the stack runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules import money
from headrace.rules.finding import Severity
from headrace.rules.rule import Broken, Rule, Said, Undecided, View

_WHERE: Final = "settings:budgets.environmentUsdPerMonth"


def check(view: View) -> Iterator[Said]:
    """The sum of all lines against the budget."""
    if view.settings is None:
        return
    try:
        lines = money.monthly(view)
    except money.PriceMissing as missing:
        yield Undecided(
            resource=_WHERE,
            what="what the stack costs",
            value=str(missing),
            remediation="add the price to headrace/catalog/data with source and date",
        )
        return
    low, high = sum(line.low for line in lines), sum(line.high for line in lines)
    counted, budget = sum(line.counted for line in lines), view.settings.budgets.environment_usd_per_month
    if counted > budget:
        following = f", {counted:,.0f} with hourly floors at their ceiling" if counted > low else ""
        yield Broken(
            resource=_WHERE,
            sentence=f"it costs {low:,.0f} to {high:,.0f} USD a month at list prices{following}, the budget is "
            f"{budget:,.0f}",
        )


def summary(view: View) -> str | None:
    """One line for the preview; None without settings. Raises `PriceMissing`."""
    if view.settings is None:
        return None
    lines = money.monthly(view)
    low, high = sum(line.low for line in lines), sum(line.high for line in lines)
    parts = ", ".join(f"{line.name} {line.low:,.0f}-{line.high:,.0f}" for line in lines)
    budget = view.settings.budgets.environment_usd_per_month
    line = f"monthly cost {low:,.0f} to {high:,.0f} USD at list prices, budget {budget:,.0f} ({parts})"
    return "; ".join((line, *money.doubts(view)))


RULE: Final = Rule(
    id="cost-over-budget",
    severity=Severity.HIGH,
    title="Cost over budget",
    description="The stack's fixed monthly cost stays within the environment's budget.",
    remediation="lower floors, minimum instances or the ceilings of hourly floors, or have the budget raised",
    references=("SOC 2 CC3.2",),
    reads=("settings", "serverlessPool"),
    since="0.1.0",
    early=("headrace:index:HybridPlatform",),
    check=check,
)
