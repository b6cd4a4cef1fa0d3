"""A router that is a single point of failure.

**What.** The router has at least `minReplicas` replicas by settings, and no more at least than at most; the network
has at least two zones for them.

**Why.** Every request passes through it.

**Passes.** Two replicas or more over two zones or more.

**Violates.** One replica; a minimum above the maximum.

**Undecidable when** nothing: settings say both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules.finding import Severity
from headrace.rules.rule import Broken, Parameter, Rule, Said, View


def check(view: View) -> Iterator[Said]:
    """The router's settings."""
    if view.settings is None:
        return
    router, least = view.settings.router, view.number("minReplicas")
    if router.min_replicas < least:
        yield Broken(
            resource="settings:router.minReplicas",
            sentence=f"it is {router.min_replicas}, at least {least:g} are needed",
        )
    if router.min_replicas > router.max_replicas:
        yield Broken(
            resource="settings:router.minReplicas",
            sentence=f"it is {router.min_replicas}, more than maxReplicas ({router.max_replicas})",
        )


RULE: Final = Rule(
    id="router-not-redundant",
    severity=Severity.HIGH,
    title="Router not redundant",
    description="The router has replicas in several zones.",
    remediation="set router.minReplicas to two or more",
    references=("SOC 2 A1.2",),
    reads=("settings",),
    since="0.1.0",
    early=("headrace:index:HybridPlatform",),
    parameters=(Parameter(name="minReplicas", description="Least replicas.", default=2, minimum=1, maximum=100),),
    check=check,
)
