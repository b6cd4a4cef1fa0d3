"""Storage without encryption by a key of ours.

**What.** Volumes, file systems, databases, caches, queues, topics, log groups, repositories, trails and the cluster's
secrets name a KMS key or switch encryption on.

**Why.** Prompts, weights and audit records lie there. A key of ours is what erasure and separation of tenants rest on.

**Passes.** The property of the table below is set (to true, or to a key).

**Violates.** It is absent or false.

**Undecidable when** a switch is not known. A key whose ARN is not known yet counts as set: it is a key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from headrace.rules.finding import Severity
from headrace.rules.graph import Resource, Unknown
from headrace.rules.rule import Broken, Rule, Said, Scope, View, undecided

# type -> (property, whether it is a switch rather than a key)
_ONE: Final = {
    "aws:ebs/volume:Volume": ("encrypted", True),
    "aws:ebs/snapshotCopy:SnapshotCopy": ("encrypted", True),
    "aws:efs/fileSystem:FileSystem": ("encrypted", True),
    "aws:fsx/lustreFileSystem:LustreFileSystem": ("kmsKeyId", False),
    "aws:rds/cluster:Cluster": ("storageEncrypted", True),
    "aws:rds/instance:Instance": ("storageEncrypted", True),
    "aws:elasticache/replicationGroup:ReplicationGroup": ("atRestEncryptionEnabled", True),
    "aws:sqs/queue:Queue": ("kmsMasterKeyId", False),
    "aws:sns/topic:Topic": ("kmsMasterKeyId", False),
    "aws:cloudwatch/logGroup:LogGroup": ("kmsKeyId", False),
    "aws:cloudtrail/trail:Trail": ("kmsKeyId", False),
    "aws:kinesis/firehoseDeliveryStream:FirehoseDeliveryStream": ("serverSideEncryption", False),
    "aws:dynamodb/table:Table": ("serverSideEncryption", False),
}
_TEMPLATE: Final = "aws:ec2/launchTemplate:LaunchTemplate"
_CLUSTER: Final = "aws:eks/cluster:Cluster"
_REPOSITORY: Final = "aws:ecr/repository:Repository"
_BUCKET_RULES: Final = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
TYPES: Final = (*_ONE, _TEMPLATE, _CLUSTER, _REPOSITORY, _BUCKET_RULES)


def check(view: View) -> Iterator[Said]:
    """Every store of the table, and those whose encryption is nested."""
    for type_, (name, switch) in _ONE.items():
        for one in view.graph.of(type_):
            yield from _is_set(one, name, one.at(name), switch=switch)
    for template in view.graph.of(_TEMPLATE):
        for path, device in template.items("blockDeviceMappings"):
            if isinstance(device, Unknown):
                yield undecided(template.urn, device, "whether its volumes are encrypted")
            elif isinstance(device, Mapping) and isinstance(device.get("ebs"), Mapping):
                value = device["ebs"].get("encrypted")
                yield from _is_set(template, f"{path}.ebs.encrypted", value, switch=True)
    for cluster in view.graph.of(_CLUSTER):
        key = cluster.at("encryptionConfig.provider.keyArn")
        if key is None:
            yield Broken(
                resource=cluster.urn, sentence="encryptionConfig has no key, so Kubernetes secrets lie in plain"
            )
    for repository in view.graph.of(_REPOSITORY):
        kinds = [
            entry if isinstance(entry, Unknown) else entry.get("encryptionType")
            for _, entry in repository.items("encryptionConfigurations")
        ]
        if not any(isinstance(kind, Unknown) or kind in ("KMS", "KMS_DSSE") for kind in kinds):
            yield Broken(resource=repository.urn, sentence="encryptionConfigurations names no KMS key")
    for rules in view.graph.of(_BUCKET_RULES):
        for path, entry in rules.items("rules"):
            algorithm = _algorithm(entry)
            if isinstance(algorithm, Unknown):
                yield undecided(rules.urn, algorithm, "how the bucket encrypts")
            elif algorithm not in ("aws:kms", "aws:kms:dsse"):
                yield Broken(resource=rules.urn, sentence=f"{path} encrypts with {algorithm!r}, not with a KMS key")


def _algorithm(entry: Any) -> Any:
    if isinstance(entry, Unknown):
        return entry
    inner = entry.get("applyServerSideEncryptionByDefault") if isinstance(entry, Mapping) else None
    if isinstance(inner, Mapping):
        return inner.get("sseAlgorithm")
    return inner


def _is_set(one: Resource, path: str, value: Any, *, switch: bool) -> Iterator[Said]:
    if isinstance(value, Unknown):
        if switch:
            yield undecided(one.urn, value, "whether it is encrypted")
    elif value in (None, False, "", "false"):
        yield Broken(resource=one.urn, sentence=f"{path} is not set, so it is not encrypted by a key of ours")


RULE: Final = Rule(
    id="unencrypted-storage",
    severity=Severity.HIGH,
    title="Storage without encryption",
    description="Everything that keeps data is encrypted by a KMS key.",
    remediation="set the property; for keys pass the ARN of a customer-managed KMS key",
    references=("GDPR article 32", "SOC 2 CC6.1", "CIS Amazon EKS Benchmark 5.3.1"),
    reads=TYPES,
    since="0.1.0",
    scope=Scope.RESOURCE,
    check=check,
)
