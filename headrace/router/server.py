"""The HTTP side: the OpenAI API for callers, and health and metrics on a port of their own.

Paths are matched as they were sent, byte for byte: no decoding, no `..`, no second slash leads anywhere. A handler is
cancelled when its caller goes away, and that cancels the call upstream.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from aiohttp import web

from headrace.router.callers import Callers, fingerprint
from headrace.router.classify import ENDPOINTS, Caller, Parsed, classify
from headrace.router.engine import request_id
from headrace.router.exchange import Exchange, Services
from headrace.router.journal import trace_id_of
from headrace.router.keys import authenticate
from headrace.router.telemetry import Tracing
from headrace.router.types import Refusal

_LOG: Final = logging.getLogger("headrace.router")
_BODY_S: Final = 30.0
_JSON: Final = "application/json"
_ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}


class _TooLarge(Exception):
    pass


class ReplySink:
    """Answers over one aiohttp request; nothing is sent before `begin`."""

    def __init__(self, request: web.BaseRequest, identifier: str) -> None:
        self._request = request
        self._identifier = identifier
        self._response: web.StreamResponse | None = None
        self._head: tuple[int, str, str] | None = None

    @property
    def response(self) -> web.StreamResponse:
        """What the handler returns."""
        assert self._response is not None  # noqa: S101 - asked only after an answer
        return self._response

    async def begin(self, *, status: int, content_type: str, pool: str, stream: bool) -> None:
        headers = {"Content-Type": content_type, "X-Request-Id": self._identifier, "X-Headrace-Pool": pool}
        if not stream or status >= 400:
            self._head = (status, content_type, pool)
            return
        headers["Cache-Control"] = "no-store"
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(self._request)
        self._response = response

    async def write(self, data: bytes) -> None:
        if self._head is not None:
            status, content_type, pool = self._head
            headers = {"Content-Type": content_type, "X-Request-Id": self._identifier, "X-Headrace-Pool": pool}
            self._response = web.Response(status=status, body=data, headers=headers)
        elif data:
            await self.response.write(data)

    async def end(self, *, broken: bool) -> None:
        if self._head is not None:
            return
        if broken:
            if self._request.transport is not None:
                self._request.transport.close()  # without the last chunk: nobody can take it for complete
        else:
            await self.response.write_eof()


class Api:
    """Handlers. `keys` and `residencies` are replaced as a whole on reload."""

    def __init__(
        self,
        services: Services,
        *,
        keys: Mapping[str, Caller],
        residencies: Mapping[str, frozenset[str]],
        instance: str,
        ready: Callable[[], str | None],
        tracing: Tracing,
    ) -> None:
        self.services = services
        self.keys = keys
        self.callers = Callers(services.engine.policy.caller_breaker)
        self.tracing = tracing
        self._residencies = residencies
        self._instance = instance
        self._ready = ready

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Every request of a caller. A fault of ours is a 500 that says nothing, and a log line that says all."""
        identifier = request_id(self._instance)
        try:
            return await self._dispatch(request, identifier)
        except asyncio.CancelledError:
            raise
        except _TooLarge:
            most = self.services.engine.policy.max_request_bytes
            return _refuse(
                Refusal(
                    status=413,
                    code="request_too_large",
                    sentence=f"the body is larger than {most} bytes",
                    next_step="send less",
                ),
                identifier,
                close=True,
            )
        except (ConnectionError, web.RequestPayloadError):
            return web.Response(status=400)  # the caller is gone or sent half a body: nobody reads this
        except Exception:
            _LOG.exception("a request failed in the router", extra={"fields": {"requestId": identifier}})
            return _refuse(
                Refusal(status=500, code="internal_error", sentence="the router failed", next_step="try again"),
                identifier,
            )

    async def _dispatch(self, request: web.BaseRequest, identifier: str) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        caller = authenticate(request.headers.get("Authorization"), self.keys)
        if caller is None:
            self.services.metrics.unauthorized.inc()
            return _refuse(
                Refusal(
                    status=401,
                    code="invalid_api_key",
                    sentence="the API key is missing or unknown",
                    next_step="send Authorization: Bearer <key>",
                ),
                identifier,
                close=request.can_read_body,
            )
        if path == "/v1/models":
            return self._models(request, caller, identifier)
        endpoint = ENDPOINTS.get(path)
        if endpoint is None or request.method != "POST":
            return _refuse(
                Refusal(
                    status=404 if endpoint is None else 405,
                    code="not_found" if endpoint is None else "method_not_allowed",
                    sentence="there is nothing here" if endpoint is None else "use POST",
                    next_step=f"use one of {', '.join(ENDPOINTS)}",
                ),
                identifier,
                close=request.can_read_body,
            )
        data = await _read(request, self.services.engine.policy.max_request_bytes)
        if data is None:
            return _refuse(
                Refusal(status=408, code="body_timeout", sentence="the body did not come", next_step="send it faster"),
                identifier,
                close=True,
            )
        try:
            body = orjson.loads(data)
            orjson.dumps(body)  # reads 1024 levels of nesting but writes 254: what can't go upstream is refused here
        except (orjson.JSONDecodeError, TypeError):
            return _refuse(
                Refusal(status=400, code="invalid_json", sentence="the body is not JSON", next_step="send JSON"),
                identifier,
            )
        headers = {name.lower(): value for name, value in request.headers.items()}
        return await self._work(request, identifier, endpoint, headers, body, len(data), caller)

    async def _work(
        self,
        request: web.BaseRequest,
        identifier: str,
        endpoint: str,
        headers: Mapping[str, str],
        body: Any,
        size: int,
        caller: Caller,
    ) -> web.StreamResponse:
        services = self.services
        policy = services.engine.policy
        parsed = classify(
            request_id=identifier,
            endpoint=endpoint,
            headers=headers,
            body=body,
            body_bytes=size,
            caller=caller,
            policy=policy,
            residencies=self._residencies,
        )
        if isinstance(parsed, Refusal):
            return _refuse(parsed, identifier)
        facts, user = parsed.facts, body.get("user")
        user = user[:256] if isinstance(user, str) else ""
        with self.tracing.request(facts, headers.get("traceparent")) as span:
            base = services.journal.base(parsed, facts, caller, user, trace_id_of(span.traceparent))
            stopped = self._stopped(parsed, caller, user)
            if stopped is not None:
                services.metrics.stopped.labels(facts.tenant).inc()
                services.journal.refuse(base, facts, stopped, policy)
                return _refuse(stopped, identifier)
            services.retries.request(services.engine.clock())
            sink = ReplySink(request, identifier)
            exchange = Exchange(services, facts, body, base, traceparent=span.traceparent)
            who = f"{caller.key_id}/{user}"
            try:
                refusal = await exchange.run(sink)
            except asyncio.CancelledError:
                self.callers.left(who, services.engine.clock())
                services.metrics.abandoned.labels(facts.workload, facts.tenant).inc()
                span.ended(499, "caller gone")
                raise
            if refusal is None:
                span.ended(sink.response.status, "")
                return sink.response
            if refusal.status == 429 or refusal.status >= 500:
                self.callers.failed(who, services.engine.clock())
            span.ended(refusal.status, refusal.code)
            return _refuse(refusal, identifier)

    def _stopped(self, parsed: Parsed, caller: Caller, user: str) -> Refusal | None:
        mark = fingerprint(parsed.facts.workload, parsed.prompt_digest_input)
        return self.callers.admit(f"{caller.key_id}/{user}", mark, self.services.engine.clock())

    def _models(self, request: web.BaseRequest, caller: Caller, identifier: str) -> web.Response:
        if request.method != "GET":
            return _refuse(
                Refusal(status=405, code="method_not_allowed", sentence="use GET", next_step="use GET"),
                identifier,
                close=request.can_read_body,
            )
        workloads = self.services.engine.policy.workloads
        names = [name for name in workloads if caller.workloads is None or name in caller.workloads]
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "headrace"} for name in sorted(names)]
        return web.Response(
            body=orjson.dumps({"object": "list", "data": data}),
            headers={"Content-Type": _JSON, "X-Request-Id": identifier},
        )

    async def handle_admin(self, request: web.BaseRequest) -> web.StreamResponse:
        """Liveness, readiness and metrics."""
        path = request.raw_path.partition("?")[0]
        if request.method != "GET":
            return web.Response(status=405)
        if path == "/livez":
            return web.Response(text="alive\n")
        if path == "/readyz":
            why = self._ready()
            return web.Response(status=200 if why is None else 503, text=f"{why or 'ready'}\n")
        if path == "/metrics":
            journal = self.services.journal
            text = self.services.metrics.render(
                self.services.engine, spool_waiting=journal.spool.waiting, lost=journal.lost
            )
            return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
        if path == "/state":
            return web.Response(body=self._state(), headers={"Content-Type": _JSON})
        return web.Response(status=404)

    def _state(self) -> bytes:
        engine = self.services.engine
        pools = {
            name: {
                "inFlight": view.in_flight,
                "waiting": view.waiting + view.waiting_batch,
                "phase": view.phase.value,
                "circuit": view.circuit.value,
            }
            for name, view in engine.state.pools.items()
        }
        accounts = {
            scope: {"spentNano": account.spent, "reservedNano": account.reserved, "parallel": account.parallel}
            for scope, account in engine.state.accounts.items()
        }
        return json.dumps(
            {
                "period": engine.state.period,
                "policyVersion": engine.policy.policy_version,
                "pools": pools,
                "accounts": accounts,
                "leases": dict(engine.state.leases),
            }
        ).encode()


async def _read(request: web.BaseRequest, most: int) -> bytes | None:
    """The body, at most `most` bytes of it; None where it takes too long to come."""
    if request.content_length is not None and request.content_length > most:
        raise _TooLarge
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_S):
            async for piece in request.content.iter_any():
                size += len(piece)
                if size > most:
                    raise _TooLarge
                pieces.append(piece)
    except TimeoutError:
        return None
    return b"".join(pieces)


def _refuse(refusal: Refusal, identifier: str, *, close: bool = False) -> web.Response:
    """An error as the OpenAI API spells it."""
    kind = _ERROR_TYPES.get(refusal.status, "server_error")
    message = f"{refusal.sentence}; {refusal.next_step}."
    headers = {"Content-Type": _JSON, "X-Request-Id": identifier}
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(refusal.retry_after_s)))
    response = web.Response(
        status=refusal.status,
        body=orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": refusal.code}}),
        headers=headers,
    )
    if close:  # a body that nobody read stands in the way of the next request
        response.force_close()
    return response
