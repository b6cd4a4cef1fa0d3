"""Between the engine's properties and Kubernetes objects: all pure.

The state has the official provider's form: the live object itself plus `__fieldManager`, `__initialApiVersion` and
`__inputs`, so that outputs resolve (`service.status.load_balancer`) and a stack can move to the official plugin.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any

from headrace.protocol.values import UNKNOWN, Props, Secret, Value, conceal, reveal
from headrace_sandbox.kubernetes_provider import quantity
from headrace_sandbox.plugin import paths

FIELD_MANAGER = "__fieldManager"
INITIAL_API_VERSION = "__initialApiVersion"
INPUTS = "__inputs"
AUTONAMED = "pulumi.com/autonamed"
CREATOR = "headrace.sandbox/created-by"
PATCH_MANAGER = "pulumi.com/patchFieldManager"
READ_ONLY = (
    *("creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "managedFields"),
    *("resourceVersion", "selfLink", "uid"),
)
# Python and .NET can't name these, so the SDKs carry an underscored form (custom resource definitions only).
_DASHED = {
    f"x_kubernetes_{name}": f"x-kubernetes-{name.replace('_', '-')}"
    for name in (
        *("embedded_resource", "int_or_string", "list_map_keys", "list_type", "map_type"),
        *("preserve_unknown_fields", "validations"),
    )
}
UNDERSCORED = {dashed: name for name, dashed in _DASHED.items()}
# Keys by which Kubernetes merges lists of objects (x-kubernetes-list-map-keys of the built-in kinds), tried in order.
_MERGE_KEYS = (
    ("name",),
    ("containerPort", "protocol"),
    ("port", "protocol"),
    ("mountPath",),
    ("topologyKey", "whenUnsatisfiable"),
    ("type",),
    ("key",),
    ("ip",),
)
# What only the server gives a new object: a dry run invents it anew each time.
_INVENTED = (("metadata", "uid"), ("metadata", "resourceVersion"), ("metadata", "creationTimestamp"))
_INVENTED_SERVICE = (("spec", "clusterIP"), ("spec", "clusterIPs"))


def rename(value: Value, names: Mapping[str, str]) -> Value:
    """The value with map keys renamed at every depth; others stay."""
    if isinstance(value, Secret):
        return Secret(rename(value.value, names))
    if isinstance(value, dict):
        return {names.get(key, key): rename(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [rename(item, names) for item in value]
    return value


def _without_nulls(value: Value) -> Value:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def to_object(inputs: Props) -> dict[str, Any]:
    """Inputs as the object to apply: secrets revealed, nulls and read-only metadata dropped. Unknowns stay in place."""
    found: dict[str, Any] = rename(_without_nulls(reveal(inputs)), _DASHED)
    metadata = found.get("metadata")
    if isinstance(metadata, dict):
        found["metadata"] = {key: item for key, item in metadata.items() if key not in READ_ONLY}
    found.pop("status", None)
    return found


def to_state(live: Mapping[str, Any], inputs: Props, *, manager: str, initial_api_version: str) -> Props:
    """The state for a live object. What is secret in the inputs is secret here, in both copies; the data of a Secret
    always is (its `stringData` comes back as `data`)."""
    plain: Props = rename(dict(live), UNDERSCORED)
    state: Props = conceal(plain, inputs)
    kept = dict(inputs)
    if live.get("kind") == "Secret" and live.get("apiVersion") == "v1":
        state, kept = guard_secret(state), guard_secret(kept)
    state[INPUTS] = kept
    state[INITIAL_API_VERSION] = initial_api_version
    state[FIELD_MANAGER] = manager
    return state


def guard_secret(props: Props) -> Props:
    """The properties of a core Secret with its data marked as secret."""
    return {
        key: Secret(item)
        if key in ("data", "stringData") and item is not None and not isinstance(item, Secret)
        else item
        for key, item in props.items()
    }


def preview_state(live: Mapping[str, Any], inputs: Props, *, manager: str, initial_api_version: str) -> Props:
    """The state that a dry run of a create shows: what the server will invent is unknown, and there is no status."""
    shown = {key: item for key, item in live.items() if key != "status"}
    invented = [*_INVENTED, *(_INVENTED_SERVICE if live.get("kind") == "Service" else ())]
    for top, field in invented:
        holder = shown.get(top)
        given = reveal(inputs.get(top))
        if isinstance(holder, dict) and field in holder and not (isinstance(given, dict) and field in given):
            shown[top] = {**holder, field: UNKNOWN}
    return to_state(shown, inputs, manager=manager, initial_api_version=initial_api_version)


def manager_for(urn: str) -> str:
    """The field manager of a resource: the official shape `pulumi-kubernetes-<8 hex>`, but from the URN instead of
    chance, so that an object whose creation the engine did not live to record is recognised as ours at the next run."""
    return f"pulumi-kubernetes-{hashlib.sha256(urn.encode()).hexdigest()[:8]}"


def manager_of(urn: str, inputs: Props, state: Props) -> str:
    """The field manager of a resource: its annotation's, the one in the state, or the one that belongs to the URN."""
    kept = state.get(FIELD_MANAGER)
    return annotation(reveal(inputs), PATCH_MANAGER) or (str(kept) if kept else manager_for(urn))


def split_id(identifier: str) -> tuple[str | None, str]:
    """`namespace/name` or `name`."""
    namespace, slash, name = identifier.rpartition("/")
    return (namespace if slash else None), name


def join_id(live: Mapping[str, Any]) -> str:
    """The resource id of a live object."""
    metadata = live["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def marked(body: Mapping[str, Any], manager: str) -> dict[str, Any]:
    """The object to create, with something for its manager to own: an object of nothing but a name (a plain namespace)
    leaves no trace of who applied it, so it gets an annotation with the manager."""
    extra = {key for key in body if key not in ("apiVersion", "kind", "metadata")}
    metadata = body["metadata"]
    if extra or metadata.get("labels") or metadata.get("annotations"):
        return dict(body)
    return {**body, "metadata": {**metadata, "annotations": {CREATOR: manager}}}


def is_managed_by(live: Mapping[str, Any], manager: str) -> bool:
    """Whether the manager has applied this object."""
    entries = live.get("metadata", {}).get("managedFields") or []
    return any(entry.get("manager") == manager and entry.get("operation") == "Apply" for entry in entries)


def annotation(obj: Mapping[str, Any], name: str) -> str:
    """A metadata annotation's text, "" where it isn't set."""
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(name, "")) if isinstance(annotations, dict) else ""


def align(inputs: Props, live: Mapping[str, Any]) -> Props:
    """The old inputs with live values in their place: what a refresh reports as inputs.

    Only fields that the inputs have are looked at (the server, controllers and other managers own the rest). A value
    that means the same keeps the inputs' spelling (`0.5` for `500m`); one that's gone is left out, unless it was empty,
    which the server doesn't store. Secret wrappers stay.
    """
    plain = reveal(inputs)
    seen = rename(dict(live), UNDERSCORED)
    if plain.get("kind") == "Secret" and isinstance(plain.get("stringData"), dict):
        seen["stringData"] = _texts(seen.get("data") or {}, plain["stringData"])
    aligned: Props = conceal(_align(plain, seen, ()), inputs)
    return aligned


def _texts(data: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, str]:
    texts = {}
    for key in wanted:
        try:
            texts[key] = base64.b64decode(data[key]).decode()
        except (KeyError, ValueError, binascii.Error):
            continue
    return texts


def _align(old: Value, live: Value, path: paths.Path) -> Value:
    if isinstance(old, dict) and isinstance(live, dict):
        kept: Props = {}
        for key, item in old.items():
            if key in live:
                kept[key] = _align(item, live[key], (*path, key))
            elif not item:  # {}, [], "", 0, false, null: absent and empty are one to the server
                kept[key] = item
        return kept
    if isinstance(old, list) and isinstance(live, list):
        return _align_lists(old, live, path)
    return old if quantity.same(path, old, live) else live


def _align_lists(old: list[Value], live: list[Value], path: paths.Path) -> list[Value]:
    keys = merge_keys(old)
    if keys is None:
        if len(old) == len(live):
            return [_align(item, other, (*path, n)) for n, (item, other) in enumerate(zip(old, live, strict=True))]
        # A list of plain values that holds all of ours and more: others added to a set (finalizers).
        return old if path[:1] == ("metadata",) and all(item in live for item in old) else live
    by_key = {tuple(item.get(key) for key in keys): item for item in live if isinstance(item, dict)}
    found = []
    for n, item in enumerate(old):
        wanted = tuple(item.get(key) for key in keys)
        other = by_key.get(wanted)
        if other is None and len(keys) > 1:  # a defaulted part of the key (protocol: TCP)
            other = next((entry for key, entry in by_key.items() if key[0] == wanted[0]), None)
        if other is not None:
            found.append(_align(item, other, (*path, n)))
    return found


def merge_keys(items: list[Value]) -> tuple[str, ...] | None:
    """The key fields by which these list items can be told apart, or None."""
    if not items or not all(isinstance(item, dict) for item in items):
        return None
    for keys in _MERGE_KEYS:
        values = [tuple(item.get(key) for key in keys) for item in items]
        if all(value[0] is not None for value in values) and len(set(map(str, values))) == len(values):
            return keys
    return None
