"""A warm-up that begins too late.

**What.** `warmUpLeadTimeS` of every serverless pool with warm-up windows is at least its cold start: fetching the
image and the weights, plus the server's own start.

**Why.** Instances that are asked for when the peak begins are ready when it is over.

**Passes.** Lead time at or above `startSeconds` + (image + weights) / `fetchGibPerSecond`.

**Violates.** Below it.

**Undecidable when** nothing: settings say all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules import serverless_pools
from headrace.rules.finding import Severity
from headrace.rules.rule import Broken, Parameter, Rule, Said, View


def check(view: View) -> Iterator[Said]:
    """Pools with warm-up windows."""
    for pool in serverless_pools.pools(view):
        if pool.warm_minimum == 0:
            continue
        gib = view.number("imageGib") + pool.release.weights_gib
        cold = view.number("startSeconds") + gib / view.number("fetchGibPerSecond")
        if pool.warm_up_lead_time_s < cold:
            yield Broken(
                resource=pool.where,
                sentence=f"warmUpLeadTimeS is {pool.warm_up_lead_time_s}, a cold start of {pool.release_name} takes "
                f"about "
                f"{cold:.0f} s",
            )


RULE: Final = Rule(
    id="warm-up-after-the-peak",
    severity=Severity.MEDIUM,
    title="Warm-up after the peak",
    description="Warm-up begins at least one cold start before the peak.",
    remediation="raise warmUpLeadTimeS above the cold start that the benchmark measured",
    references=("SOC 2 A1.1",),
    reads=("settings", "serverlessPool"),
    since="0.1.0",
    early=("headrace:index:HybridPlatform",),
    parameters=(
        Parameter(name="startSeconds", description="Start of the server once all is there.", default=120, minimum=0),
        Parameter(name="imageGib", description="Size of the image in GiB.", default=10, minimum=0),
        Parameter(name="fetchGibPerSecond", description="Fetch speed in GiB a second.", default=0.1, minimum=0.001),
    ),
    check=check,
)
