"""Pools whose answers are odd but come over good HTTP: a router process in front of servers that are scripted byte by
byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from tests.engine.router.test_serving import outcomes
from tests.engine.router.world import (
    KEYS,
    PATIENT,
    Replica,
    ask,
    burst_at,
    floor_at,
    idle,
    until,
    wait_for,
    write_files,
)

pytestmark = pytest.mark.engine

SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
ERROR = b'{"object":"error","message":"the engine is dead","code":500}'
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
WHOLE = json.dumps({"choices": [{"index": 0, "message": {"content": "a b"}}], "usage": USAGE}).encode()
Script = Callable[[asyncio.StreamWriter, bool], Awaitable[None]]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(document: object, end: bytes = b"\n\n") -> bytes:
    return b"data: " + json.dumps(document).encode() + end


def word(text: str, end: bytes = b"\n\n") -> bytes:
    return chunk(event({"choices": [{"index": 0, "delta": {"content": text}}]}, end))


def whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@contextlib.asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[int]:
    """A port whose answers `script` writes; it is told whether a stream is asked for."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(length.group(1)) if length else 0)
                if head.startswith(b"GET"):
                    writer.write(whole(b"vllm:num_requests_waiting 0\nvllm:kv_cache_usage_perc 0\n"))
                else:
                    await script(writer, b'"stream":true' in body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def good(writer: asyncio.StreamWriter, stream: bool) -> None:
    end = chunk(event({"choices": [], "usage": USAGE})) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    writer.write(SSE + word("a") + word("b") + end if stream else whole(WHOLE))


async def dead(writer: asyncio.StreamWriter, stream: bool) -> None:
    """A good status, and an error in place of the answer: vLLM's streams, and RunPod's worker."""
    writer.write(
        SSE + chunk(b"data: " + ERROR + b"\n\n") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n" if stream else whole(ERROR)
    )


async def test_an_error_under_200_is_a_failure_and_is_answered_elsewhere(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with scripted(dead) as floor, scripted(good) as burst:
        pools = {"floor": floor_at(floor), "burst": burst_at(burst, coldStartS=0.1)}
        write_files(tmp_path, pools=pools, callerBreaker=PATIENT, breaker={"failuresInARow": 3, "openS": 600})
        replica = Replica(folder=tmp_path)
        with replica.start() as process:
            wait_for(replica.ready, what="the router")
            for number in range(12):
                answer = await ask(session, replica, text=f"{number}", stream=bool(number % 2))
                assert answer.complete, answer
                assert b"engine is dead" not in answer.body
                assert answer.headers["X-Headrace-Pool"] == "burst"
            state = await idle(session, replica)
            assert state["pools"]["floor"]["circuit"] != "closed", "what answers with errors is left alone"
            await until(lambda: "a pool fails" in replica.log.read_text(), what="a line of the log")
            process.kill(signal.SIGTERM)
        kept = outcomes(replica)
        assert len(kept) == 12
        assert {(one[0].outcome, one[0].pool, len(one)) for one in kept.values()} == {("ok", "burst", 1)}
    said = [line for line in replica.log.read_text().splitlines() if "a pool fails" in line]
    assert len(said) == 1, "the log says it once"
    assert json.loads(said[0])["pool"] == "floor"
    assert json.loads(said[0])["lastFailure"] == "500"


async def test_an_error_in_the_middle_ends_the_stream_visibly(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    async def dies(writer: asyncio.StreamWriter, stream: bool) -> None:
        writer.write(SSE + word("a"))
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.write(chunk(b"data: " + ERROR + b"\n\n") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    async def halves(writer: asyncio.StreamWriter, stream: bool) -> None:
        writer.write(SSE + word("a"))
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.write(chunk(b'data: {"choices":[{"ind'))
        await writer.drain()
        writer.close()

    for script, said in ((dies, "stream-error"), (halves, "stream-broke")):
        folder = tmp_path / said
        folder.mkdir()
        async with scripted(script) as floor:
            write_files(folder, pools={"floor": floor_at(floor)}, callerBreaker=PATIENT)
            replica = Replica(folder=folder)
            with replica.start() as process:
                wait_for(replica.ready, what="the router")
                answer = await ask(session, replica, stream=True, stream_options={"include_usage": True})
                assert answer.error, "nobody can take it for complete"
                first, last = answer.body.split(b"\n\n")[:2]
                assert json.loads(first[5:])["choices"], "what was whole before it has reached the caller"
                assert json.loads(last[5:])["error"]["code"] == "upstream_failed", (
                    "and the error is an event of its own"
                )
                await idle(session, replica)
                process.kill(signal.SIGTERM)
            ((entry,),) = outcomes(replica).values()
            assert entry.outcome == said


async def test_a_stream_that_ends_its_lines_with_crlf_is_not_held_back(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    release = asyncio.Event()

    async def crlf(writer: asyncio.StreamWriter, stream: bool) -> None:
        writer.write(SSE + word("a", b"\r\n\r\n"))
        await writer.drain()
        await release.wait()
        writer.write(chunk(event({"choices": [], "usage": USAGE}, b"\r\n\r\n")) + chunk(b"data: [DONE]\r\n\r\n"))
        writer.write(b"0\r\n\r\n")

    async with scripted(crlf) as floor:
        write_files(tmp_path, pools={"floor": floor_at(floor)})
        replica = Replica(folder=tmp_path)
        with replica.start() as process:
            wait_for(replica.ready, what="the router")
            began = time.monotonic()
            asked = asyncio.create_task(first_word(session, replica, release))
            got, body = await asyncio.wait_for(asked, 60)
            assert got - began < 30, "the first event came while the model server held back the rest"
            assert b'"usage"' not in body, "the usage event that only the router asked for stays inside"
            assert body.endswith(b"data: [DONE]\r\n\r\n")
            await idle(session, replica)
            process.kill(signal.SIGTERM)
        ((entry,),) = outcomes(replica).values()
        assert (entry.tokens_in, entry.tokens_out, entry.tokens_exact) == (3, 2, True)


async def first_word(session: aiohttp.ClientSession, replica: Replica, release: asyncio.Event) -> tuple[float, bytes]:
    """When the first event came, which lets the rest come, and all of the answer."""
    body = {"model": "chat", "messages": [{"role": "user", "content": "x"}], "max_tokens": 4, "stream": True}
    headers = {"Authorization": f"Bearer {KEYS['search']}"}
    async with session.post(replica.url(), json=body, headers=headers) as response:
        found = await response.content.readany()
        assert found.startswith(b"data:")
        at = time.monotonic()
        release.set()
        async for piece in response.content.iter_any():
            found += piece
    return at, found
