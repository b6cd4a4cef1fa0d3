"""Create, read, update and delete of one resource, driven by its row of the table."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from botocore.exceptions import ClientError
from botocore.model import StructureShape

from headrace_sandbox.aws_provider import requests
from headrace_sandbox.aws_provider.context import Context, matches
from headrace_sandbox.aws_provider.documents import same_document
from headrace_sandbox.aws_provider.mapping import find_member, from_api, lookup, pairs_to_map
from headrace_sandbox.aws_provider.query import search
from headrace_sandbox.aws_provider.sdk import Declaration
from headrace_sandbox.aws_provider.spec import ResourceType, State, Update
from headrace_sandbox.aws_provider.tagging import change_tags, own_tags, read_tags
from headrace_sandbox.aws_provider.values import fill
from headrace_sandbox.plugin.provider import ProviderError

_SETTLE_S = 60.0
_BUSY_S = 120.0
_APPEAR_S = 30.0
_DELETE_S = 1200.0


class NotReady(Exception):
    """The resource exists, but not as asked for. `state` is what is known of it."""

    def __init__(self, state: State, reason: str) -> None:
        super().__init__(reason)
        self.state = state


class Values(dict[str, Any]):
    """Properties for templates, with the caller's account, region and partition."""

    def __init__(self, ctx: Context, *parts: Mapping[str, Any]) -> None:
        super().__init__()
        for part in parts:
            self.update(part)
        self._ctx = ctx
        self["region"] = ctx.region
        self["partition"] = ctx.partition

    def get(self, key: str, default: Any = None) -> Any:
        return self._ctx.account if key == "account" else super().get(key, default)

    def __missing__(self, key: str) -> Any:
        if key == "account":
            return self._ctx.account
        raise KeyError(key)


def create(ctx: Context, spec: ResourceType, decl: Declaration, inputs: State) -> State:
    """Makes the resource and waits until it may be used; its state, with `id`.

    Raises `ClientError` if nothing was made, `NotReady` (with the state so far) if something was.
    """
    made = ctx.retry(lambda: _make(ctx, spec, inputs), spec.settle, timeout_s=_SETTLE_S)
    state = {**inputs, **made}
    if spec.id != "{id}":
        state["id"] = fill(spec.id, Values(ctx, state))
    try:
        if spec.after_create is not None:
            spec.after_create(ctx, state)
        return wait_ready(ctx, spec, decl, state)
    except NotReady:
        raise
    except Exception as error:
        raise NotReady(state, str(error)) from error


def _make(ctx: Context, spec: ResourceType, inputs: State) -> State:
    if spec.on_create is not None:
        return dict(spec.on_create(ctx, inputs))
    call = spec.create
    assert call is not None, f"{spec.type} has neither create nor on_create"  # noqa: S101 - the table's own rule, tested
    shape = ctx.aws.input_shape(spec.service, call.op)
    names = requests.carried(spec, call, shape, set(inputs))
    params = requests.build(spec, call, shape, Values(ctx, inputs), {n: inputs[n] for n in names})
    if spec.tags is not None:
        extra = requests.creation_tags(spec.tags, shape, inputs.get("tagsAll") or {})
        for member, value in extra.items():
            params[member] = [*params.get(member, []), *value] if isinstance(value, list) else value
    if call.finish is not None:
        call.finish(params, inputs, inputs)
    answer = _send_once(ctx, spec, call.op, shape, params)
    made = {name: search(path, answer) for name, path in spec.created.items()}
    if any(value is None for value in made.values()):
        # Some operations answer success with a list of what they did not do.
        raise ProviderError(f"{call.op}: {json.dumps(answer.get('Unsuccessful', answer), default=str)}")
    return made


def _send_once(ctx: Context, spec: ResourceType, op: str, shape: StructureShape, params: State) -> dict[str, Any]:
    """Sends a create request under a token derived from the resource and the request, so that a run after a crash gets
    what the lost one made. What such a token finds deleted (AWS remembers tokens for a day) is made anew."""
    member = requests.idempotency_member(shape)
    if member is None or member in params:
        return ctx.call(op, params)
    text = json.dumps([ctx.seed, params], sort_keys=True, default=str)
    for attempt in range(8):
        token = hashlib.sha256(f"{attempt} {text}".encode()).hexdigest()[:36]
        answer = ctx.call(op, {**params, member: token})
        found = {name: search(path, answer) for name, path in spec.created.items()}
        if spec.read is None or not spec.read.gone or describe(ctx, spec, {**found}) is not None:
            break
        if not _is_gone(ctx, spec, found):
            break
    return answer


def _is_gone(ctx: Context, spec: ResourceType, state: State) -> bool:
    """Whether AWS still describes the resource, as deleted (rather than not yet)."""
    resource = describe(ctx, spec, state, dead=True)
    return resource is not None


def describe(ctx: Context, spec: ResourceType, state: State, *, dead: bool = False) -> dict[str, Any] | None:
    """The resource in AWS's words, or None if it doesn't exist. `dead` also returns one in a final state."""
    if spec.on_read is not None:
        try:
            return spec.on_read(ctx, state)  # type: ignore[no-any-return]  # a hook returns Any by its type
        except ClientError as error:
            if spec.read is not None and matches(error, spec.read.missing):
                return None
            raise
    read = spec.read
    assert read is not None, f"{spec.type} has neither read nor on_read"  # noqa: S101 - the table's own rule, tested
    try:
        answer = ctx.call(read.op, fill(read.args, Values(ctx, state)))
    except ClientError as error:
        if matches(error, read.missing):
            return None
        raise
    resource = search(read.at, answer) if read.at else answer
    if not resource:
        return None
    if read.status and not dead and str(search(read.status, resource)) in read.gone:
        return None
    return dict(resource)


def read(ctx: Context, spec: ResourceType, decl: Declaration, state: State) -> State | None:
    """The state as AWS has it now, or None. `state` is what is known: at least the id and the properties in it."""
    known = {**from_id(spec, str(state.get("id", ""))), **state}
    resource = describe(ctx, spec, known)
    return None if resource is None else to_state(ctx, spec, decl, resource, known)


def from_id(spec: ResourceType, identity: str) -> State:
    """The properties that an id is made of (`cluster:group`)."""
    names = spec.import_id
    if not names:
        return {}
    parts = identity.split(spec.separator, len(names) - 1)
    return dict(zip(names, parts, strict=False)) if len(parts) == len(names) else {}


def to_state(ctx: Context, spec: ResourceType, decl: Declaration, resource: Mapping[str, Any], known: State) -> State:
    """A resource in Pulumi's words. A property that AWS can't return keeps the value that is known."""
    state: State = {"id": known.get("id", "")}
    for name, declared in decl.outputs.items():
        if name in ("tags", "tagsAll", "region"):
            continue
        if name in spec.outputs:
            value = search(spec.outputs[name], resource)
        else:
            value = lookup(resource, spec.rename.get(name, ""), name)
        if value is not None:
            state[name] = _in_known_words(spec, declared, name, from_api(value, declared, name, spec.rename), known)
        elif name in known and _kept(ctx, spec, name):
            state[name] = known[name]
    if "region" in decl.outputs:
        state["region"] = ctx.region
    if spec.arn:
        state["arn"] = fill(spec.arn, Values(ctx, state, {"id": state["id"]}))
    if spec.tags is not None:
        every = read_tags(ctx, spec, resource, Values(ctx, known, state))
        config = ctx.aws.config
        state["tagsAll"] = every
        state["tags"] = own_tags(every, config.default_tags, known.get("tags") or {})
    if spec.amend is not None:
        spec.amend(ctx, dict(resource), state, known)
    if spec.id != "{id}":
        state["id"] = fill(spec.id, Values(ctx, known, state))
    return {k: v for k, v in state.items() if v is not None and (k == "id" or k in decl.outputs)}


def _in_known_words(spec: ResourceType, declared: Any, name: str, value: Any, known: State) -> Any:
    """A document as the program wrote it, where AWS returns an equivalent one."""
    if (declared == "json" or name in spec.documents) and same_document(value, known.get(name)):
        return known[name]
    return value


def _kept(ctx: Context, spec: ResourceType, name: str) -> bool:
    """Whether a property that the answer lacks is one that AWS never returns (rather than one that it lost)."""
    if name in spec.local or name in spec.write_only or name in spec.import_id:
        return True
    if spec.on_read is not None or spec.read is None or name in spec.outputs:
        return False
    shape = requests.result_shape(ctx.aws.operation(spec.service, spec.read.op).output_shape, spec.read.at)
    if not isinstance(shape, StructureShape):
        return False
    target = spec.rename.get(name, "")
    return find_member(shape.members, target.split(".")[0] if target else name) is None


def wait_ready(ctx: Context, spec: ResourceType, decl: Declaration, state: State) -> State:
    """Waits until the resource is there and ready; its state."""
    ready = spec.ready
    latest: State = dict(state)

    def look() -> State | None:
        resource = describe(ctx, spec, state)
        if resource is None:
            return None
        status = str(search(ready.status, resource)) if ready else ""
        if ready and status not in ready.good:
            if status in ready.bad:
                why = search(ready.reason, resource) if ready.reason else None
                known = to_state(ctx, spec, decl, resource, state)
                raise NotReady(known, f"it is {status}{f': {json.dumps(why, default=str)}' if why else ''}")
            latest["__status"] = status
            return None
        return to_state(ctx, spec, decl, resource, state)

    try:
        limit = ready.timeout_s if ready else _APPEAR_S
        return ctx.poll(look, timeout_s=limit, what="it is not ready")
    except (TimeoutError, InterruptedError) as error:
        status = latest.pop("__status", "")
        raise NotReady(latest, f"{error}{f' (it is {status})' if status else ''}") from error


def update(
    ctx: Context, spec: ResourceType, decl: Declaration, old: State, inputs: State, changed: frozenset[str]
) -> State:
    """Applies the changed properties in place; the new state. Raises `NotReady` if a part of it was done."""
    state = {**{k: v for k, v in old.items() if k not in changed or k in inputs}, **inputs}
    done = False
    try:
        if spec.on_update is not None and changed & (spec.hook_updates or spec.hooked):
            done = True
            spec.on_update(ctx, old, inputs, changed)
        for step in spec.updates:
            if changed & set(step.on):
                _apply(ctx, spec, decl, step, old, inputs, changed)
                done = True
                _settle(ctx, spec, state)
        if spec.tags is not None and changed & {"tags", "tagsAll"}:
            change_tags(ctx, spec, Values(ctx, old), old.get("tagsAll") or {}, inputs.get("tagsAll") or {})
            done = True
        return wait_ready(ctx, spec, decl, state)
    except NotReady:
        raise
    except Exception as error:
        if not done:
            raise
        now = None
        with contextlib.suppress(ClientError):
            now = read(ctx, spec, decl, old)
        raise NotReady(now or old, str(error)) from error


def _apply(
    ctx: Context,
    spec: ResourceType,
    decl: Declaration,
    step: Update,
    old: State,
    inputs: State,
    changed: frozenset[str],
) -> None:
    shape = ctx.aws.input_shape(spec.service, step.op)
    props: dict[str, Any] = {}
    for name in step.sent:
        value = inputs.get(name)
        if value is None and name in changed:
            value = _nothing(decl.inputs.get(name))
        elif value is None:
            value = old.get(name) if step.props else None
        if value is not None:
            props[name] = value
    params = requests.build(spec, step, shape, Values(ctx, old, inputs, {"id": old.get("id")}), props)
    if step.finish is not None and step.finish(params, old, inputs) is False:
        return
    ctx.retry(lambda: ctx.call(step.op, params), (*spec.settle, "ResourceInUseException"), timeout_s=_SETTLE_S)


def _nothing(declared: Any) -> Any:
    """How an update says that a property shall be empty."""
    if isinstance(declared, list):
        return [] if declared[0] == "list" else {}
    return {"string": "", "json": "", "boolean": False}.get(declared)


def _settle(ctx: Context, spec: ResourceType, state: State) -> None:
    """Waits between two update calls: many services accept the next only when the last one is through."""
    if spec.ready is None:
        return
    ready = spec.ready

    def look() -> bool | None:
        resource = describe(ctx, spec, state)
        status = str(search(ready.status, resource)) if resource else ""
        return True if status in ready.good or status in ready.bad else None

    ctx.poll(look, timeout_s=ready.timeout_s, what="the update is not through")


def delete(ctx: Context, spec: ResourceType, state: State) -> None:
    """Removes the resource and waits until it is gone. Absent is success."""
    known = {**from_id(spec, str(state.get("id", ""))), **state}
    if spec.read is not None and spec.read.gone and describe(ctx, spec, known) is None:
        return  # AWS remembers these for a while, and deleting one twice would be an error
    try:
        if spec.before_delete is not None:
            spec.before_delete(ctx, known)
        ctx.retry(lambda: _remove(ctx, spec, known), spec.busy, timeout_s=_BUSY_S)
    except ClientError as error:
        codes: Iterable[str] = (*spec.absent, *(spec.read.missing if spec.read else ()))
        if not matches(error, tuple(codes)):
            raise
        return
    if spec.wait_deleted:
        ctx.poll(
            lambda: True if describe(ctx, spec, known) is None else None, timeout_s=_DELETE_S, what="it is still there"
        )


def _remove(ctx: Context, spec: ResourceType, state: State) -> None:
    if spec.on_delete is not None:
        spec.on_delete(ctx, state)
    elif spec.delete is not None:
        shape = ctx.aws.input_shape(spec.service, spec.delete.op)
        answer = ctx.call(spec.delete.op, requests.build(spec, spec.delete, shape, Values(ctx, state), {}))
        if answer.get("Unsuccessful"):  # some operations answer success with a list of what they did not do
            raise ProviderError(f"{spec.delete.op}: {json.dumps(answer['Unsuccessful'], default=str)}")


__all__ = ["NotReady", "Values", "create", "delete", "describe", "from_id", "pairs_to_map", "read", "update"]
