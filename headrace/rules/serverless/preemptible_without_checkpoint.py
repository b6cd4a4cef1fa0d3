"""Work on machines that may be taken away, without a checkpoint to resume from.

**What.** Spot node groups, templates and fleets carry the mark of work that checkpoints (`headrace.dev/checkpoint:
true`, as a label or tag). Serverless model servers keep no state between requests, so a request that is cut off is
sent again.

**Why.** A spot notice is 30 to 120 seconds; a model takes longer than that to load somewhere else.

**Passes.** On-demand and reserved capacity; spot with the mark.

**Violates.** `capacityType: SPOT`, spot market options, without the mark.

**Undecidable when** the capacity type is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from headrace.rules.finding import Severity
from headrace.rules.graph import Resource, Unknown
from headrace.rules.rule import Broken, Rule, Said, Scope, View, undecided

_MARK: Final = "headrace.dev/checkpoint"
_GROUP: Final = "aws:eks/nodeGroup:NodeGroup"
_TEMPLATE: Final = "aws:ec2/launchTemplate:LaunchTemplate"
_SPOT: Final = ("aws:ec2/spotInstanceRequest:SpotInstanceRequest", "aws:ec2/spotFleetRequest:SpotFleetRequest")


def check(view: View) -> Iterator[Said]:
    """Node groups, templates and spot requests."""
    for type_, path, preemptible in (
        (_GROUP, "capacityType", "SPOT"),
        (_TEMPLATE, "instanceMarketOptions.marketType", "spot"),
    ):
        for one in view.graph.of(type_):
            value = one.at(path)
            if isinstance(value, Unknown):
                yield undecided(one.urn, value, "whether its machines may be taken away")
            elif value == preemptible and value is not None and not _marked(one):
                yield Broken(
                    resource=one.urn, sentence=f"{path} is {value}, and nothing says that its work checkpoints"
                )
    for type_ in _SPOT:
        for one in view.graph.of(type_):
            if not _marked(one):
                yield Broken(
                    resource=one.urn, sentence="its machines may be taken away, and nothing says that work checkpoints"
                )


def _marked(one: Resource) -> bool:
    for name in ("labels", "tags"):
        marks = one.get(name)
        if isinstance(marks, Mapping) and marks.get(_MARK) in ("true", True):
            return True
    return False


RULE: Final = Rule(
    id="preemptible-without-checkpoint",
    severity=Severity.HIGH,
    title="Preemptible without checkpoint",
    description="Only work that checkpoints runs on machines that may be taken away.",
    remediation=f"use on-demand or reserved capacity, or mark work that resumes with {_MARK}: true",
    references=("SOC 2 A1.2",),
    reads=(_GROUP, _TEMPLATE, *_SPOT),
    since="0.1.0",
    scope=Scope.RESOURCE,
    check=check,
)
