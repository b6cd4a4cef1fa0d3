"""`kubernetes:yaml:decode`: manifests in, objects out (for ConfigFile and ConfigGroup of the SDK)."""

from __future__ import annotations

import datetime
from typing import Any

from headrace.protocol.values import reveal
from headrace_sandbox.plugin.provider import Failure, InvokeRequest, InvokeResult


def decode(request: InvokeRequest) -> InvokeResult:
    """Every document of `text`; lists are unfolded, and `defaultNamespace` is filled in where an object has none."""
    import yaml

    text = reveal(request.args.get("text"))
    if not isinstance(text, str):
        return InvokeResult(failures=(Failure(path="text", reason="the manifest to decode is missing"),))
    namespace = reveal(request.args.get("defaultNamespace"))
    try:
        documents = [document for document in yaml.safe_load_all(text) if document]
    except yaml.YAMLError as fault:
        return InvokeResult(failures=(Failure(path="text", reason=f"not valid YAML: {fault}"),))
    objects: list[Any] = []
    for number, document in enumerate(documents):
        if not isinstance(document, dict) or not document.get("kind"):
            reason = f"document {number + 1} is not an object with apiVersion and kind"
            return InvokeResult(failures=(Failure(path="text", reason=reason),))
        objects += document["items"] or [] if document["kind"].endswith("List") and "items" in document else [document]
    return InvokeResult(result={"result": [_placed(_plain(item), namespace) for item in objects]})


def _placed(item: dict[str, Any], namespace: object) -> dict[str, Any]:
    metadata = item.get("metadata") or {}
    if not namespace or metadata.get("namespace"):
        return item
    return {**item, "metadata": {**metadata, "namespace": namespace}}


def _plain(value: Any) -> Any:
    # YAML turns an unquoted date into a date; the API means its text.
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
