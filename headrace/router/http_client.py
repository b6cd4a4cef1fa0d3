"""HTTP/1.1 to model servers: kept connections, one exchange at a time on each, parsed by llhttp. No more than a router
needs: no redirects, no cookies, no decompression, no proxies from the environment.

A connection goes back to its origin's idle ones only after a whole answer, with nothing left over on the line.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections import deque
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httptools

# Shorter than the keep-alive of the usual model servers (uvicorn closes after 5 s): a request never goes out on a
# connection that the other side is just closing.
IDLE_S: Final = 4.0
_CONNECT_S: Final = 3.0
_LARGEST_HEAD: Final = 64 << 10
# Above this an answer is not read on until the caller has taken some of it.
_HIGH_WATER: Final = 256 << 10
_LOW_WATER: Final = 64 << 10


Address = tuple[int, int, int, str, tuple[Any, ...]]
"""One of `getaddrinfo`'s."""


class ConnectFailed(Exception):
    """No connection could be made; nothing was sent. Its text is a label: `connect`, `name` or `certificate`."""


class ConnectTimedOut(ConnectFailed):
    """No connection within the limit."""


class OutOfFiles(ConnectFailed):
    """This process may open no more files. That says nothing about the other side."""


class Broken(Exception):
    """The connection or the form of the answer broke."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where connections go."""

    host: str
    port: int
    tls: bool


def split(url: str) -> tuple[Origin, str]:
    """Origin and path of an absolute URL."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    return Origin(parts.hostname or "", parts.port or (443 if tls else 80), tls), parts.path or "/"


class Response:
    """An answer whose head has come. `read` gives what there is, b"" at the end."""

    __slots__ = ("_connection", "headers", "status")

    def __init__(self, connection: Connection, status: int, headers: dict[bytes, bytes]) -> None:
        self._connection: Connection | None = connection
        self.status = status
        self.headers = headers

    async def read(self, limit_s: float | None = None) -> bytes:
        """The next bytes of the body; b"" at its end. Raises `Broken`, and `TimeoutError` after `limit_s`."""
        if self._connection is None:
            return b""
        return await self._connection.read(limit_s)

    @property
    def whole(self) -> bytes | None:
        """The whole body where all of it has come already."""
        return self._connection.take_whole() if self._connection is not None else None

    def release(self) -> None:
        """Gives the connection back if the answer was read to its end, else closes it: the server stops then."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()


class Connection(asyncio.Protocol):
    """One connection. `read` and `send` have one user at a time."""

    def __init__(self, client: Client, origin: Origin) -> None:
        self._client = client
        self.origin = origin
        self.idle_since = 0.0
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._busy = False
        self._reset()

    def _reset(self) -> None:
        self._head_done = self._complete = self._framed = self._paused = self._keeps = False
        self._head_bytes = 0
        self._headers: dict[bytes, bytes] = {}
        self._chunks: deque[bytes] = deque()
        self._buffered = 0

    @property
    def usable(self) -> bool:
        """Whether another request may go out on it."""
        return self._error is None and self._transport is not None and not self._transport.is_closing()

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._busy or self._complete:
            self._fail(Broken("bytes that no request asked for"))
            return
        if not self._head_done:
            self._head_bytes += len(data)
        try:
            cast(httptools.HttpResponseParser, self._parser).feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(Broken("the server wants another protocol"))
        except httptools.HttpParserError:
            self._fail(Broken("not HTTP"))
        else:
            if not self._head_done and self._head_bytes > _LARGEST_HEAD:
                self._fail(Broken("the head is too large"))
        self._wake()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._busy and not self._complete:
            if self._head_done and not self._framed and exc is None:
                self._complete = True  # an answer without a length ends with its connection
            else:
                self._error = self._error or Broken("the connection was lost")
        self._error = self._error or Broken("the connection is closed")
        self._client.forget(self)
        self._wake()

    # -- httptools ----------------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in (b"content-length", b"transfer-encoding"):
            self._framed = True
        self._headers.setdefault(name, value)

    def on_headers_complete(self) -> None:
        self._head_done = True

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._buffered += len(body)
        if self._buffered > _HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        self._complete = True
        # llhttp forgets what the head said about the connection as soon as this returns.
        self._keeps = self._parser is not None and self._parser.should_keep_alive()

    # -- one exchange -------------------------------------------------------------------------------------------------

    async def send(self, data: bytes) -> Response:
        """Sends a request; returns when the head of its answer has come. Raises `Broken`."""
        if self._transport is None or self._error is not None:
            raise Broken("the connection is closed")
        self._busy = True
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(data)
        while not self._head_done:
            if self._error is not None:
                raise self._error
            await self._wait(None)
        status = self._parser.get_status_code()
        return Response(self, status, self._headers)

    async def read(self, limit_s: float | None) -> bytes:
        """See `Response.read`."""
        while True:
            if self._chunks:
                data = self._chunks.popleft() if len(self._chunks) == 1 else b"".join(self._chunks)
                self._chunks.clear()
                self._buffered = 0
                if self._paused and self._transport is not None:
                    self._paused = False
                    self._transport.resume_reading()
                return data
            if self._complete:
                return b""
            if self._error is not None:
                raise self._error
            await self._wait(limit_s)

    def take_whole(self) -> bytes | None:
        """The body where all of it is here."""
        if not self._complete:
            return None
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        return data

    async def _wait(self, limit_s: float | None) -> None:
        """Until something comes. A timer of its own: a limit around the reader's whole loop could strike elsewhere."""
        waiter = self._waiter = self._loop.create_future()
        timer = self._loop.call_later(limit_s, _expire, waiter) if limit_s is not None else None
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self.close()

    def release(self) -> None:
        """See `Response.release`."""
        keep = self._complete and self._keeps and self.usable
        if not keep:
            self.close()  # while it is busy: at once, which tells the server to stop
        self._busy = False
        self._parser = None
        self._reset()
        if keep:
            self._client.keep(self)

    def close(self) -> None:
        """Lets go of the connection."""
        if self._transport is None:
            return
        if self._busy and not self._complete:
            self._transport.abort()  # at once: what is still to be sent is for nobody
        else:
            self._transport.close()


def _why(error: OSError | UnicodeError) -> str:
    """What an operator has to look at."""
    if isinstance(error, ssl.SSLError):
        return "certificate"
    return "name" if isinstance(error, socket.gaierror | UnicodeError) else "connect"


async def _look_up(origin: Origin) -> list[Address]:
    found = await asyncio.get_running_loop().getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    return [*found]


def _numeric(host: str) -> bool:
    """Whether a host is an address already."""
    return ":" in host or host.rpartition(".")[2].isdigit()


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())


class Client:
    """Connections to all origins. Used by one event loop."""

    def __init__(self) -> None:
        self._idle: dict[Origin, deque[Connection]] = {}
        self._all: set[Connection] = set()
        self._tls: ssl.SSLContext | None = None
        self._lookups: dict[Origin, asyncio.Future[list[Address]]] = {}
        self._closed = False

    async def request(self, origin: Origin, data: bytes) -> Response:
        """Sends a request as it stands. Raises `ConnectFailed` (nothing was sent) or `Broken`."""
        connection = self._free(origin) or await self._connect(origin)
        try:
            return await connection.send(data)
        except BaseException:  # a cancelled request too: its answer must not be taken for another's
            connection.close()
            raise

    def _free(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        now = asyncio.get_running_loop().time()
        while idle:
            connection = idle.pop()
            if connection.usable and now - connection.idle_since < IDLE_S:
                return connection
            connection.close()
        return None

    async def _connect(self, origin: Origin) -> Connection:
        if origin.tls and self._tls is None:
            self._tls = ssl.create_default_context()
        try:
            async with asyncio.timeout(_CONNECT_S):
                if _numeric(origin.host):
                    connection = await self._connect_to(origin, origin.host, origin.port)
                else:
                    connection = await self._connect_any(origin, await self.addresses(origin))
        except TimeoutError:
            raise ConnectTimedOut from None
        except (OSError, UnicodeError) as error:  # UnicodeError: a host that is no name
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                raise OutOfFiles from None
            raise ConnectFailed(_why(error)) from None
        self._all.add(connection)
        return connection

    async def _connect_any(self, origin: Origin, addresses: list[Address]) -> Connection:
        """A connection to the first address that takes one."""
        failed = OSError("the name has no address")
        for *_, address in addresses:
            try:
                return await self._connect_to(origin, str(address[0]), int(address[1]))
            except OSError as error:
                failed = error
        raise failed

    async def _connect_to(self, origin: Origin, host: str, port: int) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(self, origin),
            host,
            port,
            ssl=self._tls if origin.tls else None,
            server_hostname=origin.host if origin.tls else None,
        )
        return connection

    async def addresses(self, origin: Origin) -> list[Address]:
        """The addresses of a name, as `getaddrinfo` gives them. Raises OSError or UnicodeError.

        One look-up of a name goes on at a time, and whoever asks meanwhile waits for it: a resolver that hangs on one
        name would else take all of the loop's few threads, and nobody could reach any other pool.
        """
        found = self._lookups.get(origin)
        if found is None:
            found = self._lookups[origin] = asyncio.ensure_future(_look_up(origin))
            found.add_done_callback(lambda done: self._looked_up(origin, done))
        return await asyncio.shield(found)

    def _looked_up(self, origin: Origin, done: asyncio.Future[list[Address]]) -> None:
        del self._lookups[origin]
        if not done.cancelled():
            done.exception()  # whoever asked may have gone

    def keep(self, connection: Connection) -> None:
        """The connection is free for another request."""
        if self._closed:
            connection.close()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.setdefault(connection.origin, deque()).append(connection)

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""
        self._all.discard(connection)

    def sweep(self) -> None:
        """Closes what was idle for too long. Call it now and then."""
        now = asyncio.get_running_loop().time()
        for idle in self._idle.values():
            while idle and (not idle[0].usable or now - idle[0].idle_since >= IDLE_S):
                idle.popleft().close()

    def close(self) -> None:
        """Lets go of all connections."""
        self._closed = True
        for lookup in self._lookups.values():
            lookup.cancel()
        for connection in list(self._all):
            connection.close()
