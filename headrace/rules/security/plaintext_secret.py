"""A credential in plain text.

**What.** No property holds a credential by its shape (AWS and vendor keys, private keys), and no environment variable
of a container that is named like a secret holds a literal value.

**Why.** Properties end in state, previews and the cluster's own store, where many can read them.

**Passes.** Kubernetes `Secret` objects and provider settings (secret in the state), `valueFrom.secretKeyRef`.

**Violates.** `AKIA…` in user data, `API_KEY: sk-…` as a literal in a pod's environment.

**Undecidable when** nothing: a value that is not known yet was not written in plain. The value itself is never
printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from headrace.rules import pods
from headrace.rules.finding import Severity
from headrace.rules.graph import Unknown
from headrace.rules.rule import Broken, Rule, Said, Scope, View

# Shapes that their issuers document (or, for private keys, RFC 7468).
_SHAPES: Final = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----|\bgh[pousr]_[A-Za-z0-9]{36}\b"
    r"|\bhf_[A-Za-z0-9]{30,}\b|\brpa_[A-Za-z0-9]{30,}\b|\bsk-[A-Za-z0-9_-]{32,}\b|\bak-[A-Za-z0-9]{20,}\b"
    r"|\bxox[abpr]-[A-Za-z0-9-]{20,}\b|https://hooks\.slack\.com/services/\S+"
)
# What holds none of these has none of the shapes; most resources of a stack are settled by this one search.
_QUICK: Final = re.compile(r"AKIA|ASIA|PRIVATE KEY|gh[pousr]_|hf_|rpa_|sk-|ak-|xox|hooks\.slack\.com")
_NAME: Final = re.compile(r"(?:SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|_TOKEN$|^TOKEN$)", re.I)
# Amazon's own documentation uses this id; it opens nothing.
_EXAMPLES: Final = frozenset({"AKIAIOSFODNN7EXAMPLE"})
_MADE_FOR_SECRETS: Final = (
    "kubernetes:core/v1:Secret",
    "pulumi:providers:",
    "aws:secretsmanager/secretVersion:",
    "aws:ssm/parameter:",
    "headrace:modal:Secret",
    "headrace:runpod:RegistryAuth",
    "pulumi:pulumi:",
)


def check(view: View) -> Iterator[Said]:
    """Shapes in every text, names in every container's environment."""
    for resource in view.graph.resources:
        if resource.type.startswith(_MADE_FOR_SECRETS) or not _QUICK.search(resource.all_text):
            continue
        for path, text in resource.texts:
            if _credential(text):
                yield Broken(resource=resource.urn, sentence=f"{path} holds what looks like a credential")
    for resource, path, one in pods.containers(view.graph):
        environment = one.get("env") if isinstance(one, Mapping) else None
        for index, variable in enumerate(environment if isinstance(environment, list | tuple) else ()):
            if not isinstance(variable, Mapping):
                continue
            name, value = variable.get("name"), variable.get("value")
            if isinstance(name, str) and _NAME.search(name) and value and not isinstance(value, Unknown):
                yield Broken(
                    resource=resource.urn, sentence=f"{path}.env[{index}] ({name}) holds a secret as a literal value"
                )


def _credential(text: str) -> bool:
    return any(found not in _EXAMPLES for found in _SHAPES.findall(text))


RULE: Final = Rule(
    id="plaintext-secret",
    severity=Severity.CRITICAL,
    title="Secret in plain text",
    description="No property and no environment variable holds a credential in plain text.",
    remediation="put it into a Secret and refer to it (`valueFrom.secretKeyRef`), or pass it as secret configuration; "
    "then rotate it, because it has been seen",
    references=("SOC 2 CC6.1", "CIS Amazon EKS Benchmark 5.4.1"),
    reads=("*",),
    since="0.1.0",
    scope=Scope.RESOURCE,
    check=check,
)
