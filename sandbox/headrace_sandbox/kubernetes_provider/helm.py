"""`helm.v3.Release` as a record: which chart, version and values were asked for. Charts are not rendered here.

The record is a Secret beside where Helm keeps its own (`helm.sh/release.v1`), under a type of our own so that neither
Helm nor a reader takes it for an installed release.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from headrace.protocol.values import Props, Secret, Value, conceal, has_secret, has_unknown, reveal
from headrace_sandbox.kubernetes_provider import naming, shape
from headrace_sandbox.kubernetes_provider.client import Object
from headrace_sandbox.kubernetes_provider.cluster import Connection, Place
from headrace_sandbox.kubernetes_provider.kinds import Gvk
from headrace_sandbox.plugin import provider as api
from headrace_sandbox.plugin.differ import Change, difference
from headrace_sandbox.plugin.provider import Failure, ProviderError

RECORD_TYPE = "headrace.sandbox/helm-release-recorded.v1"
STATUS = "recorded (stand-in: charts are not rendered here)"
_SECRET = Gvk(group="", version="v1", kind="Secret")
_REPLACE = frozenset({"name", "namespace"})


def check(request: api.CheckRequest, inputs: Props) -> api.CheckResult:
    """A chart is needed; a name is made up from the resource's where none is given."""
    failures: tuple[Failure, ...] = ()
    if not inputs.get("chart"):
        failures = (Failure(path="chart", reason="a release names its chart"),)
    if inputs.get("name") is None:
        old = request.old_inputs or {}
        base: Props = {"metadata": {}}
        made = reveal(naming.assign(request, base)["metadata"])["name"]
        inputs = {**inputs, "name": old.get("name") or made}
    return api.CheckResult(inputs=inputs, failures=failures)


def diff(request: api.DiffRequest) -> api.DiffResult:
    """Name and namespace make another release; all else is an upgrade."""
    changes = {
        path: Change(kind=change.kind, replace=path[0] in _REPLACE)
        for path, change in difference(request.old_inputs, request.inputs, ignore=request.ignore_changes).items()
    }
    return api.DiffResult(changes=changes)


def create(connection: Connection, request: api.CreateRequest) -> api.CreateResult:
    """Write the record of revision 1."""
    if request.preview:
        return api.CreateResult(id="", state={**request.inputs, "status": _status(request.inputs, "", 1)})
    place = _place(connection, request.inputs)
    name = _record_name(request.inputs)
    manager = shape.manager_for(request.urn)
    existing = connection.client.get(place.kind, place.namespace, name)
    if existing is not None and not shape.is_managed_by(existing, manager):
        raise ProviderError(
            f"a release named {reveal(request.inputs['name'])} is already recorded in {place.namespace}"
        )
    record = _write(connection, place, request.inputs, revision=1, manager=manager)
    return api.CreateResult(id=_id(record, request.inputs), state=_state(request.inputs, record, 1))


def update(connection: Connection, request: api.UpdateRequest) -> Props:
    """Write the next revision into the record."""
    namespace, _name = shape.split_id(request.id)
    before = reveal(request.old_state.get("status") or {})
    revision = int(before.get("revision") or 1) + 1 if isinstance(before, dict) else 1
    if request.preview:
        return {**request.inputs, "status": _status(request.inputs, namespace or "", revision)}
    if has_unknown(request.inputs):
        raise ProviderError("a release can't be recorded with values that are not known yet")
    place = _place(connection, {**request.inputs, "namespace": namespace})
    record = _write(connection, place, request.inputs, revision=revision, manager=shape.manager_for(request.urn))
    return _state(request.inputs, record, revision)


def read(connection: Connection, request: api.ReadRequest) -> api.ReadResult | None:
    """What is recorded; None if the record is gone."""
    namespace, name = shape.split_id(request.id)
    place = _place(connection, {"namespace": namespace})
    record = connection.client.get(place.kind, place.namespace, _record_name({"name": name}))
    if record is None or record.get("type") != RECORD_TYPE:
        return None
    release: dict[str, Any] = json.loads(base64.b64decode(record["data"]["release"]))
    inputs: Props = conceal(release["inputs"], request.inputs)
    if request.is_import:
        inputs = {key: Secret(item) if key == "values" else item for key, item in inputs.items()}
    return api.ReadResult(id=request.id, inputs=inputs, state=_state(inputs, record, int(release["revision"])))


def delete(connection: Connection, request: api.DeleteRequest) -> None:
    """Remove the record; absent is success."""
    namespace, name = shape.split_id(request.id)
    place = _place(connection, {"namespace": namespace})
    record = _record_name({"name": name})
    connection.client.delete(place.kind, place.namespace, record, propagation="Background", uid=None)


def _place(connection: Connection, inputs: Props) -> Place:
    return connection.place(_SECRET, reveal(inputs.get("namespace")))


def _record_name(inputs: Props) -> str:
    return f"headrace.release.{reveal(inputs['name'])}"


def _write(connection: Connection, place: Place, inputs: Props, *, revision: int, manager: str) -> Object:
    plain = reveal(inputs)
    release = json.dumps({"revision": revision, "inputs": plain}, sort_keys=True)
    labels = {"app.kubernetes.io/managed-by": "headrace-sandbox", "headrace.sandbox/recorded": "true"}
    annotations = {
        "headrace.sandbox/chart": str(plain["chart"]),
        "headrace.sandbox/chart-version": str(plain.get("version") or ""),
        "headrace.sandbox/status": STATUS,
    }
    body: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": _record_name(inputs), "labels": labels, "annotations": annotations},
        "type": RECORD_TYPE,
        "data": {"release": base64.b64encode(release.encode()).decode()},
    }
    return connection.apply(place, body, manager=manager, dry_run=False)


def _id(record: Object, inputs: Props) -> str:
    return f"{record['metadata']['namespace']}/{reveal(inputs['name'])}"


def _state(inputs: Props, record: Object, revision: int) -> Props:
    namespace = record["metadata"]["namespace"]
    return {**inputs, "namespace": namespace, "resourceNames": {}, "status": _status(inputs, namespace, revision)}


def _status(inputs: Props, namespace: str, revision: int) -> Value:
    plain = reveal(inputs)
    status = {
        "name": plain.get("name"),
        "namespace": plain.get("namespace") or namespace or None,
        "chart": plain.get("chart"),
        "version": plain.get("version"),
        "revision": revision,
        "status": STATUS,
    }
    return Secret(status) if any(has_secret(inputs.get(key)) for key in ("name", "chart", "version")) else status
