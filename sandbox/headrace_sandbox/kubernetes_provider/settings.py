"""The provider's own configuration (properties of `pulumi_kubernetes.Provider`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.protocol.values import Props, Value, is_unknown, reveal
from headrace_sandbox.kubernetes_provider import kubeconfig
from headrace_sandbox.plugin.differ import Change, Kind, difference
from headrace_sandbox.plugin.paths import Path
from headrace_sandbox.plugin.provider import DiffRequest, Failure, ProviderError

_FLAGS = {
    "enableServerSideApply": True,
    "enablePatchForce": False,
    "enableConfigMapMutable": False,
    "enableSecretMutable": False,
    "deleteUnreachable": False,
    "skipUpdateUnreachable": False,
    "suppressDeprecationWarnings": False,
    "suppressHelmHookWarnings": False,
    "upsertExistingObjects": False,
}
_TEXTS = ("kubeconfig", "context", "cluster", "namespace", "clusterIdentifier")
_ACCEPTED = frozenset({"helmReleaseSettings", "kubeClientSettings", "version", "pluginDownloadURL"})
_REFUSED = {
    "renderYamlToDirectory": "rendering YAML to a folder needs the official provider",
    "alwaysRender": "rendering YAML to a folder needs the official provider",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the provider was configured with. `kubeconfig` may hold credentials."""

    kubeconfig: str | None
    context: str | None
    cluster: str | None
    namespace: str | None
    patch_force: bool
    delete_unreachable: bool
    skip_update_unreachable: bool
    upsert: bool
    mutable: frozenset[str]


def _flag(value: Value, default: bool) -> bool:  # noqa: FBT001  (the default of a table row)
    plain = reveal(value)
    if plain is None or is_unknown(plain):
        return default
    return plain if isinstance(plain, bool) else str(plain).lower() == "true"


def check(inputs: Props) -> tuple[Failure, ...]:
    """What is wrong with a provider's configuration."""
    failures = []
    for key in inputs:
        if key in _REFUSED:
            failures.append(Failure(path=key, reason=f"the sandbox has no {key}: {_REFUSED[key]}"))
        elif key not in _FLAGS and key not in _TEXTS and key not in _ACCEPTED:
            failures.append(Failure(path=key, reason="the Kubernetes provider has no such property"))
    if not _flag(inputs.get("enableServerSideApply"), default=True):
        reason = "the sandbox's provider always uses server-side apply; leave this out"
        failures.append(Failure(path="enableServerSideApply", reason=reason))
    text = reveal(inputs.get("kubeconfig"))
    if isinstance(text, str) and not is_unknown(text):
        try:
            kubeconfig.load(text)
        except ProviderError as fault:
            failures.append(Failure(path="kubeconfig", reason=str(fault)))
    return tuple(failures)


def read(config: Props) -> Settings:
    """The configuration as a record."""
    plain = reveal(config)
    mutable = {
        kind
        for kind, key in (("ConfigMap", "enableConfigMapMutable"), ("Secret", "enableSecretMutable"))
        if _flag(plain.get(key), default=False)
    }
    texts: Mapping[str, str | None] = {key: str(plain[key]) if plain.get(key) else None for key in _TEXTS}
    return Settings(
        kubeconfig=texts["kubeconfig"],
        context=texts["context"],
        cluster=texts["cluster"],
        namespace=texts["namespace"],
        patch_force=_flag(plain.get("enablePatchForce"), default=False),
        delete_unreachable=_flag(plain.get("deleteUnreachable"), default=False),
        skip_update_unreachable=_flag(plain.get("skipUpdateUnreachable"), default=False),
        upsert=_flag(plain.get("upsertExistingObjects"), default=False),
        mutable=frozenset(mutable),
    )


def compare(request: DiffRequest) -> dict[Path, Change]:
    """Changes of the configuration; another cluster means that every resource must be made anew there. An unknown
    kubeconfig may be another cluster's, so it counts as one."""
    changes = difference(request.old_inputs, request.inputs, ignore=request.ignore_changes)
    identity = [path for path in changes if path[0] in ("kubeconfig", "context", "cluster", "clusterIdentifier")]
    if not identity or not _other_cluster(request.old_inputs, request.inputs):
        return changes
    return {
        path: Change(kind=change.kind, replace=path in identity, input_diff=change.input_diff)
        for path, change in changes.items()
    } or {("kubeconfig",): Change(kind=Kind.UPDATE, replace=True)}


def _other_cluster(old: Props, new: Props) -> bool:
    if any(is_unknown(new.get(key)) for key in ("kubeconfig", "context", "cluster")):
        return True
    named: tuple[Any, Any] = (reveal(old.get("clusterIdentifier")), reveal(new.get("clusterIdentifier")))
    if all(named):
        return bool(named[0] != named[1])
    return _address(old) != _address(new)


def _address(config: Props) -> object:
    settings = read(config)
    try:
        loaded, folder = kubeconfig.load(settings.kubeconfig)
        return kubeconfig.select(loaded, folder, context=settings.context, cluster=settings.cluster).cluster
    except ProviderError:
        return json.dumps([settings.kubeconfig, settings.context, settings.cluster])
