"""A commitment larger than the floor can use.

**What.** Savings plans in force commit at most a share of what the dedicated floor costs at list price.

**Why.** What the floor doesn't use is paid all the same.

**Passes.** Commitment within `maxSharePercent` of the floor.

**Violates.** More.

**Undecidable when** the catalogue has no price for a machine of the floor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules import money, tables
from headrace.rules.finding import Severity
from headrace.rules.rule import Broken, Parameter, Rule, Said, Undecided, View

_WHERE: Final = "settings:commitments.savingsPlans"


def check(view: View) -> Iterator[Said]:
    """Savings plans against the floor, schedules counted at the larger of the two floors."""
    settings = view.settings
    plans = [one for one in money.in_force(settings, view.today) if "savingsPlans" in one.where] if settings else []
    if settings is None or not plans:
        return
    try:
        floor = sum(
            max((pool.floor_nodes, *(one.floor_nodes for one in pool.schedules)))
            * money.node_price(name, pool.instance_type, settings.region, view.today)
            for name, pool in settings.dedicated_pools.items()
        )
    except money.PriceMissing as missing:
        yield Undecided(resource=_WHERE, what="what the floor costs", value=str(missing))
        return
    committed = sum(one.usd_per_month for one in plans) / tables.HOURS_PER_MONTH
    share = view.number("maxSharePercent")
    if committed > floor * share / 100:
        yield Broken(
            resource=_WHERE,
            sentence=f"{committed:,.2f} USD an hour are committed, {share:g} % of the floor are "
            f"{floor * share / 100:,.2f}",
        )


RULE: Final = Rule(
    id="commitment-above-floor",
    severity=Severity.MEDIUM,
    title="Commitment above the floor",
    description="Savings plans commit no more than a share of the dedicated floor.",
    remediation="commit less, or raise the floor to what `headrace plan` finds",
    references=("SOC 2 CC3.2",),
    reads=("settings",),
    since="0.1.0",
    early=("headrace:index:HybridPlatform",),
    parameters=(
        Parameter(
            name="maxSharePercent", description="Share of the floor's list price.", default=90, minimum=1, maximum=100
        ),
    ),
    check=check,
)
