"""More money promised ahead than the environment may.

**What.** Savings plans, contracts, the dedicated floor beyond what the plans pay for, and minimum serverless
instances together stay within `commitments.maxCommittedUsdPerMonth`; with the other environments' share, within the
organisation's.

**Why.** Each promise is small by itself, and nobody adds them up before the invoice.

**Passes.** A sum within the caps, or no cap.

**Violates.** A sum above one of them.

**Undecidable when** the catalogue has no price for a machine of the floor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules import money, tables
from headrace.rules.finding import Severity
from headrace.rules.rule import Broken, Rule, Said, Undecided, View

_WHERE: Final = "settings:commitments.maxCommittedUsdPerMonth"


def check(view: View) -> Iterator[Said]:
    """The sum against both caps."""
    settings = view.settings
    if settings is None:
        return
    cap, whole = settings.commitments.max_committed_usd_per_month, settings.commitments.organization_cap_usd_per_month
    if cap is None and whole is None:
        return
    try:
        floor = money.floor_usd_per_hour(settings, view.today) * tables.HOURS_PER_MONTH
        minimum = money.minimum_serverless_usd_per_month(settings, view.today)
    except money.PriceMissing as missing:
        yield Undecided(
            resource=_WHERE,
            what="how much is promised",
            value=str(missing),
            remediation="add the price to headrace/catalog/data with source and date",
        )
        return
    terms = sum(one.usd_per_month for one in money.in_force(settings, view.today))
    total = terms + max(0.0, floor + minimum - terms)
    parts = f"{terms:,.0f} by term, {floor:,.0f} for the floor, {minimum:,.0f} for minimum instances"
    if cap is not None and total > cap:
        yield Broken(resource=_WHERE, sentence=f"{total:,.0f} USD a month are promised ({parts}), {cap:,.0f} may be")
    others = settings.commitments.other_environments_usd_per_month
    if whole is not None and total + others > whole:
        yield Broken(
            resource="settings:commitments.organizationCapUsdPerMonth",
            sentence=f"{total + others:,.0f} USD a month are promised by the organisation ({others:,.0f} elsewhere), "
            f"{whole:,.0f} may be",
        )


RULE: Final = Rule(
    id="too-much-promised",
    severity=Severity.HIGH,
    title="Too much promised ahead",
    description="Money promised ahead stays within the environment's and the organisation's caps.",
    remediation="lower floors or minimum instances, let a commitment run out, or have the cap raised",
    references=("SOC 2 CC3.2",),
    reads=("settings",),
    since="0.1.0",
    early=("headrace:index:HybridPlatform",),
    check=check,
)
