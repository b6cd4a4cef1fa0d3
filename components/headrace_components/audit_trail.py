"""AuditTrail: the bucket in which checkpoints and exports of the router's records can't be changed."""

from typing import NotRequired, TypedDict

import pulumi
import pulumi_aws as aws

from headrace.errors import refuse
from headrace.rules.facts import AuditTrailFacts
from headrace.settings.store import AuditSettings
from headrace_components import documents, inputs, logs
from headrace_components.locked_bucket import locked_bucket
from headrace_components.place import Place, PlaceArgs, account_of, read_place
from headrace_components.tags import cost_tags

MAX_BUCKET_NAME = 63


class AuditTrailArgs(TypedDict):
    """Arguments of `AuditTrail`."""

    place: PlaceArgs
    """Where the trail belongs."""
    retention_days: NotRequired[int]
    """Days for which nothing stored can be changed or deleted."""
    object_lock_mode: NotRequired[str]
    """`compliance` (default): nobody may shorten it; `governance`: principals with a special permission may."""
    checkpoint_interval_s: NotRequired[int]
    """Seconds between checkpoints of the record chain."""
    key_rotation_days: NotRequired[int]
    """Days between rotations of the key."""
    tags: NotRequired[dict[str, str]]
    """Tags beside the cost tags."""


class AuditTrail(pulumi.ComponentResource):
    """A versioned bucket with object lock, encrypted by a key of its own that rotates, closed to the public, that takes
    objects only over TLS and only under that key."""

    bucket_name: pulumi.Output[str]
    """The bucket."""
    bucket_arn: pulumi.Output[str]
    """Its ARN."""
    key_arn: pulumi.Output[str]
    """Its key."""

    def __init__(self, name: str, args: AuditTrailArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        place = read_place(args["place"])
        settings = inputs.read(AuditSettings, args, "audit")
        account = account_of(opts)
        bucket_name = audit_bucket_name(place, account.id)
        facts = audit_facts(name, place, settings, bucket_name).to_props()
        super().__init__("headrace:index:AuditTrail", name, {"facts": facts}, opts)
        self._options = pulumi.ResourceOptions(parent=self)
        self._tags = cost_tags(place.owner(), name, args.get("tags"))
        key = logs.encryption_key(
            self,
            name,
            f"Audit trail of {place.prefix}",
            documents.key_policy(account),
            f"headrace/{place.prefix}/{name}",
            self._tags,
            rotation_days=settings.key_rotation_days,
        )
        bucket = self._bucket(name, bucket_name, settings, key)
        self.bucket_name = bucket.bucket
        self.bucket_arn = bucket.arn
        self.key_arn = key.arn
        self.register_outputs(
            {
                "bucket_name": self.bucket_name,
                "bucket_arn": self.bucket_arn,
                "key_arn": self.key_arn,
                "facts": facts,
            }
        )

    def _bucket(self, name: str, bucket_name: str, settings: AuditSettings, key: aws.kms.Key) -> aws.s3.Bucket:
        bucket = locked_bucket(
            self,
            name,
            bucket_name=bucket_name,
            key=key,
            lock_mode=settings.object_lock_mode.value.upper(),
            retention_days=settings.retention_days,
            tags=self._tags,
        )
        aws.s3.BucketPolicy(
            name,
            bucket=bucket.id,
            policy=pulumi.Output.all(bucket.arn, key.arn).apply(
                lambda parts: documents.audit_bucket_policy(parts[0], parts[1])
            ),
            opts=self._options,
        )
        return bucket


def audit_bucket_name(place: Place, account_id: str) -> str:
    """`<organization>-<environment>-audit-<account>`: the account id keeps strangers from taking the name first."""
    name = f"{place.prefix}-audit-{account_id}"
    if len(name) > MAX_BUCKET_NAME:
        raise refuse(
            "environment",
            place.environment,
            f"the audit bucket {name} would have more than {MAX_BUCKET_NAME} characters",
            reason="S3 allows no more",
            next_step="choose shorter names for organization and environment",
        )
    return name


def audit_facts(name: str, place: Place, settings: AuditSettings, bucket: str) -> AuditTrailFacts:
    """What the trail is, as settings say it."""
    return AuditTrailFacts(
        **place.facts(),
        name=name,
        bucket=bucket,
        object_lock_mode=settings.object_lock_mode.value,
        retention_days=settings.retention_days,
        versioned=True,
        encrypted=True,
        key_rotation=True,
        key_rotation_days=settings.key_rotation_days,
        public_access_blocked=True,
        tls_required=True,
        checkpoint_interval_s=settings.checkpoint_interval_s,
    )
