"""A commitment that ends, or must be cancelled, within days.

**What.** No commitment in force ends, and no contract's notice passes, within `noticeDays`. This one advises.

**Why.** After the end the floor costs list price; after the notice the contract renews.

**Passes.** Further away, or passed.

**Violates.** Within the days.

**Undecidable when** nothing: settings say the dates.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from headrace.rules import money
from headrace.rules.finding import Severity
from headrace.rules.rule import Broken, Parameter, Rule, Said, View


def check(view: View) -> Iterator[Said]:
    """Ends of terms and last days of notice."""
    if view.settings is None:
        return
    soon = view.today + timedelta(days=view.number("noticeDays"))
    contracts = view.settings.commitments.contracts
    for one in money.in_force(view.settings, view.today):
        if one.until is None:
            continue
        name = one.where.rsplit(".", 1)[-1]
        notice = contracts[name].notice_days if "contracts" in one.where and name in contracts else 0
        last = one.until - timedelta(days=notice)
        if view.today <= last <= soon:
            what = "the last day to cancel it is" if notice else "it ends on"
            yield Broken(resource=one.where, sentence=f"{what} {last}")


RULE: Final = Rule(
    id="commitment-expires-soon",
    severity=Severity.LOW,
    title="Commitment expires soon",
    description="Commitments that end soon, or must be cancelled soon, are told in time.",
    remediation="decide on its renewal with `headrace plan` and record the decision",
    references=("SOC 2 CC3.2",),
    reads=("settings",),
    since="0.1.0",
    parameters=(Parameter(name="noticeDays", description="Days ahead.", default=45, minimum=1, maximum=365),),
    advisory=True,
    check=check,
)
