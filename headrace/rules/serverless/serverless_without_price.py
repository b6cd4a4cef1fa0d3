"""A serverless pool whose prices nobody knows.

**What.** The catalogue has a price in force for every GPU of a serverless pool, and billing rules with the price of
outgoing data for its provider.

**Why.** A missing price would count as nothing in every budget, ceiling and plan.

**Passes.** GPUs and providers of the price catalogue.

**Violates.** A GPU without a price at that provider.

**Undecidable when** nothing: a missing price is the finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules import serverless_pools, tables
from headrace.rules.finding import Severity
from headrace.rules.rule import Broken, Rule, Said, View


def check(view: View) -> Iterator[Said]:
    """Pools of the settings."""
    for pool in serverless_pools.pools(view):
        provider = pool.provider
        for gpu in pool.gpus:
            if tables.serverless_usd_per_hour(provider, gpu, pool.gpu_count, view.today, always_on=False) is None:
                yield Broken(
                    resource=pool.where, sentence=f"the catalogue has no serverless price of {gpu} at {provider}"
                )
        if provider not in tables.book().billing:
            yield Broken(resource=pool.where, sentence=f"the catalogue has no price of outgoing data at {provider}")


RULE: Final = Rule(
    id="serverless-without-price",
    severity=Severity.MEDIUM,
    title="Serverless without a price",
    description="Time and outgoing data of every serverless pool have a price.",
    remediation="use a GPU with a price, or add the price to headrace/catalog/data/prices with source and date",
    references=("SOC 2 CC3.2",),
    reads=("settings",),
    since="0.1.0",
    early=("headrace:index:HybridPlatform",),
    check=check,
)
