"""A bucket of records or releases that can be emptied.

**What.** Buckets whose name or component tag says audit, records or models have object lock, versioning and a complete
public access block.

**Why.** A record that somebody can delete proves nothing, and a release that somebody can replace isn't one.

**Passes.** `objectLockEnabled: true` with a lock configuration; all four public access blocks on.

**Violates.** One of them missing.

**Undecidable when** a switch is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules.finding import Severity
from headrace.rules.graph import Resource, Unknown
from headrace.rules.rule import Broken, Rule, Said, Scope, View, undecided

_BUCKETS: Final = ("aws:s3/bucket:Bucket", "aws:s3/bucketV2:BucketV2")
_BLOCK: Final = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
_VERSIONING: Final = "aws:s3/bucketVersioning:BucketVersioning"
_WORDS: Final = ("audit", "record", "model")


def check(view: View) -> Iterator[Said]:
    """Buckets of records and releases; public access blocks and versioning of every bucket."""
    for type_ in _BUCKETS:
        for one in view.graph.of(type_):
            if not _matters(one):
                continue
            locked = one.get("objectLockEnabled")
            if isinstance(locked, Unknown):
                yield undecided(one.urn, locked, "whether it has object lock")
            elif locked is not True:
                yield Broken(resource=one.urn, sentence="objectLockEnabled is off, so what it keeps can be deleted")
    for one in view.graph.of(_BLOCK):
        for name in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"):
            value = one.get(name)
            if isinstance(value, Unknown):
                yield undecided(one.urn, value, "whether the bucket can be made public")
            elif value is not True:
                yield Broken(resource=one.urn, sentence=f"{name} is off, so the bucket can be made public")
    for one in view.graph.of(_VERSIONING):
        status = one.at("versioningConfiguration.status")
        if isinstance(status, Unknown):
            yield undecided(one.urn, status, "whether it keeps versions")
        elif status != "Enabled":
            yield Broken(
                resource=one.urn, sentence=f"versioningConfiguration.status is {status}, so objects can be replaced"
            )


def _matters(one: Resource) -> bool:
    text = f"{one.name} {one.get('bucket')} {one.at('tags.headrace:component')}".lower()
    return any(word in text for word in _WORDS)


RULE: Final = Rule(
    id="bucket-without-object-lock",
    severity=Severity.HIGH,
    title="Bucket without object lock",
    description="Buckets of records and releases can't be emptied, replaced or made public.",
    remediation="create the bucket with objectLockEnabled and a BucketObjectLockConfiguration, or use ModelStore",
    references=("EU AI Act article 12 (from 2 December 2027 for Annex III)", "SOC 2 CC7.3", "SOC 2 C1.1"),
    reads=(*_BUCKETS, _BLOCK, _VERSIONING),
    since="0.1.0",
    scope=Scope.RESOURCE,
    check=check,
)
