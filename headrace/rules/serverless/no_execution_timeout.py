"""A request that may run for ever.

**What.** Endpoints and apps cut a request off within the environment's bound.

**Why.** A stuck generation holds a GPU and is billed until somebody looks.

**Passes.** RunPod's `timeout` (milliseconds) or Modal's `timeout` (seconds) set, above zero, within `maximumSeconds`.

**Violates.** Absent, zero (which RunPod takes for none), or longer.

**Undecidable when** it is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules import serverless_pools
from headrace.rules.finding import Severity
from headrace.rules.graph import Unknown
from headrace.rules.rule import Broken, Parameter, Rule, Said, View, undecided

# type -> property, its unit in seconds
_WHERE: Final = {serverless_pools.ENDPOINT: ("timeout", 0.001), serverless_pools.APP: ("timeout", 1.0)}


def check(view: View) -> Iterator[Said]:
    """Endpoints and apps, and pools of the settings."""
    most = view.number("maximumSeconds")
    for pool in serverless_pools.pools(view):
        if pool.execution_timeout_s > most:
            yield Broken(
                resource=pool.where, sentence=f"executionTimeoutS is {pool.execution_timeout_s}, more than {most:g}"
            )
    for type_, (path, unit) in _WHERE.items():
        for one in serverless_pools.by_hand(view, type_):
            value = one.at(path)
            if isinstance(value, Unknown):
                yield undecided(one.urn, value, "when it cuts a request off")
            elif not value:
                yield Broken(resource=one.urn, sentence=f"{path} is {value}, so a stuck request runs for ever")
            elif value * unit > most:
                yield Broken(resource=one.urn, sentence=f"{path} is {value * unit:g} s, more than {most:g}")


RULE: Final = Rule(
    id="no-execution-timeout",
    severity=Severity.MEDIUM,
    title="No execution timeout",
    description="Serverless requests are cut off within a bound.",
    remediation="set the execution timeout to a few times the longest answer",
    references=("SOC 2 A1.1",),
    reads=("settings", *_WHERE),
    since="0.1.0",
    early=("headrace:index:HybridPlatform", *_WHERE),
    parameters=(
        Parameter(name="maximumSeconds", description="Longest timeout.", default=3600, minimum=1, maximum=86400),
    ),
    check=check,
)
