"""The engine's `ResourceProvider` service in front of a `Provider`: messages in, records out, errors in their form."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterable
from typing import NoReturn, TypeVar

import grpc
from google.protobuf import empty_pb2, struct_pb2

from headrace.protocol import values
from headrace.protocol.messages import errors_pb2, plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2
from headrace_sandbox.plugin import paths
from headrace_sandbox.plugin import provider as api
from headrace_sandbox.plugin.differ import Change, Kind
from headrace_sandbox.plugin.engine import Engine

T = TypeVar("T")
_MODES = {0: "propose", 1: "enforce", 2: "disable"}
_PLAIN_KINDS = {
    Kind.ADD: provider_pb2.PropertyDiff.ADD,
    Kind.DELETE: provider_pb2.PropertyDiff.DELETE,
    Kind.UPDATE: provider_pb2.PropertyDiff.UPDATE,
}
_REPLACE_KINDS = {
    Kind.ADD: provider_pb2.PropertyDiff.ADD_REPLACE,
    Kind.DELETE: provider_pb2.PropertyDiff.DELETE_REPLACE,
    Kind.UPDATE: provider_pb2.PropertyDiff.UPDATE_REPLACE,
}


def _identity(request: object) -> dict[str, str]:
    """URN, name and type of a request; older engines send only the URN."""
    urn = str(getattr(request, "urn", ""))
    name = str(getattr(request, "name", "")) or urn.split("::", 3)[-1]
    token = str(getattr(request, "type", "")) or (urn.split("::")[2].split("$")[-1] if urn.count("::") >= 3 else "")
    return {"urn": urn, "name": name, "type": token}


def _timeout(seconds: float) -> float | None:
    return seconds if seconds > 0 else None


def _failures(failures: Iterable[api.Failure]) -> list[provider_pb2.CheckFailure]:
    return [provider_pb2.CheckFailure(property=failure.path, reason=failure.reason) for failure in failures]


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """One provider. gRPC calls its methods from a pool of threads."""

    def __init__(self, provider: api.Provider, engine: Engine) -> None:
        self._provider = provider
        self._engine = engine
        provider.log = engine.log

    # -- the plugin itself ---------------------------------------------------------------------------------------

    def Handshake(
        self, request: provider_pb2.ProviderHandshakeRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ProviderHandshakeResponse:
        self._engine.attach(request.engine_address)
        return provider_pb2.ProviderHandshakeResponse(
            accept_secrets=True, accept_resources=True, accept_outputs=False, supports_autonaming_configuration=True
        )

    def Attach(self, request: plugin_pb2.PluginAttach, context: grpc.ServicerContext) -> empty_pb2.Empty:
        self._engine.attach(request.address)
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=self._provider.version)

    def GetSchema(
        self, request: provider_pb2.GetSchemaRequest, context: grpc.ServicerContext
    ) -> provider_pb2.GetSchemaResponse:
        return provider_pb2.GetSchemaResponse(schema=self._guard(context, self._provider.schema))

    def Cancel(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> empty_pb2.Empty:
        self._provider.cancel()
        return empty_pb2.Empty()

    # -- configuration -------------------------------------------------------------------------------------------

    def CheckConfig(
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        return self._check(request, context, self._provider.check_config)

    def DiffConfig(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        return self._diff(request, self._provider.diff_config)

    def Configure(
        self, request: provider_pb2.ConfigureRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ConfigureResponse:
        config = values.decode(request.args)
        self._guard(context, lambda: self._provider.configure(config), secrets_of=config)
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True,
            supportsPreview=True,
            acceptResources=True,
            acceptOutputs=False,
            supports_autonaming_configuration=True,
        )

    # -- resources -----------------------------------------------------------------------------------------------

    def Check(self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:
        return self._check(request, context, self._provider.check)

    def Diff(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        return self._diff(request, self._provider.diff)

    def Create(self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext) -> provider_pb2.CreateResponse:
        inputs = values.decode(request.properties)
        record = api.CreateRequest(
            **_identity(request), inputs=inputs, preview=request.preview, timeout_s=_timeout(request.timeout)
        )
        result = self._guard(context, lambda: self._provider.create(record), secrets_of=inputs)
        return provider_pb2.CreateResponse(id=result.id, properties=_outputs(result.state, inputs))

    def Read(self, request: provider_pb2.ReadRequest, context: grpc.ServicerContext) -> provider_pb2.ReadResponse:
        inputs, state = values.decode(request.inputs), values.decode(request.properties)
        record = api.ReadRequest(
            **_identity(request), id=request.id, inputs=inputs, state=state, timeout_s=_timeout(request.timeout)
        )
        result = self._guard(context, lambda: self._provider.read(record), secrets_of=inputs)
        if result is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(
            id=result.id,
            properties=_outputs(values.conceal(result.state, state), inputs),
            inputs=_outputs(result.inputs, inputs),
        )

    def Update(self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext) -> provider_pb2.UpdateResponse:
        inputs = values.decode(request.news)
        record = api.UpdateRequest(
            **_identity(request),
            id=request.id,
            old_inputs=values.decode(request.old_inputs),
            old_state=values.decode(request.olds),
            inputs=inputs,
            preview=request.preview,
            ignore_changes=tuple(request.ignoreChanges),
            timeout_s=_timeout(request.timeout),
        )
        state = self._guard(context, lambda: self._provider.update(record), secrets_of=inputs)
        return provider_pb2.UpdateResponse(properties=_outputs(state, inputs))

    def Delete(self, request: provider_pb2.DeleteRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        record = api.DeleteRequest(
            **_identity(request),
            id=request.id,
            inputs=values.decode(request.old_inputs),
            state=values.decode(request.properties),
            timeout_s=_timeout(request.timeout),
        )
        self._guard(context, lambda: self._provider.delete(record), secrets_of=record.inputs)
        return empty_pb2.Empty()

    def Invoke(self, request: provider_pb2.InvokeRequest, context: grpc.ServicerContext) -> provider_pb2.InvokeResponse:
        record = api.InvokeRequest(token=request.tok, args=values.decode(request.args), preview=request.preview)

        def call() -> api.InvokeResult:
            try:
                return self._provider.invoke(record)
            except api.PropertyFailures as bad:
                return api.InvokeResult(failures=bad.failures)

        result = self._guard(context, call, secrets_of=record.args)
        response = provider_pb2.InvokeResponse(failures=_failures(result.failures))
        getattr(response, "return").CopyFrom(values.encode(result.result))
        return response

    def Construct(
        self, request: provider_pb2.ConstructRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ConstructResponse:
        message = f"the sandbox's {self._provider.name} provider has no component {request.type}; it serves resources"
        self._abort(context, grpc.StatusCode.UNIMPLEMENTED, message)

    # -- shared --------------------------------------------------------------------------------------------------

    def _check(
        self,
        request: provider_pb2.CheckRequest,
        context: grpc.ServicerContext,
        check: Callable[[api.CheckRequest], api.CheckResult],
    ) -> provider_pb2.CheckResponse:
        naming = None
        if request.HasField("autonaming"):
            naming = api.Autonaming(
                proposed_name=request.autonaming.proposed_name, mode=_MODES.get(request.autonaming.mode, "propose")
            )
        record = api.CheckRequest(
            **_identity(request),
            inputs=values.decode(request.news),
            old_inputs=values.decode(request.olds) if request.HasField("olds") and request.olds.fields else None,
            seed=request.randomSeed,
            autonaming=naming,
        )

        def call() -> api.CheckResult:
            try:
                return check(record)
            except api.PropertyFailures as bad:
                return api.CheckResult(inputs=record.inputs, failures=bad.failures)

        result = self._guard(context, call, secrets_of=record.inputs)
        inputs = values.conceal(result.inputs, record.inputs)
        return provider_pb2.CheckResponse(inputs=values.encode(inputs), failures=_failures(result.failures))

    def _diff(
        self, request: provider_pb2.DiffRequest, diff: Callable[[api.DiffRequest], api.DiffResult]
    ) -> provider_pb2.DiffResponse:
        record = api.DiffRequest(
            **_identity(request),
            id=request.id,
            old_inputs=values.decode(request.old_inputs),
            old_state=values.decode(request.olds),
            inputs=values.decode(request.news),
            ignore_changes=tuple(request.ignoreChanges),
        )
        try:
            return _diff_response(diff(record))
        except Exception as fault:  # an error here ends the whole preview with "client connection is closing" elsewhere
            expected = isinstance(fault, api.ProviderError | api.PropertyFailures)
            reason = values.redact(str(fault), record.inputs, record.old_inputs) if expected else type(fault).__name__
            self._engine.log(
                f"{self._provider.name} could not compare this resource ({reason}); the engine compares its inputs",
                urn=request.urn,
                severity=api.Severity.WARNING,
            )
            if not expected:
                _print_place(self._provider.name, fault)
            return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_UNKNOWN)

    def _guard(
        self,
        context: grpc.ServicerContext,
        call: Callable[[], T],
        *,
        secrets_of: values.Props | None = None,
    ) -> T:
        """Run a call; every way it can fail becomes the engine's form of that failure, one sentence, no traceback, and
        without the text of any secret input."""
        known = secrets_of or {}
        try:
            return call()
        except api.InitFailed as partial:
            detail = provider_pb2.ErrorResourceInitFailed(
                id=partial.id,
                properties=_outputs(partial.state, known),
                reasons=[values.redact(reason, known) for reason in partial.reasons],
                inputs=_outputs(partial.inputs if partial.inputs is not None else known, known),
            )
            self._abort(context, grpc.StatusCode.UNKNOWN, values.redact(str(partial), known), detail)
        except api.PropertyFailures as bad:
            listed = errors_pb2.InputPropertiesError()
            for failure in bad.failures:
                listed.errors.add(property_path=failure.path, reason=values.redact(failure.reason, known))
            self._abort(context, grpc.StatusCode.INVALID_ARGUMENT, values.redact(str(bad), known), listed)
        except api.ProviderError as known_fault:
            self._abort(context, grpc.StatusCode.UNKNOWN, values.redact(str(known_fault), known))
        except Exception as fault:
            _print_place(self._provider.name, fault)
            message = values.redact(f"{self._provider.name}: {type(fault).__name__}: {fault}", known)
            self._abort(context, grpc.StatusCode.INTERNAL, message)

    @staticmethod
    def _abort(
        context: grpc.ServicerContext,
        code: grpc.StatusCode,
        message: str,
        detail: errors_pb2.InputPropertiesError | provider_pb2.ErrorResourceInitFailed | None = None,
    ) -> NoReturn:
        if detail is not None:
            number: int = code.value[0]
            status = status_pb2.Status(code=number, message=message)
            status.details.add().Pack(detail)
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(code, message)
        raise AssertionError("abort returned")


def _print_place(provider: str, fault: Exception) -> None:
    """Where a fault of ours happened, on stderr: frames only, since a message may hold the value of a property."""
    frames = "".join(traceback.format_tb(fault.__traceback__))
    print(f"{type(fault).__name__} in {provider}\n{frames}", file=sys.stderr, flush=True)


def _outputs(state: values.Props, inputs: values.Props) -> struct_pb2.Struct:
    """State for the engine: what was secret in the inputs is secret in the outputs."""
    return values.encode(values.conceal(state, inputs))


def _diff_response(result: api.DiffResult) -> provider_pb2.DiffResponse:
    if result.changes is None:
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_UNKNOWN, deleteBeforeReplace=result.delete_before_replace
        )
    changes = result.changes
    tops = list(dict.fromkeys(str(path[0]) for path in changes if path))
    replaces = list(dict.fromkeys(str(path[0]) for path, change in changes.items() if change.replace and path))
    return provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME if changes else provider_pb2.DiffResponse.DIFF_NONE,
        diffs=tops,
        replaces=replaces,
        stables=list(result.stables),
        deleteBeforeReplace=result.delete_before_replace,
        hasDetailedDiff=bool(changes),
        detailedDiff={paths.show(path): _property_diff(change) for path, change in changes.items()},
    )


def _property_diff(change: Change) -> provider_pb2.PropertyDiff:
    kinds = _REPLACE_KINDS if change.replace else _PLAIN_KINDS
    return provider_pb2.PropertyDiff(kind=kinds[change.kind], inputDiff=change.input_diff)
