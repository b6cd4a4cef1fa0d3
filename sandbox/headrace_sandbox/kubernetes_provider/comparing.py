"""What an update would change, and whether that needs a new object.

Old inputs are compared with new ones; a refresh has put live values into the old inputs (shape.align), so drift shows.
The official provider compares with the live object of the last update instead, which differs only where a webhook
rewrites a field: there it reports a change at every run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from headrace.protocol.values import Props, has_unknown, is_unknown, reveal
from headrace_sandbox.kubernetes_provider import kinds, quantity, shape
from headrace_sandbox.kubernetes_provider.cluster import Connection, InvalidObject
from headrace_sandbox.kubernetes_provider.kinds import Gvk
from headrace_sandbox.kubernetes_provider.waiting import Waiter
from headrace_sandbox.plugin import paths
from headrace_sandbox.plugin import provider as api
from headrace_sandbox.plugin.differ import Change, Changes, Kind, difference
from headrace_sandbox.plugin.provider import ProviderError

REPLACE_UNREADY = "pulumi.com/replaceUnready"


def compare(connection: Connection, waiter: Callable[[str], Waiter], request: api.DiffRequest) -> api.DiffResult:
    """The diff of one resource. Contacts the cluster only for a changed resource (a dry run finds immutable fields)
    and for the replaceUnready annotation; never fails because of it."""
    gvk = kinds.from_token(request.type, request.inputs)
    live = live_of(request.old_state)
    changes = changes_of(
        gvk,
        request.old_inputs,
        request.inputs,
        ignore=request.ignore_changes,
        inherited=_inherited_namespace(connection, live),
        mutable=connection.settings.mutable,
    )
    manager = shape.manager_of(request.urn, request.inputs, request.old_state)
    if not shape.is_managed_by(live_of(request.old_state), manager):
        changes = {path: change for path, change in changes.items() if not _lives_already(path, change, request)}
    if changes and not any(change.replace for change in changes.values()):
        changes = _found_by_dry_run(connection, gvk, request, changes)
    if _must_replace_unready(connection, waiter, gvk, request.inputs, live):
        changes[("metadata", "annotations", REPLACE_UNREADY)] = Change(kind=Kind.UPDATE, replace=True)
    replaced = any(change.replace for change in changes.values())
    return api.DiffResult(changes=changes, delete_before_replace=replaced and same_place(request.inputs, live))


def live_of(state: Props) -> dict[str, Any]:
    """The live object that a state holds."""
    plain: dict[str, Any] = reveal({key: item for key, item in state.items() if not key.startswith("__")})
    return plain


def _lives_already(path: paths.Path, change: Change, request: api.DiffRequest) -> bool:
    """Whether an added input is what an imported object has anyway: its inputs were guessed from the live object, and a
    program may spell out a default that the guess left out."""
    if change.kind is not Kind.ADD:
        return False
    wanted, lives = _at(request.inputs, path), _at(request.old_state, path)
    return lives is not None and not difference({"": lives}, {"": wanted}, equal=quantity.same)


def _at(value: Any, path: paths.Path) -> Any:
    for step in path:
        plain = reveal(value)
        if isinstance(plain, dict):
            value = plain.get(str(step))
        elif isinstance(plain, list) and isinstance(step, int) and step < len(plain):
            value = plain[step]
        else:
            return None
    return value


def changes_of(
    gvk: Gvk,
    old: Props,
    new: Props,
    *,
    ignore: tuple[str, ...] = (),
    inherited: str | None = None,
    mutable: frozenset[str] = frozenset(),
) -> Changes:
    """Every changed field, marked where the replace table says so. `inherited` is the namespace that an object without
    one lives in. An object with `immutable: true` (ConfigMap, Secret) never changes in place."""
    left, right = _comparable(old, inherited), _comparable(new, inherited)
    frozen = reveal(new.get("immutable")) is True
    return {
        path: Change(kind=change.kind, replace=frozen or kinds.needs_replacement(gvk, path, mutable=mutable))
        for path, change in difference(left, right, equal=quantity.same, ignore=ignore).items()
    }


def _comparable(inputs: Props, inherited: str | None) -> Props:
    found: Props = {key: item for key, item in inputs.items() if not key.startswith("__")}
    metadata = found.get("metadata")
    if isinstance(metadata, dict):
        kept = {key: item for key, item in metadata.items() if key not in shape.READ_ONLY}
        if kept.get("namespace") is None and inherited:
            kept["namespace"] = inherited
        found["metadata"] = kept
    return found


def _inherited_namespace(connection: Connection, live: Mapping[str, Any]) -> str | None:
    """The live object's namespace if it is the one that objects without a namespace get."""
    namespace = (live.get("metadata") or {}).get("namespace")
    try:
        default = connection.settings.namespace or connection.client.target.namespace
    except ProviderError:
        default = "default"
    return str(namespace) if namespace and namespace == default else None


def _found_by_dry_run(connection: Connection, gvk: Gvk, request: api.DiffRequest, changes: Changes) -> Changes:
    """Changes that the API server itself calls immutable become replacements. Any other refusal is left to the
    update's own dry run, which can fail in the form of an error."""
    if gvk.patch or has_unknown(request.inputs):
        return changes
    try:
        place = connection.place(gvk, reveal(request.inputs["metadata"]).get("namespace"))
        manager = shape.manager_of(request.urn, request.inputs, request.old_state)
        connection.apply(place, shape.to_object(request.inputs), manager=manager, dry_run=True)
    except InvalidObject as refused:
        if not refused.immutable:
            return changes
        named = [path for path in changes if any(paths.covers(field, path) for field in refused.immutable)]
        named = named or [path for path in changes if path[:1] == refused.immutable[0][:1]] or list(changes)
        return {
            path: Change(kind=change.kind, replace=path in named, input_diff=change.input_diff)
            for path, change in changes.items()
        }
    except ProviderError:
        return changes
    return changes


def _must_replace_unready(
    connection: Connection, waiter: Callable[[str], Waiter], gvk: Gvk, new: Props, live: Mapping[str, Any]
) -> bool:
    if shape.annotation(reveal(new), REPLACE_UNREADY).lower() != "true" or gvk.kind != "Job":
        return False
    try:
        place = connection.place(gvk, live["metadata"].get("namespace"))
        now = connection.client.get(place.kind, place.namespace, live["metadata"]["name"])
        return now is not None and not waiter("").verdict(place.kind, now).ready
    except ProviderError:
        return False


def same_place(new: Props, live: Mapping[str, Any]) -> bool:
    """Whether the new object has the old one's name and namespace, so that it can only come after it."""
    metadata, current = reveal(new.get("metadata")), live.get("metadata") or {}
    if not isinstance(metadata, dict) or is_unknown(metadata.get("name")):
        return False
    if (metadata.get("annotations") or {}).get(shape.AUTONAMED) == "true":
        return False
    namespace = metadata.get("namespace")
    return metadata.get("name") == current.get("name") and namespace in (None, current.get("namespace"))
