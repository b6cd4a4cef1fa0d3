"""Names of pools: a resolver that hangs, or is wrong, is one pool's fault and nobody else's."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from headrace.router.config import from_json
from headrace.router.health import PoolLog
from headrace.router.http_client import Address, Client, Connection, Origin, OutOfFiles
from headrace.router.process import raise_open_files
from headrace.router.types import Circuit, PoolView
from headrace.router.upstream import Upstream, UpstreamError
from tests.unit.router.test_http import Wire
from tests.unit.router.worlds import document

HUNG = Origin("lame.example", 443, False)


@pytest.fixture
async def resolver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[str]]:
    """Look-ups as the system makes them, in the loop's threads; that of `HUNG` doesn't come back."""
    asked: list[str] = []
    release = threading.Event()

    def getaddrinfo(host: str, port: int, *_: object, **__: object) -> list[Address]:
        asked.append(host)
        if host == HUNG.host:
            release.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield asked
    release.set()  # before the loop ends: it waits for its threads


async def test_a_name_that_hangs_holds_up_no_other(resolver: list[str]) -> None:
    client = Client()
    waiting = [asyncio.create_task(client.addresses(HUNG)) for _ in range(200)]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        found = await client.addresses(Origin("floor.example", 80, False))
    assert found[0][4] == ("192.0.2.1", 80)
    assert resolver.count(HUNG.host) == 1, "however many ask, one thread waits for a resolver that doesn't answer"
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not client._lookups[HUNG].done(), "who asks next waits for the same look-up"
    client.close()


async def test_every_address_of_a_name_is_tried_and_certificates_are_of_the_name(
    monkeypatch: pytest.MonkeyPatch, resolver: list[str]
) -> None:
    tried: list[tuple[Any, ...]] = []

    async def connect(factory: Any, host: str, port: int, *, ssl: Any, server_hostname: str | None) -> Any:
        tried.append((host, port, ssl is not None, server_hostname))
        if len(tried) == 1:
            raise ConnectionRefusedError
        connection = factory()
        connection.connection_made(Wire())
        return None, connection

    async def two(*_: object) -> list[Address]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"192.0.2.{one}", 443)) for one in (1, 2)]

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", connect)
    client = Client()
    monkeypatch.setattr(client, "addresses", two)
    assert isinstance(await client._connect(Origin("pool.example", 443, True)), Connection)
    assert tried == [("192.0.2.1", 443, True, "pool.example"), ("192.0.2.2", 443, True, "pool.example")]
    await client._connect(Origin("127.0.0.1", 8000, False))
    assert tried[2:] == [("127.0.0.1", 8000, False, None)]
    assert not resolver, "an address is not looked up"


async def test_too_many_open_files_are_no_fault_of_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*_: object, **__: object) -> Any:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", connect)
    with pytest.raises(OutOfFiles):
        await Client()._connect(Origin("127.0.0.1", 8000, False))


def test_open_files_are_limited_by_the_hard_limit_alone() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[0], 512), before[1]))
        hard = before[1] if before[1] != resource.RLIM_INFINITY else 1 << 20
        assert raise_open_files() == min(hard, 1 << 20)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_log_says_once_that_a_pool_fails_and_once_that_it_answers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="headrace.router")
    pools, log = {"floor": PoolView(phase_since=0.0), "burst": PoolView(phase_since=0.0)}, PoolLog()
    for circuit in (Circuit.CLOSED, Circuit.OPEN, Circuit.OPEN, Circuit.HALF_OPEN, Circuit.OPEN, Circuit.CLOSED):
        pools["floor"].circuit = circuit
        log.step(pools, {"floor": "no-answer"})
    assert [record.getMessage() for record in caplog.records] == [
        "a pool fails and gets no requests",
        "a pool answers again",
    ]
    assert vars(caplog.records[0])["fields"]["lastFailure"] == "no-answer"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ssl.SSLCertVerificationError(1, "certificate has expired"), "certificate"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name"),
        (ConnectionRefusedError(111, "Connection refused"), "connect"),
    ],
)
async def test_what_is_wrong_with_a_pool_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, error: OSError, kind: str
) -> None:
    async def connect(*_: object, **__: object) -> Any:
        raise error

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", connect)
    upstream = Upstream()
    pool = from_json(json.dumps(document())).pools["floor"]
    with pytest.raises(UpstreamError) as raised:
        await upstream.open(pool, "completions", b"{}", "")
    assert raised.value.failure.kind == kind, "the metric and the log name it"
    upstream.close()
