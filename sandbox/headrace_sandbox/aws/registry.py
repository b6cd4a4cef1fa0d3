"""ECR: pull-through cache rules and creation templates, which moto lacks; image digests, which it gets wrong."""

from __future__ import annotations

import hashlib
import json

from headrace_sandbox.aws.errors import AwsError
from headrace_sandbox.aws.identity import ACCOUNT_ID
from headrace_sandbox.aws.store import Kind
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import World, exists, page

RULE = Kind(service="ecr", name="pull-through-cache-rule")
TEMPLATE = Kind(service="ecr", name="repository-creation-template")

# Upstream registry -> (its name, whether it needs credentials). ECR User Guide, pull through cache rules (2026-11).
_UPSTREAMS = {
    "public.ecr.aws": ("ecr-public", False),
    "registry.k8s.io": ("k8s", False),
    "quay.io": ("quay", False),
    "registry-1.docker.io": ("docker-hub", True),
    "ghcr.io": ("github-container-registry", True),
    "registry.gitlab.com": ("gitlab-container-registry", True),
    "cgr.dev": ("chainguard", True),
}


async def create_rule(world: World, call: Call) -> Doc:
    """CreatePullThroughCacheRule."""
    params = call.params
    prefix, url = params["ecrRepositoryPrefix"], params["upstreamRegistryUrl"]
    if world.store.get(RULE, call.region, prefix) is not None:
        raise AwsError(
            "PullThroughCacheRuleAlreadyExistsException",
            f"The pull through cache rule with prefix {prefix} already exists in the registry.",
        )
    private = url.endswith((".azurecr.io", ".amazonaws.com"))
    if url not in _UPSTREAMS and not private:
        raise AwsError("UnsupportedUpstreamRegistryException", f"The upstream registry {url} is not supported.")
    name, locked = _UPSTREAMS.get(
        url, ("azure-container-registry" if url.endswith(".azurecr.io") else "ecr", url.endswith(".azurecr.io"))
    )
    await _check_credential(world, call, required=locked)
    rule: Doc = {
        "ecrRepositoryPrefix": prefix,
        "upstreamRegistryUrl": url,
        "registryId": ACCOUNT_ID,
        "createdAt": world.now(),
        "updatedAt": world.now(),
        "upstreamRegistry": params.get("upstreamRegistry", name),
        "upstreamRepositoryPrefix": params.get("upstreamRepositoryPrefix", "ROOT"),
        **{k: params[k] for k in ("credentialArn", "customRoleArn") if params.get(k)},
    }
    world.store.put(RULE, call.region, prefix, rule)
    return rule


async def _check_credential(world: World, call: Call, *, required: bool) -> None:
    credential = call.params.get("credentialArn")
    if credential is None:
        if required:
            raise AwsError(
                "InvalidParameterException",
                "Invalid parameter at 'credentialArn': this upstream registry needs a credential",
            )
        return
    if ":secret:ecr-pullthroughcache/" not in credential:
        raise AwsError(
            "InvalidParameterException",
            "Invalid parameter at 'credentialArn': the secret's name must begin with ecr-pullthroughcache/",
        )
    if await exists(world, "secretsmanager", "DescribeSecret", call.region, {"SecretId": credential}) is None:
        raise AwsError("SecretNotFoundException", f"The secret {credential} does not exist")


def _need_rule(world: World, call: Call) -> Doc:
    prefix = call.params["ecrRepositoryPrefix"]
    rule = world.store.get(RULE, call.region, prefix)
    if rule is None:
        raise AwsError(
            "PullThroughCacheRuleNotFoundException",
            f"The pull through cache rule with prefix {prefix} was not found in the registry.",
        )
    return rule


async def describe_rules(world: World, call: Call) -> Doc:
    """DescribePullThroughCacheRules."""
    wanted = call.params.get("ecrRepositoryPrefixes")
    for prefix in wanted or []:
        if world.store.get(RULE, call.region, prefix) is None:
            raise AwsError(
                "PullThroughCacheRuleNotFoundException",
                f"The pull through cache rule with prefix {prefix} was not found in the registry.",
            )
    items, more = page(
        [r for r in world.store.list(RULE, call.region) if not wanted or r["ecrRepositoryPrefix"] in wanted],
        call.params,
    )
    return {"pullThroughCacheRules": items, **more}


async def update_rule(world: World, call: Call) -> Doc:
    """UpdatePullThroughCacheRule: credentials only."""
    rule = _need_rule(world, call)
    await _check_credential(world, call, required=False)
    rule |= {k: call.params[k] for k in ("credentialArn", "customRoleArn") if call.params.get(k)} | {
        "updatedAt": world.now()
    }
    world.store.put(RULE, call.region, rule["ecrRepositoryPrefix"], rule)
    return rule


async def delete_rule(world: World, call: Call) -> Doc:
    """DeletePullThroughCacheRule."""
    rule = _need_rule(world, call)
    world.store.delete(RULE, call.region, rule["ecrRepositoryPrefix"])
    return rule


_MEMBERS = (
    "prefix",
    "description",
    "encryptionConfiguration",
    "resourceTags",
    "imageTagMutability",
    "imageTagMutabilityExclusionFilters",
    "repositoryPolicy",
    "lifecyclePolicy",
    "appliedFor",
    "customRoleArn",
)


def _check_template(params: Doc) -> None:
    for member in ("repositoryPolicy", "lifecyclePolicy"):
        if params.get(member):
            try:
                json.loads(params[member])
            except ValueError as error:
                raise AwsError(
                    "InvalidParameterException",
                    f"Invalid parameter at '{member}' failed to satisfy constraint: it is not JSON",
                ) from error
    if (params.get("encryptionConfiguration") or {}).get("encryptionType") == "KMS" and not params.get("customRoleArn"):
        raise AwsError(
            "InvalidParameterException",
            "Invalid parameter at 'customRoleArn': a template with KMS encryption or resource tags needs a role",
        )
    if params.get("resourceTags") and not params.get("customRoleArn"):
        raise AwsError(
            "InvalidParameterException",
            "Invalid parameter at 'customRoleArn': a template with KMS encryption or resource tags needs a role",
        )


async def create_template(world: World, call: Call) -> Doc:
    """CreateRepositoryCreationTemplate."""
    prefix = call.params["prefix"]
    if world.store.get(TEMPLATE, call.region, prefix) is not None:
        raise AwsError(
            "TemplateAlreadyExistsException", f"The Template with prefix {prefix} already exists in the registry"
        )
    _check_template(call.params)
    template: Doc = {
        "encryptionConfiguration": {"encryptionType": "AES256"},
        "imageTagMutability": "MUTABLE",
        "resourceTags": [],
        **{k: call.params[k] for k in _MEMBERS if call.params.get(k) is not None},
        "createdAt": world.now(),
        "updatedAt": world.now(),
    }
    world.store.put(TEMPLATE, call.region, prefix, template)
    return {"registryId": ACCOUNT_ID, "repositoryCreationTemplate": template}


def _need_template(world: World, call: Call) -> Doc:
    template = world.store.get(TEMPLATE, call.region, call.params["prefix"])
    if template is None:
        raise AwsError(
            "TemplateNotFoundException",
            f"The Template with prefix {call.params['prefix']} does not exist in the registry",
        )
    return template


async def describe_templates(world: World, call: Call) -> Doc:
    """DescribeRepositoryCreationTemplates; prefixes that don't exist are left out."""
    wanted = call.params.get("prefixes")
    items, more = page(
        [t for t in world.store.list(TEMPLATE, call.region) if not wanted or t["prefix"] in wanted], call.params
    )
    return {"registryId": ACCOUNT_ID, "repositoryCreationTemplates": items, **more}


async def update_template(world: World, call: Call) -> Doc:
    """UpdateRepositoryCreationTemplate."""
    template = _need_template(world, call)
    template |= {k: call.params[k] for k in _MEMBERS if call.params.get(k) is not None} | {"updatedAt": world.now()}
    _check_template(template)
    world.store.put(TEMPLATE, call.region, template["prefix"], template)
    return {"registryId": ACCOUNT_ID, "repositoryCreationTemplate": template}


async def delete_template(world: World, call: Call) -> Doc:
    """DeleteRepositoryCreationTemplate."""
    template = _need_template(world, call)
    world.store.delete(TEMPLATE, call.region, template["prefix"])
    return {"registryId": ACCOUNT_ID, "repositoryCreationTemplate": template}


async def put_image(world: World, call: Call) -> Doc:
    """PutImage with the manifest's true digest; a tag of an immutable repository can't be moved."""
    params, region = call.params, call.region
    digest = "sha256:" + hashlib.sha256(params["imageManifest"].encode()).hexdigest()
    if params.get("imageDigest") not in (None, digest):
        raise AwsError(
            "ImageDigestDoesNotMatchException",
            f"The digest {params['imageDigest']} is not that of the manifest, {digest}",
        )
    name = params["repositoryName"]
    repository = (await world.moto("ecr", "DescribeRepositories", region, {"repositoryNames": [name]}))["repositories"][
        0
    ]
    if tag := params.get("imageTag"):
        images = await exists(
            world, "ecr", "DescribeImages", region, {"repositoryName": name, "imageIds": [{"imageTag": tag}]}
        )
        held = [image["imageDigest"] for image in (images or {}).get("imageDetails", [])]
        if held and held != [digest] and repository.get("imageTagMutability") == "IMMUTABLE":
            message = (
                f"The image tag '{tag}' already exists in the '{name}' repository and cannot be overwritten "
                "because the tag is immutable."
            )
            raise AwsError("ImageTagAlreadyExistsException", message)
    return await world.moto("ecr", "PutImage", region, {**params, "imageDigest": digest})


HANDLERS = {
    ("ecr", "CreatePullThroughCacheRule"): create_rule,
    ("ecr", "DescribePullThroughCacheRules"): describe_rules,
    ("ecr", "UpdatePullThroughCacheRule"): update_rule,
    ("ecr", "DeletePullThroughCacheRule"): delete_rule,
    ("ecr", "CreateRepositoryCreationTemplate"): create_template,
    ("ecr", "DescribeRepositoryCreationTemplates"): describe_templates,
    ("ecr", "UpdateRepositoryCreationTemplate"): update_template,
    ("ecr", "DeleteRepositoryCreationTemplate"): delete_template,
    ("ecr", "PutImage"): put_image,
}
