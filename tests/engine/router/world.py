"""A router process, or several, in front of model-server stand-ins; real Redis and PostgreSQL where asked for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg  # type: ignore[import-untyped] # asyncpg 0.32 ships no py.typed
from aiohttp import web
from multidict import CIMultiDict

from headrace.audit.sinks.postgres import grants, schema
from headrace.router.keys import digest
from headrace_sandbox.model_servers.application import ModelServer
from headrace_sandbox.model_servers.behaviour import Behaviour
from headrace_sandbox.postgres import services as postgres_services
from headrace_sandbox.redis import services as redis_services
from headrace_sandbox.supervise_ports import free_port
from tests.unit.router.worlds import document, overflow, pool

KEYS = {"search": "hr_search_" + "s" * 43, "support": "hr_support_" + "t" * 43}
SECRET = "a secret for hashes in tests"


def wait_for(ready: Callable[[], bool], *, what: str, seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"{what} was not ready within {seconds:g} s"
        time.sleep(0.05)


async def until(true: Callable[[], bool], *, what: str = "that", seconds: float = 120.0) -> None:
    """`wait_for` that lets the event loop go on."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def model_server(behaviour: Behaviour, *, port: int | None = None) -> AsyncIterator[tuple[ModelServer, int]]:
    """A stand-in in this process."""
    server = ModelServer(behaviour, model="chat")
    runner = web.AppRunner(server.application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    port = port or free_port()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    try:
        yield server, port
    finally:
        await runner.cleanup()


@dataclass
class Process:
    """A child process that is ended by its own pid."""

    child: subprocess.Popen[bytes]

    def kill(self, sent: int = signal.SIGKILL) -> None:
        if self.child.poll() is None:
            self.child.send_signal(sent)
        self.child.wait(timeout=60)


@contextlib.contextmanager
def process(argv: list[str], log: Path, env: dict[str, str] | None = None) -> Iterator[Process]:
    with log.open("ab") as output:
        child = subprocess.Popen(argv, stdout=output, stderr=output, env={**os.environ, **(env or {})})
    started = Process(child)
    try:
        yield started
    finally:
        started.kill()


def start_redis(port: int, folder: Path) -> contextlib.AbstractContextManager[Process]:
    folder.mkdir(exist_ok=True)
    return process(list(redis_services.argv(port, folder)), folder / "redis.log")


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that an unprivileged PostgreSQL can reach. Not one of pytest's: those are private, and each pytest that
    starts makes those of all others private again."""
    with tempfile.TemporaryDirectory(prefix="headrace-postgres-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def start_postgres(port: int, folder: Path) -> contextlib.AbstractContextManager[Process]:
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    return process(
        [sys.executable, "-m", "headrace_sandbox.postgres", "--directory", str(folder / "pg"), "--port", str(port)],
        folder / "postgres.log",
    )


def postgres_ready(port: int) -> Callable[[], bool]:
    return postgres_services.answers(port)


def redis_ready(port: int) -> Callable[[], bool]:
    return redis_services.answers(port)


@dataclass
class Replica:
    """One router."""

    folder: Path
    name: str = "router-0"
    env: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    admin: int = field(default_factory=free_port)

    @property
    def spool(self) -> Path:
        return self.folder / f"spool-{self.name}"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def url(self, path: str = "/v1/chat/completions") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def admin_url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.admin}{path}"

    def start(self) -> contextlib.AbstractContextManager[Process]:
        return process(
            [
                *(str(Path(sys.executable).parent / "headrace"), "router", "serve"),
                *("--config", str(self.folder / "router.json"), "--keys", str(self.folder / "keys.json")),
                *("--spool", str(self.spool), "--port", str(self.port), "--admin-port", str(self.admin)),
                *("--replica", self.name),
            ],
            self.log,
            {"HEADRACE_HASH_SECRET": SECRET, **self.env},
        )

    def ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.admin), timeout=1) as connection:
                connection.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
                return b" 200 " in connection.recv(64)
        except OSError:
            return False


def write_files(folder: Path, **over: Any) -> None:
    """Configuration and keys."""
    partial = folder / ".router.json"
    partial.write_text(json.dumps(document(**over)))
    partial.replace(folder / "router.json")
    keys = [
        {"id": "search", "sha256": digest(KEYS["search"]), "tenant": "search", "project": "assistant"},
        {"id": "support", "sha256": digest(KEYS["support"]), "tenant": "support", "project": "answers"},
    ]
    (folder / "keys.json").write_text(json.dumps({"version": 1, "keys": keys}))


def floor_at(port: int, **over: Any) -> dict[str, Any]:
    at = {"url": f"http://127.0.0.1:{port}/v1", "metricsUrl": f"http://127.0.0.1:{port}/metrics"}
    return pool(**{**at, **over})


def burst_at(port: int, **over: Any) -> dict[str, Any]:
    return overflow(url=f"http://127.0.0.1:{port}/v1", **over)


# Loops are not what most of these tests are about.
PATIENT = {"repeats": 100_000, "retries": 100_000, "abandoned": 100_000}


@dataclass
class Answer:
    """What a caller got. `error` is the transport's."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=CIMultiDict)
    first_byte_s: float = 0.0
    error: str = ""

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["error"]["code"])

    @property
    def complete(self) -> bool:
        return self.status == 200 and (b"[DONE]" in self.body or self.body.startswith(b"{"))


async def ask(
    session: aiohttp.ClientSession,
    replica: Replica,
    *,
    text: str = "hello",
    tokens: int = 4,
    stream: bool = False,
    key: str = "search",
    headers: dict[str, str] | None = None,
    **body: Any,
) -> Answer:
    """One chat request, read to its end."""
    document = {
        "model": "chat",
        "messages": [{"role": "user", "content": text}],
        "max_tokens": tokens,
        "stream": stream,
        **body,
    }
    started = time.monotonic()
    try:
        async with session.post(
            replica.url(), json=document, headers={"Authorization": f"Bearer {KEYS[key]}", **(headers or {})}
        ) as response:
            answer = Answer(status=response.status, headers=CIMultiDict(response.headers))
            answer.first_byte_s = time.monotonic() - started
            try:
                async for chunk in response.content.iter_any():
                    answer.body += chunk
            except aiohttp.ClientError as error:
                answer.error = type(error).__name__
            return answer
    except (aiohttp.ClientError, TimeoutError) as error:
        return Answer(status=0, error=type(error).__name__)


async def state_of(session: aiohttp.ClientSession, replica: Replica) -> dict[str, Any]:
    async with session.get(replica.admin_url("/state")) as response:
        return dict(await response.json())


async def idle(session: aiohttp.ClientSession, replica: Replica, seconds: float = 120.0) -> dict[str, Any]:
    """The state once nothing is in flight."""
    deadline = time.monotonic() + seconds
    while True:
        found = await state_of(session, replica)
        if not any(one["inFlight"] or one["waiting"] for one in found["pools"].values()):
            return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)


async def make_tables(port: int) -> None:
    """The ledger's tables and the role `router` in an empty PostgreSQL."""
    connection = await asyncpg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres")
    await connection.execute(schema())
    await connection.execute("CREATE ROLE router LOGIN;" + grants("router"))
    await connection.close()
