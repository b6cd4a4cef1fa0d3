"""Answers that leave no record that holds.

**What.** A stack with a router has an audit trail: a bucket with object lock in one of `modes`, versions, encryption by
a key that rotates, no public access and TLS, with checkpoints at most `checkpointSeconds` apart. Each replica's journal
lies on an encrypted volume that survives its pod and its node.

**Why.** Article 12 of the EU AI Act asks for automatic logs over the system's life. A journal that dies with its pod,
or a trail that can be rewritten, is none.

**Passes.** Facts of `Router` and of `AuditTrail` with all of it.

**Violates.** A router without a trail; one of the properties missing.

**Undecidable when** nothing: facts are plain values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules.facts import AuditTrailFacts, RouterFacts
from headrace.rules.finding import Severity
from headrace.rules.rule import Broken, Parameter, Rule, Said, View


def check(view: View) -> Iterator[Said]:
    """Every router's journal, and the trail that its checkpoints go to."""
    trails = tuple(view.graph.records(AuditTrailFacts))
    for component, router in view.graph.records(RouterFacts):
        if not trails:
            yield Broken(resource=component.urn, sentence="the stack has no audit trail for its records")
        if not router.journal_durable:
            yield Broken(resource=component.urn, sentence="its replicas' journals do not survive their pods and nodes")
        if not router.journal_encrypted:
            yield Broken(resource=component.urn, sentence="its replicas' journals are not encrypted")
    for component, trail in trails:
        most, mode = view.number("checkpointSeconds"), trail.object_lock_mode.upper()
        wanted = {
            f"its bucket has object lock in one of the modes {', '.join(view.words('modes'))}": mode
            in view.words("modes"),
            "its bucket keeps versions": trail.versioned,
            "its bucket is encrypted by a key that rotates": trail.encrypted and trail.key_rotation,
            "its bucket can't be made public": trail.public_access_blocked,
            "its bucket takes TLS requests only": trail.tls_required,
            f"checkpoints are written every {most:g} s": 0 < trail.checkpoint_interval_s <= most,
        }
        for what, holds in wanted.items():
            if not holds:
                yield Broken(resource=component.urn, sentence=f"it does not hold that {what}")


RULE: Final = Rule(
    id="audit-trail-incomplete",
    severity=Severity.HIGH,
    title="Audit trail incomplete",
    description="What the router records is kept where nobody can change it.",
    remediation="leave the trail to HybridPlatform's AuditTrail, and the journals on the router's volumes",
    references=(
        "EU AI Act article 12 (from 2 December 2027 for Annex III, 2 August 2028 for Annex I)",
        "SOC 2 CC7.3",
    ),
    reads=("router", "auditTrail"),
    since="0.1.0",
    early=(),
    parameters=(
        Parameter(name="modes", description="Modes of object lock that count.", default=("COMPLIANCE", "GOVERNANCE")),
        Parameter(name="checkpointSeconds", description="Most seconds between checkpoints.", default=3600, minimum=1),
    ),
    check=check,
)
