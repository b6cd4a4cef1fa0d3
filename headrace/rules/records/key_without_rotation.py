"""A key that never changes.

**What.** Every symmetric KMS key rotates.

**Why.** A key that leaked once opens everything that was ever encrypted with it.

**Passes.** `enableKeyRotation: true`; asymmetric, HMAC and imported keys, which KMS can't rotate.

**Violates.** Off or absent.

**Undecidable when** it is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules.finding import Severity
from headrace.rules.graph import Unknown
from headrace.rules.rule import Broken, Rule, Said, Scope, View, undecided

_KEY: Final = "aws:kms/key:Key"


def check(view: View) -> Iterator[Said]:
    """Every key."""
    for one in view.graph.of(_KEY):
        spec = one.get("customerMasterKeySpec") or "SYMMETRIC_DEFAULT"
        rotates = one.get("enableKeyRotation")
        if spec != "SYMMETRIC_DEFAULT":
            continue
        if isinstance(rotates, Unknown):
            yield undecided(one.urn, rotates, "whether it rotates")
        elif rotates is not True:
            yield Broken(resource=one.urn, sentence="enableKeyRotation is off")


RULE: Final = Rule(
    id="key-without-rotation",
    severity=Severity.MEDIUM,
    title="Key without rotation",
    description="Symmetric KMS keys rotate.",
    remediation="set enableKeyRotation to true",
    references=("CIS AWS Foundations Benchmark 3.6", "SOC 2 CC6.1"),
    reads=(_KEY,),
    since="0.1.0",
    scope=Scope.RESOURCE,
    check=check,
)
