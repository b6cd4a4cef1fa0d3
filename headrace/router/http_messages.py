"""Requests and replies of HTTP/1.1 as the application sees them, and how a reply is written."""

from __future__ import annotations

import time
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final, Protocol

_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}


@dataclass(slots=True)
class Request:
    """A request. `target` is what the caller sent, byte for byte; `headers` are those asked for, names in lower case.

    `context` is what the application's `check` keeps for its `handle`.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""
    context: Any = None
    length: int | None = None
    http_1_0: bool = False


class Wire(Protocol):
    """The connection that a reply goes to. Raises `ConnectionError` where nobody reads on."""

    full: bool
    """Whether the caller reads more slowly than we write."""

    def write(self, data: bytes) -> None:
        """Bytes to the caller."""

    async def drain(self) -> None:
        """Until the caller has read on."""

    def done(self, *, close: bool) -> None:
        """An answer was written."""


_stamp: tuple[int, str] = (0, "")


def _date() -> str:
    """The Date header; made once a second."""
    global _stamp
    now = int(time.time())
    if _stamp[0] != now:
        _stamp = (now, formatdate(now, usegmt=True))
    return _stamp[1]


def head_of(status: int, headers: str, *, length: int | None, close: bool) -> bytes:
    """Status line and headers. `headers` are lines that end in CRLF; `length` None means chunks."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    tail = "Connection: close\r\n" if close else ""
    return (
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\nDate: {_date()}\r\n{headers}{framing}\r\n{tail}\r\n"
    ).encode("latin-1")


class Reply:
    """The answer to one request: `whole`, or `start`, `write`… and `end`."""

    __slots__ = ("_chunked", "_close", "_connection", "status")

    def __init__(self, connection: Wire, *, close: bool, chunked: bool) -> None:
        self._connection = connection
        self._close = close
        self._chunked = chunked
        self.status = 0

    def whole(self, status: int, headers: str, body: bytes) -> None:
        """The whole answer at once."""
        self.status = status
        self._connection.write(head_of(status, headers, length=len(body), close=self._close) + body)
        self._connection.done(close=self._close)

    def start(self, status: int, headers: str) -> None:
        """The head of an answer that comes in pieces."""
        self.status = status
        if self._chunked:
            self._connection.write(head_of(status, headers, length=None, close=self._close))
        else:  # HTTP/1.0 knows no chunks: the end of the connection ends the answer
            self._close = True
            self._connection.write(
                f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\nDate: {_date()}\r\n{headers}"
                "Connection: close\r\n\r\n".encode("latin-1")
            )

    async def write(self, data: bytes) -> None:
        """A piece. Waits while the caller reads more slowly than we write."""
        if not data:
            return
        self._connection.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        if self._connection.full:
            await self._connection.drain()

    def end(self) -> None:
        """The whole answer was written."""
        if self._chunked:
            self._connection.write(b"0\r\n\r\n")
        self._connection.done(close=self._close)

    def break_off(self) -> None:
        """Closes without the last chunk: nobody can take it for complete."""
        self._connection.done(close=True)
