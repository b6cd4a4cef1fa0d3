"""Logs outside of the residency.

**What.** Logs, metrics, traces and the audit trail stay where the workloads' data may be, and so do the streams that
carry them.

**Why.** Logs name users, and errors quote prompts.

**Passes.** Regions, and regions within ARNs, whose jurisdiction every workload's `residency` allows.

**Violates.** A region elsewhere, or one that the catalogue doesn't know: an unset place is refused, not assumed.

**Undecidable when** a region is not known, or a platform declares no residency.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules import places
from headrace.rules.finding import Severity
from headrace.rules.rule import Rule, Said, Scope, View

_TYPES: Final = (
    "aws:cloudwatch/",
    "aws:cloudtrail/",
    "aws:kinesis/",
    "aws:amp/",
    "aws:grafana/",
    "aws:sns/",
    "aws:sqs/",
)


def check(view: View) -> Iterator[Said]:
    """Every place that these resources name."""
    yield from places.judge(view, _TYPES, "logs")


RULE: Final = Rule(
    id="logs-outside-jurisdiction",
    severity=Severity.HIGH,
    title="Logs outside of the residency",
    description="Logs, metrics, traces, the audit trail and the streams that carry them stay within the residency.",
    remediation="send them to a group, stream or workspace of a region in the residency",
    references=("GDPR chapter V, articles 44 to 49", "SOC 2 C1.1"),
    reads=(*(f"{prefix}*" for prefix in _TYPES), "settings", "platform"),
    since="0.1.0",
    scope=Scope.RESOURCE,
    check=check,
)
