"""The process of a plugin: a gRPC server on a loopback port, printed on the first line of stdout."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent import futures

import grpc

from headrace.protocol.messages import provider_pb2_grpc
from headrace_sandbox.plugin.engine import CHANNEL_OPTIONS, Engine
from headrace_sandbox.plugin.provider import Provider
from headrace_sandbox.plugin.servicer import Servicer

# Requests mostly wait for a cloud (a node group takes minutes), so there are more threads than cores. The engine's own
# limit of parallel operations is 4 x CPUs by default; Cancel must always find a free thread.
THREADS = 64
_ORPHAN_CHECK_S = 1.0
_GRACE_S = 1.0


def engine_address(argv: Sequence[str]) -> str:
    """The engine's address among a plugin's arguments (the one that isn't a flag), or "" when run by hand."""
    plain = [argument for argument in argv if not argument.startswith("-")]
    return plain[-1] if plain else ""


def build(provider: Provider, address: str = "") -> tuple[grpc.Server, int]:
    """A started server in front of the provider, and its port."""
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix=provider.name), options=CHANNEL_OPTIONS
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Servicer(provider, Engine(address)), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def serve(provider: Provider, argv: Sequence[str] | None = None) -> int:
    """Serve until told to stop; the exit code.

    The engine gives each plugin a process group of its own, so Ctrl-C at the terminal reaches only the engine; it ends
    a plugin with SIGINT and kills it after 5 s. SIGTERM and the end of the engine end the process too, so that a killed
    engine leaves no plugin behind.
    """
    stop = threading.Event()
    parent = os.getppid()

    def terminate(_signal: int, _frame: object) -> None:
        provider.cancel()
        stop.set()

    signal.signal(signal.SIGINT, terminate)
    signal.signal(signal.SIGTERM, terminate)
    server, port = build(provider, engine_address(sys.argv[1:] if argv is None else argv))
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    while not stop.wait(_ORPHAN_CHECK_S):
        if os.getppid() != parent:
            provider.cancel()
            break
    server.stop(_GRACE_S).wait(_GRACE_S)
    # Threads that still wait for a cloud must not hold the process: the pool would join them at interpreter exit.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
