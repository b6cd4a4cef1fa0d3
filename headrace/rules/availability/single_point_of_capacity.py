"""A workload that only one zone or one provider can serve.

**What.** In the stages of `stages`, every workload that somebody waits for has pools in two zones, or a second
provider.

**Why.** A zone or a vendor goes down some day. Then the workload is down with it, however many nodes it has.

**Passes.** A dedicated pool over two zones; a dedicated and a serverless pool; two vendors.

**Violates.** One reservation in one zone; one vendor alone.

**Undecidable when** nothing: settings and facts say all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules import serverless_pools
from headrace.rules.finding import Severity
from headrace.rules.rule import Broken, Parameter, Rule, Said, View


def check(view: View) -> Iterator[Said]:
    """Every workload with pools; batch work can wait for the zone to come back."""
    settings = view.settings
    if settings is None or settings.stage.value not in view.words("stages"):
        return
    overflow = tuple(serverless_pools.pools(view))
    for name, workload in settings.workloads.items():
        if workload.workload_class.value == "batch":
            continue
        places = set()
        for pool in settings.dedicated_pools.values():
            if pool.workload == name:
                zones = [pool.capacity.zone] if pool.capacity.zone else (pool.zones or settings.network.zones)
                places |= {str(zone) for zone in zones}
        places |= {one.provider for one in overflow if one.workload == name}
        if len(places) == 1:
            yield Broken(resource=f"settings:workloads.{name}", sentence=f"only {', '.join(places)} can serve it")


RULE: Final = Rule(
    id="single-point-of-capacity",
    severity=Severity.MEDIUM,
    title="Single point of capacity",
    description="Workloads that somebody waits for can be served from two zones or two providers.",
    remediation="spread the pool over zones, add a serverless pool, or have it waived until the reservation allows it",
    references=("SOC 2 A1.2",),
    reads=("settings", "serverlessPool"),
    since="0.1.0",
    early=("headrace:index:HybridPlatform",),
    parameters=(Parameter(name="stages", description="Stages in which it counts.", default=("production",)),),
    check=check,
)
