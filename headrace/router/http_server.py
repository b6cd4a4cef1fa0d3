"""HTTP/1.1 for callers: parsed by llhttp, strict, with a limit on everything a caller can make us wait for or keep.

One request at a time on a connection; what a caller sends ahead waits. A request's handler is a task, cancelled when
its caller goes away. A request can be refused by its head, before its body is read. Refusals of malformed requests go
through the application too, so that every error has one form.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, cast

import httptools

from headrace.router.http_messages import Reply, Request

LONGEST_LINE: Final = 8190
LARGEST_HEAD: Final = 32 << 10
MOST_HEADERS: Final = 100
# Requests sent ahead on one connection before their turn.
_MOST_AHEAD: Final = 16
_MOST_AHEAD_BYTES: Final = 256 << 10
# What bodies of all connections may take together, and what one may still take when they do: callers that begin many
# large bodies are refused, the small requests of all others are served.
MOST_BODIES: Final = 512 << 20
_SMALL_BODY: Final = 64 << 10
_HEAD_S: Final = 15.0
_BODY_S: Final = 30.0
_IDLE_S: Final = 75.0
# A refused caller may still be sending: closing at once would reset the connection before it reads the answer.
_LINGER_S: Final = 1.0
_SWEEP_S: Final = 0.5
_LOG: Final = logging.getLogger("headrace.router")


class Application(Protocol):
    """What serves requests."""

    def check(self, request: Request) -> bytes | None:
        """Looks at a head. The whole answer where the request is refused before its body is read."""

    async def handle(self, request: Request, reply: Reply) -> None:
        """Serves a request whose body has come. Must answer, or raise `ConnectionError` when nobody reads on."""

    def malformed(self, status: int, sentence: str) -> bytes:
        """The answer to something that is no request."""


@dataclass(kw_only=True)
class Rules:
    """What a server keeps of a head, and its most bytes of body, asked for at each request."""

    headers: frozenset[str]
    most_body: Callable[[], int] = field(default=lambda: 2 << 20)


class ServerConnection(asyncio.Protocol):
    """One caller's connection."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = server.loop
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._task: asyncio.Task[None] | None = None
        self._ready: deque[tuple[Request, bool]] = deque()
        self._ahead: deque[bytes] = deque()
        self._ahead_bytes = 0
        self._held = 0  # bytes of bodies
        self._unread = 0  # bytes of answers that the caller had not taken when it was looked at last
        self._closing = False  # no further request is read
        self._answered = False
        self._staying: Request | None = None
        self._drained: asyncio.Future[None] | None = None
        self.full = False
        self._phase = _IDLE_S
        self.deadline = self._loop.time() + _IDLE_S
        self._begin()

    def _begin(self) -> None:
        self._target = b""
        self._headers: dict[str, str] = {}
        self._count = self._head_bytes = self._raw_bytes = 0
        self._length: int | None = None
        self._expects = self._chunked = False
        self._head_done = False
        self._request: Request | None = None
        self._body: list[bytes] = []
        self._size = 0

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._let_go(self._held)
        self._closing = True
        self._transport = None
        self._ready.clear()
        self._ahead.clear()
        if self._task is not None:
            self._task.cancel()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def pause_writing(self) -> None:
        self.full = True
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        self.full = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def eof_received(self) -> bool:
        return False

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._task is not None or self._ready:
            self._ahead.append(data)
            self._ahead_bytes += len(data)
            if self._ahead_bytes > _MOST_AHEAD_BYTES and self._transport is not None:
                self._transport.pause_reading()
            return
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        try:
            self._raw_bytes += len(data)
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            if not self._closing:
                self._refuse(self._server.application.malformed(400, "this is not a request of HTTP/1.1"))
        if self._closing:
            return
        if not self._head_done and self._raw_bytes > 2 * LARGEST_HEAD:
            self._refuse(self._server.application.malformed(431, "the head is too large"))
            return
        if self._task is None:
            phase = _BODY_S if self._head_done else _HEAD_S if self._raw_bytes else _IDLE_S
            if phase != self._phase:  # a limit for the whole phase: bytes that drip in don't extend it
                self._phase = phase
                self.deadline = self._loop.time() + phase

    def _stay(self, rest: bytes) -> None:
        """A request offers another protocol, as some clients always do: it is served in this one.

        llhttp takes what follows such a head for the other protocol, so the body is read by a new parser that begins
        with the same framing. The head was checked already.
        """
        request = self._request
        if request is None or self._closing:
            return
        framing = "Transfer-Encoding: chunked" if self._chunked else f"Content-Length: {self._length or 0}"
        self._staying = request
        self._parser = httptools.HttpRequestParser(self)
        self._feed(f"POST / HTTP/1.1\r\nConnection: close\r\n{framing}\r\n\r\n".encode() + rest)

    # -- httptools: an exception in one of these stops the parser -----------------------------------------------------

    def on_message_begin(self) -> None:
        self._begin()
        self._raw_bytes = 1
        self._phase = 0.0

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > LONGEST_LINE:
            self._refuse(self._server.application.malformed(414, "the target is too long"))
            raise _Stop

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count += 1
        self._head_bytes += len(name) + len(value)
        if len(name) + len(value) > LONGEST_LINE or self._count > MOST_HEADERS or self._head_bytes > LARGEST_HEAD:
            self._refuse(self._server.application.malformed(431, "the head is too large"))
            raise _Stop
        text = name.decode("latin-1").lower()
        if text in self._server.rules.headers:
            self._headers.setdefault(text, value.decode("utf-8", "surrogateescape"))
        elif text == "content-length":
            self._length = int(value) if value.isdigit() and len(value) < 20 else None
        elif text == "transfer-encoding":
            self._chunked = True  # llhttp has refused everything but chunks at the end
        elif text == "expect":
            self._expects = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        self._head_done = True
        if self._staying is not None:
            self._request, self._staying = self._staying, None
            return
        request = self._request = Request(
            method=self._parser.get_method().decode("latin-1"),
            target=self._target.decode("latin-1"),
            headers=self._headers,
            length=self._length,
            http_1_0=self._parser.get_http_version() == "1.0",
        )
        refused = self._server.application.check(request)
        if refused is not None:
            self._refuse(refused)
            raise _Stop
        if self._length is not None and self._length > self._server.rules.most_body():
            self._too_large()
        if self._expects and not request.http_1_0 and self._task is None and not self._ready:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > self._server.rules.most_body():
            self._too_large()
        if self._size > _SMALL_BODY and self._server.held > MOST_BODIES:
            self._refuse(self._server.application.malformed(503, "too many large requests are on their way"))
            raise _Stop
        self._held += len(body)
        self._server.held += len(body)
        self._body.append(body)

    def _let_go(self, size: int) -> None:
        size = min(size, self._held)
        self._held -= size
        self._server.held -= size

    def _too_large(self) -> None:
        most = self._server.rules.most_body()
        self._refuse(self._server.application.malformed(413, f"the body is larger than {most} bytes"))
        raise _Stop

    def on_message_complete(self) -> None:
        request = self._request
        if request is None or self._closing or self._parser.should_upgrade():
            return
        request.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        close = not self._parser.should_keep_alive() or self._server.closing
        self._ready.append((request, close))
        self._request, self._body, self._raw_bytes, self._head_done = None, [], 0, False
        if len(self._ready) > _MOST_AHEAD:
            self._closing = True
        if self._task is None:
            self._next()

    # -- answers ------------------------------------------------------------------------------------------------------

    def _next(self) -> None:
        request, close = self._ready.popleft()
        self.deadline = float("inf")
        self._answered = False
        self._task = self._loop.create_task(self._serve(request, close=close or self._closing))

    async def _serve(self, request: Request, *, close: bool) -> None:
        reply = Reply(self, close=close, chunked=not request.http_1_0)
        try:
            await self._server.application.handle(request, reply)
            if self.full and not self._closing:  # who asks on without reading would fill our memory with answers
                await self.drain()
        except ConnectionError:
            self.abort()
        finally:
            self._task = None
            self._let_go(len(request.body))
            if not self._answered:
                self.abort()
        if self._transport is None:
            return
        if self._closing:
            self._transport.close()
            return
        while self._ahead and not self._ready and not self._closing:
            data = self._ahead.popleft()
            self._ahead_bytes -= len(data)
            if self._ahead_bytes <= _MOST_AHEAD_BYTES:
                self._transport.resume_reading()
            self._feed(data)
            if self._task is not None:
                return
        if self._ready and self._task is None:
            self._next()

    def write(self, data: bytes) -> None:
        """Bytes to the caller; nothing where it is gone."""
        if self._transport is None:
            raise ConnectionResetError("the caller is gone")
        self._transport.write(data)

    async def drain(self) -> None:
        """Until the caller has read on."""
        if self._drained is not None:
            await self._drained
        if self._transport is None:
            raise ConnectionResetError("the caller is gone")

    def done(self, *, close: bool) -> None:
        """An answer was written."""
        self._answered = True
        self._phase = _IDLE_S
        self._unread = 0
        self.deadline = self._loop.time() + _IDLE_S
        if close or self._server.closing:
            self._closing = True
            if self._transport is not None:
                self._transport.close()

    def _refuse(self, answer: bytes) -> None:
        """Answers before the request was read to its end; then the connection is of no more use."""
        if self._closing or self._transport is None:
            return
        self._closing = True
        if self._task is not None or self._ready:  # an earlier request is being answered: it goes first, then we close
            return
        self._transport.write(answer)
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self.deadline = self._loop.time() + _LINGER_S

    def abort(self) -> None:
        """Closes at once."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def expire(self) -> None:
        """The deadline has passed."""
        if self._transport is None:
            return
        left = self._transport.get_write_buffer_size()
        if left:  # closing would wait for a caller that doesn't read: it has another while for as long as it does
            if self._unread and left >= self._unread:
                self.abort()
            self._unread = left
            self.deadline = self._loop.time() + _IDLE_S
        elif self._head_done and not self._closing:
            self._refuse(self._server.application.malformed(408, "the body did not come"))
        else:
            self._transport.close()

    def shut(self) -> None:
        """The server stops: an idle connection closes now, a busy one after its answer."""
        if self._task is None and self._transport is not None:
            self._closing = True
            self._transport.close()


class _Stop(Exception):
    """A callback has refused the request."""


class Server:
    """Listens for an application."""

    def __init__(self, application: Application, rules: Rules) -> None:
        self.application = application
        self.rules = rules
        self.loop = asyncio.get_running_loop()
        self.connections: set[ServerConnection] = set()
        self.held = 0
        """Bytes of bodies that are read or served."""
        self.closing = False
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen(self, host: str, port: int, *, backlog: int = 1024) -> None:
        """Opens the port."""
        self._listener = await self.loop.create_server(lambda: ServerConnection(self), host, port, backlog=backlog)
        self._sweep()

    def _sweep(self) -> None:
        """One timer for all connections: the deadlines are long, and a request that comes whole needs none."""
        self._sweeper = self.loop.call_later(_SWEEP_S, self._sweep)
        now = self.loop.time()
        for connection in [one for one in self.connections if one.deadline <= now]:
            try:
                connection.expire()
            except Exception:  # one connection's fault must not leave all others without limits
                _LOG.exception("a connection could not be ended in order")
                connection.abort()

    def stop_listening(self) -> None:
        """No new connections; idle ones close, busy ones close after their answer."""
        self.closing = True
        if self._listener is not None:
            self._listener.close()
        for connection in list(self.connections):
            connection.shut()

    def close(self) -> None:
        """Lets go of everything at once."""
        self.stop_listening()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self.connections):
            connection.abort()
