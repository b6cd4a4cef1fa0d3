"""Commitments that would cost too much to leave.

**What.** What is still owed on all commitments in force stays within `commitments.maxExitUsd`.

**Why.** The exit cost is the price of changing one's mind: another model, another vendor, no customers.

**Passes.** A sum within the cap, or no cap.

**Violates.** More.

**Undecidable when** nothing: settings say all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules import money
from headrace.rules.finding import Severity
from headrace.rules.rule import Broken, Rule, Said, View


def check(view: View) -> Iterator[Said]:
    """What is owed until the end of each term."""
    if view.settings is None or view.settings.commitments.max_exit_usd is None:
        return
    cap = view.settings.commitments.max_exit_usd
    owed = sum(one.exit_usd(view.today) for one in money.in_force(view.settings, view.today))
    if owed > cap:
        yield Broken(
            resource="settings:commitments.maxExitUsd",
            sentence=f"leaving all commitments today would cost {owed:,.0f} USD, {cap:,.0f} are allowed",
        )


RULE: Final = Rule(
    id="exit-too-expensive",
    severity=Severity.MEDIUM,
    title="Exit too expensive",
    description="What is still owed on commitments stays within a cap.",
    remediation="commit for shorter, or have the cap raised",
    references=("SOC 2 CC3.2",),
    reads=("settings",),
    since="0.1.0",
    early=("headrace:index:HybridPlatform",),
    check=check,
)
