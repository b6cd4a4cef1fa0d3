"""Several pools' stand-ins in one process: one listener for each address that the pools have in the cluster.

The file: {"admin_port": P, "certificate": …, "key": …, "pools": [{"name", "port", "prefix", "tls", "model", "key_env",
"behaviour"}]}. Pools that share an address share a port and differ by the prefix of their path. The admin port answers
`GET /_sandbox/fleet` with what each pool did.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from headrace_sandbox.model_servers.application import ModelServer
from headrace_sandbox.model_servers.behaviour import Behaviour


@dataclass(frozen=True, kw_only=True)
class Pool:
    """One pool: where it listens and how it behaves. `key_env` names the variable that holds its bearer token."""

    name: str
    port: int
    model: str
    prefix: str = ""
    tls: bool = False
    key_env: str | None = None
    behaviour: Behaviour = field(default_factory=Behaviour)


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """All pools of one process. `certificate` and `key` are PEM files for the listeners that speak TLS."""

    admin_port: int
    pools: tuple[Pool, ...]
    certificate: str = ""
    key: str = ""


def to_json(fleet: Fleet) -> dict[str, Any]:
    """The file's content."""
    return asdict(fleet)


def read(path: Path) -> Fleet:
    """The fleet that a file describes."""
    document = json.loads(path.read_text(encoding="utf-8"))
    pools = tuple(Pool(**{**one, "behaviour": Behaviour(**one["behaviour"])}) for one in document["pools"])
    return Fleet(**{**document, "pools": pools})


async def serve(fleet: Fleet) -> None:
    """Every listener, until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for sent in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sent, stop.set)
    servers = {
        pool.name: ModelServer(
            pool.behaviour, model=pool.model, key=(os.environ.get(pool.key_env) or None) if pool.key_env else None
        )
        for pool in fleet.pools
    }
    runners = []
    for port in sorted({pool.port for pool in fleet.pools}):
        here = [pool for pool in fleet.pools if pool.port == port]
        runners.append(await _listen(_site(here, servers), port, _tls(fleet) if here[0].tls else None))
    runners.append(await _listen(_admin(servers), fleet.admin_port, None))
    await stop.wait()
    for runner in runners:
        await runner.cleanup()


def _site(pools: list[Pool], servers: dict[str, ModelServer]) -> web.Application:
    if len(pools) == 1 and not pools[0].prefix:
        return servers[pools[0].name].application()
    root = web.Application(client_max_size=64 << 20)
    for pool in pools:
        root.add_subapp(pool.prefix, servers[pool.name].application())
    return root


def _admin(servers: dict[str, ModelServer]) -> web.Application:
    async def states(_: web.Request) -> web.Response:
        return web.json_response({name: server.state() for name, server in servers.items()})

    app = web.Application()
    app.router.add_get("/_sandbox/fleet", states)
    return app


def _tls(fleet: Fleet) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(fleet.certificate, fleet.key)
    return context


async def _listen(app: web.Application, port: int, tls: ssl.SSLContext | None) -> web.AppRunner:
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls, backlog=1024).start()
    return runner
