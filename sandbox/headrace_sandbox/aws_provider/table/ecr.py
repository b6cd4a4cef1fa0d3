"""ECR: repositories, their policies, and the registry's settings."""

from __future__ import annotations

from headrace_sandbox.aws_provider.context import Context
from headrace_sandbox.aws_provider.spec import Call, Name, Read, ResourceType, State, Update
from headrace_sandbox.aws_provider.table.parts import arn_tags, words

_NO_REPOSITORY = ("RepositoryNotFoundException",)
_REPOSITORY_KEY = {"repositoryName": "{name}"}

_REPOSITORY = ResourceType(
    type="aws:ecr/repository:Repository",
    service="ecr",
    create=Call(op="CreateRepository", props=None),
    id="{name}",
    import_id=("name",),
    read=Read(
        op="DescribeRepositories", args={"repositoryNames": ["{name}"]}, at="repositories[0]", missing=_NO_REPOSITORY
    ),
    updates=(
        Update(
            op="PutImageTagMutability",
            args=_REPOSITORY_KEY,
            on=("imageTagMutability", "imageTagMutabilityExclusionFilters"),
            props=("imageTagMutability", "imageTagMutabilityExclusionFilters"),
        ),
        Update(op="PutImageScanningConfiguration", args=_REPOSITORY_KEY, on=("imageScanningConfiguration",)),
    ),
    delete=Call(op="DeleteRepository", args={**_REPOSITORY_KEY, "force": "{forceDelete}"}),
    rename={"name": "repositoryName", "repositoryUrl": "repositoryUri", "arn": "repositoryArn"},
    replace=words("encryptionConfigurations name"),
    computed=words("name encryptionConfigurations.kmsKey encryptionConfigurations imageScanningConfiguration"),
    defaults={"imageTagMutability": "MUTABLE"},
    local=words("forceDelete"),
    name=Name(lower=True, limit=256),
    tags=arn_tags(listed=True),
)

_POLICY_KEY = {"repositoryName": "{repository}"}


def _document(name: str, *, put: str, get: str, delete: str, member: str, missing: str) -> ResourceType:
    return ResourceType(
        type=f"aws:ecr/{name[0].lower()}{name[1:]}:{name}",
        service="ecr",
        create=Call(op=put, props=None),
        id="{repository}",
        import_id=("repository",),
        read=Read(op=get, args=_POLICY_KEY, missing=(missing, *_NO_REPOSITORY)),
        updates=(Update(op=put, args=_POLICY_KEY, on=("policy",)),),
        delete=Call(op=delete, args=_POLICY_KEY),
        rename={"repository": "repositoryName", "policy": member},
        replace=words("repository"),
        documents=words("policy"),
    )


_LIFECYCLE = _document(
    "LifecyclePolicy",
    put="PutLifecyclePolicy",
    get="GetLifecyclePolicy",
    delete="DeleteLifecyclePolicy",
    member="lifecyclePolicyText",
    missing="LifecyclePolicyNotFoundException",
)
_REPOSITORY_POLICY = _document(
    "RepositoryPolicy",
    put="SetRepositoryPolicy",
    get="GetRepositoryPolicy",
    delete="DeleteRepositoryPolicy",
    member="policyText",
    missing="RepositoryPolicyNotFoundException",
)

_RULE_KEY = {"ecrRepositoryPrefix": "{ecrRepositoryPrefix}"}

_PULL_THROUGH = ResourceType(
    type="aws:ecr/pullThroughCacheRule:PullThroughCacheRule",
    service="ecr",
    create=Call(op="CreatePullThroughCacheRule", props=None),
    id="{ecrRepositoryPrefix}",
    import_id=("ecrRepositoryPrefix",),
    read=Read(
        op="DescribePullThroughCacheRules",
        args={"ecrRepositoryPrefixes": ["{ecrRepositoryPrefix}"]},
        at="pullThroughCacheRules[0]",
        missing=("PullThroughCacheRuleNotFoundException",),
    ),
    updates=(
        Update(
            op="UpdatePullThroughCacheRule",
            args=_RULE_KEY,
            on=("credentialArn", "customRoleArn"),
            props=("credentialArn", "customRoleArn"),
        ),
    ),
    delete=Call(op="DeletePullThroughCacheRule", args=_RULE_KEY),
    replace=words("ecrRepositoryPrefix upstreamRegistryUrl upstreamRepositoryPrefix"),
    computed=words("upstreamRepositoryPrefix"),
)

_TEMPLATE_KEY = {"prefix": "{prefix}"}

_CREATION_TEMPLATE = ResourceType(
    type="aws:ecr/repositoryCreationTemplate:RepositoryCreationTemplate",
    service="ecr",
    create=Call(op="CreateRepositoryCreationTemplate", props=None),
    id="{prefix}",
    import_id=("prefix",),
    read=Read(
        op="DescribeRepositoryCreationTemplates",
        args={"prefixes": ["{prefix}"]},
        at="repositoryCreationTemplates[0]",
        missing=("TemplateNotFoundException",),
    ),
    updates=(
        Update(
            op="UpdateRepositoryCreationTemplate",
            args=_TEMPLATE_KEY,
            on=(
                "appliedFors",
                "customRoleArn",
                "description",
                "encryptionConfigurations",
                "imageTagMutability",
                "imageTagMutabilityExclusionFilters",
                "lifecyclePolicy",
                "repositoryPolicy",
                "resourceTags",
            ),
        ),
    ),
    delete=Call(op="DeleteRepositoryCreationTemplate", args=_TEMPLATE_KEY),
    replace=words("prefix"),
    computed=words("encryptionConfigurations encryptionConfigurations.kmsKey"),
    defaults={"imageTagMutability": "MUTABLE"},
    documents=words("lifecyclePolicy repositoryPolicy"),
)


def _put_scanning(ctx: Context, state: State) -> State:
    rules = [
        {
            "scanFrequency": rule["scanFrequency"],
            "repositoryFilters": [dict(f) for f in rule["repositoryFilters"]],
        }
        for rule in state.get("rules") or []
    ]
    ctx.call("PutRegistryScanningConfiguration", {"scanType": state["scanType"], "rules": rules})
    return {"id": ctx.account}


def _find_scanning(ctx: Context, _state: State) -> State:
    answer = ctx.call("GetRegistryScanningConfiguration")
    return {**answer.get("scanningConfiguration", {}), "registryId": answer.get("registryId") or ctx.account}


_SCANNING = ResourceType(
    type="aws:ecr/registryScanningConfiguration:RegistryScanningConfiguration",
    service="ecr",
    on_create=_put_scanning,
    on_read=_find_scanning,
    on_update=lambda ctx, _old, inputs, _changed: _put_scanning(ctx, inputs),
    # The registry always has a configuration: deleting goes back to the one it was born with.
    delete=Call(op="PutRegistryScanningConfiguration", args={"scanType": "BASIC", "rules": []}),
    id="{registryId}",
    hooked=words("rules scanType"),
    object_sets=words("rules rules.repositoryFilters"),
    strict=words("rules"),
)

ROWS = (_REPOSITORY, _LIFECYCLE, _REPOSITORY_POLICY, _PULL_THROUGH, _CREATION_TEMPLATE, _SCANNING)
