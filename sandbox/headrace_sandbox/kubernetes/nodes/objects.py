"""Read Node objects of the API server into records."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from headrace_sandbox.kubernetes.nodes.records import (
    DRAIN_ANNOTATION,
    GPU_ANNOTATION,
    GPU_RESOURCE,
    GROUP_ANNOTATION,
    KEYS_ANNOTATION,
    TEMPLATE_ANNOTATION,
    Node,
    Taint,
)


def instant(text: str) -> datetime.datetime:
    """An RFC 3339 time of the API server."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def node_of(document: Mapping[str, Any]) -> Node | None:
    """The record of a node, None for one that we did not make."""
    metadata = document["metadata"]
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    if GROUP_ANNOTATION not in annotations:
        return None
    status = document.get("status") or {}
    since = annotations.get(DRAIN_ANNOTATION)
    return Node(
        name=metadata["name"],
        group_arn=annotations[GROUP_ANNOTATION],
        template=annotations.get(TEMPLATE_ANNOTATION, ""),
        zone=labels.get("topology.kubernetes.io/zone", ""),
        created=instant(metadata["creationTimestamp"]),
        ready=any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or ()),
        draining_since=instant(since) if since else None,
        labels=tuple(sorted(labels.items())),
        taints=tuple(
            Taint(key=taint["key"], value=taint.get("value") or "", effect=taint["effect"])
            for taint in (document.get("spec") or {}).get("taints") or ()
        ),
        group_keys=tuple(key for key in annotations.get(KEYS_ANNOTATION, "").split(",") if key),
        expected_gpus=int(annotations.get(GPU_ANNOTATION, "0")),
        allocatable_gpus=int((status.get("allocatable") or {}).get(GPU_RESOURCE, "0")),
        advertised=GPU_RESOURCE in (status.get("capacity") or {}),
    )
