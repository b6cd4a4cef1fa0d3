"""A turn through LiteLLM: its application is called inside this process, once for each attempt.

LiteLLM's callbacks run in queues of its own, may be skipped when a caller goes away, and differ between streams and
whole answers. So nothing that must happen exactly once hangs on them: this exchange cuts an attempt off when its
reservation ends, repeats one that failed before its first byte elsewhere, cancels it when the caller leaves, and ends
the turn once. What LiteLLM says about a failure is dropped: the caller gets the words of our own engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

import orjson

from headrace.router.classify import ENDPOINTS
from headrace.router.events import Outcome
from headrace.router.exchange import Sink
from headrace.router.litellm import clean
from headrace.router.litellm.passage import CURRENT, Passage
from headrace.router.sse import StreamFilter, error_event
from headrace.router.telemetry import Span
from headrace.router.turn import Failure, Turn
from headrace.router.types import Refusal
from headrace.router.upstream import Upstream

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_LOG: Final = logging.getLogger("headrace.router.litellm")
_PATHS: Final = {endpoint: path for path, endpoint in ENDPOINTS.items()}
_EVENTS: Final = "text/event-stream; charset=utf-8"
_JSON: Final = "application/json"
_CLEAN_UP_S: Final = 5.0
_BREAK_S: Final = 1.0
_TIME_LIMIT: Final = Failure(kind="time-limit", outcome=Outcome.FAILED, status=504)


class ProxyExchange:
    """One request that has entered."""

    def __init__(
        self, turn: Turn, upstream: Upstream, body: Mapping[str, Any], span: Span, *, application: Application
    ) -> None:
        self._turn = turn
        self._upstream = upstream
        self._body = body
        self._span = span
        self._application = application

    async def run(self, sink: Sink) -> Refusal | None:
        """Serves the request into `sink`. A refusal means that nothing was sent yet and says what to answer."""
        turn, sent = self._turn, orjson.dumps(clean.seen(self._body))
        while True:
            span = self._span.upstream("litellm")
            passage = Passage(
                turn=turn, upstream=self._upstream, beside=clean.beside(self._body), traceparent=span.traceparent
            )
            reply = _Reply(passage, sink, drop_usage=not clean.asks_for_usage(self._body))
            ended = (499, "cancelled")
            try:
                fault = await call(self._application, passage, sent, reply.send)
                passage.finish()
                if reply.left:
                    raise ConnectionResetError("the caller is gone")  # noqa: TRY301 - ends as if it were cancelled
                refusal = await self._concluded(passage, reply, fault, sink)
                ended = (reply.status or 0, type(fault).__name__ if fault is not None else "")
            except BaseException:  # cancelled, or the caller's connection broke: nobody reads on
                passage.finish()
                if turn.admission is not None:
                    turn.abandon(passage.reader.usage)
                elif not turn.ended:
                    turn.gone()
                raise
            finally:
                span.ended(*ended)
            if turn.ended:
                return refusal

    async def _concluded(
        self, passage: Passage, reply: _Reply, fault: BaseException | None, sink: Sink
    ) -> Refusal | None:
        """What becomes of an attempt that ended by itself. None without an end of the turn: another one is made."""
        turn, answer = self._turn, passage.answer
        if passage.refusal is not None:
            return passage.refusal
        if reply.began or reply.ready:
            await self._answered(passage, reply, fault)
            return None
        if turn.admission is None:
            self._log("LiteLLM failed before the request was placed", fault, reply.status)
            return turn.refuse(_proxy_failed(reply.status))
        if answer is None and passage.failure is not None:
            return turn.failed(passage.failure)
        if answer is None and passage.overdue:
            return turn.failed(_TIME_LIMIT)
        if answer is not None and answer.status >= 400:
            pool = reply.pool
            turn.begin(fault_of_caller=True)
            sink.whole(status=answer.status, content_type=answer.content_type, pool=pool, body=answer.first)
            turn.settle(Outcome.CALLER_FAULT, said="caller-fault", status=answer.status, usage=passage.reader.usage)
            return None
        self._log("LiteLLM failed on a request", fault, reply.status)
        refusal = _proxy_failed(reply.status)
        outcome = passage.ended[0] if passage.ended is not None else Outcome.CANCELLED
        turn.settle(outcome, said=refusal.code, status=refusal.status, usage=passage.reader.usage)
        return refusal

    async def _answered(self, passage: Passage, reply: _Reply, fault: BaseException | None) -> None:
        """An answer has begun: it ends well or visibly."""
        turn, ended = self._turn, passage.ended
        if passage.overdue:
            ended = (Outcome.FAILED, "time-limit", 504)
            await reply.break_off("time_limit", "the request's time limit has passed")
        elif ended is not None and ended[0] is Outcome.FAILED:
            how = "ended too early" if ended[1] == "stream-cut" else "broke off"
            await reply.break_off("upstream_failed", f"the model server's answer {how}")
        elif ended is None or fault is not None:
            ended = (ended[0] if ended is not None else Outcome.CANCELLED, "proxy-failed", 200)
            self._log("LiteLLM failed in the middle of an answer", fault, reply.status)
            await reply.break_off("proxy_failed", "LiteLLM could not pass the answer on")
        else:
            await reply.finish()
        turn.settle(ended[0], said=ended[1], status=ended[2], usage=passage.reader.usage)

    def _log(self, what: str, fault: BaseException | None, status: int | None) -> None:
        """Only kinds: LiteLLM's own words may hold a request's text."""
        kind = type(fault).__name__ if fault is not None else ""
        level = logging.WARNING if status is not None and 400 <= status < 500 else logging.ERROR
        _LOG.log(level, what, extra={"fields": {"requestId": self._turn.facts.id, "error": kind, "status": status}})


async def call(application: Application, passage: Passage, body: bytes, send: Send) -> BaseException | None:
    """One call of LiteLLM's application, in a task of its own; the exception that it ended with, if any.

    When this is cancelled, LiteLLM is told that the caller has left and is cancelled too.
    """
    left = asyncio.Event()
    inner = asyncio.create_task(_inside(application, passage, body, left, send))
    inner.add_done_callback(_looked_at)
    try:
        await asyncio.wait({inner})
    except asyncio.CancelledError:
        left.set()
        inner.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({inner}, timeout=_CLEAN_UP_S)
        raise
    return asyncio.CancelledError() if inner.cancelled() else inner.exception()


def _looked_at(ended: asyncio.Task[None]) -> None:
    """How an attempt ends after its caller has left concerns nobody; asyncio would else log it, and with it LiteLLM's
    words."""
    if not ended.cancelled():
        ended.exception()


async def _inside(application: Application, passage: Passage, body: bytes, left: asyncio.Event, send: Send) -> None:
    CURRENT.set(passage)
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if pending:
            return pending.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    scope = _scope(_PATHS[passage.endpoint], len(body), passage.traceparent)
    async with asyncio.timeout(None) as passage.deadline:
        await application(scope, receive, send)


def _scope(path: str, length: int, traceparent: str) -> dict[str, Any]:
    """The ASGI scope of a POST to LiteLLM's application."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": clean.header_lines(length, traceparent),
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 0),
        "state": {},
    }


class _Reply:
    """What LiteLLM's application sends in one attempt. Only a success of an admitted request reaches the caller."""

    def __init__(self, passage: Passage, sink: Sink, *, drop_usage: bool) -> None:
        self._passage = passage
        self._sink = sink
        self._events = StreamFilter(drop_usage=drop_usage)
        self._pieces: list[bytes] = []
        self.status: int | None = None
        """LiteLLM's own status."""
        self.began = False
        """Whether a stream to the caller has begun."""
        self.left = False
        """Whether the caller's connection broke while it was written."""

    @property
    def pool(self) -> str:
        """The pool that answers."""
        admission = self._passage.turn.admission
        return admission.route.pool if admission is not None else ""

    @property
    def ready(self) -> bool:
        """Whether a whole answer is there to be sent."""
        return bool(self._pieces) and self._passes()

    def _passes(self) -> bool:
        passage = self._passage
        if self.status != 200 or passage.refusal is not None or passage.turn.admission is None:
            return False
        if passage.answer is None or passage.answer.status >= 400:
            return False
        return passage.ended is None or passage.ended[0] is Outcome.OK

    async def send(self, message: Message) -> None:
        """LiteLLM's application calls it."""
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            return
        data = bytes(message.get("body", b""))
        if message["type"] != "http.response.body" or not data or not self._passes():
            return
        if not self._passage.stream:
            self._pieces.append(data)
            return
        passed = self._events.feed(data)
        try:
            if not self.began:
                self.began = True
                self._passage.turn.begin()
                self._sink.begin(status=200, content_type=_EVENTS, pool=self.pool)
            if passed:
                await self._sink.write(passed)
        except ConnectionError:
            self.left = True
            raise

    async def finish(self) -> None:
        """The answer is complete."""
        if self.began:
            rest = self._events.rest()
            if rest:
                await self._sink.write(rest)
            self._sink.end(broken=False)
            return
        self._passage.turn.begin()
        self._sink.whole(status=200, content_type=_JSON, pool=self.pool, body=b"".join(self._pieces))

    async def break_off(self, code: str, sentence: str) -> None:
        """A stream that can't be completed ends with an error event, and visibly."""
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(_BREAK_S):
                await self._sink.write(error_event(code, sentence))
        self._sink.end(broken=True)


def _proxy_failed(status: int | None) -> Refusal:
    """LiteLLM found fault with the form of a request, or failed. Its own words may hold the request's text."""
    if status is not None and 400 <= status < 500:
        return Refusal(
            status=status,
            code="invalid_request",
            sentence="LiteLLM, or a callback or guardrail in it, refused the request",
            next_step="compare it with the OpenAI API and your team's rules",
        )
    return Refusal(
        status=502,
        code="proxy_failed",
        sentence="LiteLLM failed on this request",
        next_step="try again, or correct its form",
    )
