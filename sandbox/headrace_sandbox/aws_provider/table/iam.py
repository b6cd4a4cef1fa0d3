"""IAM: roles, policies, attachments, instance profiles, OIDC providers."""

from __future__ import annotations

from typing import Any

from headrace_sandbox.aws_provider.context import Context
from headrace_sandbox.aws_provider.spec import Call, Name, Read, ResourceType, State, Tags, Update
from headrace_sandbox.aws_provider.table.parts import words

_HOME = "us-east-1"
_GONE = ("NoSuchEntity",)


def _tags(kind: str, target: dict[str, str]) -> Tags:
    return Tags(
        create="Tags",
        tag=f"Tag{kind}",
        tag_member="Tags",
        untag=f"Untag{kind}",
        untag_member="TagKeys",
        target=target,
    )


_ROLE_KEY = {"RoleName": "{name}"}


def _boundary(ctx: Context, old: State, inputs: State, _changed: frozenset[str]) -> None:
    if inputs.get("permissionsBoundary"):
        params = {"RoleName": old["name"], "PermissionsBoundary": inputs["permissionsBoundary"]}
        ctx.call("PutRolePermissionsBoundary", params)
    else:
        ctx.call("DeleteRolePermissionsBoundary", {"RoleName": old["name"]})


def _free_role(ctx: Context, state: State) -> None:
    """A role in an instance profile, or with policies, can't be deleted."""
    role = {"RoleName": state["name"]}
    for profile in ctx.pages("ListInstanceProfilesForRole", role, "InstanceProfiles[].InstanceProfileName"):
        ctx.call("RemoveRoleFromInstanceProfile", {**role, "InstanceProfileName": profile})
    if state.get("forceDetachPolicies"):
        for arn in ctx.pages("ListAttachedRolePolicies", role, "AttachedPolicies[].PolicyArn"):
            ctx.call("DetachRolePolicy", {**role, "PolicyArn": arn})
        for name in ctx.pages("ListRolePolicies", role, "PolicyNames"):
            ctx.call("DeleteRolePolicy", {**role, "PolicyName": name})


_ROLE = ResourceType(
    type="aws:iam/role:Role",
    service="iam",
    home=_HOME,
    create=Call(op="CreateRole", props=None),
    id="{name}",
    import_id=("name",),
    read=Read(op="GetRole", args=_ROLE_KEY, at="Role", missing=_GONE),
    updates=(
        Update(
            op="UpdateAssumeRolePolicy",
            args=_ROLE_KEY,
            on=("assumeRolePolicy",),
            rename={"assumeRolePolicy": "PolicyDocument"},
        ),
        Update(op="UpdateRole", args=_ROLE_KEY, on=("description", "maxSessionDuration")),
    ),
    delete=Call(op="DeleteRole", args=_ROLE_KEY),
    busy=("DeleteConflict",),
    settle=("MalformedPolicyDocument~Invalid principal",),
    rename={"name": "RoleName", "assumeRolePolicy": "AssumeRolePolicyDocument", "uniqueId": "RoleId"},
    outputs={"permissionsBoundary": "PermissionsBoundary.PermissionsBoundaryArn"},
    replace=words("name namePrefix path"),
    computed=words("name"),
    defaults={"forceDetachPolicies": False, "maxSessionDuration": 3600, "path": "/"},
    local=words("forceDetachPolicies namePrefix"),
    hook_updates=words("permissionsBoundary"),
    refused=words("inlinePolicies managedPolicyArns"),
    documents=words("assumeRolePolicy"),
    name=Name(prefix_property="namePrefix", limit=64),
    tags=_tags("Role", _ROLE_KEY),
    on_update=_boundary,
    before_delete=_free_role,
)

_INLINE_KEY = {"RoleName": "{role}", "PolicyName": "{name}"}

_ROLE_POLICY = ResourceType(
    type="aws:iam/rolePolicy:RolePolicy",
    service="iam",
    home=_HOME,
    create=Call(op="PutRolePolicy", props=None),
    id="{role}:{name}",
    import_id=("role", "name"),
    read=Read(op="GetRolePolicy", args=_INLINE_KEY, missing=_GONE),
    updates=(Update(op="PutRolePolicy", args=_INLINE_KEY, on=("policy",)),),
    delete=Call(op="DeleteRolePolicy", args=_INLINE_KEY),
    rename={"role": "RoleName", "name": "PolicyName", "policy": "PolicyDocument"},
    replace=words("name namePrefix role"),
    computed=words("name"),
    documents=words("policy"),
    local=words("namePrefix"),
    name=Name(prefix_property="namePrefix", limit=128),
)

# -- Managed policy ----------------------------------------------------------------------------------------------------

_MAX_VERSIONS = 5


def _find_managed(ctx: Context, state: State) -> State | None:
    policy = ctx.call("GetPolicy", {"PolicyArn": state["id"]})["Policy"]
    params = {"PolicyArn": state["id"], "VersionId": policy["DefaultVersionId"]}
    document = ctx.call("GetPolicyVersion", params)["PolicyVersion"]["Document"]
    return {**policy, "PolicyDocument": document}


def _new_document(ctx: Context, old: State, inputs: State, _changed: frozenset[str]) -> None:
    arn = {"PolicyArn": old["id"]}
    versions = list(ctx.pages("ListPolicyVersions", arn, "Versions"))
    if len(versions) >= _MAX_VERSIONS:  # IAM keeps five; the oldest that isn't in force goes
        spare = min((v for v in versions if not v["IsDefaultVersion"]), key=lambda v: v["CreateDate"])
        ctx.call("DeletePolicyVersion", {**arn, "VersionId": spare["VersionId"]})
    ctx.call("CreatePolicyVersion", {**arn, "PolicyDocument": inputs["policy"], "SetAsDefault": True})


def _drop_versions(ctx: Context, state: State) -> None:
    arn = {"PolicyArn": state["id"]}
    for version in ctx.pages("ListPolicyVersions", arn, "Versions"):
        if not version["IsDefaultVersion"]:
            ctx.call("DeletePolicyVersion", {**arn, "VersionId": version["VersionId"]})


_POLICY = ResourceType(
    type="aws:iam/policy:Policy",
    service="iam",
    home=_HOME,
    create=Call(op="CreatePolicy", props=None),
    created={"id": "Policy.Arn"},
    on_read=_find_managed,
    read=Read(op="GetPolicy", missing=_GONE),
    delete=Call(op="DeletePolicy", args={"PolicyArn": "{id}"}),
    busy=("DeleteConflict",),
    rename={"name": "PolicyName", "policy": "PolicyDocument"},
    replace=words("description name namePrefix path"),
    computed=words("name"),
    defaults={"path": "/"},
    documents=words("policy"),
    local=words("namePrefix delayAfterPolicyCreationInMs"),
    hook_updates=words("policy"),
    name=Name(prefix_property="namePrefix", limit=128),
    tags=_tags("Policy", {"PolicyArn": "{id}"}),
    on_update=_new_document,
    before_delete=_drop_versions,
)


def _find_attachment(ctx: Context, state: State) -> State | None:
    for arn in ctx.pages("ListAttachedRolePolicies", {"RoleName": state["role"]}, "AttachedPolicies[].PolicyArn"):
        if arn == state["policyArn"]:
            return {"RoleName": state["role"], "PolicyArn": arn}
    return None


_ATTACHMENT = ResourceType(
    type="aws:iam/rolePolicyAttachment:RolePolicyAttachment",
    service="iam",
    home=_HOME,
    create=Call(op="AttachRolePolicy", props=None),
    id="{role}/{policyArn}",
    import_id=("role", "policyArn"),
    separator="/",
    on_read=_find_attachment,
    read=Read(op="ListAttachedRolePolicies", missing=_GONE),
    delete=Call(op="DetachRolePolicy", args={"RoleName": "{role}", "PolicyArn": "{policyArn}"}),
    rename={"role": "RoleName"},
    replace=words("policyArn role"),
)

# -- Instance profile --------------------------------------------------------------------------------------------------


def _fill_profile(ctx: Context, state: State) -> None:
    if state.get("role"):
        ctx.call("AddRoleToInstanceProfile", {"InstanceProfileName": state["name"], "RoleName": state["role"]})


def _empty_profile(ctx: Context, state: State) -> None:
    if state.get("role"):
        ctx.call("RemoveRoleFromInstanceProfile", {"InstanceProfileName": state["name"], "RoleName": state["role"]})


def _refill_profile(ctx: Context, old: State, inputs: State, _changed: frozenset[str]) -> None:
    _empty_profile(ctx, old)
    _fill_profile(ctx, {**inputs, "name": old["name"]})


_PROFILE_KEY = {"InstanceProfileName": "{name}"}

_INSTANCE_PROFILE = ResourceType(
    type="aws:iam/instanceProfile:InstanceProfile",
    service="iam",
    home=_HOME,
    create=Call(op="CreateInstanceProfile", props=None),
    id="{name}",
    import_id=("name",),
    read=Read(op="GetInstanceProfile", args=_PROFILE_KEY, at="InstanceProfile", missing=_GONE),
    delete=Call(op="DeleteInstanceProfile", args=_PROFILE_KEY),
    rename={"name": "InstanceProfileName", "uniqueId": "InstanceProfileId"},
    outputs={"role": "Roles[0].RoleName"},
    replace=words("name namePrefix path"),
    computed=words("name"),
    defaults={"path": "/"},
    hooked=words("role"),
    local=words("namePrefix"),
    name=Name(prefix_property="namePrefix", limit=128),
    tags=_tags("InstanceProfile", _PROFILE_KEY),
    after_create=_fill_profile,
    on_update=_refill_profile,
    before_delete=_empty_profile,
)

# -- OIDC --------------------------------------------------------------------------------------------------------------


def _change_oidc(ctx: Context, old: State, inputs: State, changed: frozenset[str]) -> None:
    provider = {"OpenIDConnectProviderArn": old["id"]}
    if "thumbprintLists" in changed:
        thumbprints = inputs.get("thumbprintLists") or []
        ctx.call("UpdateOpenIDConnectProviderThumbprint", {**provider, "ThumbprintList": thumbprints})
    before, after = set(old.get("clientIdLists") or ()), set(inputs.get("clientIdLists") or ())
    for client in sorted(after - before):
        ctx.call("AddClientIDToOpenIDConnectProvider", {**provider, "ClientID": client})
    for client in sorted(before - after):
        ctx.call("RemoveClientIDFromOpenIDConnectProvider", {**provider, "ClientID": client})


def _oidc_details(_ctx: Context, _resource: State, state: State, known: State) -> None:
    state["arn"] = state["id"]
    told: Any = known.get("url")
    if isinstance(told, str) and told.removeprefix("https://") == str(state.get("url", "")).removeprefix("https://"):
        state["url"] = told


_OIDC_KEY = {"OpenIDConnectProviderArn": "{id}"}

_OIDC = ResourceType(
    type="aws:iam/openIdConnectProvider:OpenIdConnectProvider",
    service="iam",
    home=_HOME,
    create=Call(op="CreateOpenIDConnectProvider", props=None),
    created={"id": "OpenIDConnectProviderArn"},
    read=Read(op="GetOpenIDConnectProvider", args=_OIDC_KEY, missing=_GONE),
    delete=Call(op="DeleteOpenIDConnectProvider", args=_OIDC_KEY),
    rename={"clientIdLists": "ClientIDList", "thumbprintLists": "ThumbprintList"},
    replace=words("url"),
    computed=words("thumbprintLists"),
    hook_updates=words("clientIdLists thumbprintLists"),
    tags=_tags("OpenIDConnectProvider", _OIDC_KEY),
    on_update=_change_oidc,
    amend=_oidc_details,
)

ROWS = (_ROLE, _ROLE_POLICY, _POLICY, _ATTACHMENT, _INSTANCE_PROFILE, _OIDC)
