"""Names for objects that the program left unnamed, as the official provider makes them: `<logical name>-<8 hex>`."""

from __future__ import annotations

import hashlib
import secrets

from headrace.protocol.values import Props, Secret, is_unknown, reveal
from headrace_sandbox.kubernetes_provider.shape import AUTONAMED
from headrace_sandbox.plugin.provider import CheckRequest, Failure, PropertyFailures

_SUFFIX = 8


def assign(request: CheckRequest, inputs: Props) -> Props:
    """The inputs with `metadata.name`: given, kept from the last check of an unnamed resource, or made up. Raises
    PropertyFailures where naming is switched off or the name isn't usable."""
    metadata = inputs.get("metadata")
    metadata = {} if metadata is None else metadata
    if is_unknown(metadata):
        return inputs
    plain = reveal(metadata)
    if plain.get("generateName") is not None:
        raise PropertyFailures(
            Failure(
                path="metadata.generateName",
                reason="server-side apply needs a name; leave it out to have one generated",
            )
        )
    if plain.get("name") is not None:
        return inputs
    old = reveal((request.old_inputs or {}).get("metadata") or {})
    kept = isinstance(old, dict) and (old.get("annotations") or {}).get(AUTONAMED) == "true"
    name = str(old["name"]) if kept and old.get("name") else _new(request)
    annotations = reveal(plain.get("annotations") or {})
    annotations = annotations if is_unknown(annotations) else {**annotations, AUTONAMED: "true"}
    named = {**(metadata.value if isinstance(metadata, Secret) else metadata), "name": name, "annotations": annotations}
    return {**inputs, "metadata": Secret(named) if isinstance(metadata, Secret) else named}


def _new(request: CheckRequest) -> str:
    naming = request.autonaming
    if naming is not None and naming.mode == "disable":
        raise PropertyFailures(Failure(path="metadata.name", reason="automatic naming is disabled; give a name"))
    if naming is not None and naming.proposed_name:
        return naming.proposed_name
    if request.seed:
        return f"{request.name}-{hashlib.sha256(request.seed).hexdigest()[:_SUFFIX]}"
    return f"{request.name}-{secrets.token_hex(_SUFFIX // 2)}"
