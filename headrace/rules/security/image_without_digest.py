"""A container image that is named by a tag.

**What.** Every image of a pod, a RunPod endpoint or template, or a Modal app is named by digest.

**Why.** A tag can be moved. Then two nodes, or the two halves of the stack, run different code under one name.

**Passes.** `registry/repository@sha256:<64 hex digits>`.

**Violates.** `vllm/vllm-openai:latest`, `vllm/vllm-openai:v0.11.0`, no tag at all.

**Undecidable when** the image is not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from headrace.rules import pods
from headrace.rules.finding import Severity
from headrace.rules.graph import Unknown
from headrace.rules.rule import Broken, Rule, Said, Scope, View, undecided

_DIGEST: Final = re.compile(r"@sha256:[0-9a-f]{64}$")


def check(view: View) -> Iterator[Said]:
    """Every image of the stack."""
    for resource, path, image in pods.images(view.graph):
        if isinstance(image, Unknown):
            yield undecided(resource.urn, image, "which image it runs")
        elif not isinstance(image, str) or not _DIGEST.search(image):
            yield Broken(resource=resource.urn, sentence=f"the image {image!r} ({path}) is not named by digest")


RULE: Final = Rule(
    id="image-without-digest",
    severity=Severity.HIGH,
    title="Image without digest",
    description="Container images are named by digest.",
    remediation="resolve the tag with `docker buildx imagetools inspect` and write repository@sha256:<digest>",
    references=("SOC 2 CC8.1", "CIS Amazon EKS Benchmark 5.1.1"),
    reads=(*pods.KINDS, "headrace:runpod:Endpoint", "headrace:runpod:Template", "headrace:modal:App"),
    since="0.1.0",
    scope=Scope.RESOURCE,
    check=check,
)
