"""A bucket whose objects nobody can change for a time: what model releases and the audit trail have in common."""

from collections.abc import Mapping

import pulumi
import pulumi_aws as aws

from headrace_components.tags import named

UPLOAD_DAYS = 7
"""Days after which an upload that was never completed is thrown away."""


def locked_bucket(
    parent: pulumi.Resource,
    name: str,
    *,
    bucket_name: str,
    key: aws.kms.Key,
    lock_mode: str,
    retention_days: int,
    tags: Mapping[str, str],
) -> aws.s3.Bucket:
    """A versioned bucket under object lock (`GOVERNANCE` or `COMPLIANCE`), encrypted by `key`, closed to the public and
    to other accounts' objects. Who may read and write is its owner's policy."""
    options = pulumi.ResourceOptions(parent=parent)
    bucket = aws.s3.Bucket(
        name,
        bucket=bucket_name,
        # Can only be switched on at creation.
        object_lock_enabled=True,
        force_destroy=False,
        tags=named(tags, bucket_name),
        opts=options,
    )
    versioning = aws.s3.BucketVersioning(
        name, bucket=bucket.id, versioning_configuration={"status": "Enabled"}, opts=options
    )
    aws.s3.BucketPublicAccessBlock(
        name,
        bucket=bucket.id,
        block_public_acls=True,
        block_public_policy=True,
        ignore_public_acls=True,
        restrict_public_buckets=True,
        opts=options,
    )
    aws.s3.BucketOwnershipControls(
        name, bucket=bucket.id, rule={"object_ownership": "BucketOwnerEnforced"}, opts=options
    )
    aws.s3.BucketServerSideEncryptionConfiguration(
        name,
        bucket=bucket.id,
        rules=[
            {
                "apply_server_side_encryption_by_default": {
                    "sse_algorithm": "aws:kms",
                    "kms_master_key_id": key.arn,
                },
                # One key request per bucket rather than per object: weights are read in many parts.
                "bucket_key_enabled": True,
            }
        ],
        opts=options,
    )
    after = pulumi.ResourceOptions(parent=parent, depends_on=[versioning])
    aws.s3.BucketObjectLockConfiguration(
        name,
        bucket=bucket.id,
        rule={"default_retention": {"mode": lock_mode, "days": retention_days}},
        opts=after,
    )
    aws.s3.BucketLifecycleConfiguration(
        name,
        bucket=bucket.id,
        rules=[
            {
                "id": "abort-incomplete-uploads",
                "status": "Enabled",
                "filter": {"prefix": ""},
                "abort_incomplete_multipart_upload": {"days_after_initiation": UPLOAD_DAYS},
            }
        ],
        opts=after,
    )
    return bucket
