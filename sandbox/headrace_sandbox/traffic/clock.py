"""A clock that runs faster than the wall's, for one process: all its times and timers, and nothing else of it.

The router's configuration is in seconds (timeouts, idle times, cold starts, rates per minute). To replay minutes in
seconds without touching its meaning, the process itself is given a faster clock: `time.time`, `time.monotonic` and the
event loop's timers all advance `speed` seconds in each second. Model servers are given the same `speed`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Mapping
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVarTuple

import uvloop

_Ts = TypeVarTuple("_Ts")


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Platform time: equal to the wall's at `epoch` (seconds since 1970) and `speed` times as fast from there."""

    speed: float
    epoch: float

    def at(self, wall: float) -> float:
        """Platform seconds since 1970 at a moment of the wall clock."""
        return self.epoch + (wall - self.epoch) * self.speed


def install(clock: Clock, hosts: Mapping[str, str]) -> None:
    """Gives this process the clock and the names. Call before anything that reads the time is imported."""
    wall, monotonic, counter = time.time, time.monotonic, time.perf_counter

    def scaled(read: Callable[[], float]) -> Callable[[], float]:
        return lambda: read() * clock.speed

    time.time = lambda: clock.at(wall())
    time.monotonic = scaled(monotonic)
    time.perf_counter = scaled(counter)
    uvloop.new_event_loop = lambda: loop_class(clock.speed, hosts)()


def read_hosts(path: Path) -> dict[str, str]:
    """`host:port` of the deployment -> `host:port` on this machine. The one place where that is said."""
    return {str(name): str(address) for name, address in json.loads(path.read_text(encoding="utf-8")).items()}


def loop_class(speed: float, hosts: Mapping[str, str]) -> type[uvloop.Loop]:
    """An event loop with scaled timers that finds the deployment's addresses in `hosts` and no others.

    A name that is not in the map is unknown: a replay never reaches a vendor's real cloud by accident.
    """

    def place(host: str | bytes | None, port: str | int | bytes | None) -> tuple[str, int]:
        name = host.decode() if isinstance(host, bytes) else str(host)
        number = int(port or 0)
        found = hosts.get(f"{name}:{number}")
        if found is not None:
            address, _, mapped = found.rpartition(":")
            return address, int(mapped)
        if name in ("127.0.0.1", "localhost", "::1"):
            return name, number
        raise socket.gaierror(socket.EAI_NONAME, f"{name}:{number} is not in the sandbox's map of hosts")

    class ScaledLoop(uvloop.Loop):
        def time(self) -> float:
            return super().time() * speed

        def call_later(
            self, delay: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
        ) -> asyncio.TimerHandle:
            return super().call_later(delay / speed, callback, *args, context=context)

        async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
            return await super().getaddrinfo(*place(host, port), **options)

        async def create_connection(
            self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any
        ) -> Any:
            if host is not None:
                if options.get("ssl") and options.get("server_hostname") is None:
                    options["server_hostname"] = host
                host, port = place(host, port)
            return await super().create_connection(protocol_factory, host, port, **options)

    return ScaledLoop
