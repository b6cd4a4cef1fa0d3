"""A serverless endpoint that can grow without end.

**What.** Every endpoint and app says how many instances there may be at most, and at least one.

**Why.** A loop of a client becomes money by the second; the vendor's default is nobody's decision.

**Passes.** `workers.max` (RunPod) or `maxContainers` (Modal) of at least one.

**Violates.** Absent, or zero.

**Undecidable when** it is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules import serverless_pools
from headrace.rules.finding import Severity
from headrace.rules.graph import Unknown
from headrace.rules.rule import Broken, Rule, Said, Scope, View, undecided

_WHERE: Final = {serverless_pools.ENDPOINT: "workers.max", serverless_pools.APP: "maxContainers"}


def check(view: View) -> Iterator[Said]:
    """Every endpoint and app."""
    for type_, path in _WHERE.items():
        for one in view.graph.of(type_):
            most = one.at(path)
            if isinstance(most, Unknown):
                yield undecided(one.urn, most, "how far it may grow")
            elif not isinstance(most, int | float) or most < 1:
                yield Broken(
                    resource=one.urn, sentence=f"{path} is {most}, so nothing of ours says how far it may grow"
                )


RULE: Final = Rule(
    id="serverless-without-maximum",
    severity=Severity.HIGH,
    title="Serverless without a maximum",
    description="Every serverless endpoint has a maximum of instances.",
    remediation="set the maximum to what the spend ceiling allows",
    references=("SOC 2 CC6.8",),
    reads=tuple(_WHERE),
    since="0.1.0",
    scope=Scope.RESOURCE,
    check=check,
)
