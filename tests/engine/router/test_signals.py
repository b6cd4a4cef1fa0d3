"""What the router learns from the metrics of a pool's model servers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from headrace.router.upstream import Signals, Upstream
from headrace_sandbox.supervise_ports import free_port

pytestmark = pytest.mark.engine

REPLICAS = "model-server-replicas.pool.svc.cluster.local"


@asynccontextmanager
async def metrics(address: str, port: int, queue: int, kv: float) -> AsyncIterator[list[str]]:
    """A model server's metrics; yields the Host headers it saw."""
    hosts: list[str] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        hosts.append(request.host)
        lines = (f'vllm:num_requests_waiting{{engine="0"}} {queue}', f'vllm:kv_cache_usage_perc{{engine="0"}} {kv}')
        return web.Response(text="\n".join(lines) + "\n")

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    try:
        yield hosts
    finally:
        await runner.cleanup()


@pytest.fixture
def resolving(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], None]:
    """Let the replicas' name have these addresses."""

    def install(addresses: list[str]) -> None:
        async def getaddrinfo(_: object, host: str, port: int, **__: object) -> list[Any]:
            assert host == REPLICAS
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

        monkeypatch.setattr(type(asyncio.get_running_loop()), "getaddrinfo", getaddrinfo)

    return install


async def test_every_replica_behind_a_headless_service_counts(resolving: Callable[[list[str]], None]) -> None:
    port, upstream = free_port(), Upstream()
    try:
        async with AsyncExitStack() as stack:
            quiet = await stack.enter_async_context(metrics("127.0.0.1", port, 0, 0.2))
            busy = await stack.enter_async_context(metrics("127.0.0.2", port, 3, 0.9))
            resolving(["127.0.0.1", "127.0.0.2", "127.0.0.2"])
            found = await upstream.scrape(f"http://{REPLICAS}:{port}/metrics", limit_s=5)
            assert found == Signals(queue=3, kv_use=0.9, servers=2), (
                "queues add up; the fullest cache is the pool's, for a request may meet it"
            )
            assert quiet == busy == [f"{REPLICAS}:{port}"], "each was asked once, by the name it is known by"
            resolving(["127.0.0.1", "127.0.0.3"])
            found = await upstream.scrape(f"http://{REPLICAS}:{port}/metrics", limit_s=5)
            assert found == Signals(queue=0, kv_use=0.2, servers=2), (
                "a replica that doesn't answer does not hide the others, and is there while it is ready"
            )
        found = await upstream.scrape(f"http://{REPLICAS}:{port}/metrics", limit_s=1)
        assert found is None, "nobody answers: unknown, never zero"
    finally:
        upstream.close()


@pytest.mark.parametrize(
    ("error", "servers"), [(socket.EAI_NONAME, 0), (socket.EAI_NODATA, 0), (socket.EAI_AGAIN, None)]
)
async def test_a_name_without_addresses_has_no_model_servers(
    error: int, servers: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def getaddrinfo(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(error, "as the resolver says")

    monkeypatch.setattr(type(asyncio.get_running_loop()), "getaddrinfo", getaddrinfo)
    upstream = Upstream()
    try:
        found = await upstream.scrape("http://gone.pool.svc.cluster.local:8000/metrics", limit_s=5)
        assert (found.servers if found else None) == servers, "a resolver that doesn't answer tells nothing"
    finally:
        upstream.close()
