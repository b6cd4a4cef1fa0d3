"""The small programs of `runtime`, as ConfigMaps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

DIRECTORY = "/opt/headrace"
"""Where pods find their script."""


def config_map(file: str, namespace: str, labels: Mapping[str, str], *, name: str) -> dict[str, Any]:
    """A script. The object's name carries the content's digest, so a pod's script never changes under it."""
    text = (files("headrace_components") / "runtime" / file).read_text(encoding="utf-8")
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return {
        "metadata": {"name": f"{name}-{digest}", "namespace": namespace, "labels": dict(labels)},
        "immutable": True,
        "data": {file: text},
    }
