"""An encrypted log group: the key and the group belong together, because the key's policy names the group."""

from collections.abc import Mapping

import pulumi
import pulumi_aws as aws

from headrace.errors import refuse
from headrace.settings.checks.offers import LOG_RETENTION_DAYS
from headrace_components import documents
from headrace_components.documents import Account

# Days between the deletion of a key and its end, in which it can be restored. AWS's longest.
KEY_DELETION_DAYS = 30


def encryption_key(
    parent: pulumi.Resource,
    name: str,
    description: str,
    policy: str,
    alias: str,
    tags: Mapping[str, str],
    *,
    rotation_days: int | None = None,
) -> aws.kms.Key:
    """A customer-managed key that rotates (each year unless told otherwise), and the alias people find it by."""
    options = pulumi.ResourceOptions(parent=parent)
    key = aws.kms.Key(
        f"{name}-key",
        description=description,
        enable_key_rotation=True,
        rotation_period_in_days=rotation_days,
        deletion_window_in_days=KEY_DELETION_DAYS,
        policy=policy,
        tags=dict(tags),
        opts=options,
    )
    aws.kms.Alias(f"{name}-key", name=f"alias/{alias}", target_key_id=key.key_id, opts=options)
    return key


def log_group(
    parent: pulumi.Resource,
    name: str,
    *,
    account: Account,
    region: str,
    log_group_name: str,
    retention_days: int,
    tags: Mapping[str, str],
) -> aws.cloudwatch.LogGroup:
    """A log group with a key of its own and a retention."""
    if retention_days not in LOG_RETENTION_DAYS:
        raise refuse(
            "logRetentionDays",
            retention_days,
            f"must be one of {', '.join(map(str, LOG_RETENTION_DAYS))}",
            reason=f"CloudWatch Logs knows no other for {log_group_name}",
            next_step="choose the next longer one",
        )
    key = encryption_key(
        parent,
        name,
        f"Log group {log_group_name}",
        documents.log_key_policy(account, region, log_group_name),
        f"headrace/logs{log_group_name.replace('.', '-')}",
        tags,
    )
    return aws.cloudwatch.LogGroup(
        name,
        name=log_group_name,
        retention_in_days=retention_days,
        kms_key_id=key.arn,
        tags=dict(tags),
        opts=pulumi.ResourceOptions(parent=parent),
    )
