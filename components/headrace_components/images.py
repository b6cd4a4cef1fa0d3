"""Which registry an image is pulled from. GPU nodes have no internet, so every image comes from the account's own ECR.

A registry that ECR can cache is reached through a pull-through rule; any other (nvcr.io is one) needs a copy in a
repository of our own. Either way the digest stays what it was, so the mapped reference names the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from headrace.errors import refuse

MIRROR_PREFIX: Final = "mirror"
DOCKER_HUB: Final = "docker.io"
# Docker Hub answers under two names: references use the first, ECR's rule wants the second.
DOCKER_HUB_API: Final = "registry-1.docker.io"
# What runs the small scripts of `runtime`. Python 3.13-slim of Docker's official images, by the digest that several
# public projects pin beside that tag (read 2026-11-21).
PYTHON: Final = "docker.io/library/python@sha256:6771159cd4fa5d9bba1258caf0b82e6b73458c694d178ad97c5e925c2d0e1a91"


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The account's registry in a region. `caches` maps a repository prefix to the upstream registry behind it."""

    account_id: str
    region: str
    caches: Mapping[str, str]

    @property
    def host(self) -> str:
        """`<account>.dkr.ecr.<region>.amazonaws.com`."""
        return f"{self.account_id}.dkr.ecr.{self.region}.amazonaws.com"

    def mapped(self, image: str) -> str:
        """`image` (repository and digest) as the nodes pull it."""
        host, repository = split_host(image)
        if host.endswith(".amazonaws.com"):
            return image
        return f"{self.host}/{self.repository_prefix(host)}/{repository}"

    def repository_prefix(self, upstream: str) -> str:
        """The prefix under which `upstream` is cached, else where its copies live."""
        for prefix, cached in sorted(self.caches.items()):
            if canonical_host(cached) == canonical_host(upstream):
                return prefix
        return f"{MIRROR_PREFIX}/{upstream}"

    def mirror_repository(self, image: str) -> str | None:
        """The repository of our own that must hold a copy of `image`; None where ECR serves or caches it."""
        host, repository = split_host(image)
        if host.endswith(".amazonaws.com"):
            return None
        prefix = self.repository_prefix(host)
        name = repository.partition("@")[0].partition(":")[0]
        return f"{prefix}/{name}" if prefix.startswith(f"{MIRROR_PREFIX}/") else None


def canonical_host(host: str) -> str:
    """One name per registry."""
    return DOCKER_HUB if host in (DOCKER_HUB_API, "index.docker.io") else host


def split_host(image: str) -> tuple[str, str]:
    """Registry host and the rest. By the reference format, a first part without dot or colon is on Docker Hub."""
    first, slash, rest = image.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        return DOCKER_HUB, image if slash else f"library/{image}"
    return canonical_host(first), rest


def require_digest(image: str, path: str) -> str:
    """`image`, refused where a tag could move it."""
    if "@sha256:" not in image:
        raise refuse(
            path,
            image,
            "must name an image by digest (repository@sha256:…)",
            reason="a tag can be moved, and then two pools run different code under one name",
            next_step="take the digest from the registry, for example with `docker buildx imagetools inspect`",
        )
    return image
