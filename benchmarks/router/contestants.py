"""Everything that is compared, running side by side in front of one compiled backend.

Ours runs with keys, quotas, budgets, caller breakers, ledger and metrics. The others run as plain as they come: HAProxy
with one thread, vllm-router with one worker, LiteLLM's proxy with one process and a key.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import psutil

from headrace.errors import Refused
from headrace_sandbox import cache, gobuild, litellm_environment, wheels
from headrace_sandbox.supervise_ports import free_port
from tests.engine.router.world import (
    KEYS,
    PATIENT,
    Process,
    Replica,
    floor_at,
    process,
    wait_for,
    write_files,
)

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
VLLM_LOCK = HERE / "vllm-router.lock"
BODY = {"model": "chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 16}
KEY = KEYS["search"]
_START_S = 120.0
_PLENTY = {"budgetNanoUsd": 10**18, "requestsPerMinute": 10**9, "tokensPerMinute": 10**12, "parallelRequests": 10**6}


@dataclass
class Contestant:
    """A server under load. `pid` is its parent process."""

    name: str
    port: int
    pid: int

    @property
    def url(self) -> str:
        """Its chat completions."""
        return f"http://127.0.0.1:{self.port}/v1/chat/completions"

    def _all(self) -> list[psutil.Process]:
        parent = psutil.Process(self.pid)
        return [parent, *parent.children(recursive=True)]

    def cpu_s(self) -> float:
        """CPU seconds of all its processes so far."""
        return float(sum(sum(one.cpu_times()[:2]) for one in self._all()))

    def memory_mib(self) -> float:
        """Resident memory of all its processes."""
        return float(sum(one.memory_info().rss for one in self._all())) / 2**20

    def answers(self) -> bool:
        """Whether it gives a whole answer."""
        request = Request(  # noqa: S310 - our own http address
            self.url,
            data=json.dumps(BODY).encode(),
            headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        )
        try:
            with urlopen(request, timeout=5) as response:  # noqa: S310
                return response.status == 200 and b"choices" in response.read()
        except OSError:
            return False


def _haproxy(folder: Path, port: int, upstream: int) -> list[str] | str:
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        return "haproxy is not installed (Debian: apt-get install haproxy)"
    file = folder / "haproxy.cfg"
    # Without http-no-delay it holds back the events of a stream for 200 ms to send them together.
    file.write_text(
        "global\n  nbthread 1\n"
        "defaults\n  mode http\n  option http-no-delay\n"
        "  timeout connect 3s\n  timeout client 60s\n  timeout server 60s\n"
        f"frontend f\n  bind 127.0.0.1:{port}\n  default_backend b\n"
        f"backend b\n  server s 127.0.0.1:{upstream}\n"
    )
    return [program, "-f", str(file)]


def _vllm_router(port: int, upstream: int) -> tuple[list[str], dict[str, str]] | str:
    target = cache.root() / "bench" / f"vllm-router-{VLLM_LOCK.stat().st_size}"
    try:
        wheels.install(VLLM_LOCK, target, what="vllm-router")
    except Refused as refused:
        return str(refused)
    argv = [
        *(sys.executable, "-m", "vllm_router.launch_router", "--host", "127.0.0.1", "--port", str(port)),
        *("--worker-urls", f"http://127.0.0.1:{upstream}", "--policy", "round_robin", "--log-level", "error"),
        *("--prometheus-port", str(free_port())),
    ]
    return argv, {"PYTHONPATH": str(target)}


def _litellm(folder: Path, port: int, upstream: int) -> tuple[list[str], dict[str, str]] | str:
    try:
        python = litellm_environment.make() / "bin" / "python"
    except Refused as refused:
        return str(refused)
    file = folder / "litellm.json"
    model = {"model": "openai/chat", "api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "none"}
    file.write_text(
        json.dumps(
            {
                "model_list": [{"model_name": "chat", "litellm_params": model}],
                "general_settings": {"master_key": KEY},
                "litellm_settings": {"telemetry": False},
            }
        )
    )
    argv = [
        *(str(python), "-c", "from litellm.proxy.proxy_cli import run_server; run_server()"),
        *("--config", str(file), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"),
    ]
    # Its master key must begin with these letters, or it says so at every request.
    return argv, {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "PYTHONPATH": ""}


@contextlib.contextmanager
def running(folder: Path, wanted: frozenset[str]) -> Iterator[tuple[dict[str, Contestant], dict[str, str]]]:
    """Those of `wanted` that can run here, by name; and why the others can't."""
    found: dict[str, Contestant] = {}
    missing: dict[str, str] = {}
    with contextlib.ExitStack() as stack:

        def add(name: str, port: int, started: Process) -> None:
            found[name] = Contestant(name, port, started.child.pid)
            try:
                wait_for(found[name].answers, what=name, seconds=_START_S)
            except AssertionError:
                del found[name]
                log = folder / f"{name}.log"
                missing[name] = f"did not answer: {log.read_text()[-300:] if log.exists() else ''}"

        def start(name: str, made: tuple[list[str], dict[str, str]] | str, port: int) -> None:
            if isinstance(made, str):
                missing[name] = made
                return
            add(name, port, stack.enter_context(process(made[0], folder / f"{name}.log", made[1])))

        upstream = free_port()
        backend = gobuild.build("backend", modules=PROGRAMS)
        start("direct", ([str(backend), str(upstream)], {}), upstream)
        if "headrace" in wanted:
            write_files(
                folder,
                pools={"floor": floor_at(upstream, instances=64, slotsPerInstance=16, metricsUrl=None)},
                limits=_PLENTY,
                tenants={
                    "search": {"limits": _PLENTY, "projects": {"assistant": _PLENTY}},
                    "support": {"limits": {}, "projects": {"answers": {}}},
                },
                callerBreaker=PATIENT,
            )
            replica = Replica(folder=folder)
            add("headrace", replica.port, stack.enter_context(replica.start()))
        if "haproxy" in wanted:
            port = free_port()
            argv = _haproxy(folder, port, upstream)
            start("haproxy", argv if isinstance(argv, str) else (argv, {}), port)
        if "vllm-router" in wanted:
            port = free_port()
            start("vllm-router", _vllm_router(port, upstream), port)
        if "litellm" in wanted:
            port = free_port()
            start("litellm", _litellm(folder, port, upstream), port)
        yield found, missing


def environment() -> dict[str, object]:
    """What the machine was doing."""
    return {"cores": os.cpu_count(), "loadAverage": [round(one, 1) for one in os.getloadavg()]}
