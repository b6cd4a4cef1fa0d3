"""A model release that comes from a bucket of unknown place.

**What.** Every release of the stack lies in a bucket of the stack's model store.

**Why.** The store's place, lock and readers are known. Another bucket may lie anywhere and change under the release.

**Passes.** `s3://<bucket of ModelStore>/…`.

**Violates.** Another bucket.

**Undecidable when** a platform has releases and no model store.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules.facts import DedicatedPoolFacts, ModelStoreFacts
from headrace.rules.finding import Severity
from headrace.rules.rule import Broken, Rule, Said, Undecided, View


def check(view: View) -> Iterator[Said]:
    """The release of every pool."""
    buckets = {facts.bucket for _, facts in view.graph.records(ModelStoreFacts)}
    for pool, facts in view.graph.records(DedicatedPoolFacts):
        bucket = facts.release.artifact_uri.removeprefix("s3://").split("/", 1)[0]
        if not buckets:
            yield Undecided(
                resource=pool.urn,
                what=f"where the release {facts.release.name} lies",
                value="bucket of a ModelStore",
                remediation="declare a ModelStore in the stack and put the release there",
            )
        elif bucket not in buckets:
            yield Broken(
                resource=pool.urn,
                sentence=f"its release {facts.release.name} comes from {bucket}, not from the model store "
                f"({', '.join(sorted(buckets))})",
            )


RULE: Final = Rule(
    id="model-artifact-from-elsewhere",
    severity=Severity.HIGH,
    title="Model artifact from elsewhere",
    description="Model releases come from the stack's own model store.",
    remediation="copy the release into the model store and record it with `headrace release add`",
    references=("SOC 2 CC8.1", "EU AI Act article 12 (from 2 December 2027 for Annex III)"),
    reads=("dedicatedPool", "modelStore"),
    since="0.1.0",
    check=check,
)
