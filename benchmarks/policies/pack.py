"""A pack process driven as the engine drives it: configuration, port line, each resource, then the whole stack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

OPTIONS = [("grpc.max_receive_message_length", 1 << 29), ("grpc.max_send_message_length", 1 << 29)]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A resource to judge: wire properties as the engine would send them."""

    type: str
    name: str
    props: Mapping[str, Any]

    @property
    def urn(self) -> str:
        return f"urn:pulumi:bench::inference::{self.type}::{self.name}"


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of one run: from start to the port, the first resource (settings and catalogue are read then), the other
    resources one by one, and the whole stack at once. `processor`: of the last two, the time that the pack's process
    had a core; on a shared machine it scatters less."""

    start: float
    first: float
    resources: float
    stack: float
    findings: int
    processor: float


def run(folder: Path, samples: Sequence[Sample], config: Mapping[str, Any]) -> Timing:
    """One process over all samples."""
    began = time.perf_counter()
    environment = {
        **os.environ,
        "PULUMI_CONFIG": json.dumps(
            {f"inference:{key}": one if isinstance(one, str) else json.dumps(one) for key, one in config.items()}
        ),
        "PULUMI_DRY_RUN": "true",
        "PULUMI_STACK": "bench",
        "PULUMI_PROJECT": "inference",
        "PULUMI_ORGANIZATION": "organization",
    }
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "pulumi.policy", "127.0.0.1:1", "."],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        stub = analyzer_pb2_grpc.AnalyzerStub(grpc.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS))
        stub.GetAnalyzerInfo(empty_pb2.Empty(), wait_for_ready=True)
        started = time.perf_counter() - began
        sent = [(sample, _struct(sample.props)) for sample in samples]
        findings = 0
        first, used = 0.0, 0.0
        clock = time.perf_counter()
        for index, (sample, props) in enumerate(sent):
            request = analyzer_pb2.AnalyzeRequest(type=sample.type, properties=props, urn=sample.urn, name=sample.name)
            findings += len(stub.Analyze(request).diagnostics)
            if index == 0:
                used = _processor(process.pid)
                first, clock = time.perf_counter() - clock, time.perf_counter()
        resources = time.perf_counter() - clock
        whole = analyzer_pb2.AnalyzeStackRequest(
            resources=[
                analyzer_pb2.AnalyzerResource(type=sample.type, properties=props, urn=sample.urn, name=sample.name)
                for sample, props in sent
            ]
        )
        clock = time.perf_counter()
        findings += len(stub.AnalyzeStack(whole).diagnostics)
        whole_s = time.perf_counter() - clock
        return Timing(
            start=started,
            first=first,
            resources=resources,
            stack=whole_s,
            findings=findings,
            processor=_processor(process.pid) - used,
        )
    finally:
        process.terminate()
        process.wait()


def _processor(pid: int) -> float:
    """Seconds of processor time that a process and its threads have had (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _struct(props: Mapping[str, Any]) -> struct_pb2.Struct:
    message = struct_pb2.Struct()
    message.update(json.loads(json.dumps(props)))
    return message
