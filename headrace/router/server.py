"""What callers see: the OpenAI API, every refusal in its form.

Paths are matched as they were sent, byte for byte: no decoding, no `..`, no second slash leads anywhere. A handler is
cancelled when its caller goes away, and that cancels the call upstream.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import orjson

from headrace.router.classify import (
    ENDPOINTS,
    HEADER_CLASS,
    HEADER_CONVERSATION,
    HEADER_FEATURE,
    HEADER_RESIDENCY,
    Caller,
    classify,
)
from headrace.router.engine import request_id
from headrace.router.exchange import Exchange, Sink
from headrace.router.http_messages import Reply, Request, head_of
from headrace.router.journal import trace_id_of
from headrace.router.keys import authenticate
from headrace.router.telemetry import Span, Tracing
from headrace.router.turn import Services, Turn
from headrace.router.types import Refusal
from headrace.router.upstream import Upstream

HEADERS: Final = frozenset(
    {"authorization", "traceparent", HEADER_CLASS, HEADER_CONVERSATION, HEADER_FEATURE, HEADER_RESIDENCY}
)
_LOG: Final = logging.getLogger("headrace.router")
_MODELS: Final = "/v1/models"
_JSON: Final = "Content-Type: application/json\r\n"
_LONGEST_USER: Final = 256
# orjson reads 1024 levels of nesting but writes 254. A body with fewer brackets than that can't be too deep.
_DEEPEST: Final = 250
_UNKNOWN_KEY: Final = Refusal(
    status=401,
    code="invalid_api_key",
    sentence="the API key is missing or unknown",
    next_step="send Authorization: Bearer <key>",
)
_NAME: Final = re.compile(r"[a-z0-9-]+")
_NO_MODEL: Final = Refusal(
    status=404,
    code="model_not_found",
    sentence="this key may not use the model, or there is none of that name",
    next_step="GET /v1/models lists what this key may use",
)
_ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    413: "invalid_request_error",
    414: "invalid_request_error",
    429: "rate_limit_error",
    431: "invalid_request_error",
}
_MALFORMED_CODES: Final = {
    408: "body_timeout",
    413: "request_too_large",
    414: "target_too_long",
    431: "head_too_large",
    503: "router_busy",
}


class Exchanging(Protocol):
    """Takes a turn that has entered to its end."""

    async def run(self, sink: Sink) -> Refusal | None:
        """Serves it into `sink`; a refusal means that nothing was sent yet."""


Exchanger = Callable[[Turn, Upstream, Mapping[str, Any], Span], Exchanging]


class ReplySink:
    """An exchange's answer as a reply of our server."""

    __slots__ = ("_identifier", "_reply")

    def __init__(self, reply: Reply, identifier: str) -> None:
        self._reply = reply
        self._identifier = identifier

    def whole(self, *, status: int, content_type: str, pool: str, body: bytes) -> None:
        self._reply.whole(status, self._headers(content_type, pool), body)

    def begin(self, *, status: int, content_type: str, pool: str) -> None:
        self._reply.start(status, self._headers(content_type, pool) + "Cache-Control: no-store\r\n")

    def _headers(self, content_type: str, pool: str) -> str:
        return f"Content-Type: {content_type}\r\nX-Request-Id: {self._identifier}\r\nX-Headrace-Pool: {pool}\r\n"

    async def write(self, data: bytes) -> None:
        await self._reply.write(data)

    def end(self, *, broken: bool) -> None:
        if broken:
            self._reply.break_off()
        else:
            self._reply.end()


class Api:
    """Serves callers. `keys` is replaced as a whole on reload."""

    def __init__(
        self,
        services: Services,
        upstream: Upstream,
        *,
        keys: Mapping[str, Caller],
        residencies: Mapping[str, frozenset[str]],
        instance: str,
        tracing: Tracing,
        exchanger: Exchanger = Exchange,
    ) -> None:
        self.services = services
        self.keys = keys
        self.tracing = tracing
        self._upstream = upstream
        self._residencies = residencies
        self._instance = instance
        self._exchanger = exchanger

    # -- what the HTTP server asks ------------------------------------------------------------------------------------

    def check(self, request: Request) -> bytes | None:
        """Refuses by the head: an unknown key, a path or method that leads nowhere."""
        path = request.target.partition("?")[0]
        caller = authenticate(request.headers.get("authorization"), self.keys)
        if caller is None:
            self.services.metrics.unauthorized()
            return self._closing(_UNKNOWN_KEY)
        work = path in ENDPOINTS
        known = work or _of_models(path)
        if not known or request.method != ("POST" if work else "GET"):
            return self._closing(_nothing(path, known=known))
        request.context = caller
        return None

    def malformed(self, status: int, sentence: str) -> bytes:
        """The answer to something that is no request of ours, or that came when no more can be taken."""
        busy = status == 503
        return self._closing(
            Refusal(
                status=status,
                code=_MALFORMED_CODES.get(status, "invalid_request"),
                sentence=sentence,
                next_step="try again later" if busy else "correct the request",
                retry_after_s=1.0 if busy else None,
            )
        )

    async def handle(self, request: Request, reply: Reply) -> None:
        """A request of a known caller. A fault of ours is a 500 that says nothing, and a log line that says all."""
        identifier = request_id(self._instance)
        try:
            refusal = await self._dispatch(request, reply, identifier)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            _LOG.exception("a request failed in the router", extra={"fields": {"requestId": identifier}})
            if reply.status:  # its answer has begun: it can only end visibly
                reply.break_off()
                return
            refusal = Refusal(status=500, code="internal_error", sentence="the router failed", next_step="try again")
        if refusal is not None:
            headers, body = _error(refusal, identifier)
            reply.whole(refusal.status, headers, body)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _closing(self, refusal: Refusal) -> bytes:
        if refusal is not _UNKNOWN_KEY:
            self.services.metrics.malformed(refusal.code)
        headers, body = _error(refusal, request_id(self._instance))
        return head_of(refusal.status, headers, length=len(body), close=True) + body

    async def _dispatch(self, request: Request, reply: Reply, identifier: str) -> Refusal | None:
        caller: Caller = request.context
        path = request.target.partition("?")[0]
        if path not in ENDPOINTS:
            return self._models(caller, path.removeprefix(_MODELS).removeprefix("/"), reply, identifier)
        body = _parsed(request.body)
        if isinstance(body, Refusal):
            self.services.metrics.malformed(body.code)
            return body
        return await self._work(request, reply, identifier, ENDPOINTS[path], body, caller)

    async def _work(
        self, request: Request, reply: Reply, identifier: str, endpoint: str, body: Any, caller: Caller
    ) -> Refusal | None:
        services = self.services
        parsed = classify(
            request_id=identifier,
            endpoint=endpoint,
            headers=request.headers,
            body=body,
            caller=caller,
            policy=services.engine.policy,
            residencies=self._residencies,
        )
        if isinstance(parsed, Refusal):
            services.metrics.malformed(parsed.code)
            return parsed
        if endpoint == "embeddings":  # they come whole, whatever is asked
            body.pop("stream", None)
            body.pop("stream_options", None)
        user = body.get("user")
        user = user[:_LONGEST_USER] if isinstance(user, str) else ""
        span = self.tracing.request(parsed.facts, request.headers.get("traceparent"))
        turn = Turn(services, parsed, caller, user=user, trace_id=trace_id_of(span.traceparent))
        try:
            refusal = turn.enter()
            if refusal is None:
                refusal = await self._exchanger(turn, self._upstream, body, span).run(ReplySink(reply, identifier))
        except BaseException:
            span.ended(499, "caller gone")
            raise
        if refusal is None:
            span.ended(reply.status, "")
        else:
            span.ended(refusal.status, refusal.code)
        return refusal

    def _models(self, caller: Caller, wanted: str, reply: Reply, identifier: str) -> Refusal | None:
        """The workloads that a key may use, or the one that is `wanted`."""
        workloads = self.services.engine.policy.workloads
        names = [name for name in workloads if caller.workloads is None or name in caller.workloads]
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "headrace"} for name in sorted(names)]
        found: Any = {"object": "list", "data": data}
        if wanted:
            found = next((one for one in data if one["id"] == wanted), None)
            if found is None:
                return _NO_MODEL
        reply.whole(200, f"{_JSON}X-Request-Id: {identifier}\r\n", orjson.dumps(found))
        return None


def _of_models(path: str) -> bool:
    """Whether it is the list of models, or one of them: a name holds no slash and no encoding."""
    return path == _MODELS or (path.startswith(_MODELS + "/") and _NAME.fullmatch(path, len(_MODELS) + 1) is not None)


def _nothing(path: str, *, known: bool) -> Refusal:
    if not known:
        return Refusal(
            status=404,
            code="not_found",
            sentence="there is nothing here",
            next_step=f"use one of {', '.join((*ENDPOINTS, _MODELS))}",
        )
    method = "POST" if path in ENDPOINTS else "GET"
    return Refusal(status=405, code="method_not_allowed", sentence=f"use {method}", next_step=f"use {method}")


def _parsed(data: bytes) -> Any:
    """A body's JSON; refused where it is none, or could not be written again for a model server."""
    try:
        body = orjson.loads(data)
        if data.count(b"[") + data.count(b"{") > _DEEPEST:
            orjson.dumps(body)
    except (orjson.JSONDecodeError, TypeError):
        return Refusal(status=400, code="invalid_json", sentence="the body is not JSON", next_step="send JSON")
    return body


def _error(refusal: Refusal, identifier: str) -> tuple[str, bytes]:
    """An error as the OpenAI API spells it: header lines and body."""
    kind = _ERROR_TYPES.get(refusal.status, "server_error")
    message = f"{refusal.sentence}; {refusal.next_step}."
    retry = ""
    if refusal.retry_after_s is not None:
        retry = f"Retry-After: {max(1, round(refusal.retry_after_s))}\r\n"
    body = orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": refusal.code}})
    return f"{_JSON}X-Request-Id: {identifier}\r\n{retry}", body
