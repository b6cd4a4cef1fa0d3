"""Data too sensitive for shared machines.

**What.** Workloads of a classification in `dedicatedOnly` have no serverless pool: the router has no way out for them.

**Why.** Serverless providers run many customers on one machine, and the router's egress is the only way there.

**Passes.** A dedicated pool only.

**Violates.** A serverless pool for such a workload.

**Undecidable when** nothing: settings say both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules import serverless_pools
from headrace.rules.finding import Severity
from headrace.rules.rule import Broken, Parameter, Rule, Said, View


def check(view: View) -> Iterator[Said]:
    """Pools of the settings."""
    for pool in serverless_pools.pools(view):
        if pool.classification in view.words("dedicatedOnly"):
            yield Broken(
                resource=pool.where,
                sentence=f"{pool.workload} is {pool.classification} and would leave the dedicated half",
            )


RULE: Final = Rule(
    id="restricted-data-on-serverless",
    severity=Severity.CRITICAL,
    title="Restricted data on serverless machines",
    description="The most sensitive classifications are served by the dedicated half only.",
    remediation="give the workload dedicated capacity for its peak and remove the serverless pool",
    references=("GDPR article 32", "SOC 2 C1.1"),
    reads=("settings",),
    since="0.1.0",
    early=("headrace:index:HybridPlatform",),
    parameters=(
        Parameter(
            name="dedicatedOnly",
            description="Classifications that stay on dedicated machines.",
            default=("restricted",),
        ),
    ),
    check=check,
)
