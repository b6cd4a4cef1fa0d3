"""The only way from LiteLLM to a pool: an httpx transport that sends what was admitted, once, to the chosen pool.

LiteLLM's client (the OpenAI SDK) knows a pool by a name that leads nowhere. What goes out has our connections,
limits and credentials, and what comes back is counted byte for byte before LiteLLM sees it. A call that nobody
admitted, a second one of the same attempt, or one to another address goes nowhere, whatever LiteLLM was talked into.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Final

import httpx
import orjson

from headrace.router.classify import ENDPOINTS
from headrace.router.config import PoolConfig
from headrace.router.engine import Admission
from headrace.router.events import Outcome
from headrace.router.exchange import first_byte_limit_s
from headrace.router.http_client import Response
from headrace.router.litellm.model_list import address_of
from headrace.router.litellm.passage import CURRENT, Passage
from headrace.router.upstream import Answer, StreamBroken, UpstreamError, passed

_LOG: Final = logging.getLogger("headrace.router.litellm")
_NOT_ADMITTED: Final = "the router did not admit this call"
_PATHS: Final = {endpoint: path.removeprefix("/v1") for path, endpoint in ENDPOINTS.items()}
_JSON: Final = {"content-type": "application/json"}
_EVENTS: Final = {"content-type": "text/event-stream; charset=utf-8"}


class PoolTransport(httpx.AsyncBaseTransport):
    """For `httpx.AsyncClient(transport=…)`. Finds the attempt that it works for in the context.

    `kept` are addresses of models outside of the pools that the team's own callbacks may call: those calls go out as
    they are, and are no part of any attempt.
    """

    def __init__(self, kept: tuple[str, ...] = ()) -> None:
        self._kept = tuple(httpx.URL(one.rstrip("/") + "/") for one in kept)
        self._out = httpx.AsyncHTTPTransport() if kept else None

    def _keeps(self, url: httpx.URL) -> bool:
        return any(
            (url.scheme, url.host, url.port) == (one.scheme, one.host, one.port) and url.path.startswith(one.path)
            for one in self._kept
        )

    async def aclose(self) -> None:
        """Lets go of connections to kept models."""
        if self._out is not None:
            await self._out.aclose()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises `httpx.ConnectError` for a call that is not admitted or that failed; the passage says why."""
        if self._out is not None and self._keeps(request.url):
            return await self._out.handle_async_request(request)
        passage = CURRENT.get()
        admission = passage.turn.admission if passage is not None else None
        pool = passage.turn.pool if passage is not None else None
        if passage is None or admission is None or pool is None:
            raise _stopped(request, "nobody admitted it")
        if passage.sent or passage.over:
            raise _stopped(request, "this attempt has made its call")
        wanted = address_of(admission.route.pool) + _PATHS[passage.endpoint]
        if request.method != "POST" or str(request.url) != wanted:
            raise _stopped(request, "it goes to another address than the chosen pool's")
        passage.sent = True
        body = merged(await request.aread(), passage)
        passage.call = asyncio.current_task()
        try:
            answer, response = await _called(passage, pool, admission, body)
        except UpstreamError as error:
            passage.failure = error.failure
            passage.close()
            raise httpx.ConnectError(error.failure.kind, request=request) from None
        finally:
            passage.call = None
        refusal = await passage.turn.recorded()  # the caller sees nothing of what is not recorded
        if refusal is not None:
            passage.refusal = refusal
            passage.close()
            raise httpx.ConnectError(refusal.code, request=request)
        passage.answer = answer
        if answer.document is None:
            stream = _Counted(passage, answer, response, pool.stall_timeout_s)
            return httpx.Response(answer.status, headers=_EVENTS, stream=stream, request=request)
        passage.reader.whole(answer.document)
        ok = answer.status < 400
        passage.end(Outcome.OK if ok else Outcome.CALLER_FAULT, "ok" if ok else "caller-fault", answer.status)
        passage.close()
        return httpx.Response(answer.status, headers=_JSON, content=answer.first, request=request)


def merged(body: bytes, passage: Passage) -> bytes:
    """LiteLLM's body with what went around it. Raises `httpx.DecodingError` where LiteLLM made no JSON object."""
    made = orjson.loads(body)
    if not isinstance(made, dict):
        raise httpx.DecodingError("LiteLLM made no JSON object")
    return orjson.dumps({**made, **passage.beside})


async def _called(passage: Passage, pool: PoolConfig, admission: Admission, body: bytes) -> tuple[Answer, Response]:
    """One call of the pool, until its answer has begun. Raises `UpstreamError`."""
    upstream = passage.upstream
    try:
        async with asyncio.timeout(first_byte_limit_s(admission, pool, stream=passage.stream)):
            response = passage.response = await upstream.open(pool, passage.endpoint, body, passage.traceparent)
            return await upstream.begin(response, stream=passage.stream), response
    except TimeoutError:
        raise UpstreamError("no-answer", Outcome.FAILED, status=504) from None


def _stopped(request: httpx.Request, why: str) -> httpx.ConnectError:
    _LOG.error("a call out of LiteLLM was stopped", extra={"fields": {"host": request.url.host, "reason": why}})
    return httpx.ConnectError(_NOT_ADMITTED, request=request)


class _Counted(httpx.AsyncByteStream):
    """A pool's event stream on its way to LiteLLM. One that ends without `[DONE]` raises: it is not whole."""

    def __init__(self, passage: Passage, answer: Answer, response: Response, stall_s: float) -> None:
        self._passage = passage
        self._answer = answer
        self._response = response
        self._stall_s = stall_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        passage, status = self._passage, self._answer.status
        chunk = self._answer.first
        try:
            while chunk:
                passed(chunk, passage.reader)
                yield chunk
                chunk = await passage.upstream.more(self._response, stall_s=self._stall_s)
        except StreamBroken as error:
            passage.end(Outcome.FAILED, f"stream-{error.kind}", status)
            raise httpx.ReadError(error.kind) from None
        if not passage.reader.done:
            passage.end(Outcome.FAILED, "stream-cut", status)
            raise httpx.RemoteProtocolError("the stream ended without [DONE]")
        passage.end(Outcome.OK, "ok", status)

    async def aclose(self) -> None:
        """LiteLLM reads no further; one that has seen `[DONE]` has seen all."""
        if self._passage.reader.done:
            self._passage.end(Outcome.OK, "ok", self._answer.status)
        self._passage.close()
