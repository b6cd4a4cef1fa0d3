"""S3 buckets and the settings that are resources of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from headrace_sandbox.aws_provider.context import Context, code_of
from headrace_sandbox.aws_provider.spec import Call, Name, Read, ResourceType, State, Tags, Update
from headrace_sandbox.aws_provider.table.parts import words

_NO_BUCKET = ("NoSuchBucket", "404")
_BUCKET = {"Bucket": "{bucket}"}

# -- Bucket ------------------------------------------------------------------------------------------------------------


def _make_bucket(ctx: Context, inputs: State) -> State:
    params: dict[str, Any] = {"Bucket": inputs["bucket"]}
    if ctx.region != "us-east-1":  # the one region that S3 doesn't accept as a constraint
        params["CreateBucketConfiguration"] = {"LocationConstraint": ctx.region}
    if inputs.get("objectLockEnabled"):
        params["ObjectLockEnabledForBucket"] = True
    ctx.call("CreateBucket", params)
    return {"id": inputs["bucket"]}


def _bucket_tags(ctx: Context, state: State) -> None:
    if state.get("tagsAll"):
        _put_tags(ctx, state["id"], state["tagsAll"])


def _put_tags(ctx: Context, bucket: str, tags: Mapping[str, str]) -> None:
    if tags:
        rows = [{"Key": k, "Value": v} for k, v in tags.items()]
        ctx.call("PutBucketTagging", {"Bucket": bucket, "Tagging": {"TagSet": rows}})
    else:
        ctx.call("DeleteBucketTagging", {"Bucket": bucket})


def _find_bucket(ctx: Context, state: State) -> State | None:
    bucket = {"Bucket": state["id"]}
    ctx.call("HeadBucket", bucket)
    lock = _ask(ctx, "GetObjectLockConfiguration", bucket).get("ObjectLockConfiguration", {})
    return {
        "bucket": state["id"],
        "objectLockEnabled": lock.get("ObjectLockEnabled") == "Enabled",
        "TagSet": _ask(ctx, "GetBucketTagging", bucket).get("TagSet", []),
    }


def _ask(ctx: Context, op: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """A setting that a bucket may not have."""
    try:
        return ctx.call(op, params)
    except ClientError as error:
        if code_of(error) in _NOT_SET:
            return {}
        raise


_NOT_SET = (
    "NoSuchTagSet",
    "ObjectLockConfigurationNotFoundError",
    "NoSuchBucketPolicy",
    "NoSuchLifecycleConfiguration",
    "NoSuchPublicAccessBlockConfiguration",
    "OwnershipControlsNotFoundError",
    "ServerSideEncryptionConfigurationNotFoundError",
)

# Hosted zones of S3 website endpoints: AWS General Reference, "Amazon S3 endpoints and quotas" (2026-11). Regions that
# aren't listed here get none.
_HOSTED_ZONES = {
    "us-east-1": "Z3AQBSTGFYJSTF",
    "us-east-2": "Z2O1EMRO9K5GLX",
    "us-west-1": "Z2F56UZL2M1ACD",
    "us-west-2": "Z3BJ6K6RIION7M",
    "eu-west-1": "Z1BKCTXD74EZPE",
    "eu-west-2": "Z3GKZC51ZF0DB4",
    "eu-west-3": "Z3R1K369G5AVDG",
    "eu-central-1": "Z21DNDUVLTQW6Q",
    "eu-north-1": "Z3BAZG2TWCNX0D",
}


def _bucket_details(ctx: Context, _resource: State, state: State, _known: State) -> None:
    name = state["id"]
    state["arn"] = f"arn:{ctx.partition}:s3:::{name}"
    state["bucketDomainName"] = f"{name}.s3.amazonaws.com"
    state["bucketRegionalDomainName"] = f"{name}.s3.{ctx.region}.amazonaws.com"
    state["bucketRegion"] = ctx.region
    state["hostedZoneId"] = _HOSTED_ZONES.get(ctx.region)


def _bucket_changed(ctx: Context, old: State, inputs: State, _changed: frozenset[str]) -> None:
    _put_tags(ctx, old["id"], inputs.get("tagsAll") or {})


def _empty(ctx: Context, state: State) -> None:
    if not state.get("forceDestroy"):
        return
    bucket = {"Bucket": state["id"]}
    for kind in ("Versions", "DeleteMarkers"):
        for version in list(ctx.pages("ListObjectVersions", bucket, kind)):
            ctx.call("DeleteObject", {**bucket, "Key": version["Key"], "VersionId": version["VersionId"]})


_S3_BUCKET = ResourceType(
    type="aws:s3/bucket:Bucket",
    service="s3",
    on_create=_make_bucket,
    on_read=_find_bucket,
    read=Read(op="HeadBucket", missing=_NO_BUCKET),
    delete=Call(op="DeleteBucket", args={"Bucket": "{id}"}),
    replace=words("bucket bucketPrefix objectLockEnabled"),
    computed=words("bucket objectLockEnabled"),
    defaults={"forceDestroy": False},
    local=words("bucketPrefix forceDestroy"),
    hooked=words("bucket objectLockEnabled"),
    hook_updates=words("tags tagsAll"),
    refused=words(
        "accelerationStatus acl bucketNamespace corsRules grants lifecycleRules logging objectLockConfiguration policy"
        " replicationConfiguration requestPayer serverSideEncryptionConfiguration versioning website"
    ),
    name=Name(property="bucket", prefix_property="bucketPrefix", limit=63, lower=True),
    tags=Tags(),
    after_create=_bucket_tags,
    on_update=_bucket_changed,
    amend=_bucket_details,
    before_delete=_empty,
)

# -- Settings of a bucket ----------------------------------------------------------------------------------------------


def _setting(
    name: str, *, put: str, get: str, props: tuple[str, ...], rename: Mapping[str, str], at: str = "", **more: Any
) -> ResourceType:
    """A setting that is written whole and read whole; its id is the bucket's name."""
    outputs = more.pop("outputs", {})
    missing = (*_NO_BUCKET, *more.pop("missing", ()))
    finish = more.pop("finish", None)
    return ResourceType(
        type=f"aws:s3/{name[0].lower()}{name[1:]}:{name}",
        service="s3",
        create=Call(op=put, props=("bucket", *props), finish=finish),
        id="{bucket}",
        import_id=("bucket",),
        read=Read(op=get, args=_BUCKET, at=at, missing=missing),
        updates=(Update(op=put, args=_BUCKET, on=props, props=props, finish=finish),),
        rename=rename,
        outputs=outputs,
        replace=words("bucket") | more.pop("replace", frozenset()),
        absent=missing,
        settle=("OperationAborted", "NoSuchBucket"),
        **more,
    )


def _suspend(ctx: Context, state: State) -> None:
    # Versioning can't be taken away, only suspended; and not at all where object lock needs it.
    lock = _ask(ctx, "GetObjectLockConfiguration", {"Bucket": state["id"]})
    if state.get("versioningConfiguration", {}).get("status") == "Enabled" and not lock:
        suspended = {"Bucket": state["id"], "VersioningConfiguration": {"Status": "Suspended"}}
        ctx.call("PutBucketVersioning", suspended)


_VERSIONING = _setting(
    "BucketVersioning",
    put="PutBucketVersioning",
    get="GetBucketVersioning",
    props=("versioningConfiguration", "mfa"),
    rename={"versioningConfiguration.mfaDelete": "MFADelete", "mfa": "MFA"},
    outputs={"versioningConfiguration": "@"},
    on_delete=_suspend,
    computed=words("versioningConfiguration.mfaDelete"),
    write_only=words("mfa"),
    refused=words("expectedBucketOwner"),
)

_ENCRYPTION = _setting(
    "BucketServerSideEncryptionConfiguration",
    put="PutBucketEncryption",
    get="GetBucketEncryption",
    props=("rules",),
    at="ServerSideEncryptionConfiguration",
    rename={"rules": "ServerSideEncryptionConfiguration.Rules"},
    outputs={"rules": "Rules"},
    delete=Call(op="DeleteBucketEncryption", args=_BUCKET),
    missing=("ServerSideEncryptionConfigurationNotFoundError",),
    refused=words("expectedBucketOwner"),
    computed=words("rules.blockedEncryptionTypes rules.bucketKeyEnabled"),
)

_ACCESS_PROPS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")

_PUBLIC_ACCESS = _setting(
    "BucketPublicAccessBlock",
    put="PutPublicAccessBlock",
    get="GetPublicAccessBlock",
    props=_ACCESS_PROPS,
    at="PublicAccessBlockConfiguration",
    rename={n: f"PublicAccessBlockConfiguration.{n[0].upper()}{n[1:]}" for n in _ACCESS_PROPS},
    outputs={n: f"{n[0].upper()}{n[1:]}" for n in _ACCESS_PROPS},
    delete=Call(op="DeletePublicAccessBlock", args=_BUCKET),
    missing=("NoSuchPublicAccessBlockConfiguration",),
    defaults=dict.fromkeys(_ACCESS_PROPS, False),
    local=words("skipDestroy"),
)

_OWNERSHIP = _setting(
    "BucketOwnershipControls",
    put="PutBucketOwnershipControls",
    get="GetBucketOwnershipControls",
    props=("rule",),
    at="OwnershipControls",
    rename={"rule": "OwnershipControls.Rules"},
    outputs={"rule": "Rules[0]"},
    delete=Call(op="DeleteBucketOwnershipControls", args=_BUCKET),
    missing=("OwnershipControlsNotFoundError",),
)


def _unlock(ctx: Context, state: State) -> None:
    # A bucket made with object lock keeps it; only the default retention can be taken away.
    enabled = {"Bucket": state["id"], "ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}}
    ctx.call("PutObjectLockConfiguration", enabled)


_OBJECT_LOCK = _setting(
    "BucketObjectLockConfiguration",
    put="PutObjectLockConfiguration",
    get="GetObjectLockConfiguration",
    props=("objectLockEnabled", "rule", "token"),
    at="ObjectLockConfiguration",
    rename={
        "objectLockEnabled": "ObjectLockConfiguration.ObjectLockEnabled",
        "rule": "ObjectLockConfiguration.Rule",
    },
    outputs={"rule": "Rule", "objectLockEnabled": "ObjectLockEnabled"},
    on_delete=_unlock,
    missing=("ObjectLockConfigurationNotFoundError",),
    defaults={"objectLockEnabled": "Enabled"},
    replace=words("objectLockEnabled"),
    write_only=words("token"),
    refused=words("expectedBucketOwner"),
)


def _default_filter(params: State, _state: State, _inputs: State) -> None:
    for rule in params.get("LifecycleConfiguration", {}).get("Rules", []):
        if "Filter" not in rule and "Prefix" not in rule:
            rule["Filter"] = {"Prefix": ""}  # S3 needs one of the two; the empty one is "everything"


_LIFECYCLE = _setting(
    "BucketLifecycleConfiguration",
    put="PutBucketLifecycleConfiguration",
    get="GetBucketLifecycleConfiguration",
    props=("rules", "transitionDefaultMinimumObjectSize"),
    rename={"rules": "LifecycleConfiguration.Rules"},
    outputs={"rules": "Rules"},
    delete=Call(op="DeleteBucketLifecycle", args=_BUCKET),
    missing=("NoSuchLifecycleConfiguration",),
    computed=words("transitionDefaultMinimumObjectSize rules.filter rules.prefix"),
    object_sets=words("rules"),
    local=words("timeouts"),
    refused=words("expectedBucketOwner"),
    finish=_default_filter,
)

_POLICY = _setting(
    "BucketPolicy",
    put="PutBucketPolicy",
    get="GetBucketPolicy",
    props=("policy",),
    rename={},
    delete=Call(op="DeleteBucketPolicy", args=_BUCKET),
    missing=("NoSuchBucketPolicy",),
    documents=words("policy"),
)

_LOGGING = _setting(
    "BucketLogging",
    put="PutBucketLogging",
    get="GetBucketLogging",
    props=("targetBucket", "targetPrefix", "targetGrants", "targetObjectKeyFormat"),
    at="LoggingEnabled",
    rename={
        "targetBucket": "BucketLoggingStatus.LoggingEnabled.TargetBucket",
        "targetPrefix": "BucketLoggingStatus.LoggingEnabled.TargetPrefix",
        "targetGrants": "BucketLoggingStatus.LoggingEnabled.TargetGrants",
        "targetObjectKeyFormat": "BucketLoggingStatus.LoggingEnabled.TargetObjectKeyFormat",
    },
    outputs={
        n: f"{n[0].upper()}{n[1:]}" for n in ("targetBucket", "targetPrefix", "targetGrants", "targetObjectKeyFormat")
    },
    delete=Call(op="PutBucketLogging", args={**_BUCKET, "BucketLoggingStatus": {}}),
    refused=words("expectedBucketOwner"),
)

ROWS = (
    _S3_BUCKET,
    _VERSIONING,
    _ENCRYPTION,
    _PUBLIC_ACCESS,
    _OWNERSHIP,
    _OBJECT_LOCK,
    _LIFECYCLE,
    _POLICY,
    _LOGGING,
)
