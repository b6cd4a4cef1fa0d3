"""The Kubernetes provider: check, diff, create, read, update and delete of any kind that the API server serves."""

from __future__ import annotations

import functools
import http
import time
from collections.abc import Mapping
from typing import Any

from headrace.protocol.values import Props, has_unknown, reveal
from headrace_sandbox.kubernetes_provider import (
    comparing,
    helm,
    importing,
    kinds,
    naming,
    settings,
    shape,
    yaml_decode,
)
from headrace_sandbox.kubernetes_provider.client import ApiError, Object, Unreachable
from headrace_sandbox.kubernetes_provider.cluster import (
    Connection,
    InvalidObject,
    NoSuchKind,
    Place,
    without_foreign,
)
from headrace_sandbox.kubernetes_provider.kinds import Gvk
from headrace_sandbox.kubernetes_provider.waiting import NotReady, Waiter, is_skipped
from headrace_sandbox.plugin import provider as api
from headrace_sandbox.plugin.provider import Failure, ProviderError, Severity

VERSION = "4.34.2"
PROPAGATION = "pulumi.com/deletionPropagationPolicy"
_PROPAGATIONS = {"foreground": "Foreground", "background": "Background", "orphan": "Orphan"}
_REHEARSAL = "default"  # a namespace that every cluster has and that can't be deleted
_SETTLE_S = 10.0  # a namespace or definition made a moment ago may not be served by every handler yet
_SETTLE_PAUSE_S = 0.5


class KubernetesProvider(api.Provider):
    """See the module docstring. Holds no state of resources: only the connection."""

    name = "kubernetes"
    version = VERSION

    def __init__(self) -> None:
        super().__init__()
        self._connection: Connection | None = None
        # Namespaces whose quota this run changes: what today's quota refuses may pass by then (set.add is atomic).
        self._moving_quotas: set[str] = set()

    @property
    def connection(self) -> Connection:
        """The configured connection."""
        if self._connection is None:
            raise ProviderError("the Kubernetes provider was not configured before its first resource")
        return self._connection

    # -- configuration -------------------------------------------------------------------------------------------

    def check_config(self, request: api.CheckRequest) -> api.CheckResult:
        return api.CheckResult(inputs=request.inputs, failures=settings.check(request.inputs))

    def diff_config(self, request: api.DiffRequest) -> api.DiffResult:
        return api.DiffResult(changes=settings.compare(request))

    def configure(self, config: Props) -> None:
        self._connection = Connection(settings.read(config))

    # -- check and diff ------------------------------------------------------------------------------------------

    def check(self, request: api.CheckRequest) -> api.CheckResult:
        inputs = {key: item for key, item in request.inputs.items() if item is not None}
        if request.type == kinds.HELM_RELEASE:
            return helm.check(request, inputs)
        gvk = kinds.from_token(request.type, inputs)
        inputs = {"apiVersion": gvk.api_version, "kind": gvk.kind, **inputs}
        if gvk.patch:
            if not reveal(inputs.get("metadata") or {}).get("name"):
                failure = Failure(path="metadata.name", reason="a Patch resource names the object that it changes")
                return api.CheckResult(inputs=inputs, failures=(failure,))
        else:
            inputs = naming.assign(request, inputs)
        inputs = self._with_namespace(gvk, inputs)
        if gvk.kind == "Secret" and not gvk.group:
            inputs = shape.guard_secret(inputs)
        return api.CheckResult(inputs=inputs)

    def _with_namespace(self, gvk: Gvk, inputs: Props) -> Props:
        default = self._connection.settings.namespace if self._connection else None
        metadata = inputs.get("metadata")
        if not default or not isinstance(metadata, dict) or metadata.get("namespace") is not None:
            return inputs
        try:
            found = self.connection.client.kind(gvk.api_version, gvk.kind)
        except Unreachable:
            found = None
        if found is not None and not found.namespaced:
            return inputs
        return {**inputs, "metadata": {**metadata, "namespace": default}}

    def diff(self, request: api.DiffRequest) -> api.DiffResult:
        if request.type == kinds.HELM_RELEASE:
            return helm.diff(request)
        result = comparing.compare(self.connection, self._waiter, request)
        if result.changes and request.type.endswith(":ResourceQuota"):
            self._moving_quotas.add(str(shape.split_id(request.id)[0]))
        return result

    # -- create and update ---------------------------------------------------------------------------------------

    def create(self, request: api.CreateRequest) -> api.CreateResult:
        if request.type == kinds.HELM_RELEASE:
            return helm.create(self.connection, request)
        gvk, inputs = kinds.from_token(request.type, request.inputs), request.inputs
        manager = shape.manager_of(request.urn, inputs, {})
        if request.preview:
            return self._preview_create(gvk, request, manager)
        body = shape.to_object(inputs)
        try:
            live = self._settle(functools.partial(self._make, gvk, body, manager))
        except NotReady as held:
            raise ProviderError(f"an older {gvk.kind} of this name is being deleted, but {held}") from None
        if gvk.kind == "CustomResourceDefinition":
            self.connection.client.forget_kinds()
        return api.CreateResult(
            id=shape.join_id(live), state=self._ready_state(gvk, live, inputs, request, manager, gvk.api_version)
        )

    def _preview_create(self, gvk: Gvk, request: api.CreateRequest, manager: str) -> api.CreateResult:
        as_asked = api.CreateResult(id="", state=request.inputs)
        if has_unknown(request.inputs) or gvk.patch:
            return as_asked
        body = shape.to_object(request.inputs)
        try:
            place = self.connection.place(gvk, body["metadata"].get("namespace"))
        except NoSuchKind:
            return as_asked  # its definition may be part of the same update
        except (ApiError, Unreachable) as fault:
            # The cluster is there, but the access entry that lets us in may be part of the same update.
            codes = (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN)
            if isinstance(fault, ApiError) and fault.code not in codes:
                raise
            self.log(f"no dry run: {fault}", urn=request.urn, severity=Severity.WARNING)
            return as_asked
        try:
            live = self.connection.apply(place, body, manager=manager, dry_run=True)
        except Unreachable as fault:
            self.log(f"no dry run: {fault}", urn=request.urn, severity=Severity.WARNING)
            return as_asked
        except ApiError as refusal:
            if not self._may_pass_later(refusal, request.urn, place.namespace):
                raise
            rehearsed = self._rehearse(place, body, manager) if refusal.code == http.HTTPStatus.NOT_FOUND else None
            if rehearsed is None:
                return as_asked
            live = rehearsed
        state = shape.preview_state(live, request.inputs, manager=manager, initial_api_version=gvk.api_version)
        return api.CreateResult(id="", state=state)

    def _rehearse(self, place: Place, body: Object, manager: str) -> Object | None:
        """A dry run in the namespace `default` for an object whose own namespace isn't there yet, so that the first
        preview of a stack finds invalid fields too and shows what the server fills in. None where `default` has
        rules or an object in the way; a refusal of the object itself is raised."""
        elsewhere = Place(kind=place.kind, namespace=_REHEARSAL)
        try:
            if self.connection.client.get(place.kind, _REHEARSAL, str(body["metadata"]["name"])) is not None:
                return None
            live = self.connection.apply(elsewhere, body, manager=manager, dry_run=True)
        except ApiError as refusal:
            if refusal.code in (http.HTTPStatus.BAD_REQUEST, http.HTTPStatus.INTERNAL_SERVER_ERROR):
                raise  # not the place but the object: fields that its schema doesn't have
            return None
        return {**live, "metadata": {**live["metadata"], "namespace": place.namespace}}

    def _may_pass_later(self, refusal: ApiError, urn: str, namespace: str | None) -> bool:
        """Whether a refusal of a dry run may be gone by the time of the update: the namespace isn't there yet, the
        caller (who may be granted it in the same update) lacks a right, or the quota in the way changes in this run.
        Other refusals of admission stand."""
        if refusal.code == http.HTTPStatus.NOT_FOUND:
            return True
        quota = "exceeded quota" in refusal.message and namespace in self._moving_quotas
        if refusal.code != http.HTTPStatus.FORBIDDEN or not (quota or _lacks_right(refusal)):
            return False
        self.log(f"no dry run: {refusal}", urn=urn, severity=Severity.WARNING)
        return True

    def _make(self, gvk: Gvk, body: Object, manager: str) -> Object:
        place = self.connection.place(gvk, body["metadata"].get("namespace"))
        name = str(body["metadata"]["name"])
        existing = self.connection.client.get(place.kind, place.namespace, name)
        if existing is not None and existing["metadata"].get("deletionTimestamp"):
            # Applying to an object on its way out would go down with it.
            self._waiter("").until_gone(place.kind, existing, None)
            existing = None
        if gvk.patch:
            if existing is None:
                raise ProviderError(f"{gvk.kind} {name} does not exist, so there is nothing to patch")
        elif (
            existing is not None and not shape.is_managed_by(existing, manager) and not self.connection.settings.upsert
        ):
            where = f" in namespace {place.namespace}" if place.namespace else ""
            raise ProviderError(
                f"{gvk.kind} {name} already exists{where}; import it (`pulumi import`), or set the provider's "
                "upsertExistingObjects to take existing objects over"
            )
        return self.connection.apply(
            place, body if gvk.patch else shape.marked(body, manager), manager=manager, dry_run=False
        )

    def _settle(self, make: functools.partial[Object]) -> Object:
        """Make an object whose namespace or definition may have been created a moment ago."""
        until = time.monotonic() + _SETTLE_S
        while True:
            try:
                return make()
            except (NoSuchKind, ApiError) as fault:
                late = isinstance(fault, NoSuchKind) or fault.code == http.HTTPStatus.NOT_FOUND
                if not late or time.monotonic() > until or self.cancelled.wait(_SETTLE_PAUSE_S):
                    raise

    def _ready_state(
        self,
        gvk: Gvk,
        live: Mapping[str, Any],
        inputs: Props,
        request: api.CreateRequest | api.UpdateRequest,
        manager: str,
        initial_api_version: str,
    ) -> Props:
        """The state once the object is ready; InitFailed with what there is if it doesn't become so."""
        make = functools.partial(
            shape.to_state, inputs=inputs, manager=manager, initial_api_version=initial_api_version
        )
        if gvk.patch:
            return make(live)
        place = self.connection.place(gvk, live["metadata"].get("namespace"))
        try:
            ready = self._waiter(request.urn).until_ready(place.kind, live, request.timeout_s)
        except NotReady as late:
            what = f"{gvk.kind} {shape.join_id(live)} exists, but is not ready"
            reasons = (f"{what}: {late.reasons[0]}", *late.reasons[1:])
            raise api.InitFailed(
                id=shape.join_id(live), state=make(late.live), reasons=reasons, inputs=inputs
            ) from None
        return make(ready)

    def update(self, request: api.UpdateRequest) -> Props:
        if request.type == kinds.HELM_RELEASE:
            return helm.update(self.connection, request)
        gvk, inputs = kinds.from_token(request.type, request.inputs), request.inputs
        if request.preview and has_unknown(inputs):
            return inputs
        namespace, name = shape.split_id(request.id)
        manager = shape.manager_of(request.urn, inputs, request.old_state)
        body = shape.to_object(inputs)
        initial = str(request.old_state.get(shape.INITIAL_API_VERSION) or gvk.api_version)
        try:
            place = self.connection.place(gvk, namespace)
            live = self.connection.client.get(place.kind, place.namespace, name)
            body["metadata"] = {**body["metadata"], "name": name}
            body = without_foreign(body, live, request.ignore_changes, manager)
            after = self.connection.apply(place, body, manager=manager, dry_run=request.preview)
        except (NoSuchKind, Unreachable, ApiError) as fault:
            later = not isinstance(fault, ApiError) or self._may_pass_later(fault, request.urn, namespace)
            if request.preview and later:
                return inputs
            raise
        if request.preview:
            return shape.to_state(after, inputs, manager=manager, initial_api_version=initial)
        self._relinquish(place, after, request, manager)
        if gvk.kind == "CustomResourceDefinition":
            self.connection.client.forget_kinds()
        return self._ready_state(gvk, after, inputs, request, manager, initial)

    def _relinquish(self, place: Place, live: Object, request: api.UpdateRequest, manager: str) -> None:
        """Give up the fields held under a former manager name, or they could never be removed."""
        former = str(request.old_state.get(shape.FIELD_MANAGER) or manager)
        if former != manager and shape.is_managed_by(live, former):
            self.connection.apply(place, _bare(live), manager=former, dry_run=False)

    # -- read and delete -----------------------------------------------------------------------------------------

    def read(self, request: api.ReadRequest) -> api.ReadResult | None:
        if request.type == kinds.HELM_RELEASE:
            return helm.read(self.connection, request)
        gvk = kinds.from_token(request.type, request.inputs or {"kind": request.type.rpartition(":")[2]})
        namespace, name = shape.split_id(request.id)
        try:
            place = self.connection.place(gvk, namespace)
            live = self.connection.client.get(place.kind, place.namespace, name)
        except NoSuchKind:
            return None
        except Unreachable:
            return self._read_unreachable(request)
        if live is None:
            return None
        inputs = shape.align(request.inputs, live) if request.inputs else importing.inputs_of(live)
        manager = shape.manager_of(request.urn, inputs, request.state)
        initial = str(request.state.get(shape.INITIAL_API_VERSION) or gvk.api_version)
        state = shape.to_state(live, inputs, manager=manager, initial_api_version=initial)
        identifier = request.id if namespace or not place.namespace else shape.join_id(live)
        if not request.is_import and not gvk.patch and not is_skipped(live):
            verdict = self._waiter(request.urn).verdict(place.kind, live)
            if not verdict.ready:
                reasons = (f"not ready: {verdict.waiting_for or 'it failed'}", *verdict.reasons)
                raise api.InitFailed(id=identifier, state=state, reasons=reasons, inputs=inputs)
        return api.ReadResult(id=identifier, inputs=inputs, state=state)

    def _read_unreachable(self, request: api.ReadRequest) -> api.ReadResult | None:
        if self.connection.settings.delete_unreachable:
            self.log("the cluster gives no answer: removed from the state", urn=request.urn, severity=Severity.WARNING)
            return None
        if self.connection.settings.skip_update_unreachable:
            self.log("the cluster gives no answer: state kept as it was", urn=request.urn, severity=Severity.WARNING)
            return api.ReadResult(id=request.id, inputs=request.inputs, state=request.state)
        raise ProviderError(
            "the state can't be read, because the cluster gives no answer; if it is gone for good, remove its "
            "resources from the state with PULUMI_K8S_DELETE_UNREACHABLE=true"
        )

    def delete(self, request: api.DeleteRequest) -> None:
        if request.type == kinds.HELM_RELEASE:
            helm.delete(self.connection, request)
            return
        gvk = kinds.from_token(request.type, request.inputs)
        namespace, name = shape.split_id(request.id)
        try:
            place = self.connection.place(gvk, namespace)
            live = self.connection.client.get(place.kind, place.namespace, name)
            if live is None:
                return
            if gvk.patch:
                self._release_patch(place, live, request)
                return
            policy = shape.annotation(live, PROPAGATION).lower() or "foreground"
            self.connection.client.delete(
                place.kind, place.namespace, name, propagation=_PROPAGATIONS.get(policy, "Foreground"), uid=None
            )
            if not is_skipped(live):
                self._waiter(request.urn).until_gone(place.kind, live, request.timeout_s)
        except NoSuchKind:
            return  # without its definition there is no object left
        except Unreachable:
            if not self.connection.settings.delete_unreachable:
                raise
            self.log("the cluster gives no answer: removed from the state", urn=request.urn, severity=Severity.WARNING)
        except NotReady as late:
            raise ProviderError(f"{gvk.kind} {request.id} is being deleted, but {late}") from None
        if gvk.kind == "CustomResourceDefinition":
            self.connection.client.forget_kinds()

    def _release_patch(self, place: Place, live: Object, request: api.DeleteRequest) -> None:
        manager = shape.manager_of(request.urn, request.inputs, request.state)
        try:
            self.connection.apply(place, _bare(live), manager=manager, dry_run=False)
        except InvalidObject as refused:
            raise ProviderError(
                f"this Patch resource holds a required field, so it can't let go of it ({refused}); set "
                "retain_on_delete, or give the field to another manager first"
            ) from None

    # -- functions -----------------------------------------------------------------------------------------------

    def invoke(self, request: api.InvokeRequest) -> api.InvokeResult:
        if request.token == "kubernetes:yaml:decode":  # noqa: S105  (a function's token)
            return yaml_decode.decode(request)
        if request.token.startswith("kubernetes:helm:"):
            raise ProviderError("charts are not rendered in the sandbox; use helm.v3.Release, which is recorded")
        return super().invoke(request)

    # -- shared --------------------------------------------------------------------------------------------------

    def _waiter(self, urn: str) -> Waiter:
        tell = functools.partial(self.log, urn=urn, ephemeral=True)
        return Waiter(client=self.connection.client, cancelled=self.cancelled, tell=tell)


def _lacks_right(refusal: ApiError) -> bool:
    # RBAC says: deployments.apps "x" is forbidden: User "u" cannot patch resource ...; admission gives other sentences.
    return " cannot " in refusal.message and "User " in refusal.message


def _bare(live: Mapping[str, Any]) -> Object:
    metadata = {key: live["metadata"][key] for key in ("name", "namespace") if key in live["metadata"]}
    return {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": metadata}
