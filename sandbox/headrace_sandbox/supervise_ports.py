"""Loopback ports of a sandbox: chosen free once, then the same for its life."""

from __future__ import annotations

import json
import os
import random
import socket
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil

from headrace.errors import refuse
from headrace_sandbox import cache

LOOPBACK: Final = "127.0.0.1"

# A killed process with many threads counts as dead while its last threads still hold its sockets.
_RELEASE_S: Final = 10.0
_POLL_S: Final = 0.05
# Below the ports that Linux gives to outgoing connections (net.ipv4.ip_local_port_range: 32768 and up).
_PORTS: Final = range(15_000, 30_000)
_BY_PROCESS: Final = " by process"


def write_json(path: Path, value: object, *, mode: int = 0o644) -> None:
    """Write beside and rename into place, so that a reader or a crash never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as handle:
        json.dump(value, handle, indent=2)
        handle.write("\n")
        handle.flush()
        os.fsync(handle.fileno())
    partial.replace(path)


class Ports:
    """`ports(name)`: the port of a part, remembered in `<directory>/ports.json`."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "ports.json"

    def __call__(self, name: str) -> int:
        with cache.locked(self._file.with_name(".ports.lock"), what="choose a port"):
            known = self._read()
            if name not in known:
                known[name] = free_port(taken=set(known.values()))
                write_json(self._file, known)
            return known[name]

    def _read(self) -> dict[str, int]:
        if not self._file.is_file():
            return {}
        loaded = json.loads(self._file.read_text(encoding="utf-8"))
        return {str(name): int(port) for name, port in loaded.items()}


def free_port(*, taken: Collection[int] = ()) -> int:
    """A free loopback port that the system gives nobody by itself, so that it is still free a minute from now, and when
    a part that was killed starts anew."""
    random_ = random.SystemRandom()
    while True:
        port = random_.randrange(_PORTS.start, _PORTS.stop)
        if port not in taken and _bind_error(port) is None:
            return port


def port_of(url: str) -> int | None:
    """The loopback port that a URL names, None for a URL that is not ours to open."""
    parts = urlsplit(url)
    return parts.port if parts.hostname in {LOOPBACK, "localhost"} else None


def answers(port: int, *, timeout_s: float = 0.5) -> bool:
    """Whether something accepts connections on a loopback port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout_s):
            return True
    except OSError:
        return False


def need_free(port: int, *, service: str) -> None:
    """Refuse to start a part whose port somebody else holds, and name the holder when the system tells."""
    deadline = time.monotonic() + _RELEASE_S
    while (error := _bind_error(port)) is not None:
        holder = _holder(port)
        # A listener with a living owner won't go by itself; one without is on its way out.
        if holder.startswith(_BY_PROCESS) or time.monotonic() >= deadline:
            raise refuse(
                f"port of {service}",
                port,
                f"it is taken{holder}",
                reason="the parts of a running sandbox find each other on the ports they were given at first",
                next_step="stop that process, or run headrace sandbox down --purge and up again to get other ports",
            ) from error
        time.sleep(_POLL_S)


def _bind_error(port: int) -> OSError | None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            return error
    return None


def _holder(port: int) -> str:
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return " by a process of another user"
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr[1] == port:
            if connection.pid is None:
                return " by a process of another user"
            try:
                return f"{_BY_PROCESS} {connection.pid} ({psutil.Process(connection.pid).name()})"
            except psutil.Error:
                return f"{_BY_PROCESS} {connection.pid}"
    return ""
