"""Keys outside of the residency.

**What.** Keys, their replicas, secrets and certificates lie where the workloads' data may be.

**Why.** Who holds the key can be made to hand it over.

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
    "aws:kms/",
    "aws:secretsmanager/",
    "aws:acm/",
    "aws:ssm/",
)


def check(view: View) -> Iterator[Said]:
    """Every place that these resources name."""
    yield from places.judge(view, _TYPES, "key material")


RULE: Final = Rule(
    id="keys-outside-jurisdiction",
    severity=Severity.HIGH,
    title="Keys outside of the residency",
    description="Keys, their replicas, secrets and certificates lie where the workloads' data may be.",
    remediation="keep the key in a region of the residency and make no replica outside of it",
    references=("GDPR chapter V, articles 44 to 49", "SOC 2 C1.1"),
    reads=(*(f"{prefix}*" for prefix in _TYPES), "settings", "platform"),
    since="0.1.0",
    scope=Scope.RESOURCE,
    check=check,
)
