"""Years of one GPU generation.

**What.** A savings plan for one instance family lasts at most `maxMonths`.

**Why.** It discounts that family only; the next generation halves the price of a token and gets no discount.

**Passes.** Compute plans; family plans within the months.

**Violates.** A three-year plan for one family.

**Undecidable when** nothing: settings say both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules import money
from headrace.rules.finding import Severity
from headrace.rules.rule import Broken, Parameter, Rule, Said, View


def check(view: View) -> Iterator[Said]:
    """Savings plans in force of kind ec2-instance."""
    if view.settings is None:
        return
    plans = view.settings.commitments.savings_plans
    for one in money.in_force(view.settings, view.today):
        plan = plans.get(one.where.rsplit(".", 1)[-1]) if "savingsPlans" in one.where else None
        if plan is not None and plan.kind.value == "ec2-instance" and one.months > view.number("maxMonths"):
            yield Broken(
                resource=one.where, sentence=f"it binds to the family {plan.instance_family} for {one.months} months"
            )


RULE: Final = Rule(
    id="generation-lock-in",
    severity=Severity.MEDIUM,
    title="Generation lock-in",
    description="Commitments to one instance family are short.",
    remediation="buy a compute savings plan, or a shorter term",
    references=("SOC 2 CC3.2",),
    reads=("settings",),
    since="0.1.0",
    early=("headrace:index:HybridPlatform",),
    parameters=(
        Parameter(name="maxMonths", description="Longest family term in months.", default=12, minimum=1, maximum=36),
    ),
    check=check,
)
