"""Spending that no budget watches.

**What.** The environment, every tenant and every project has a cloud budget whose alerts reach somebody; every budget
that is composed by hand has alerts.

**Why.** A quota stops GPUs, not money. Without an alert the invoice is the alert.

**Passes.** The budgets of SpendGuard; budgets by hand with notifications.

**Violates.** A tenant without a budget, a budget without a notification.

**Undecidable when** a budget's notifications are not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules.facts import PlatformFacts, SpendFacts, TenantSpaceFacts
from headrace.rules.finding import Severity
from headrace.rules.graph import Unknown
from headrace.rules.rule import Broken, Rule, Said, View, undecided

_BUDGET: Final = "aws:budgets/budget:Budget"


def check(view: View) -> Iterator[Said]:
    """Facts of spaces against facts of budgets, then budgets by hand."""
    spends = tuple(view.graph.records(SpendFacts))
    budgets = [budget for _, facts in spends for budget in facts.budgets]
    scopes = {(budget.scope, budget.tenant, budget.project) for budget in budgets}
    for platform, _ in view.graph.records(PlatformFacts):
        if ("environment", None, None) not in scopes:
            yield Broken(resource=platform.urn, sentence="the environment has no budget")
    for space, facts in view.graph.records(TenantSpaceFacts):
        if ("tenant", facts.tenant, None) not in scopes:
            yield Broken(resource=space.urn, sentence=f"the tenant {facts.tenant} has no budget")
        if ("project", facts.tenant, facts.project) not in scopes:
            yield Broken(resource=space.urn, sentence=f"the project {facts.tenant}/{facts.project} has no budget")
    for spend, guard in spends:
        for budget in guard.budgets:
            if not budget.alert_thresholds_percent:
                yield Broken(resource=spend.urn, sentence=f"the budget of the {budget.scope} has no alert")
        if not guard.alert_emails and view.settings and view.settings.budgets.alert_webhook_url is None:
            yield Broken(resource=spend.urn, sentence="alerts reach nobody: there is no e-mail address and no webhook")
    for one in view.graph.of(_BUDGET):
        notifications = one.get("notifications")
        if isinstance(notifications, Unknown):
            yield undecided(one.urn, notifications, "whether it alerts anybody")
        elif not notifications:
            yield Broken(resource=one.urn, sentence="the budget alerts nobody: notifications is empty")


RULE: Final = Rule(
    id="budget-missing",
    severity=Severity.HIGH,
    title="Budget missing",
    description="Environment, tenants and projects have budgets whose alerts reach somebody.",
    remediation="use SpendGuard with every tenant, and name budgets.alertEmails",
    references=("SOC 2 CC3.2", "SOC 2 CC7.2"),
    reads=("platform", "tenantSpace", "spend", _BUDGET, "settings"),
    since="0.1.0",
    check=check,
)
