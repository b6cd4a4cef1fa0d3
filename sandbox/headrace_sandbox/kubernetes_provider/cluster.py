"""The provider's connection, and applying one object to it."""

from __future__ import annotations

import http
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from headrace_sandbox.kubernetes_provider import kubeconfig, shape
from headrace_sandbox.kubernetes_provider.client import ApiError, Client, Kind, Object
from headrace_sandbox.kubernetes_provider.kinds import Gvk
from headrace_sandbox.kubernetes_provider.settings import Settings
from headrace_sandbox.plugin import paths
from headrace_sandbox.plugin.provider import Failure, PropertyFailures, ProviderError

PATCH_FORCE = "pulumi.com/patchForce"


class NoSuchKind(ProviderError):
    """The API server doesn't serve the kind."""

    def __init__(self, gvk: Gvk) -> None:
        super().__init__(
            f"the API server does not serve {gvk.api_version}/{gvk.kind}; check the apiVersion, and that the custom "
            "resource definition exists (depends_on it)"
        )


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an object lives: `namespace` is None for cluster-wide kinds."""

    kind: Kind
    namespace: str | None


class Connection:
    """The client behind the provider's settings, made at first use: a preview without any resource contacts nobody."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """The client. Raises ProviderError for an unusable kubeconfig."""
        with self._lock:
            if self._client is None:
                loaded, folder = kubeconfig.load(self.settings.kubeconfig)
                target = kubeconfig.select(loaded, folder, context=self.settings.context, cluster=self.settings.cluster)
                self._client = Client(target)
            return self._client

    def place(self, gvk: Gvk, namespace: object) -> Place:
        """Where an object of this kind with this `metadata.namespace` lives. Raises NoSuchKind."""
        kind = self.client.kind(gvk.api_version, gvk.kind)
        if kind is None:
            raise NoSuchKind(gvk)
        chosen = str(namespace) if namespace else self.settings.namespace or self.client.target.namespace
        return Place(kind=kind, namespace=chosen if kind.namespaced else None)

    def apply(self, place: Place, body: Object, *, manager: str, dry_run: bool) -> Object:
        """Server-side apply of one object; what it now is. Refusals name the field, and conflicts the other manager."""
        force = shape.annotation(body, PATCH_FORCE)
        forced = force.lower() == "true" if force else self.settings.patch_force
        body = {**body, "metadata": dict(body["metadata"])}
        if place.namespace:
            body["metadata"]["namespace"] = place.namespace
        else:
            body["metadata"].pop("namespace", None)
        try:
            return self.client.apply(place.kind, place.namespace, body, manager=manager, force=forced, dry_run=dry_run)
        except ApiError as refusal:
            _explain(refusal, place, str(body["metadata"]["name"]))


def _explain(refusal: ApiError, place: Place, name: str) -> NoReturn:
    what = f"{place.kind.kind} {place.namespace + '/' if place.namespace else ''}{name}"
    if refusal.code == http.HTTPStatus.CONFLICT and refusal.causes:
        fields = "; ".join(f"{cause.get('field')} ({cause.get('message')})" for cause in refusal.causes)
        raise ApiConflict(
            f"{what}: another manager owns fields of this object: {fields}; leave them to it, or take them over with "
            f'the annotation {PATCH_FORCE}: "true"'
        ) from refusal
    if refusal.code == http.HTTPStatus.UNPROCESSABLE_ENTITY and refusal.causes:
        raise InvalidObject(
            *(
                Failure(path=paths.show(field_path(str(cause.get("field", "")))), reason=str(cause.get("message")))
                for cause in refusal.causes
            )
        ) from refusal
    raise refusal


class ApiConflict(ProviderError):
    """Server-side apply found fields that another manager owns with another value."""


class InvalidObject(PropertyFailures):
    """The API server's validation refused fields."""

    @property
    def immutable(self) -> tuple[paths.Path, ...]:
        """The refused fields that can't change in an existing object (with () where no field is named)."""
        return tuple(
            paths.parse(failure.path)
            for failure in self.failures
            if "immutable" in failure.reason or "may not change" in failure.reason or "updates to" in failure.reason
        )


def field_path(text: str) -> paths.Path:
    """The API server's field notation (`spec.template.spec.containers[0].image`, `data[a.b]`) as a path."""
    steps: list[str | int] = []
    for part in text.replace("]", "").split("."):
        for n, step in enumerate(part.split("[")):
            if step:
                steps.append(int(step) if n and step.isdigit() else step.strip('"'))
    return tuple(steps) if text != "<nil>" else ()


def without_foreign(body: Object, live: Mapping[str, Any] | None, ignored: tuple[str, ...], manager: str) -> Object:
    """The object to apply without ignored fields that another manager owns: applying our old value of them would fight
    the manager that the program said to leave alone."""
    if live is None or not ignored:
        return body
    entries = [e for e in live["metadata"].get("managedFields") or [] if e.get("manager") != manager]
    result: Object = body
    for pattern in ignored:
        path = paths.parse(pattern)
        if path and any(_owns(entry.get("fieldsV1") or {}, path) for entry in entries):
            result = _remove(result, path)
    return result


def _owns(fields: Mapping[str, Any], path: paths.Path) -> bool:
    tree: Any = fields
    for step in path:
        if not isinstance(tree, Mapping) or f"f:{step}" not in tree:
            return isinstance(tree, Mapping) and bool(path) and tree == {} and step != path[0]
        tree = tree[f"f:{step}"]
    return True


def _remove(value: Any, path: paths.Path) -> Any:
    if not isinstance(value, dict) or path[0] not in value:
        return value
    if len(path) == 1:
        return {key: item for key, item in value.items() if key != path[0]}
    return {**value, path[0]: _remove(value[path[0]], path[1:])}
