"""IAM, KMS, bucket, topic and endpoint policies as JSON text: pure, so that each can be read and tested on its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Statement = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Account:
    """The account and partition that a component is deployed to."""

    id: str
    partition: str

    def arn(self, service: str, region: str, resource: str) -> str:
        """`arn:<partition>:<service>:<region>:<account>:<resource>`."""
        return f"arn:{self.partition}:{service}:{region}:{self.id}:{resource}"

    @property
    def root(self) -> str:
        """The account itself as a principal: whom IAM policies of the account can then allow."""
        return f"arn:{self.partition}:iam::{self.id}:root"

    def managed_policy(self, name: str) -> str:
        """A policy that AWS manages."""
        return f"arn:{self.partition}:iam::aws:policy/{name}"

    def cluster_access_policy(self, name: str) -> str:
        """An EKS access policy."""
        return f"arn:{self.partition}:eks::aws:cluster-access-policy/{name}"


def account_from_caller(account_id: str, arn: str) -> Account:
    """From STS GetCallerIdentity; the partition stands in the ARN."""
    return Account(id=account_id, partition=arn.split(":")[1])


def document(statements: Iterable[Statement]) -> str:
    """A policy document. Keys are sorted, so that equal policies are equal text and no preview shows a change."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, sort_keys=True)


def trust(service: str, account: Account | None = None) -> str:
    """A role that an AWS service may assume, for `account` only where the service says for whom it acts."""
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
    }
    if account is not None:
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": account.id}}
    return document([statement])


def pod_identity_trust(account: Account, region: str, cluster: str) -> str:
    """A role for pods of one cluster: EKS Pod Identity tags the session, hence TagSession."""
    return document(
        [
            {
                "Effect": "Allow",
                "Principal": {"Service": "pods.eks.amazonaws.com"},
                "Action": ["sts:AssumeRole", "sts:TagSession"],
                "Condition": {
                    "StringEquals": {"aws:SourceAccount": account.id},
                    "ArnEquals": {"aws:SourceArn": account.arn("eks", region, f"cluster/{cluster}")},
                },
            }
        ]
    )


def _key_administration(account: Account) -> Statement:
    # Without this statement nobody could ever change the key again.
    return {"Sid": "Account", "Effect": "Allow", "Principal": {"AWS": account.root}, "Action": "kms:*", "Resource": "*"}


def key_policy(account: Account) -> str:
    """A key that the account's IAM policies govern."""
    return document([_key_administration(account)])


def volume_key_policy(account: Account, region: str) -> str:
    """A key for EBS volumes as well: whoever may use EC2's volumes in this account and region may use it through them,
    as with AWS's own key for EBS. The volume driver's role needs no rights of its own."""
    return document(
        [
            _key_administration(account),
            {
                "Sid": "Volumes",
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": [
                    "kms:Encrypt",
                    "kms:Decrypt",
                    "kms:ReEncrypt*",
                    "kms:GenerateDataKey*",
                    "kms:CreateGrant",
                    "kms:DescribeKey",
                ],
                "Resource": "*",
                "Condition": {
                    "StringEquals": {
                        "kms:ViaService": f"ec2.{region}.amazonaws.com",
                        "kms:CallerAccount": account.id,
                    }
                },
            },
        ]
    )


# The longest that Secrets Manager knows.
RECOVERY_DAYS: Final = 30


def recovery_days(stage: str) -> int:
    """Days in which a deleted secret can be restored; none in a sandbox, whose names are used again at once."""
    return 0 if stage == "sandbox" else RECOVERY_DAYS


def log_key_policy(account: Account, region: str, log_group: str) -> str:
    """A key that CloudWatch Logs may use for one log group."""
    return document(
        [
            _key_administration(account),
            {
                "Sid": "Logs",
                "Effect": "Allow",
                "Principal": {"Service": f"logs.{region}.amazonaws.com"},
                "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
                "Resource": "*",
                "Condition": {
                    "ArnEquals": {
                        "kms:EncryptionContext:aws:logs:arn": account.arn("logs", region, f"log-group:{log_group}")
                    }
                },
            },
        ]
    )


# AWS Budgets and Cost Anomaly Detection publish as these principals.
ALERT_SERVICES: Final = ("budgets.amazonaws.com", "costalerts.amazonaws.com")


def alert_key_policy(account: Account) -> str:
    """A key through which the cost services can publish to an encrypted topic."""
    return document(
        [
            _key_administration(account),
            {
                "Sid": "CostAlerts",
                "Effect": "Allow",
                "Principal": {"Service": list(ALERT_SERVICES)},
                "Action": ["kms:GenerateDataKey*", "kms:Decrypt"],
                "Resource": "*",
                "Condition": {"StringEquals": {"aws:SourceAccount": account.id}},
            },
        ]
    )


def alert_topic_policy(account: Account, topic_arn: str) -> str:
    """Only the cost services, for this account, and only over TLS."""
    return document(
        [
            {
                "Sid": "CostAlerts",
                "Effect": "Allow",
                "Principal": {"Service": list(ALERT_SERVICES)},
                "Action": "sns:Publish",
                "Resource": topic_arn,
                "Condition": {"StringEquals": {"aws:SourceAccount": account.id}},
            },
            {
                "Sid": "OnlyTls",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "sns:Publish",
                "Resource": topic_arn,
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
        ]
    )


def flow_log_policy(log_group_arn: str) -> str:
    """What the flow log's role may do: write to its own log group."""
    return document(
        [
            {
                "Effect": "Allow",
                "Action": ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
                "Resource": [log_group_arn, f"{log_group_arn}:*"],
            }
        ]
    )


def endpoint_policy(account: Account) -> str:
    """An interface endpoint that only the account's own principals can use: no way out for foreign credentials."""
    return document(
        [
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": "*",
                "Resource": "*",
                "Condition": {"StringEquals": {"aws:PrincipalAccount": account.id}},
            }
        ]
    )


def s3_endpoint_policy(account: Account, region: str) -> str:
    """The S3 gateway: the account's principals, and the buckets from which ECR serves image layers to anybody."""
    return document(
        [
            {
                "Sid": "OwnPrincipals",
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": "*",
                "Condition": {"StringEquals": {"aws:PrincipalAccount": account.id}},
            },
            {
                "Sid": "ImageLayers",
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:GetObject",
                "Resource": f"arn:{account.partition}:s3:::prod-{region}-starport-layer-bucket/*",
            },
        ]
    )


# What reads or writes objects. Bucket settings stay with IAM, or the pipeline could not manage the bucket from outside.
OBJECT_ACTIONS: Final = (
    "s3:GetObject",
    "s3:GetObjectVersion",
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:ListBucket",
    "s3:ListBucketVersions",
)


def model_bucket_policy(
    bucket_arn: str, key_arn: str, source_key: str, source_value: str, named_roles: Sequence[str]
) -> str:
    """Objects only through the VPC endpoint (`aws:SourceVpce`; `aws:SourceVpc` where the endpoint isn't ours) or by a
    named role, only over TLS, only under our key."""
    everything = [bucket_arn, f"{bucket_arn}/*"]
    outsider: dict[str, Any] = {"StringNotEquals": {source_key: source_value}}
    if named_roles:
        outsider["ArnNotLike"] = {"aws:PrincipalArn": sorted(named_roles)}
    return document(
        [
            {
                "Sid": "OnlyTls",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": everything,
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
            {
                "Sid": "OnlyEndpointOrNamedRoles",
                "Effect": "Deny",
                "Principal": "*",
                "Action": list(OBJECT_ACTIONS),
                "Resource": everything,
                "Condition": outsider,
            },
            {
                "Sid": "OnlyOurKey",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:PutObject",
                "Resource": f"{bucket_arn}/*",
                "Condition": {"StringNotEqualsIfExists": {"s3:x-amz-server-side-encryption-aws-kms-key-id": key_arn}},
            },
        ]
    )


def audit_bucket_policy(bucket_arn: str, key_arn: str) -> str:
    """Only over TLS, only under our key."""
    return document(
        [
            {
                "Sid": "OnlyTls",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [bucket_arn, f"{bucket_arn}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
            {
                "Sid": "OnlyOurKey",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:PutObject",
                "Resource": f"{bucket_arn}/*",
                "Condition": {"StringNotEqualsIfExists": {"s3:x-amz-server-side-encryption-aws-kms-key-id": key_arn}},
            },
        ]
    )


def audit_writer_policy(bucket_arn: str, key_arn: str) -> str:
    """What the router may do with the audit trail: add to it and read it; it can't shorten what the lock keeps."""
    return document(
        [
            {
                "Effect": "Allow",
                "Action": ["s3:PutObject", "s3:PutObjectRetention", "s3:GetObject", "s3:GetObjectRetention"],
                "Resource": f"{bucket_arn}/*",
            },
            {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket_arn},
            {"Effect": "Allow", "Action": ["kms:GenerateDataKey", "kms:Decrypt"], "Resource": key_arn},
        ]
    )


def secret_reader_policy(secret_arn: str, key_arn: str) -> str:
    """One secret, and the key that it is encrypted with."""
    return document(
        [
            {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": secret_arn},
            {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": key_arn},
        ]
    )


def scaling_policy(scaling_group_arn: str) -> str:
    """How many nodes one Auto Scaling group holds. Looking at groups can't be narrowed: AWS has no such right."""
    return document(
        [
            {"Effect": "Allow", "Action": "autoscaling:SetDesiredCapacity", "Resource": scaling_group_arn},
            {"Effect": "Allow", "Action": "autoscaling:DescribeAutoScalingGroups", "Resource": "*"},
        ]
    )


def release_reader_policy(partition: str, artifact_uri: str, key_arn: str) -> str:
    """What the pods of a pool may read: the objects of their own release, and the key that decrypts them."""
    bucket, _, prefix = artifact_uri.removeprefix("s3://").partition("/")
    prefix = prefix.rstrip("/")
    bucket_arn = f"arn:{partition}:s3:::{bucket}"
    return document(
        [
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:GetObjectVersion"],
                "Resource": [f"{bucket_arn}/{prefix}", f"{bucket_arn}/{prefix}/*"],
            },
            {
                "Effect": "Allow",
                "Action": "s3:ListBucket",
                "Resource": bucket_arn,
                "Condition": {"StringLike": {"s3:prefix": [prefix, f"{prefix}/*"]}},
            },
            {"Effect": "Allow", "Action": ["kms:Decrypt", "kms:DescribeKey"], "Resource": key_arn},
        ]
    )


def cluster_key_use(key_arn: str) -> str:
    """What the control plane's role needs for envelope encryption of secrets."""
    return document(
        [
            {
                "Effect": "Allow",
                "Action": ["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey", "kms:ListGrants"],
                "Resource": key_arn,
            }
        ]
    )


def cache_pull_policy(account: Account, region: str, prefixes: Sequence[str]) -> str:
    """What a node needs beyond pulling: the first pull of a cached image creates its repository."""
    return document(
        [
            {
                "Effect": "Allow",
                "Action": ["ecr:BatchImportUpstreamImage", "ecr:CreateRepository", "ecr:TagResource"],
                "Resource": [account.arn("ecr", region, f"repository/{prefix}/*") for prefix in sorted(prefixes)],
            }
        ]
    )


def creation_template_policy(account: Account, region: str, key_arn: str) -> str:
    """What ECR needs to create a cached repository encrypted under our key and tagged."""
    return document(
        [
            {
                "Effect": "Allow",
                "Action": ["ecr:CreateRepository", "ecr:ReplicateImage", "ecr:TagResource"],
                "Resource": account.arn("ecr", region, "repository/*"),
            },
            {
                "Effect": "Allow",
                "Action": ["kms:CreateGrant", "kms:RetireGrant", "kms:DescribeKey"],
                "Resource": key_arn,
            },
        ]
    )
