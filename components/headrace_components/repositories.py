"""Repositories of the account's registry: which must exist, and what is kept in them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from headrace_components.images import DOCKER_HUB, DOCKER_HUB_API, Registry, canonical_host


def mirror_repositories(registry: Registry, images: Iterable[str]) -> tuple[str, ...]:
    """Repositories for the images that no cache can serve, sorted."""
    names = {registry.mirror_repository(image) for image in images}
    return tuple(sorted(name for name in names if name is not None))


def upstream_url(host: str) -> str:
    """The name that ECR's rule wants for an upstream registry."""
    return DOCKER_HUB_API if canonical_host(host) == DOCKER_HUB else host


def _expire_untagged(days: int) -> str:
    return json.dumps(
        {
            "rules": [
                {
                    "rulePriority": 1,
                    "description": f"Untagged images go after {days} days",
                    "selection": {
                        "tagStatus": "untagged",
                        "countType": "sinceImagePushed",
                        "countUnit": "days",
                        "countNumber": days,
                    },
                    "action": {"type": "expire"},
                }
            ]
        },
        sort_keys=True,
    )


# Copies are tagged with their release, so what has no tag was left behind by a build.
MIRROR_LIFECYCLE: Final = _expire_untagged(30)
# A cached image is pulled by digest and has no tag; it must outlive every release that might be rolled back to.
CACHE_LIFECYCLE: Final = _expire_untagged(400)
