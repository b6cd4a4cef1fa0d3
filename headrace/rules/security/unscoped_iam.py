"""An IAM policy that grants everything, or to everybody.

**What.** No statement allows all actions (`*`, or all of a service) on all resources, and no trust or resource policy
lets any principal in without a condition.

**Why.** One leaked credential of such a role is the whole account.

**Passes.** Actions or resources that are named; `*` principals under a condition; policies of VPC endpoints and KMS
keys, which AWS writes that way.

**Violates.** `{"Effect": "Allow", "Action": "*", "Resource": "*"}`, `AdministratorAccess`.

**Undecidable when** the text of the policy is not known. What a Headrace component makes is judged once it is known.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from headrace.rules.finding import Severity
from headrace.rules.graph import Resource, Unknown
from headrace.rules.rule import Broken, Rule, Said, Scope, View, undecided

# type -> property with the document
_DOCUMENTS: Final = {
    "aws:iam/policy:Policy": "policy",
    "aws:iam/rolePolicy:RolePolicy": "policy",
    "aws:iam/userPolicy:UserPolicy": "policy",
    "aws:iam/groupPolicy:GroupPolicy": "policy",
    "aws:iam/role:Role": "assumeRolePolicy",
    "aws:s3/bucketPolicy:BucketPolicy": "policy",
    "aws:sns/topicPolicy:TopicPolicy": "policy",
    "aws:sqs/queuePolicy:QueuePolicy": "policy",
    "aws:ecr/repositoryPolicy:RepositoryPolicy": "policy",
    "aws:secretsmanager/secretPolicy:SecretPolicy": "policy",
}
_ATTACHMENTS: Final = (
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
    "aws:iam/userPolicyAttachment:UserPolicyAttachment",
    "aws:iam/groupPolicyAttachment:GroupPolicyAttachment",
)
_BROAD: Final = ("AdministratorAccess", "PowerUserAccess", "IAMFullAccess")


def check(view: View) -> Iterator[Said]:
    """Documents and attachments of managed policies."""
    for type_, name in _DOCUMENTS.items():
        for one in view.graph.of(type_):
            document = _parsed(one.get(name))
            if isinstance(document, Unknown):
                yield undecided(one.urn, document, "what it allows")
            elif document is not None:
                yield from _statements(one, document)
    for type_ in _ATTACHMENTS:
        for one in view.graph.of(type_):
            arn = one.get("policyArn")
            if isinstance(arn, str) and arn.rsplit("/", 1)[-1] in _BROAD:
                yield Broken(resource=one.urn, sentence=f"it attaches {arn}, which allows nearly everything")


def _parsed(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return None  # AWS refuses it


def _statements(one: Resource, document: Any) -> Iterator[Said]:
    statements = document.get("Statement", []) if isinstance(document, Mapping) else []
    for statement in statements if isinstance(statements, list) else [statements]:
        if not isinstance(statement, Mapping) or statement.get("Effect") != "Allow" or statement.get("Condition"):
            continue
        actions, resources = _listed(statement.get("Action")), _listed(statement.get("Resource"))
        broad = [action for action in actions if action == "*" or action.endswith(":*")]
        if broad and "*" in resources:
            yield Broken(resource=one.urn, sentence=f"it allows {', '.join(broad)} on every resource")
        principal = statement.get("Principal")
        open_to_all = principal == "*" or (isinstance(principal, Mapping) and "*" in _listed(principal.get("AWS")))
        if open_to_all:
            yield Broken(resource=one.urn, sentence=f"it lets every AWS account do {', '.join(actions) or 'anything'}")


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(item) for item in value or ()]


RULE: Final = Rule(
    id="unscoped-iam",
    severity=Severity.CRITICAL,
    title="IAM without a scope",
    description="IAM policies name actions and resources, and let in named principals only.",
    remediation="name the actions and the resources that are needed; give principals by ARN or under a condition",
    references=("SOC 2 CC6.3", "CIS AWS Foundations Benchmark 1.16", "CIS Amazon EKS Benchmark 4.1.1"),
    reads=(*_DOCUMENTS, *_ATTACHMENTS),
    since="0.1.0",
    scope=Scope.RESOURCE,
    check=check,
)
