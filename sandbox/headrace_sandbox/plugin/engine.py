"""The way back to the engine: log lines and status messages."""

from __future__ import annotations

import sys
import threading

import grpc

from headrace.protocol.messages import engine_pb2, engine_pb2_grpc
from headrace_sandbox.plugin.provider import Severity

MAX_MESSAGE_BYTES = 400 * 1024 * 1024  # as the SDKs: pulumi/runtime/_grpc_settings.py
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
)
_LOG_TIMEOUT_S = 5.0
_SEVERITIES = {
    Severity.DEBUG: engine_pb2.DEBUG,
    Severity.INFO: engine_pb2.INFO,
    Severity.WARNING: engine_pb2.WARNING,
    Severity.ERROR: engine_pb2.ERROR,
}


class Engine:
    """A client of the engine's host service. Without an address, lines go to stderr, which the engine shows as well."""

    def __init__(self, address: str = "") -> None:
        self._lock = threading.Lock()
        self._address = ""
        self._channel: grpc.Channel | None = None
        self.attach(address)

    def attach(self, address: str) -> None:
        """Talk to the engine at `address` from now on."""
        with self._lock:
            if not address or address == self._address:
                return
            if self._channel is not None:
                self._channel.close()
            self._address = address
            self._channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)

    def log(self, message: str, *, urn: str = "", severity: Severity = Severity.INFO, ephemeral: bool = False) -> None:
        """Tell the person at the terminal. A line that can't be delivered never fails the operation it speaks of."""
        channel = self._channel
        if channel is None:
            if not ephemeral:
                print(message, file=sys.stderr, flush=True)
            return
        request = engine_pb2.LogRequest(
            severity=_SEVERITIES[severity], message=message, urn=urn, streamId=0, ephemeral=ephemeral
        )
        try:
            engine_pb2_grpc.EngineStub(channel).Log(request, timeout=_LOG_TIMEOUT_S)
        except grpc.RpcError:
            if severity in (Severity.WARNING, Severity.ERROR):
                print(message, file=sys.stderr, flush=True)
