"""Pools of one workload that run different releases.

**What.** All pools of a workload run the same release: artifact digest, image digest, quantization, serving
arguments.

**Why.** Users would get another model, or other answers, depending on how busy the floor is.

**Passes.** Equal releases in every dedicated pool of a workload, and endpoints by hand (`headrace.dev/workload` in
their environment) with the release's image.

**Violates.** Another digest, another serving argument.

**Undecidable when** the image of an endpoint by hand is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules.facts import DedicatedPoolFacts, ReleaseFacts
from headrace.rules.finding import Severity
from headrace.rules.graph import Resource
from headrace.rules.rule import Broken, Rule, Said, View

# What changes results; the rest of a release is about where it fits.
_SAME: Final = ("artifact_digest", "image", "quantization", "serving_args", "max_context_tokens")


def check(view: View) -> Iterator[Said]:
    """Every pool against the first of its workload, and against what settings say the workload runs."""
    first: dict[str, tuple[Resource, ReleaseFacts]] = {}
    for pool, facts in view.graph.records(DedicatedPoolFacts):
        other = first.setdefault(facts.workload.name, (pool, facts.release))
        different = [name for name in _SAME if getattr(facts.release, name) != getattr(other[1], name)]
        if different:
            yield Broken(
                resource=pool.urn,
                sentence=f"it runs another release of {facts.workload.name} than {other[0].name}: "
                f"{', '.join(different)} differ",
            )
        declared = view.settings.workloads.get(facts.workload.name) if view.settings else None
        if declared is not None and declared.release != facts.release.name:
            yield Broken(
                resource=pool.urn,
                sentence=f"it runs {facts.release.name}, but {facts.workload.name} runs {declared.release} elsewhere",
            )


RULE: Final = Rule(
    id="release-differs-between-pools",
    severity=Severity.HIGH,
    title="Release differs between pools",
    description="All pools of a workload run the same release with the same serving arguments.",
    remediation="name the workload's release in every pool; use a canary share of the router to try another one",
    references=("SOC 2 CC8.1", "EU AI Act article 12 (from 2 December 2027 for Annex III)"),
    reads=("dedicatedPool", "settings"),
    since="0.1.0",
    early=("headrace:index:DedicatedPool",),
    check=check,
)
