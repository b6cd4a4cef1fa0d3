"""Calls to pools, over aiohttp: one attempt with its timeouts, its ways to fail told apart, and the scrape of metrics.

Only addresses of the configuration are ever opened: a request can't add to a pool's URL, and no header of the caller
goes upstream but its trace.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import orjson

from headrace.router.config import PoolConfig
from headrace.router.events import Outcome

_CONNECT_S: Final = 3.0
_LARGEST_ANSWER: Final = 64 << 20
_LARGEST_ERROR: Final = 64 << 10
_FAULTS_OF_OURS: Final = frozenset({401, 403, 404, 405, 407, 408})
_PATHS: Final = {"chat.completions": "chat/completions", "completions": "completions", "embeddings": "embeddings"}
_METRIC: Final = re.compile(
    rb"^(vllm:num_requests_waiting|vllm:(?:gpu|kv)_cache_usage_perc)(?:\{[^}]*\})?\s+(\S+)", re.M
)


class UpstreamError(Exception):
    """An attempt failed before a byte of its answer went to the caller."""

    def __init__(
        self, kind: str, outcome: Outcome, *, retry_after_s: float | None = None, status: int | None = None
    ) -> None:
        super().__init__(kind)
        self.kind = kind
        self.outcome = outcome
        self.retry_after_s = retry_after_s
        self.status = status


class StreamBroken(Exception):
    """An answer stopped in its middle."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer that has begun. `chunks` yields what is left after `first`; close it by leaving `Upstream.call`."""

    status: int
    content_type: str
    first: bytes
    chunks: AsyncIterator[bytes]


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
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=30, enable_cleanup_closed=True, keepalive_timeout=15),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers={"User-Agent", "Accept-Encoding", "Accept"},
            trust_env=False,
        )

    async def close(self) -> None:
        """Lets go of all connections."""
        await self._session.close()

    def _headers(self, pool: PoolConfig, traceparent: str) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if traceparent:
            headers["traceparent"] = traceparent
        return headers | pool.credentials(os.environ)

    async def open(self, pool: PoolConfig, endpoint: str, body: bytes, traceparent: str) -> aiohttp.ClientResponse:
        """Sends a request and waits for the head of the answer. Raises `UpstreamError`."""
        try:
            return await self._session.post(
                f"{pool.url}/{_PATHS[endpoint]}",
                data=body,
                headers=self._headers(pool, traceparent),
                allow_redirects=False,
            )
        except aiohttp.ClientConnectorError:
            raise UpstreamError("connect", Outcome.FAILED) from None
        except aiohttp.ConnectionTimeoutError:
            raise UpstreamError("connect-timeout", Outcome.FAILED) from None
        except (aiohttp.ClientError, OSError, socket.gaierror, ValueError):
            raise UpstreamError("broken-head", Outcome.FAILED) from None

    async def begin(self, response: aiohttp.ClientResponse, pool: PoolConfig, *, stream: bool) -> Answer:
        """Reads until the answer is known to be one. Raises `UpstreamError` for anything that is not."""
        status = response.status
        kind = response.headers.get("Content-Type", "")
        if status == 429 or (status == 503 and "Retry-After" in response.headers):
            raise UpstreamError(str(status), Outcome.PUSHED_BACK, retry_after_s=_retry_after(response), status=status)
        if status >= 500 or status in _FAULTS_OF_OURS or 300 <= status < 400 or status < 200:
            raise UpstreamError(str(status), Outcome.FAILED, status=status)
        try:
            if status >= 400 or not stream:
                data = await _whole(response, _LARGEST_ERROR if status >= 400 else _LARGEST_ANSWER)
                if not _is_object(data):
                    raise UpstreamError("garbage", Outcome.FAILED, status=status)
                return Answer(status=status, content_type="application/json", first=data, chunks=_nothing())
            first = await response.content.readany()
        except (aiohttp.ClientError, OSError):
            raise UpstreamError("broken-body", Outcome.FAILED, status=status) from None
        if not first.lstrip()[:1] or first.lstrip()[:1] not in b":dei" or "event-stream" not in kind:
            raise UpstreamError("garbage", Outcome.FAILED, status=status)
        return Answer(
            status=status,
            content_type="text/event-stream; charset=utf-8",
            first=first,
            chunks=_rest(response, pool.stall_timeout_s),
        )

    async def scrape(self, url: str, *, limit_s: float) -> tuple[int, float] | None:
        """Waiting requests and share of KV cache in use over the model servers behind `url`; None where unknown."""
        try:
            async with self._session.get(
                url, timeout=aiohttp.ClientTimeout(total=limit_s), allow_redirects=False
            ) as response:
                if response.status != 200:
                    return None
                data = await _whole(response, 4 << 20)
        except (aiohttp.ClientError, TimeoutError, OSError, UpstreamError):
            return None
        return read_signals(data)


def read_signals(text: bytes) -> tuple[int, float] | None:
    """vLLM's queue and KV-cache use: the sum of queues, the highest use. None where either is missing or no number."""
    queue: float | None = None
    kv_use: float | None = None
    for name, value in _METRIC.findall(text):
        try:
            number = float(value)
        except ValueError:
            return None
        if not 0 <= number < 1e9:
            return None
        if name == b"vllm:num_requests_waiting":
            queue = (queue or 0) + number
        else:
            kv_use = max(kv_use or 0.0, number)
    return (int(queue), min(1.0, kv_use)) if queue is not None and kv_use is not None else None


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None


def _is_object(data: bytes) -> bool:
    try:
        return isinstance(orjson.loads(data), dict)
    except orjson.JSONDecodeError:
        return False


async def _whole(response: aiohttp.ClientResponse, most: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > most:
            raise UpstreamError("too-large", Outcome.FAILED, status=response.status)
        pieces.append(piece)
    return b"".join(pieces)


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


async def _rest(response: aiohttp.ClientResponse, stall_s: float) -> AsyncIterator[bytes]:
    """What is left of a stream. Raises `StreamBroken` when it breaks or says nothing for too long."""
    # A limit for each read and not around the loop: a timeout must not strike while the caller's side is written.
    try:
        while True:
            async with asyncio.timeout(stall_s):
                chunk = await response.content.readany()
            if not chunk:
                return
            yield chunk
    except TimeoutError:
        raise StreamBroken("stalled") from None
    except (aiohttp.ClientError, OSError):
        raise StreamBroken("broke") from None
