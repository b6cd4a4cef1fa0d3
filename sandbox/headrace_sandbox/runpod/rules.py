"""Rules that the vendor states in prose only, and what it fills in. Pure functions over stored objects.

Source: API reference v2 (docs.runpod.io) and observed answers, both of 2026-11-21.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass
class Problem(Exception):
    """An answer other than success."""

    status: int
    title: str
    detail: str
    errors: tuple[str, ...] = ()


def bad(detail: str) -> Problem:
    """400."""
    return Problem(400, "Bad Request", detail)


def unprocessable(detail: str, *errors: str) -> Problem:
    """422."""
    return Problem(422, "Unprocessable Entity", detail, errors)


def container(body: Json) -> Json:
    """The container part of an object with what the vendor fills in."""
    return {
        "image": body.get("image", ""),
        "args": body.get("args", ""),
        "disk": body.get("disk", 20),
        "ports": body.get("ports", []),
        "env": body.get("env", {}),
        "registry": body.get("registry"),
    }


def endpoint(body: Json, template: Json | None) -> Json:
    """A new endpoint. A template is resolved once; no link to it is kept."""
    given = dict(body)
    if template is not None:
        if not template.get("serverless"):
            raise unprocessable("templateId must name a serverless template")
        for name in ("image", "args", "disk", "ports", "registry"):
            given.setdefault(name, template[name])
        given["env"] = {**template["env"], **body.get("env", {})}
    gpu = body.get("gpu")
    if gpu is None:
        raise bad("exactly one of gpu and cpu is needed")
    made = {
        **container(given),
        "name": body["name"],
        "type": body["type"],
        "gpu": {
            "pools": gpu["pools"],
            "excludedTypes": gpu.get("excludedTypes", []),
            "count": gpu.get("count", 1),
            "allowedCudaVersions": gpu.get("allowedCudaVersions", []),
            "minCudaVersion": gpu.get("minCudaVersion"),
        },
        "workers": {"min": 0, "max": 3, "idleTimeout": 10, **body.get("workers", {})},
        "scaling": body["scaling"],
        "dataCenterIds": body.get("dataCenterIds", []),
        "networkVolumes": body.get("networkVolumes", []),
        # Documented default 300000, observed 0.
        "timeout": body.get("timeout", 0),
        "flashboot": body.get("flashboot", "OFF"),
    }
    check_endpoint(made, body)
    return _shown(made)


def check_endpoint(made: Json, sent: Json) -> None:
    """The prose rules, on the object that would result."""
    queue_on_requests = made["type"] == "QUEUE" and made["scaling"]["type"] == "REQUEST_COUNT"
    if queue_on_requests and "idleTimeout" in sent.get("workers", {}):
        raise unprocessable("workers.idleTimeout does not apply to queue endpoints that scale on requestCount")
    if made["type"] == "LOAD_BALANCER" and made["scaling"]["type"] != "REQUEST_COUNT":
        raise unprocessable("a load-balancing endpoint must scale on REQUEST_COUNT")
    if made["gpu"]["allowedCudaVersions"] and made["gpu"]["minCudaVersion"]:
        raise bad("gpu.minCudaVersion and gpu.allowedCudaVersions are mutually exclusive")
    if made["workers"]["min"] > made["workers"]["max"]:
        raise unprocessable("workers.min must not exceed workers.max")


def _shown(made: Json) -> Json:
    if made["type"] == "QUEUE" and made["scaling"]["type"] == "REQUEST_COUNT":
        made["workers"] = {key: value for key, value in made["workers"].items() if key != "idleTimeout"}
    return made


def changed_endpoint(old: Json, patch: Json) -> Json:
    """An endpoint after a PATCH."""
    made = copy.deepcopy(old)
    for name, value in patch.items():
        if name == "gpu":
            if "pools" in value:
                made["gpu"]["excludedTypes"] = []  # restated or cleared, never kept
            for key, one in value.items():
                made["gpu"][key] = None if key == "minCudaVersion" and one == "" else one
        elif name == "workers":
            made["workers"] = {**made["workers"], **value}
        elif name != "templateId":
            made[name] = value
    if not (made["type"] == "QUEUE" and made["scaling"]["type"] == "REQUEST_COUNT"):
        made["workers"].setdefault("idleTimeout", 10)
    check_endpoint(made, patch)
    return _shown(made)


def template(body: Json) -> Json:
    """A new template."""
    return {
        **container(body),
        "name": body["name"],
        "mounts": body.get("mounts", {}),
        "serverless": body.get("serverless", False),
        "public": body.get("public", False),
        "category": body.get("category", "NVIDIA"),
        "startSsh": body.get("startSsh", True),
        "startJupyter": body.get("startJupyter", True),
        "allowedCudaVersions": body.get("allowedCudaVersions", []),
    }


def changed_template(old: Json, patch: Json) -> Json:
    """A template after a PATCH; an empty `mounts` leaves the mount as it is."""
    return {**old, **{name: value for name, value in patch.items() if not (name == "mounts" and not value)}}


def volume(body: Json) -> Json:
    """A new network volume."""
    return {**body, "type": body.get("type", "STANDARD")}


def changed_volume(old: Json, patch: Json) -> Json:
    """A volume after a PATCH."""
    if patch.get("size", old["size"]) < old["size"]:
        raise unprocessable("network volume storage cannot be reduced", "size: may only increase")
    return {**old, **patch}
