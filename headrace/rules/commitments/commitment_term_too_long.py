"""A promise that outlasts what the environment allows.

**What.** No savings plan or contract in force has a term above `commitments.maxTermMonths`.

**Why.** GPU prices fall and generations change faster than three years.

**Passes.** Terms within the maximum.

**Violates.** A three-year plan where twelve months are allowed.

**Undecidable when** nothing: settings say both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules import money
from headrace.rules.finding import Severity
from headrace.rules.rule import Broken, Rule, Said, View


def check(view: View) -> Iterator[Said]:
    """Every promise in force."""
    if view.settings is None:
        return
    longest = view.settings.commitments.max_term_months
    for one in money.in_force(view.settings, view.today):
        if one.months > longest:
            yield Broken(resource=one.where, sentence=f"its term is {one.months} months, {longest} are allowed")


RULE: Final = Rule(
    id="commitment-term-too-long",
    severity=Severity.MEDIUM,
    title="Commitment term too long",
    description="Commitments end within the longest term that the environment allows.",
    remediation="buy a shorter term; for one in force, waive it with its end as the waiver's expiry",
    references=("SOC 2 CC3.2",),
    reads=("settings",),
    since="0.1.0",
    early=("headrace:index:HybridPlatform",),
    check=check,
)
