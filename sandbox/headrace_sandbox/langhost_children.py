"""The processes a language host starts, and the protocol's modules."""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING

from headrace.protocol import messages

if TYPE_CHECKING:
    from pulumi.runtime.proto import analyzer_pb2, language_pb2, language_pb2_grpc, plugin_pb2
else:  # without `import pulumi`, which costs half a second (see `messages`)
    analyzer_pb2 = messages.load("analyzer_pb2")
    language_pb2 = messages.load("language_pb2")
    language_pb2_grpc = messages.load("language_pb2_grpc")
    plugin_pb2 = messages.plugin_pb2

__all__ = ["Children", "analyzer_pb2", "language_pb2", "language_pb2_grpc", "plugin_pb2", "relay"]


class Children:
    """The processes this host started, so that cancelling or losing the engine ends them."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()

    def start(self, argv: list[str], *, cwd: str, env: Mapping[str, str], pipes: bool) -> subprocess.Popen[bytes]:
        output = subprocess.PIPE if pipes else None
        process = subprocess.Popen(  # noqa: S603 - the user's own program, as Pulumi.yaml names it
            argv,
            cwd=cwd,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL if pipes else subprocess.PIPE,
            stdout=output,
            stderr=output,
        )
        with self._guard:
            self._running.add(process)
        return process

    def ended(self, process: subprocess.Popen[bytes]) -> int:
        code = process.wait()
        with self._guard:
            self._running.discard(process)
        return code

    def end_all(self) -> None:
        with self._guard:
            running = list(self._running)
        for process in running:
            process.terminate()


def relay(process: subprocess.Popen[bytes]) -> Iterator[language_pb2.RunPluginResponse]:
    """A child's output as it comes, both streams, until both are closed."""
    chunks: queue.SimpleQueue[language_pb2.RunPluginResponse | None] = queue.SimpleQueue()

    def pump(stream: IO[bytes], field: str) -> None:
        while data := stream.read1(65536) if hasattr(stream, "read1") else stream.readline():
            chunks.put(
                language_pb2.RunPluginResponse(stdout=data)
                if field == "stdout"
                else language_pb2.RunPluginResponse(stderr=data)
            )
        chunks.put(None)

    for stream, field in ((process.stdout, "stdout"), (process.stderr, "stderr")):
        assert stream is not None  # noqa: S101 - started with pipes
        threading.Thread(target=pump, args=(stream, field), daemon=True).start()
    for _ in range(2):
        while (chunk := chunks.get()) is not None:
            yield chunk
