"""The process of the plugin: a gRPC server on a loopback port, which is the first line that it prints.

Started by the engine from the folder of PulumiPlugin.yaml (its language host runs `components/__main__.py`), or as the
executable `pulumi-resource-headrace` that the wheel installs.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

import grpc

from headrace.protocol.messages import provider_pb2_grpc
from headrace_components.provider.components import Components
from headrace_components.provider.functions import FUNCTIONS
from headrace_components.provider.servicer import Servicer
from headrace_components.provider.table import RESOURCES

# As the SDKs: pulumi/runtime/_grpc_settings.py.
_MAX_MESSAGE_BYTES: Final = 400 * 1024 * 1024
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
)
_ORPHAN_CHECK_S: Final = 1.0
_GRACE_S: Final = 2.0


def engine_address(argv: Sequence[str]) -> str:
    """The engine's address among the arguments (the one that is no flag), or "" when run by hand."""
    plain = [argument for argument in argv if not argument.startswith("-")]
    return plain[-1] if plain else ""


def version() -> str:
    """The version of the distribution, which is the plugin's."""
    return importlib.metadata.version("headrace")


def make_servicer(address: str = "") -> Servicer:
    """A provider instance."""
    return Servicer(
        version=version(),
        resources=RESOURCES,
        functions=FUNCTIONS,
        components=Components(version(), RESOURCES, FUNCTIONS),
        engine_address=address,
    )


async def serve(address: str) -> None:
    """Serve until told to stop, or until the engine is gone.

    SIGINT comes from the terminal and is the engine's to act on: it calls Cancel and ends us with SIGTERM.
    """
    servicer = make_servicer(address)
    server = grpc.aio.server(options=_OPTIONS)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    parent = os.getppid()
    while not stop.is_set() and os.getppid() == parent:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _ORPHAN_CHECK_S)
    await server.stop(_GRACE_S)
    await servicer.close()


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the plugin. `--schema` prints the package schema and ends."""
    arguments = sys.argv[1:] if argv is None else argv
    if "--schema" in arguments:
        print(
            json.dumps(json.loads(Components(version(), RESOURCES, FUNCTIONS).schema_text()), indent=1, sort_keys=True)
        )
        return
    asyncio.run(serve(engine_address(arguments)))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # a thread that still waits for a vendor must not hold the process


if __name__ == "__main__":
    main()
