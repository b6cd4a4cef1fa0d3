"""Compute outside of the residency.

**What.** Machines, clusters and functions run where every workload's data may be.

**Why.** Prompts are in the memory of these machines.

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
    "aws:ec2/",
    "aws:eks/",
    "aws:autoscaling/",
    "aws:lambda/",
    "aws:ecs/",
    "aws:batch/",
    "aws:sagemaker/",
    "pulumi:providers:aws",
)


def check(view: View) -> Iterator[Said]:
    """Every place that these resources name."""
    yield from places.judge(view, _TYPES, "compute")


RULE: Final = Rule(
    id="compute-outside-jurisdiction",
    severity=Severity.CRITICAL,
    title="Compute outside of the residency",
    description="Machines, clusters and functions run where every workload's data may be.",
    remediation="move the stack to a region of the residency, or extend the workload's residency",
    references=("GDPR chapter V, articles 44 to 49", "SOC 2 C1.1"),
    reads=(*(f"{prefix}*" for prefix in _TYPES), "settings", "platform"),
    since="0.1.0",
    scope=Scope.RESOURCE,
    check=check,
)
