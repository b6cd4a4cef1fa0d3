"""Storage outside of the residency.

**What.** Buckets, volumes, snapshots, databases, registries and every target of a replication lie where the
workloads' data may be.

**Why.** A replica in another jurisdiction is a transfer, however it came about.

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
    "aws:s3/",
    "aws:ebs/",
    "aws:efs/",
    "aws:fsx/",
    "aws:rds/",
    "aws:dynamodb/",
    "aws:elasticache/",
    "aws:backup/",
    "aws:dlm/",
    "aws:ecr/",
)


def check(view: View) -> Iterator[Said]:
    """Every place that these resources name."""
    yield from places.judge(view, _TYPES, "storage")


RULE: Final = Rule(
    id="storage-outside-jurisdiction",
    severity=Severity.CRITICAL,
    title="Storage outside of the residency",
    description="Buckets, volumes, snapshots, databases, registries and replicas lie within the residency.",
    remediation="replicate within the residency, or drop the replication",
    references=("GDPR chapter V, articles 44 to 49", "SOC 2 C1.1"),
    reads=(*(f"{prefix}*" for prefix in _TYPES), "settings", "platform"),
    since="0.1.0",
    scope=Scope.RESOURCE,
    check=check,
)
