"""Our HTTP over fake transports: no socket, every byte under control."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.router.http_client import Broken, Client, Connection, Origin, Response, split
from headrace.router.http_messages import Reply, Request, head_of
from headrace.router.http_server import Rules, Server, ServerConnection

OK = b"HTTP/1.1 200 OK\r\n"


class Wire(asyncio.Transport):
    """A transport that keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = self.aborted = self.ended = self.paused = False
        self.unread = 0

    def write(self, data: Any) -> None:
        assert not self.closed, "nothing is written to a closed connection"
        self.sent += bytes(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return self.unread

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Echo:
    """Answers with what it got; refuses /no by its head; waits for `gate` on /wait; streams /stream."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.cancelled = 0
        self.gate = asyncio.Event()

    def check(self, request: Request) -> bytes | None:
        return self.malformed(403, "no") if request.target == "/no" else None

    def malformed(self, status: int, sentence: str) -> bytes:
        return head_of(status, "", length=len(sentence), close=True) + sentence.encode()

    async def handle(self, request: Request, reply: Reply) -> None:
        self.seen.append(request)
        if request.target == "/wait":
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if request.target == "/stream":
            reply.start(200, "")
            for piece in (b"one", b"", b"two"):
                await reply.write(piece)
            reply.end()
            return
        reply.whole(200, "", request.target.encode() + b":" + request.body)


class Caller:
    """A server with one connection."""

    def __init__(self, *, most_body: int = 1000) -> None:
        self.app = Echo()
        self.server = Server(self.app, Rules(headers=frozenset({"x-a"}), most_body=lambda: most_body))
        self.wire = Wire()
        self.connection = ServerConnection(self.server)
        self.connection.connection_made(self.wire)

    async def say(self, *pieces: bytes) -> bytes:
        """Sends, lets handlers run, gives back what was answered to it."""
        before = len(self.wire.sent)
        for piece in pieces:
            if not self.wire.closed:
                self.connection.data_received(piece)
            for _ in range(5):
                await asyncio.sleep(0)
        return self.wire.sent[before:]


def post(target: str, body: bytes = b"", extra: str = "") -> bytes:
    return f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body


def bodies(answers: bytes) -> list[bytes]:
    """The bodies of answers with a length."""
    found = []
    while answers:
        head, _, rest = answers.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        found.append(rest[:length])
        answers = rest[length:]
    return found


async def test_one_connection_serves_requests_one_after_the_other() -> None:
    caller = Caller()
    assert bodies(await caller.say(post("/a", b"1", "X-A: kept\r\nX-B: dropped\r\n"))) == [b"/a:1"]
    assert caller.app.seen[0].headers == {"x-a": "kept"}
    assert bodies(await caller.say(post("/b") + post("/c", b"2") + post("/d"))) == [b"/b:", b"/c:2", b"/d:"]
    assert not caller.wire.closed


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(1, 30), max_size=40), chunked=st.booleans())
def test_a_request_is_the_same_however_it_is_cut(cuts: list[int], chunked: bool) -> None:
    async def check() -> None:
        caller = Caller()
        whole = post("/a", b"hello world")
        if chunked:
            whole = (
                b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n"
            )
        rest = whole + post("/b", b"2")
        pieces = []
        for cut in cuts:
            pieces.append(rest[:cut])
            rest = rest[cut:]
        assert bodies(await caller.say(*(piece for piece in (*pieces, rest) if piece))) == [b"/a:hello world", b"/b:2"]

    asyncio.run(check())


async def test_what_is_sent_ahead_waits_for_its_turn_and_is_bounded() -> None:
    caller = Caller()
    assert await caller.say(post("/wait"), post("/after", b"x" * 900) * 400) == b""
    assert len(caller.app.seen) == 1
    assert caller.wire.paused, "a caller that sends far ahead is not read on"
    caller.app.gate.set()
    for _ in range(200):
        await asyncio.sleep(0)
    assert caller.app.seen[1].target == "/after"


async def test_a_caller_that_goes_away_cancels_its_request() -> None:
    caller = Caller()
    await caller.say(post("/wait"))
    caller.connection.connection_lost(None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert caller.app.cancelled == 1
    assert not caller.server.connections


async def test_a_refusal_by_the_head_comes_before_the_body_and_ends_the_connection() -> None:
    caller = Caller()
    answer = await caller.say(b"POST /no HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403")
    assert b"Connection: close" in answer
    assert caller.wire.ended
    assert not caller.wire.closed, "what still comes is read for a moment, so that the answer is not lost to a reset"
    assert await caller.say(b"x" * 500 + post("/a")) == b""
    assert not caller.app.seen
    caller.connection.expire()
    assert caller.wire.closed


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", 400),
        (b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST /a HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"POST /a HTTP/1.1\r\nHost: x\r\n X: folded\r\n\r\n", 400),
        (b"POST /a HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (b"POST /a HTTP/1.1\r\n" + b"X: a\r\n" * 200 + b"\r\n", 431),
        (b"POST /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
        (post("/a", b"x" * 1001), 413),
        (b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + b"x" * 2000, 413),
    ],
)
async def test_what_is_no_request_is_refused_and_reaches_no_handler(data: bytes, status: int) -> None:
    caller = Caller()
    answer = await caller.say(data)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:60]
    assert not caller.app.seen
    assert await caller.say(post("/a")) == b"", "nothing after it is read: it could be part of it"


async def test_a_head_without_end_is_refused_while_it_comes() -> None:
    caller = Caller()
    answer = await caller.say(b"POST /a HTTP/1.1\r\nX: ", *([b"a" * 4000] * 30))
    assert answer.startswith(b"HTTP/1.1 431")


async def test_bytes_that_drip_in_do_not_extend_a_limit() -> None:
    caller = Caller()
    await caller.say(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
    first = caller.connection.deadline
    await caller.say(*([b"x"] * 20))
    assert caller.connection.deadline == first
    caller.connection.expire()
    assert b"HTTP/1.1 408" in caller.wire.sent
    head = Caller()
    await head.say(b"POST /a HT")
    first = head.connection.deadline
    await head.say(b"T", b"P")
    assert head.connection.deadline == first
    assert first < float("inf")


async def test_a_caller_that_asks_whether_to_go_on_is_told() -> None:
    caller = Caller()
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    assert await caller.say(head) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert bodies(await caller.say(b"ok")) == [b"/a:ok"]


async def test_a_stream_has_chunks_or_for_old_callers_an_end() -> None:
    caller = Caller()
    answer = await caller.say(post("/stream"))
    assert answer.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    assert not caller.wire.closed
    old = Caller()
    answer = await old.say(b"POST /stream HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
    assert answer.endswith(b"\r\n\r\nonetwo")
    assert b"chunked" not in answer
    assert old.wire.closed


UPGRADE = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"


@pytest.mark.parametrize("cut", [0, 60, 150, 170])
async def test_a_request_that_offers_another_protocol_is_served_in_this_one(cut: int) -> None:
    caller = Caller()
    data = post("/a", b"0123456789", UPGRADE + "X-A: kept\r\n")
    answer = await caller.say(*(piece for piece in (data[:cut], data[cut:]) if piece))
    assert bodies(answer) == [b"/a:0123456789"]
    assert caller.app.seen[0].headers == {"x-a": "kept"}
    assert caller.wire.closed, "and nothing after it: the other side may have gone over already"
    chunked = Caller()
    head = f"POST /b HTTP/1.1\r\nHost: x\r\n{UPGRADE}Transfer-Encoding: chunked\r\n\r\n".encode()
    assert bodies(await chunked.say(head + b"3\r\nabc\r\n", b"0\r\n\r\n")) == [b"/b:abc"]
    large = Caller()
    assert (await large.say(post("/a", b"x" * 2000, UPGRADE))).startswith(b"HTTP/1.1 413")
    assert (await Caller().say(post("/no", b"x", UPGRADE))).startswith(b"HTTP/1.1 403")


async def test_a_stopping_server_ends_connections_after_their_answers() -> None:
    busy, idle = Caller(), Caller()
    await busy.say(post("/wait"))
    for caller in (busy, idle):
        caller.server.stop_listening()
    assert idle.wire.closed
    assert not busy.wire.closed
    busy.app.gate.set()
    await busy.say(b"")
    assert bodies(busy.wire.sent) == [b"/wait:"]
    assert busy.wire.closed


# -- the client -------------------------------------------------------------------------------------------------------


async def exchange(*pieces: bytes, end: bool = False) -> tuple[Connection, Wire, Callable[[], Any]]:
    client = Client()
    connection = Connection(client, Origin("pool", 80, tls=False))
    wire = Wire()
    connection.connection_made(wire)

    async def answered() -> tuple[int, bytes, Response]:
        response = await connection.send(b"POST / HTTP/1.1\r\n\r\n")
        body = b""
        while piece := await response.read(0.5):
            body += piece
        return response.status, body, response

    async def run() -> tuple[int, bytes, Response]:
        task = asyncio.create_task(answered())
        for piece in pieces:
            await asyncio.sleep(0)
            connection.data_received(piece)
        await asyncio.sleep(0)
        if end:
            connection.connection_lost(None)
        return await task

    return connection, wire, run


@pytest.mark.parametrize(
    ("pieces", "end", "kept"),
    [
        ((OK + b"Content-Length: 5\r\n\r\nhello",), False, True),
        ((OK + b"Content-Len", b"gth: 5\r\n\r\nhe", b"llo"), False, True),
        ((OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",), False, True),
        ((OK + b"Content-Length: 5\r\nConnection: close\r\n\r\nhello",), False, False),
        ((OK + b"\r\nhel", b"lo"), True, False),
    ],
)
async def test_an_answer_is_read_to_its_end_and_its_connection_kept_only_then(
    pieces: tuple[bytes, ...], end: bool, kept: bool
) -> None:
    connection, wire, run = await exchange(*pieces, end=end)
    status, body, response = await run()
    assert (status, body) == (200, b"hello")
    response.release()
    assert connection.usable is (kept and not wire.closed)
    assert wire.closed is (not kept)


@pytest.mark.parametrize(
    ("pieces", "end"),
    [
        ((b"SSH-2.0-OpenSSH\r\n",), False),
        ((OK + b"Content-Length: 5\r\n\r\nhe",), True),
        ((OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n",), True),
        ((OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",), False),
        ((b"",), True),
        ((OK + b"X: " + b"a" * 70_000,), False),
    ],
)
async def test_half_an_answer_or_none_is_broken(pieces: tuple[bytes, ...], end: bool) -> None:
    _, _, run = await exchange(*(piece for piece in pieces if piece), end=end)
    with pytest.raises(Broken):
        await run()


async def test_bytes_that_nobody_asked_for_end_a_connection() -> None:
    connection, wire, run = await exchange(OK + b"Content-Length: 2\r\n\r\nok")
    _, _, response = await run()
    response.release()
    assert connection.usable
    connection.data_received(OK + b"Content-Length: 4\r\n\r\nevil")
    assert not connection.usable
    assert wire.closed, "an answer must never be taken for another request's"


async def test_an_answer_that_was_not_read_to_its_end_closes_its_connection() -> None:
    client = Client()
    connection = Connection(client, Origin("pool", 80, tls=False))
    wire = Wire()
    connection.connection_made(wire)
    task = asyncio.create_task(connection.send(b"x"))
    await asyncio.sleep(0)
    connection.data_received(OK + b"Content-Length: 100\r\n\r\nhalf")
    response = await task
    with pytest.raises(TimeoutError):
        await response.read(0.01) and await response.read(0.01)
    response.release()
    assert wire.aborted, "the model server must stop"


async def test_a_fast_server_waits_for_a_slow_reader() -> None:
    client = Client()
    connection = Connection(client, Origin("pool", 80, tls=False))
    wire = Wire()
    connection.connection_made(wire)
    task = asyncio.create_task(connection.send(b"x"))
    await asyncio.sleep(0)
    connection.data_received(OK + b"Content-Length: 1000000\r\n\r\n" + b"x" * 300_000)
    response = await task
    assert wire.paused
    assert len(await response.read()) == 300_000
    assert not wire.paused


def test_addresses_are_split() -> None:
    assert split("http://a:81/v1") == (Origin("a", 81, tls=False), "/v1")
    assert split("https://a.b") == (Origin("a.b", 443, tls=True), "/")
    assert split("http://[::1]:8000/v1/x")[0] == Origin("::1", 8000, tls=False)
