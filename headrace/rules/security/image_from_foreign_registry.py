"""A pod whose image comes from a registry that nobody allowed.

**What.** Images of pods come from an Amazon ECR registry, or from a registry that the environment allows.

**Why.** GPU nodes have no internet: another registry can't be reached. And only mirrored images are scanned and kept.

**Passes.** `<account>.dkr.ecr.<region>.amazonaws.com/…`.

**Violates.** `docker.io/…`, an image without a registry (which means Docker Hub).

**Undecidable when** the image is not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from headrace.rules import pods
from headrace.rules.finding import Severity
from headrace.rules.graph import Unknown
from headrace.rules.rule import Broken, Parameter, Rule, Said, Scope, View, undecided

_ECR: Final = re.compile(r"^\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?$")


def check(view: View) -> Iterator[Said]:
    """Images of pods; the serverless vendors pull from public registries."""
    allowed = view.words("allowedRegistries")
    for resource, path, image in pods.images(view.graph):
        if not resource.type.startswith("kubernetes:"):
            continue
        if isinstance(image, Unknown):
            yield undecided(resource.urn, image, "which image it runs")
            continue
        host = str(image).split("/", 1)[0]
        if "/" not in str(image) or not ("." in host or ":" in host):
            host = "docker.io"
        if not _ECR.match(host) and host not in allowed:
            yield Broken(resource=resource.urn, sentence=f"the image {image!r} ({path}) comes from {host}")


RULE: Final = Rule(
    id="image-from-foreign-registry",
    severity=Severity.HIGH,
    title="Image from a foreign registry",
    description="Images of pods come from the account's own registry or from one that the environment allows.",
    remediation="mirror the image (`modelStore.upstreamRegistries` caches it) and name the copy",
    references=("SOC 2 CC6.8", "CIS Amazon EKS Benchmark 5.1.4"),
    reads=pods.KINDS,
    since="0.1.0",
    scope=Scope.RESOURCE,
    parameters=(Parameter(name="allowedRegistries", description="Hosts beside Amazon ECR.", default=()),),
    check=check,
)
