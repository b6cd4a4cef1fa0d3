"""The engine's `ResourceProvider` service: messages in, calls of resource types, every failure in the engine's form."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import grpc
from google.protobuf import empty_pb2

from headrace.protocol import values
from headrace.protocol.messages import (
    engine_pb2,
    engine_pb2_grpc,
    errors_pb2,
    plugin_pb2,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)
from headrace_components.provider import compare
from headrace_components.provider.fields import Failure, with_defaults
from headrace_components.provider.fields import validate as validate_fields
from headrace_components.provider.resource import (
    DEFAULT_TIMEOUT_S,
    Live,
    NotReady,
    ProviderError,
    ResourceType,
    keep_equal,
)
from headrace_components.provider.resource import Call as Operation
from headrace_components.provider.vendors import CONFIGURATION, Vendors

if TYPE_CHECKING:
    from headrace_components.provider.components import Components
    from headrace_components.provider.functions import Function

Context = Any
"""`grpc.aio.ServicerContext`, whose stubs lack the generic parameters that each call would need."""
T = TypeVar("T")
_KINDS = {
    (compare.Operation.ADD, False): provider_pb2.PropertyDiff.ADD,
    (compare.Operation.DELETE, False): provider_pb2.PropertyDiff.DELETE,
    (compare.Operation.UPDATE, False): provider_pb2.PropertyDiff.UPDATE,
    (compare.Operation.ADD, True): provider_pb2.PropertyDiff.ADD_REPLACE,
    (compare.Operation.DELETE, True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    (compare.Operation.UPDATE, True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """One provider instance, on one event loop."""

    def __init__(
        self,
        *,
        version: str,
        resources: Mapping[str, ResourceType],
        functions: Mapping[str, Function],
        components: Components,
        engine_address: str,
    ) -> None:
        self._version = version
        self._resources = resources
        self._functions = functions
        self._components = components
        self._engine_address = engine_address
        self._engine: engine_pb2_grpc.EngineStub | None = None
        self._vendors = Vendors()
        self._cancelled = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()

    # -- the plugin itself

    async def Handshake(self, request: provider_pb2.ProviderHandshakeRequest, context: Context) -> Any:
        self._engine_address = request.engine_address or self._engine_address
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, accept_resources=True, accept_outputs=True)

    async def Attach(self, request: plugin_pb2.PluginAttach, context: Context) -> Any:
        self._engine_address, self._engine = request.address, None
        return empty_pb2.Empty()

    async def GetPluginInfo(self, request: Any, context: Context) -> Any:
        return plugin_pb2.PluginInfo(version=self._version)

    async def GetSchema(self, request: Any, context: Context) -> Any:
        return provider_pb2.GetSchemaResponse(schema=self._components.schema_text())

    async def Cancel(self, request: Any, context: Context) -> Any:
        self._cancelled.set()
        return empty_pb2.Empty()

    async def close(self) -> None:
        """Release connections at the end of the process."""
        await self._vendors.close()

    # -- configuration

    async def CheckConfig(self, request: provider_pb2.CheckRequest, context: Context) -> Any:
        inputs = values.decode(request.news)
        fields = {name: option.field for name, option in CONFIGURATION.items()}
        known = {name: value for name, value in inputs.items() if name in fields}
        failures = list(validate_fields(fields, known))
        for name, spec in fields.items():
            if spec.secret and inputs.get(name) is not None and not isinstance(inputs[name], values.Secret):
                inputs[name] = values.Secret(inputs[name])
        return provider_pb2.CheckResponse(inputs=values.encode(inputs), failures=_failures(failures))

    async def DiffConfig(self, request: provider_pb2.DiffRequest, context: Context) -> Any:
        # A new key or address reaches the same objects, so nothing is ever replaced by it.
        fields = {name: option.field for name, option in CONFIGURATION.items()}
        old, new = values.decode(request.old_inputs), values.decode(request.news)
        return _diff_response(compare.changes(fields, old, new, request.ignoreChanges), delete_before_replace=False)

    async def Configure(self, request: provider_pb2.ConfigureRequest, context: Context) -> Any:
        self._vendors = Vendors(config=values.decode(request.args))
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, acceptResources=True, acceptOutputs=True
        )

    # -- resources

    async def Check(self, request: provider_pb2.CheckRequest, context: Context) -> Any:
        given = values.decode(request.news)
        kind = await self._type(request, context)
        inputs = kind.complete(with_defaults(kind.fields, given))
        if "name" in kind.fields and inputs.get("name") is None:
            inputs["name"] = kind.generated_name(request.urn, inputs)
        failures = list(validate_fields(kind.fields, inputs))
        if not failures:
            old = values.decode(request.olds)
            failures = [*kind.rules(inputs), *(kind.check_change(old, inputs) if old else ())]
        for name, spec in kind.fields.items():
            if spec.secret and inputs.get(name) is not None and not isinstance(inputs[name], values.Secret):
                inputs[name] = values.Secret(inputs[name])
        return provider_pb2.CheckResponse(
            inputs=values.encode(values.conceal(inputs, given)), failures=_failures(failures)
        )

    async def Diff(self, request: provider_pb2.DiffRequest, context: Context) -> Any:
        kind = await self._type(request, context)
        old, new = values.decode(request.old_inputs), values.decode(request.news)
        try:
            changed = compare.changes(kind.fields, old, new, request.ignoreChanges)
            changed = kind.differ(old, new, changed)
        except Exception as fault:  # an error here would end the whole preview, on innocent resources too
            _print_place(fault)
            return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_UNKNOWN)
        # Two objects of one name can't be told apart after a crash, so then the old one goes first.
        same_name = values.reveal(old.get("name")) == values.reveal(new.get("name"))
        return _diff_response(changed, delete_before_replace=same_name)

    async def Create(self, request: provider_pb2.CreateRequest, context: Context) -> Any:
        kind = await self._type(request, context)
        inputs = values.decode(request.properties)
        if request.preview:
            state = {**inputs, **dict.fromkeys(kind.outputs, values.UNKNOWN)}
            return provider_pb2.CreateResponse(id="", properties=values.encode(state))
        call = self._call(request, kind, inputs)
        live = await self._guard(context, kind, inputs, kind.create(call, values.reveal(inputs)))
        return provider_pb2.CreateResponse(id=live.id, properties=_state(kind, inputs, live))

    async def Read(self, request: provider_pb2.ReadRequest, context: Context) -> Any:
        kind = await self._type(request, context)
        old = values.decode(request.inputs)
        state = values.decode(request.properties)
        work = kind.read(self._call(request, kind, old), request.id, values.reveal({**state, **old}))
        live = await self._guard(context, kind, old, work)
        if live is None:
            return provider_pb2.ReadResponse()
        # An import has no inputs to go by: every value counts as asked for, and what may be secret is.
        kept = keep_equal(kind.fields, old, live.inputs, state)
        if old:
            kept = {name: values.conceal(value, old.get(name)) for name, value in kept.items()}
        else:
            kept = {
                name: values.Secret(value) if name in _SECRET_WHEN_IMPORTED else value for name, value in kept.items()
            }
        return provider_pb2.ReadResponse(
            id=live.id,
            inputs=values.encode(kept),
            properties=_state(kind, kept, live),
        )

    async def Update(self, request: provider_pb2.UpdateRequest, context: Context) -> Any:
        kind = await self._type(request, context)
        old, new = values.decode(request.old_inputs), values.decode(request.news)
        if request.preview:
            before = values.decode(request.olds)
            state = {**{name: before.get(name) for name in kind.outputs}, **new}
            return provider_pb2.UpdateResponse(properties=values.encode(state))
        call = self._call(request, kind, new)
        work = kind.update(call, request.id, values.reveal(old), values.reveal(new))
        live = await self._guard(context, kind, new, work)
        return provider_pb2.UpdateResponse(properties=_state(kind, new, live))

    async def Delete(self, request: provider_pb2.DeleteRequest, context: Context) -> Any:
        kind = await self._type(request, context)
        inputs = values.decode(request.old_inputs)
        await self._guard(context, kind, inputs, kind.delete(self._call(request, kind, inputs), request.id))
        return empty_pb2.Empty()

    # -- functions and components

    async def Invoke(self, request: provider_pb2.InvokeRequest, context: Context) -> Any:
        function = self._functions.get(request.tok)
        if function is None:
            await _abort(context, grpc.StatusCode.UNIMPLEMENTED, f"there is no function {request.tok}")
        args = values.decode(request.args)
        failures = list(validate_fields(function.inputs, args))
        response = provider_pb2.InvokeResponse(failures=_failures(failures))
        if not failures:
            call = self._call(request, None, args)
            result = await self._guard(context, None, args, function.call(call, values.reveal(args)))
            getattr(response, "return").CopyFrom(values.encode(result))
        return response

    async def Construct(self, request: Any, context: Context) -> Any:
        return await self._components.construct(request, context, self._engine_address)

    async def Call(self, request: Any, context: Context) -> Any:
        return await self._components.call(request, context, self._engine_address)

    # -- shared

    async def _type(self, request: Any, context: Context) -> ResourceType:
        token = request.type or request.urn.split("::")[2].split("$")[-1]
        kind = self._resources.get(token)
        if kind is None:
            known = ", ".join(sorted(self._resources))
            await _abort(context, grpc.StatusCode.UNIMPLEMENTED, f"there is no resource {token}; known are {known}")
        return kind

    def _call(self, request: Any, kind: ResourceType | None, inputs: values.Props) -> Operation:
        urn = str(getattr(request, "urn", ""))
        timeout = float(getattr(request, "timeout", 0.0)) or DEFAULT_TIMEOUT_S

        def log(message: str, *, warning: bool = False) -> None:
            self._log(urn, values.redact(message, inputs, self._vendors.config), warning=warning)

        name = values.reveal(inputs.get("name"))
        return Operation(
            urn=urn,
            vendors=self._vendors,
            deadline=time.monotonic() + timeout,
            cancelled=self._cancelled,
            log=log,
            own_name=kind is not None and name is not None and name == kind.generated_name(urn, values.reveal(inputs)),
        )

    def _log(self, urn: str, message: str, *, warning: bool) -> None:
        if self._engine is None:
            if not self._engine_address:
                return
            self._engine = engine_pb2_grpc.EngineStub(grpc.aio.insecure_channel(self._engine_address))
        severity = engine_pb2.WARNING if warning else engine_pb2.INFO
        line = engine_pb2.LogRequest(severity=severity, message=message, urn=urn, streamId=0, ephemeral=not warning)

        async def send(engine: Any) -> None:
            try:
                await engine.Log(line, timeout=5.0)
            except grpc.RpcError:
                return  # a line that can't be delivered never fails the operation it speaks of

        task = asyncio.get_running_loop().create_task(send(self._engine))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _guard(self, context: Context, kind: ResourceType | None, inputs: values.Props, work: Awaitable[T]) -> T:
        """Await a call; each way it can fail becomes one sentence without a traceback or the text of a secret."""
        hidden: tuple[values.Value, ...] = (
            inputs,
            {
                name: values.Secret(self._vendors.option(name))
                for name, one in CONFIGURATION.items()
                if one.field.secret
            },
        )
        try:
            return await work
        except NotReady as partial:
            state = _state(kind, inputs, partial.live) if kind is not None else values.encode({})
            reason = values.redact(str(partial), *hidden)
            detail = provider_pb2.ErrorResourceInitFailed(
                id=partial.live.id, properties=state, reasons=[reason], inputs=values.encode(inputs)
            )
            await _abort(context, grpc.StatusCode.UNKNOWN, reason, detail)
        except ProviderError as known:
            await _abort(context, grpc.StatusCode.UNKNOWN, values.redact(str(known), *hidden))
        except Exception as fault:
            _print_place(fault)
            message = values.redact(f"headrace: {type(fault).__name__}: {fault}", *hidden)
            await _abort(context, grpc.StatusCode.INTERNAL, message)


# On import nobody has said what is secret; these hold credentials often enough.
_SECRET_WHEN_IMPORTED = frozenset({"env"})


def _state(kind: ResourceType, inputs: values.Props, live: Live) -> Any:
    """What the engine stores: the inputs as asked, the live object's values over them, and the vendor's additions."""
    seen = keep_equal(kind.fields, inputs, live.inputs)
    state = {**values.conceal({**inputs, **seen}, inputs), **live.outputs}
    for name, spec in {**kind.fields, **kind.outputs}.items():
        if spec.secret and state.get(name) is not None and not isinstance(state[name], values.Secret):
            state[name] = values.Secret(state[name])
    return values.encode(state)


def _failures(failures: list[Failure]) -> list[provider_pb2.CheckFailure]:
    return [provider_pb2.CheckFailure(property=one.path, reason=one.reason) for one in failures]


def _diff_response(changed: Mapping[str, compare.Change], *, delete_before_replace: bool) -> provider_pb2.DiffResponse:
    tops = list(dict.fromkeys(_top(path) for path in changed))
    replaces = list(dict.fromkeys(_top(path) for path, change in changed.items() if change.replace))
    return provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE,
        diffs=tops,
        replaces=replaces,
        deleteBeforeReplace=delete_before_replace,
        hasDetailedDiff=bool(changed),
        detailedDiff={
            path: provider_pb2.PropertyDiff(kind=_KINDS[change.operation, change.replace], inputDiff=True)
            for path, change in changed.items()
        },
    )


def _top(path: str) -> str:
    return path.split(".", 1)[0].split("[", 1)[0]


async def _abort(
    context: Context,
    code: grpc.StatusCode,
    message: str,
    detail: provider_pb2.ErrorResourceInitFailed | errors_pb2.InputPropertiesError | None = None,
) -> NoReturn:
    metadata: tuple[tuple[str, bytes], ...] = ()
    if detail is not None:
        number: int = code.value[0]
        status = status_pb2.Status(code=number, message=message)
        status.details.add().Pack(detail)
        metadata = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(code, message, metadata)
    raise AssertionError("abort returned")


def _print_place(fault: Exception) -> None:
    """Where a fault of ours happened: frames only, since a message may hold the value of a property."""
    frames = "".join(traceback.format_tb(fault.__traceback__))
    print(f"{type(fault).__name__} in headrace\n{frames}", file=sys.stderr, flush=True)
