"""KMS keys and aliases, Secrets Manager secrets."""

from __future__ import annotations

from typing import Any

from headrace_sandbox.aws_provider.context import Context
from headrace_sandbox.aws_provider.documents import same_document
from headrace_sandbox.aws_provider.spec import Call, Name, Read, Ready, ResourceType, State, Tags, Update
from headrace_sandbox.aws_provider.table.parts import words

_GONE = ("NotFoundException", "ResourceNotFoundException")
_ID = {"KeyId": "{id}"}


def _key_made(ctx: Context, state: State) -> None:
    key = {"KeyId": state["id"]}
    if state.get("enableKeyRotation"):
        _rotate(ctx, key, state)
    if state.get("isEnabled") is False:
        ctx.call("DisableKey", key)


def _rotate(ctx: Context, key: dict[str, Any], inputs: State) -> None:
    period = inputs.get("rotationPeriodInDays")
    ctx.call("EnableKeyRotation", {**key, **({"RotationPeriodInDays": period} if period else {})})


def _key_changed(ctx: Context, old: State, inputs: State, changed: frozenset[str]) -> None:
    key = {"KeyId": old["id"]}
    if "isEnabled" in changed and inputs.get("isEnabled", True):
        ctx.call("EnableKey", key)  # before the rest: a disabled key accepts nothing
    if changed & {"enableKeyRotation", "rotationPeriodInDays"}:
        if inputs.get("enableKeyRotation"):
            _rotate(ctx, key, inputs)
        else:
            ctx.call("DisableKeyRotation", key)
    if "isEnabled" in changed and inputs.get("isEnabled") is False:
        ctx.call("DisableKey", key)


def _key_details(ctx: Context, resource: State, state: State, known: State) -> None:
    key = {"KeyId": state["id"]}
    state["isEnabled"] = bool(resource.get("Enabled"))
    policy = ctx.call("GetKeyPolicy", {**key, "PolicyName": "default"})["Policy"]
    state["policy"] = known["policy"] if same_document(policy, known.get("policy")) else policy
    rotation = ctx.call("GetKeyRotationStatus", key)
    state["enableKeyRotation"] = bool(rotation.get("KeyRotationEnabled"))
    if rotation.get("RotationPeriodInDays") and state["enableKeyRotation"]:
        state["rotationPeriodInDays"] = rotation["RotationPeriodInDays"]


_KEY = ResourceType(
    type="aws:kms/key:Key",
    service="kms",
    create=Call(op="CreateKey", props=None),
    created={"id": "KeyMetadata.KeyId"},
    read=Read(
        op="DescribeKey",
        args=_ID,
        at="KeyMetadata",
        missing=_GONE,
        status="KeyState",
        gone=("PendingDeletion", "PendingReplicaDeletion"),
    ),
    ready=Ready(status="KeyState", good=("Enabled", "Disabled"), timeout_s=120),
    updates=(
        Update(op="UpdateKeyDescription", args=_ID, on=("description",)),
        Update(op="PutKeyPolicy", args={**_ID, "PolicyName": "default"}, on=("policy",)),
    ),
    delete=Call(op="ScheduleKeyDeletion", args={**_ID, "PendingWindowInDays": "{deletionWindowInDays}"}),
    absent=("KMSInvalidStateException~pending deletion",),
    settle=("MalformedPolicyDocumentException",),
    rename={
        "customerMasterKeySpec": "KeySpec",
        "bypassPolicyLockoutSafetyCheck": "BypassPolicyLockoutSafetyCheck",
        "keyId": "KeyId",
    },
    replace=words("customKeyStoreId customerMasterKeySpec keyUsage multiRegion xksKeyId"),
    computed=words("policy multiRegion rotationPeriodInDays"),
    defaults={
        "bypassPolicyLockoutSafetyCheck": False,
        "customerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "enableKeyRotation": False,
        "isEnabled": True,
        "keyUsage": "ENCRYPT_DECRYPT",
    },
    documents=words("policy"),
    hooked=words("enableKeyRotation isEnabled rotationPeriodInDays"),
    local=words("deletionWindowInDays"),
    write_only=words("bypassPolicyLockoutSafetyCheck xksKeyId"),
    tags=Tags(
        create="Tags",
        tag="TagResource",
        tag_member="Tags",
        untag="UntagResource",
        untag_member="TagKeys",
        target=_ID,
        list=Read(op="ListResourceTags", args=_ID, at="Tags"),
    ),
    after_create=_key_made,
    on_update=_key_changed,
    amend=_key_details,
)


def _find_alias(ctx: Context, state: State) -> State | None:
    for alias in ctx.pages("ListAliases", {}, "Aliases"):
        if alias["AliasName"] == state["id"]:
            return dict(alias)
    return None


def _alias_details(ctx: Context, resource: State, state: State, known: State) -> None:
    key = resource["TargetKeyId"]
    state["targetKeyArn"] = f"arn:{ctx.partition}:kms:{ctx.region}:{ctx.account}:key/{key}"
    told = str(known.get("targetKeyId", ""))
    if told.rpartition("/")[2] == key:  # a key may be named by its ARN
        state["targetKeyId"] = told


def _alias_name(inputs: State) -> list[tuple[str, str]]:
    name = inputs.get("name")
    if isinstance(name, str) and not name.startswith("alias/"):
        return [("name", f'name must begin with "alias/", got {name!r}')]
    return []


_ALIAS = ResourceType(
    type="aws:kms/alias:Alias",
    service="kms",
    create=Call(op="CreateAlias", props=None),
    id="{name}",
    import_id=("name",),
    on_read=_find_alias,
    updates=(Update(op="UpdateAlias", args={"AliasName": "{name}"}, on=("targetKeyId",)),),
    delete=Call(op="DeleteAlias", args={"AliasName": "{name}"}),
    absent=_GONE,
    rename={"name": "AliasName", "arn": "AliasArn"},
    replace=words("name namePrefix"),
    computed=words("name"),
    local=words("namePrefix"),
    name=Name(prefix_property="namePrefix", limit=250, start="alias/"),
    on_check=_alias_name,
    amend=_alias_details,
)

# -- Secrets Manager ---------------------------------------------------------------------------------------------------

_SECRET_ID = {"SecretId": "{id}"}


def _delete_secret(ctx: Context, state: State) -> None:
    window = state.get("recoveryWindowInDays")
    how = {"ForceDeleteWithoutRecovery": True} if window == 0 else {"RecoveryWindowInDays": window or 30}
    ctx.call("DeleteSecret", {"SecretId": state["id"], **how})


def _secret_made(ctx: Context, state: State) -> None:
    if state.get("policy"):
        ctx.call("PutResourcePolicy", {"SecretId": state["id"], "ResourcePolicy": state["policy"]})


def _secret_changed(ctx: Context, old: State, inputs: State, _changed: frozenset[str]) -> None:
    if inputs.get("policy"):
        _secret_made(ctx, {**inputs, "id": old["id"]})
    else:
        ctx.call("DeleteResourcePolicy", {"SecretId": old["id"]})


def _secret_details(ctx: Context, _resource: State, state: State, known: State) -> None:
    policy = ctx.call("GetResourcePolicy", {"SecretId": state["id"]}).get("ResourcePolicy")
    if policy:
        state["policy"] = known["policy"] if same_document(policy, known.get("policy")) else policy
    state["arn"] = state["id"]


_SECRET = ResourceType(
    type="aws:secretsmanager/secret:Secret",
    service="secretsmanager",
    create=Call(op="CreateSecret", props=None),
    created={"id": "ARN"},
    read=Read(
        op="DescribeSecret",
        args=_SECRET_ID,
        missing=_GONE,
        status="DeletedDate != null && 'deleted'",
        gone=("deleted",),
    ),
    updates=(Update(op="UpdateSecret", args=_SECRET_ID, on=("description", "kmsKeyId")),),
    on_delete=_delete_secret,
    replace=words("name namePrefix"),
    computed=words("name policy"),
    defaults={"forceOverwriteReplicaSecret": False, "recoveryWindowInDays": 30},
    documents=words("policy"),
    hooked=words("policy"),
    local=words("forceOverwriteReplicaSecret namePrefix recoveryWindowInDays"),
    refused=words("replicas type"),
    name=Name(prefix_property="namePrefix", limit=512),
    tags=Tags(
        create="Tags",
        tag="TagResource",
        tag_member="Tags",
        untag="UntagResource",
        untag_member="TagKeys",
        target=_SECRET_ID,
    ),
    after_create=_secret_made,
    on_update=_secret_changed,
    amend=_secret_details,
)


def _put_value(ctx: Context, state: State) -> State:
    params: dict[str, Any] = {"SecretId": state["secretId"]}
    if state.get("secretString") is not None:
        params["SecretString"] = state["secretString"]
    elif state.get("secretBinary") is not None:
        params["SecretBinary"] = state["secretBinary"]
    if state.get("versionStages"):
        params["VersionStages"] = state["versionStages"]
    answer = ctx.call("PutSecretValue", params)
    return {"id": f"{state['secretId']}|{answer['VersionId']}"}


def _find_value(ctx: Context, state: State) -> State | None:
    secret, _, version = str(state["id"]).rpartition("|")
    answer = ctx.call("GetSecretValue", {"SecretId": secret, "VersionId": version})
    return {**answer, "SecretId": secret}


_SECRET_VERSION = ResourceType(
    type="aws:secretsmanager/secretVersion:SecretVersion",
    service="secretsmanager",
    on_create=_put_value,
    on_read=_find_value,
    read=Read(op="GetSecretValue", missing=_GONE),
    on_delete=lambda _ctx, _state: None,  # a version goes with its secret
    replace=words("secretBinary secretId secretString versionStages"),
    computed=words("versionStages"),
    hooked=words("secretBinary secretId secretString versionStages"),
    refused=words("secretStringWo secretStringWoVersion"),
)

ROWS = (_KEY, _ALIAS, _SECRET, _SECRET_VERSION)
