"""The plugin as a process: its port, its signals, and what becomes of it when the engine dies."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import grpc
import psutil
import pytest
from google.protobuf import empty_pb2

from headrace.protocol.messages import provider_pb2, provider_pb2_grpc
from headrace.protocol.values import Secret, decode, encode

pytestmark = pytest.mark.engine

ARGV = [sys.executable, "-m", "headrace_sandbox.kubernetes_provider"]
URN = "urn:pulumi:dev::inference::kubernetes:core/v1:Secret::token"


def port_of(process: subprocess.Popen[str]) -> str:
    stdout: IO[str] | None = process.stdout
    assert stdout is not None
    return stdout.readline().strip()


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(ARGV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_secret_comes_back_secret_over_the_wire_and_large_messages_pass(plugin: subprocess.Popen[str]) -> None:
    limit = ("grpc.max_receive_message_length", -1)
    with grpc.insecure_channel(f"127.0.0.1:{port_of(plugin)}", options=[limit]) as channel:
        stub = provider_pb2_grpc.ResourceProviderStub(channel)
        stub.Configure(provider_pb2.ConfigureRequest(args=encode({})))
        large = "x" * (8 * 1024 * 1024)  # twice gRPC's own limit
        request = provider_pb2.CheckRequest(urn=URN, news=encode({"stringData": {"k": large}}), randomSeed=b"s")
        inputs = decode(stub.Check(request).inputs)
    assert inputs["stringData"] == Secret({"k": large})
    assert inputs["metadata"]["name"].startswith("token-")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_the_engines_signal_ends_the_plugin_quietly_and_soon(
    plugin: subprocess.Popen[str], sent: signal.Signals
) -> None:
    port = port_of(plugin)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        info = provider_pb2_grpc.ResourceProviderStub(channel).GetPluginInfo(empty_pb2.Empty(), timeout=60)
    assert info.version == "4.34.2"
    plugin.send_signal(sent)
    # The engine kills a plugin that takes longer than 5 s, and waits for it until then; an idle machine needs 0.2 s.
    assert plugin.wait(timeout=20) == 0
    assert plugin.stderr is not None
    assert plugin.stderr.read() == ""


def test_the_plugin_does_not_outlive_a_killed_engine() -> None:
    script = f"import subprocess, sys; p = subprocess.Popen({ARGV!r}); print(p.pid, flush=True); p.wait()"
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    lines = [parent.stdout.readline().strip() for _ in range(2)]  # its pid, and the port once it serves
    child = psutil.Process(int(lines[0]))
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 60
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
