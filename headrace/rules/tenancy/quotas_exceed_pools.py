"""Quotas and budgets that promise more than there is.

**What.** GPU quotas of all tenant spaces fit the dedicated ceilings; projects' budgets fit their tenant's, tenants'
fit the environment's.

**Why.** Such a promise holds until everybody uses what they were given.

**Passes.** Sums within the whole.

**Violates.** A sum above it.

**Undecidable when** nothing: facts are plain values.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from headrace.rules.facts import DedicatedPoolFacts, PlatformFacts, TenantSpaceFacts
from headrace.rules.finding import Severity
from headrace.rules.rule import Broken, Rule, Said, View


def check(view: View) -> Iterator[Said]:
    """Spaces against pools, projects against tenants, tenants against the environment."""
    spaces = [facts for _, facts in view.graph.records(TenantSpaceFacts)]
    ceiling = sum(
        max(facts.ceiling_nodes, *(one.ceiling_nodes for one in facts.schedules), 0) * facts.gpus_per_node
        for _, facts in view.graph.records(DedicatedPoolFacts)
    )
    quotas = sum(facts.quota.gpus for facts in spaces)
    tenants: dict[str, float] = {facts.tenant: facts.tenant_budget_usd_per_month for facts in spaces}
    projects: dict[str, float] = defaultdict(float)
    for facts in spaces:
        projects[facts.tenant] += facts.budget_usd_per_month
    for platform, whole in view.graph.records(PlatformFacts):
        if quotas > ceiling:
            yield Broken(
                resource=platform.urn, sentence=f"GPU quotas add up to {quotas}, the pools grow to {ceiling} GPUs"
            )
        for tenant, budget in tenants.items():
            if projects[tenant] > budget:
                yield Broken(
                    resource=platform.urn,
                    sentence=f"projects of {tenant} may spend {projects[tenant]:,.0f} USD, it may {budget:,.0f}",
                )
        if sum(tenants.values()) > whole.environment_budget_usd_per_month:
            yield Broken(
                resource=platform.urn,
                sentence=f"tenants may spend {sum(tenants.values()):,.0f} USD a month, the environment "
                f"{whole.environment_budget_usd_per_month:,.0f}",
            )


RULE: Final = Rule(
    id="quotas-exceed-pools",
    severity=Severity.MEDIUM,
    title="Quotas exceed the pools",
    description="Quotas fit the pools and budgets fit the level above them.",
    remediation="lower quotas or budgets, or raise what they are cut from",
    references=("SOC 2 A1.1",),
    reads=("tenantSpace", "dedicatedPool", "platform"),
    since="0.1.0",
    check=check,
)
