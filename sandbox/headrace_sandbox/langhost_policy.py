"""Start a policy pack with the stack's configuration in its environment, as the official language host does.

A pack reads PULUMI_CONFIG and its siblings when it starts, but the engine tells them only in its second call
(ConfigureStack). So the engine talks to a proxy: it answers the handshake, starts the pack once the configuration is
known, and passes every other call through as bytes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, Final

import grpc

from headrace_sandbox.langhost_children import Children, analyzer_pb2, language_pb2, relay
from headrace_sandbox.plugin.engine import CHANNEL_OPTIONS

_SERVICE: Final = "/pulumirpc.Analyzer/"
_PORT_LINE_S: Final = 60.0


def configuration(request: analyzer_pb2.AnalyzerStackConfigureRequest) -> dict[str, str]:
    """The environment variables in which a pack finds the stack's configuration (names as in the SDK's runtime)."""
    return {
        "PULUMI_CONFIG": json.dumps(dict(request.config)),
        "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.config_secret_keys)),
        "PULUMI_DRY_RUN": "true" if request.dry_run else "false",
        "PULUMI_ORGANIZATION": request.organization or "organization",
        "PULUMI_PROJECT": request.project,
        "PULUMI_STACK": request.stack,
    }


class PolicyProxy(grpc.GenericRpcHandler):
    """One pack. `serve` is the body of RunPlugin: first the proxy's port, then what the pack prints."""

    def __init__(self, children: Children, folder: str, args: list[str], env: dict[str, str]) -> None:
        self._children = children
        self._folder = folder
        self._args = args
        self._env = env
        self._guard = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._started = threading.Event()
        self._hung_up = threading.Event()

    def serve(self, context: grpc.ServicerContext) -> Iterator[language_pb2.RunPluginResponse]:
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), handlers=[self], options=CHANNEL_OPTIONS)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        context.add_callback(self._hang_up)
        try:
            yield language_pb2.RunPluginResponse(stdout=f"{port}\n".encode())
            self._started.wait()
            if self._process is not None:
                yield from relay(self._process)
                yield language_pb2.RunPluginResponse(exitcode=self._children.ended(self._process))
        finally:
            server.stop(0)

    def _hang_up(self) -> None:
        self._hung_up.set()
        if self._process is not None:
            self._process.terminate()
        self._started.set()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        method = handler_call_details.method
        if not method.startswith(_SERVICE):
            return None
        act: Callable[[bytes, grpc.ServicerContext], bytes] = {
            f"{_SERVICE}Handshake": self._handshake,
            f"{_SERVICE}ConfigureStack": self._configure,
        }.get(method, lambda request, context: self._forward(method, request, context))
        return grpc.unary_unary_rpc_method_handler(act)

    def _handshake(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        return analyzer_pb2.AnalyzerHandshakeResponse().SerializeToString()

    def _configure(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        asked = analyzer_pb2.AnalyzerStackConfigureRequest.FromString(request)
        self._pack(configuration(asked), context)
        return self._forward(f"{_SERVICE}ConfigureStack", request, context)  # the stack's tags reach the pack this way

    def _forward(self, method: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._pack({}, context).unary_unary(method)
        try:
            reply = call(request)
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)  # noqa: S101 - every error of a made call is one
            context.abort(error.code(), error.details() or "")
        return reply

    def _pack(self, env: dict[str, str], context: grpc.ServicerContext) -> grpc.Channel:
        """The channel to the pack, started on first use (`policy publish` and `analyze` may never configure it)."""
        with self._guard:
            if self._channel is None:
                port = self._start(env)
                if port is None:
                    context.abort(grpc.StatusCode.UNAVAILABLE, f"the policy pack in {self._folder} did not start")
                self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS)
            return self._channel

    def _start(self, env: dict[str, str]) -> int | None:
        if self._hung_up.is_set():
            return None
        engine = self._args[0] if self._args else ""
        argv = [sys.executable, "-u", "-m", "pulumi.policy", engine, "."]
        process = self._children.start(argv, cwd=self._folder, env={**self._env, **env}, pipes=True)
        assert process.stdout is not None  # noqa: S101 - started with pipes
        watchdog = threading.Timer(_PORT_LINE_S, process.terminate)
        watchdog.start()
        first = process.stdout.readline().strip()
        watchdog.cancel()
        self._process = process
        self._started.set()  # from here on its output, errors first of all, goes to the engine
        return int(first) if first.isdigit() else None
