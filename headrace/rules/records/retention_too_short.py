"""Records that are gone too soon.

**What.** Audit records are kept at least `auditDays`; buckets with object lock and log groups of audit trails too.

**Why.** Article 19 of the EU AI Act asks providers of high-risk systems to keep automatic logs at least six months.

**Passes.** `audit.retentionDays` and lock periods at or above the days.

**Violates.** Below them.

**Undecidable when** a period is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules.facts import AuditTrailFacts
from headrace.rules.finding import Severity
from headrace.rules.graph import Unknown
from headrace.rules.rule import Broken, Parameter, Rule, Said, View, undecided

_LOCK: Final = "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration"
_LOG_GROUP: Final = "aws:cloudwatch/logGroup:LogGroup"


def check(view: View) -> Iterator[Said]:
    """Settings, then buckets and log groups that carry the word audit."""
    least = view.number("auditDays")
    if view.settings is not None and view.settings.audit.retention_days < least:
        yield Broken(
            resource="settings:audit.retentionDays",
            sentence=f"audit records are kept {view.settings.audit.retention_days} days, {least:g} are needed",
        )
    for component, facts in view.graph.records(AuditTrailFacts):
        if facts.retention_days < least:
            yield Broken(
                resource=component.urn, sentence=f"its bucket locks {facts.retention_days} days, {least:g} are needed"
            )
    for one in view.graph.of(_LOCK):
        if "audit" not in f"{one.name} {one.get('bucket')}":
            continue
        days, years = one.at("rule.defaultRetention.days"), one.at("rule.defaultRetention.years")
        if isinstance(days, Unknown) or isinstance(years, Unknown):
            yield undecided(one.urn, days if isinstance(days, Unknown) else years, "how long it locks")
        elif (days or 0) + 365 * (years or 0) < least:
            yield Broken(
                resource=one.urn, sentence=f"it locks {(days or 0) + 365 * (years or 0):g} days, {least:g} are needed"
            )
    for one in view.graph.of(_LOG_GROUP):
        days = one.get("retentionInDays")
        if "audit" in f"{one.name} {one.get('name')}" and isinstance(days, int | float) and 0 < days < least:
            yield Broken(resource=one.urn, sentence=f"it keeps {days:g} days, {least:g} are needed")


RULE: Final = Rule(
    id="retention-too-short",
    severity=Severity.HIGH,
    title="Retention too short",
    description="Audit records are kept for six months or longer.",
    remediation="raise audit.retentionDays (the default is two years)",
    references=(
        "EU AI Act article 19 (from 2 December 2027 for Annex III, 2 August 2028 for Annex I)",
        "SOC 2 CC7.3",
    ),
    reads=("settings", "auditTrail", _LOCK, _LOG_GROUP),
    since="0.1.0",
    early=("headrace:index:HybridPlatform", "headrace:index:AuditTrail", _LOCK),
    parameters=(Parameter(name="auditDays", description="Least days.", default=183, minimum=183, maximum=36500),),
    check=check,
)
