"""A pool whose answers nobody can trace to a release.

**What.** Every pool says which release it runs: name, artifact digest and image digest, and its nodes' image release.

**Why.** The audit record of an answer names them; without them nobody can tell what produced it.

**Passes.** Facts with all of it.

**Violates.** One of them empty.

**Undecidable when** nothing: facts are plain values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules.facts import DedicatedPoolFacts, ServerlessPoolFacts
from headrace.rules.finding import Severity
from headrace.rules.rule import Broken, Rule, Said, View


def check(view: View) -> Iterator[Said]:
    """The release of every pool."""
    releases = [(one, facts.release) for one, facts in view.graph.records(DedicatedPoolFacts)]
    releases += [(one, facts.release) for one, facts in view.graph.records(ServerlessPoolFacts)]
    for pool, release in releases:
        if not release.name:
            yield Broken(resource=pool.urn, sentence="its release has no name")
        if not release.artifact_digest.startswith("sha256:"):
            yield Broken(
                resource=pool.urn, sentence=f"its release has no artifact digest ({release.artifact_digest!r})"
            )
        if "@sha256:" not in release.image:
            yield Broken(resource=pool.urn, sentence=f"its release's image has no digest ({release.image!r})")
    for pool, facts in view.graph.records(DedicatedPoolFacts):
        if not facts.node_release_version:
            yield Broken(resource=pool.urn, sentence="its node image is not pinned (nodeReleaseVersion)")


RULE: Final = Rule(
    id="lineage-missing",
    severity=Severity.MEDIUM,
    title="Lineage missing",
    description="Every pool names the release, digests and node image that its answers come from.",
    remediation="record the release with `headrace release add` and pin nodeReleaseVersion",
    references=("EU AI Act article 12 (from 2 December 2027 for Annex III)", "SOC 2 CC7.3"),
    reads=("dedicatedPool", "serverlessPool"),
    since="0.1.0",
    check=check,
)
