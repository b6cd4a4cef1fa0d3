"""A turn over HTTP: attempts at model servers, retries before the first byte, the stream to the caller.

Whatever happens (answer, failure, cancellation), the turn ends once: its slot goes back and its record is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Protocol

from headrace.router.capacity import PREFILL_SHARE
from headrace.router.config import PoolConfig
from headrace.router.engine import Admission
from headrace.router.events import Outcome
from headrace.router.http_client import Response
from headrace.router.sse import StreamFilter, error_event
from headrace.router.telemetry import Span
from headrace.router.turn import Failure, Turn
from headrace.router.types import Refusal
from headrace.router.upstream import Answer, StreamBroken, Upstream, UpstreamError, body_for, passed
from headrace.router.usage import UsageReader

# What is left of a time limit for writing the end: the reservation was made for the whole of it.
MARGIN_S: Final = 0.05
_BREAK_S: Final = 1.0


class Sink(Protocol):
    """Where an answer goes: the caller's connection."""

    def whole(self, *, status: int, content_type: str, pool: str, body: bytes) -> None:
        """Sends an answer that is all there."""

    def begin(self, *, status: int, content_type: str, pool: str) -> None:
        """Sends the head of a stream."""

    async def write(self, data: bytes) -> None:
        """Sends some of a stream."""

    def end(self, *, broken: bool) -> None:
        """Ends a stream; a broken one visibly."""


class _Unrecorded(Exception):
    """A request that must be recorded could not be; `refusal` says so and was booked."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class Exchange:
    """One request that has entered."""

    def __init__(self, turn: Turn, upstream: Upstream, body: Mapping[str, Any], span: Span) -> None:
        self._turn = turn
        self._upstream = upstream
        self._body = body
        self._span = span

    async def run(self, sink: Sink) -> Refusal | None:
        """Serves the request into `sink`. A refusal means that nothing was sent yet and says what to answer."""
        turn = self._turn
        while True:
            placed = await turn.place()
            if isinstance(placed, Refusal):
                return placed
            try:
                failure = await self._attempt(placed, sink)
            except _Unrecorded as unrecorded:
                return unrecorded.refusal
            if failure is None:
                return None
            refusal = turn.failed(failure)
            if refusal is not None:
                return refusal

    async def _attempt(self, admission: Admission, sink: Sink) -> Failure | None:
        """One attempt. None: an answer went to the caller, whole or broken, and the turn is settled."""
        turn, facts = self._turn, self._turn.facts
        reader = UsageReader(stream=facts.stream, prompt_estimate=facts.prompt_tokens)
        span = self._span.upstream(admission.route.pool)
        try:
            try:
                async with asyncio.timeout(max(0.1, admission.route.time_limit_s - MARGIN_S)):
                    outcome, said, status = await self._carry(admission, reader, sink, span.traceparent)
            except TimeoutError:
                outcome, said, status = Outcome.FAILED, "time-limit", 504
                if not turn.began:
                    return Failure(kind="time-limit", outcome=Outcome.FAILED, status=504)
                await self._break(sink, "time_limit", "the request's time limit has passed")
            except UpstreamError as error:
                span.ended(error.failure.status or 0, error.failure.kind)
                return error.failure
            reader.finish()
            span.ended(status, "" if outcome is Outcome.OK else said)
            turn.settle(outcome, said=said, status=status, usage=reader.usage)
        except _Unrecorded:
            raise
        except BaseException:  # cancelled, or the caller's connection broke: nobody reads on
            if turn.admission is not None:
                reader.finish()
                span.ended(499, "cancelled")
                turn.abandon(reader.usage)
            raise
        return None

    async def _carry(
        self, admission: Admission, reader: UsageReader, sink: Sink, traceparent: str
    ) -> tuple[Outcome, str, int]:
        """Sends, waits for the answer and passes it on. Returns how it ended."""
        turn, upstream, facts = self._turn, self._upstream, self._turn.facts
        pool = turn.pool
        assert pool is not None  # noqa: S101 - placed
        body = body_for(self._body, pool, stream=facts.stream, endpoint=facts.endpoint)
        response: Response | None = None
        try:
            if facts.stream:
                async with asyncio.timeout(first_byte_limit_s(admission, pool, stream=True)):
                    response = await upstream.open(pool, facts.endpoint, body, traceparent)
                    answer = await upstream.begin(response, stream=True)
            else:  # it begins when it is complete: the time limit of the whole request is the only one
                response = await upstream.open(pool, facts.endpoint, body, traceparent)
                answer = await upstream.begin(response, stream=False)
            refusal = await turn.recorded()
            if refusal is not None:
                raise _Unrecorded(refusal)
            turn.begin(fault_of_caller=answer.status >= 400)
            return await self._pass_on(answer, response, admission, pool, reader, sink)
        except TimeoutError:
            if turn.began:
                raise
            raise UpstreamError("no-answer", Outcome.FAILED, status=504) from None
        finally:
            if response is not None:
                response.release()  # not read to its end: closed, which tells the model server to stop

    async def _pass_on(
        self,
        answer: Answer,
        response: Response,
        admission: Admission,
        pool: PoolConfig,
        reader: UsageReader,
        sink: Sink,
    ) -> tuple[Outcome, str, int]:
        if answer.document is not None:
            reader.whole(answer.document)
            sink.whole(
                status=answer.status, content_type=answer.content_type, pool=admission.route.pool, body=answer.first
            )
            ok = answer.status < 400
            return (Outcome.OK if ok else Outcome.CALLER_FAULT), ("ok" if ok else "caller-fault"), answer.status
        options = self._body.get("stream_options")
        asked = isinstance(options, dict) and options.get("include_usage") is True
        events = StreamFilter(drop_usage=not asked)
        sink.begin(status=answer.status, content_type=answer.content_type, pool=admission.route.pool)
        chunk = answer.first
        try:
            while chunk:
                passed(chunk, reader)
                await sink.write(events.feed(chunk))
                chunk = await self._upstream.more(response, stall_s=pool.stall_timeout_s)
        except (StreamBroken, ValueError) as error:
            kind = error.kind if isinstance(error, StreamBroken) else "garbage"
            await self._break(sink, "upstream_failed", "the model server's answer broke off")
            return Outcome.FAILED, f"stream-{kind}", answer.status
        if not reader.done:
            await self._break(sink, "upstream_failed", "the model server's answer ended too early")
            return Outcome.FAILED, "stream-cut", answer.status
        await sink.write(events.rest())
        sink.end(broken=False)
        return Outcome.OK, "ok", answer.status

    async def _break(self, sink: Sink, code: str, sentence: str) -> None:
        try:
            async with asyncio.timeout(_BREAK_S):
                await sink.write(error_event(code, sentence))
            sink.end(broken=True)
        except (TimeoutError, OSError):
            return


def first_byte_limit_s(admission: Admission, pool: PoolConfig, *, stream: bool) -> float:
    """When an answer that has not begun counts as hung. Without streaming it begins when it is complete.

    A long prompt may take longer to read than any answer takes to begin: that is no fault of its pool.
    """
    if not stream:
        return admission.route.time_limit_s
    reading_s = admission.facts.prompt_tokens * PREFILL_SHARE * pool.slowest_token_s
    return pool.first_byte_timeout_s + reading_s + (pool.cold_start_s * 3 if admission.route.cold else 0.0)
