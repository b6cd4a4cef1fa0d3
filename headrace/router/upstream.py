"""Calls to pools: one attempt with its timeouts, its ways to fail told apart, and the scrape of metrics.

Only addresses of the configuration are ever opened: a request can't add to a pool's URL, and no header of the caller
goes upstream but its trace.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from headrace.router.config import PoolConfig
from headrace.router.events import Outcome
from headrace.router.http_client import (
    Address,
    Broken,
    Client,
    ConnectFailed,
    ConnectTimedOut,
    Origin,
    OutOfFiles,
    Response,
    split,
)
from headrace.router.sse import error_status, first_error
from headrace.router.turn import Failure
from headrace.router.usage import UsageReader

_LARGEST_ANSWER: Final = 64 << 20
_LARGEST_ERROR: Final = 64 << 10
_LARGEST_METRICS: Final = 4 << 20
_FAULTS_OF_OURS: Final = frozenset({401, 403, 404, 405, 407, 408})
PATHS: Final = {"chat.completions": "chat/completions", "completions": "completions", "embeddings": "embeddings"}
_METRIC: Final = re.compile(
    rb"^(vllm:num_requests_waiting|vllm:(?:gpu|kv)_cache_usage_perc)(?:\{[^}]*\})?\s+(\S+)", re.M
)


_MOST_TARGETS: Final = 256
_TELL_AGAIN_S: Final = 10.0
_LOG: Final = logging.getLogger("headrace.router")
# The name is unknown, or is known and has no address: what a headless Service without a ready pod gives. A resolver
# that doesn't answer (EAI_AGAIN) tells nothing.
_NO_ADDRESS: Final = frozenset({socket.EAI_NONAME, socket.EAI_NODATA})


@dataclass(frozen=True, kw_only=True, slots=True)
class Signals:
    """What model servers say of themselves: requests waiting in them, share of KV cache in use (the highest), and how
    many they are."""

    queue: int
    kv_use: float
    servers: int


_NOBODY: Final = Signals(queue=0, kv_use=0.0, servers=0)


class UpstreamError(Exception):
    """An attempt failed before a byte of its answer went to the caller."""

    def __init__(
        self, kind: str, outcome: Outcome, *, retry_after_s: float | None = None, status: int | None = None
    ) -> None:
        super().__init__(kind)
        self.failure = Failure(kind=kind, outcome=outcome, retry_after_s=retry_after_s, status=status)


class StreamBroken(Exception):
    """An answer stopped in its middle."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """An answer that has begun: all of it in `first` (and parsed in `document`), or the first bytes of a stream."""

    status: int
    content_type: str
    first: bytes
    document: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Target:
    """Where the requests of a pool go, and what their heads have in common."""

    pool: PoolConfig
    origin: Origin
    path: str
    host: str
    headers: str


def body_for(body: Mapping[str, Any], pool: PoolConfig, *, stream: bool, endpoint: str) -> bytes:
    """The request as the pool's server expects it: its model name, and the usage of a stream at its end."""
    document = {**body, "model": pool.served_model}
    if stream and endpoint != "embeddings":
        options = body.get("stream_options")
        document["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    return orjson.dumps(document)


class Upstream:
    """Connections to all pools."""

    def __init__(self) -> None:
        self._client = Client()
        self._targets: dict[int, _Target] = {}
        self._told_at = float("-inf")

    def close(self) -> None:
        """Lets go of all connections."""
        self._client.close()

    def sweep(self) -> None:
        """Closes connections that were idle for too long."""
        self._client.sweep()

    def _target(self, pool: PoolConfig) -> _Target:
        """Looked up by identity: a reload brings new pools, and the target holds on to its own."""
        found = self._targets.get(id(pool))
        if found is None:
            if len(self._targets) >= _MOST_TARGETS:
                self._targets.clear()
            origin, path = split(pool.url)
            found = _Target(pool, origin, path.rstrip("/"), _host(origin), _lines(pool.credentials(os.environ)))
            self._targets[id(pool)] = found
        return found

    async def open(self, pool: PoolConfig, endpoint: str, body: bytes, traceparent: str) -> Response:
        """Sends a request and waits for the head of the answer. Raises `UpstreamError`."""
        try:
            target = self._target(pool)
            trace = f"traceparent: {traceparent}\r\n" if traceparent else ""
            head = (
                f"POST {target.path}/{PATHS[endpoint]} HTTP/1.1\r\nHost: {target.host}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{trace}{target.headers}\r\n"
            )
            return await self._client.request(target.origin, head.encode() + body)
        except ConnectTimedOut:
            raise UpstreamError("connect-timeout", Outcome.FAILED) from None
        except OutOfFiles:
            self._out_of_files()
            raise UpstreamError("out-of-files", Outcome.CANCELLED) from None
        except ConnectFailed as error:
            raise UpstreamError(str(error) or "connect", Outcome.FAILED) from None
        except (Broken, OSError, ValueError):
            raise UpstreamError("broken-head", Outcome.FAILED) from None

    def _out_of_files(self) -> None:
        """Says so, now and then."""
        now = asyncio.get_running_loop().time()
        if now >= self._told_at + _TELL_AGAIN_S:
            self._told_at = now
            _LOG.error(
                "no connection can be opened: this process may open no more files",
                extra={"fields": {"next": "raise the hard limit of open files (ulimit -Hn), or run more replicas"}},
            )

    async def begin(self, response: Response, *, stream: bool) -> Answer:
        """Reads until the answer is known to be one. Raises `UpstreamError` for anything that is not."""
        status = response.status
        _fail(status, response)
        try:
            if status >= 400 or not stream:
                data = await _whole(response, _LARGEST_ERROR if status >= 400 else _LARGEST_ANSWER)
                document = _object(data)
                if document is None:
                    raise UpstreamError("garbage", Outcome.FAILED, status=status)
                return _whole_answer(status, response, data, document)
            first = await response.read()
        except (Broken, OSError):
            raise UpstreamError("broken-body", Outcome.FAILED, status=status) from None
        kind = response.headers.get(b"content-type", b"")
        start = first.lstrip()[:1]
        if not start or start not in b":dei" or b"event-stream" not in kind:
            raise UpstreamError("garbage", Outcome.FAILED, status=status)
        error = first_error(first)
        if error is not None:
            return _whole_answer(status, response, orjson.dumps(error), error)
        return Answer(status=status, content_type="text/event-stream; charset=utf-8", first=first)

    async def more(self, response: Response, *, stall_s: float) -> bytes:
        """What comes next of a stream; b"" at its end. Raises `StreamBroken` where it breaks or says nothing."""
        try:
            return await response.read(stall_s)
        except TimeoutError:
            raise StreamBroken("stalled") from None
        except (Broken, OSError):
            raise StreamBroken("broke") from None

    async def scrape(self, url: str, *, limit_s: float) -> Signals | None:
        """What the model servers behind `url` say of themselves, together.

        Each address that the name of an http URL has is a model server of its own: a headless Service has one per
        replica that is ready. One that doesn't answer within `limit_s` says nothing and is counted; None where none
        answered. A name without an address has no model servers.
        """
        named, path = split(url)
        try:
            async with asyncio.timeout(limit_s):
                origins = [named] if named.tls else _origins(await self._client.addresses(named))
        except socket.gaierror as error:
            return _NOBODY if error.errno in _NO_ADDRESS else None
        except (TimeoutError, OSError, UnicodeError):  # UnicodeError: a host that is no name
            return None
        found = await asyncio.gather(*(self._signals(one, _host(named), path, limit_s) for one in origins))
        known = [signals for signals in found if signals is not None]
        if not known:
            return None
        return Signals(
            queue=sum(one.queue for one in known),
            kv_use=max(one.kv_use for one in known),
            servers=sum(one.servers for one in known) + len(found) - len(known),
        )

    async def _signals(self, origin: Origin, host: str, path: str, limit_s: float) -> Signals | None:
        """What one model server says."""
        response: Response | None = None
        try:
            async with asyncio.timeout(limit_s):
                response = await self._client.request(
                    origin, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/plain\r\n\r\n".encode()
                )
                if response.status != 200:
                    return None
                data = await _whole(response, _LARGEST_METRICS)
        except (ConnectFailed, Broken, TimeoutError, OSError, ValueError, UpstreamError):
            return None
        finally:
            if response is not None:
                response.release()
        return read_signals(data)


def passed(chunk: bytes, reader: UsageReader) -> None:
    """Counts what passes of a stream. Raises `StreamBroken` for an error in place of an answer."""
    reader.feed(chunk)
    if reader.failed:
        raise StreamBroken("error")


def _fail(status: int, response: Response) -> None:
    """Raises `UpstreamError` for a status that is no answer to the caller."""
    if status == 429 or (status == 503 and b"retry-after" in response.headers):
        raise UpstreamError(str(status), Outcome.PUSHED_BACK, retry_after_s=_retry_after(response), status=status)
    if status >= 500 or status in _FAULTS_OF_OURS or 300 <= status < 400 or status < 200:
        raise UpstreamError(str(status), Outcome.FAILED, status=status)


def _whole_answer(status: int, response: Response, data: bytes, document: dict[str, Any]) -> Answer:
    """A document as an answer. An error under a status of success counts as what it says of itself."""
    said = error_status(document) if status < 400 else None
    if said is not None:
        _fail(said, response)
    return Answer(status=said or status, content_type="application/json", first=data, document=document)


def _origins(found: Sequence[Address]) -> list[Origin]:
    """The addresses of a name, of one family: a server that listens on both would count twice."""
    families = {family for family, *_ in found}
    family = socket.AF_INET if socket.AF_INET in families else socket.AF_INET6
    places = {(str(address[0]), int(address[1])) for one, *_, address in found if one == family}
    return [Origin(host, port, tls=False) for host, port in sorted(places)]


def _host(origin: Origin) -> str:
    """The Host header: the port only where it is not the scheme's own."""
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    return host if origin.port == (443 if origin.tls else 80) else f"{host}:{origin.port}"


def _lines(headers: Mapping[str, str]) -> str:
    """Header lines. Raises ValueError for a value that would begin another line."""
    for value in headers.values():
        if not value.isprintable() or not value.isascii():
            raise ValueError("a credential holds characters that no header may hold")
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def read_signals(text: bytes) -> Signals | None:
    """vLLM's queue and KV-cache use: the sum of queues, the highest use, and how many engines say so. None where either
    is missing or no number."""
    queue: float | None = None
    kv_use: float | None = None
    servers = 0
    for name, value in _METRIC.findall(text):
        try:
            number = float(value)
        except ValueError:
            return None
        if not 0 <= number < 1e9:
            return None
        if name == b"vllm:num_requests_waiting":
            queue = (queue or 0) + number
            servers += 1
        else:
            kv_use = max(kv_use or 0.0, number)
    if queue is None or kv_use is None:
        return None
    return Signals(queue=int(queue), kv_use=min(1.0, kv_use), servers=servers)


def _retry_after(response: Response) -> float | None:
    text = response.headers.get(b"retry-after", b"")
    return float(text) if text.isdigit() and len(text) < 6 else None


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


async def _whole(response: Response, most: int) -> bytes:
    data = response.whole
    if data is None:
        pieces: list[bytes] = []
        size = 0
        while piece := await response.read():
            size += len(piece)
            if size > most:
                raise UpstreamError("too-large", Outcome.FAILED, status=response.status)
            pieces.append(piece)
        data = b"".join(pieces)
    elif len(data) > most:
        raise UpstreamError("too-large", Outcome.FAILED, status=response.status)
    return data
