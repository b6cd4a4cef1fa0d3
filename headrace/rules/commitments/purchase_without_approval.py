"""A purchase that nobody approved.

**What.** Resources that buy something for a term (savings plans, capacity blocks, reserved instances) have an
approval in `commitments.approvals` under the resource's name, still valid, for the term and the amount.

**Why.** `pulumi up` would spend the money at once, and no destroy gets it back.

**Passes.** An approval by the resource's name that covers it.

**Violates.** None, an expired one, one for less.

**Undecidable when** term or amount of the purchase is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from headrace.rules import tables
from headrace.rules.finding import Severity
from headrace.rules.graph import Resource, Unknown
from headrace.rules.rule import Broken, Rule, Said, Scope, View, undecided

_SAVINGS_PLAN: Final = "aws:savingsplans/savingsPlan:SavingsPlan"
_PURCHASES: Final = (
    _SAVINGS_PLAN,
    "aws:ec2/capacityBlockReservation:CapacityBlockReservation",
    "aws:rds/reservedInstance:ReservedInstance",
    "aws:ec2/dedicatedHost:DedicatedHost",
)


def check(view: View) -> Iterator[Said]:
    """Every purchase."""
    approvals = view.settings.commitments.approvals if view.settings else {}
    for type_ in _PURCHASES:
        for one in view.graph.of(type_):
            approval = approvals.get(one.name)
            if approval is None:
                yield Broken(
                    resource=one.urn,
                    sentence=f"it buys something for a term, and commitments.approvals has no {one.name}",
                )
            elif approval.expires_on < view.today:
                yield Broken(
                    resource=one.urn, sentence=f"its approval ({approval.ticket}) expired on {approval.expires_on}"
                )
            elif type_ == _SAVINGS_PLAN:
                yield from _plan(one, approval, view)


def _plan(one: Resource, approval: Any, view: View) -> Iterator[Said]:
    commitment, term = one.get("commitment"), one.get("term") or one.get("termDurationInSeconds")
    for value in (commitment, term):
        if isinstance(value, Unknown):
            yield undecided(one.urn, value, "how much it buys")
            return
    months = 36 if "3" in str(term)[:1] or str(term).startswith("94") else 12
    if months > approval.term_months:
        yield Broken(resource=one.urn, sentence=f"it buys {months} months, {approval.term_months} are approved")
    try:
        amount = float(commitment) * tables.HOURS_PER_MONTH * months
    except (TypeError, ValueError):
        yield undecided(one.urn, Unknown("commitment"), "how much it buys")
        return
    if amount > approval.amount_usd:
        yield Broken(resource=one.urn, sentence=f"it buys {amount:,.0f} USD, {approval.amount_usd:,.0f} are approved")


RULE: Final = Rule(
    id="purchase-without-approval",
    severity=Severity.CRITICAL,
    title="Purchase without approval",
    description="Purchases for a term have a valid approval for their amount.",
    remediation="record the approval (ticket, approver, amountUsd, termMonths, expiresOn) under the resource's name",
    references=("SOC 2 CC3.2", "SOC 2 CC5.2"),
    reads=(*_PURCHASES, "settings"),
    since="0.1.0",
    scope=Scope.RESOURCE,
    check=check,
)
