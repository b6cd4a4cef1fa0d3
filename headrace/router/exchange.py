"""One request from admission to its record: attempts, retries, the stream, and what is booked at the end.

Whatever happens (answer, failure, cancellation), `Exchange.run` gives the slot back once and writes one final entry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import aiohttp

from headrace.audit.record import Entry
from headrace.audit.spool import Position, SpoolBroken
from headrace.router.config import PoolConfig
from headrace.router.engine import Admission, Engine, RetryBudget
from headrace.router.events import Outcome
from headrace.router.journal import Journal
from headrace.router.metrics import Metrics
from headrace.router.sse import StreamFilter, error_event
from headrace.router.types import NANO, Refusal, RequestFacts
from headrace.router.upstream import Answer, StreamBroken, Upstream, UpstreamError, body_for
from headrace.router.usage import Usage, UsageReader

# What is left of a time limit for writing the end: the reservation was made for the whole of it.
_MARGIN_S: Final = 0.05
_MOST_ATTEMPTS: Final = 3
_NO_RECORD: Final = Refusal(
    status=503,
    code="cannot_record",
    sentence="requests of this workload must be recorded, and the journal can't be written",
    next_step="try again later",
    retry_after_s=5.0,
)


class Sink(Protocol):
    """Where an answer goes: the caller's connection."""

    async def begin(self, *, status: int, content_type: str, pool: str, stream: bool) -> None:
        """Sends the head."""

    async def write(self, data: bytes) -> None:
        """Sends some of the body."""

    async def end(self, *, broken: bool) -> None:
        """Ends the body; a broken one visibly."""


@dataclass(kw_only=True)
class Services:
    """What an exchange works with."""

    engine: Engine
    journal: Journal
    upstream: Upstream
    metrics: Metrics
    retries: RetryBudget


class Exchange:
    """One request."""

    def __init__(
        self, services: Services, facts: RequestFacts, body: Mapping[str, Any], base: Entry, *, traceparent: str
    ) -> None:
        self._services = services
        self._facts = facts
        self._body = body
        self._base = base
        self._traceparent = traceparent
        self._policy = services.engine.policy  # the configuration of its arrival, whatever is reloaded meanwhile
        self._spent = 0
        self._attempts = 0
        self._began = False
        self.first_byte_at: float | None = None
        self._arrived = services.engine.clock()

    async def run(self, sink: Sink) -> Refusal | None:
        """Serves the request into `sink`. A refusal means that nothing was sent yet and says what to answer."""
        engine, facts = self._services.engine, self._facts
        last: UpstreamError | None = None
        while True:
            try:
                placed = await engine.place(facts)
            except asyncio.CancelledError:
                self._refused(_gone(), facts)
                raise
            if isinstance(placed, Refusal):
                refusal = placed if last is None else _after_failure(last, placed)
                self._refused(refusal, facts)
                return refusal
            self._attempts += 1
            self._decided(placed)
            try:
                failed = await self._attempt(placed, sink)
            except _Unrecorded:
                self._refused(_NO_RECORD, facts)
                return _NO_RECORD
            if failed is None:
                return None
            last = failed
            now = engine.clock()
            if self._attempts >= _MOST_ATTEMPTS or not self._services.retries.take(now, self._policy.retry_budget):
                refusal = _after_failure(last, None)
                self._refused(refusal, facts)
                return refusal
            self._services.metrics.retries.labels(facts.workload, placed.route.pool).inc()
            facts = replace(facts, excluded=facts.excluded | {placed.route.pool})

    async def _attempt(self, admission: Admission, sink: Sink) -> UpstreamError | None:
        """One attempt. None: an answer went to the caller, whole or broken, and is recorded."""
        pool = self._policy.pools.get(admission.route.pool) or self._services.engine.policy.pools[admission.route.pool]
        reader = UsageReader(stream=self._facts.stream, prompt_estimate=self._facts.prompt_tokens)
        outcome, said, status = Outcome.CANCELLED, "cancelled", 499
        retry_after: float | None = None
        failed: UpstreamError | None = None
        unrecorded = False
        durable = self._services.journal.reserve(self._base, admission, self._policy, spent=self._spent)
        try:
            if durable is None and self._policy.workloads[self._facts.workload].records_required:
                outcome, unrecorded = Outcome.CALLER_FAULT, True
                raise _Unrecorded
            limit_s = max(0.1, admission.route.time_limit_s - _MARGIN_S)
            try:
                async with asyncio.timeout(limit_s):
                    outcome, said, status = await self._carry(admission, pool, reader, durable, sink)
            except TimeoutError:
                outcome, said, status = Outcome.FAILED, "time-limit", 504
                if not self._began:
                    failed = UpstreamError("time-limit", Outcome.FAILED, status=504)
                else:
                    await self._break(sink, "time_limit", "the request's time limit has passed")
            except UpstreamError as error:
                failed, outcome, retry_after = error, error.outcome, error.retry_after_s
            except SpoolBroken:
                outcome, unrecorded = Outcome.CALLER_FAULT, True
                raise _Unrecorded from None
        finally:
            reader.finish()
            usage = reader.usage
            tokens = usage.total if self._began else 0
            self._spent += self._services.engine.finish(
                admission, outcome=outcome, tokens=tokens, retry_after_s=retry_after
            )
            if failed is not None:
                self._services.metrics.upstream_errors.labels(admission.route.pool, failed.kind).inc()
            elif not unrecorded:
                self._record(admission, usage, said, status)
        return failed

    async def _carry(
        self,
        admission: Admission,
        pool: PoolConfig,
        reader: UsageReader,
        durable: asyncio.Future[Position] | None,
        sink: Sink,
    ) -> tuple[Outcome, str, int]:
        """Sends, waits for the answer and passes it on. Returns how it ended."""
        upstream, stream = self._services.upstream, self._facts.stream
        body = body_for(self._body, pool, stream=stream, endpoint=self._facts.endpoint)
        response: aiohttp.ClientResponse | None = None
        whole = False
        try:
            async with asyncio.timeout(_first_byte_limit(admission, pool, stream=stream)):
                response = await upstream.open(pool, self._facts.endpoint, body, self._traceparent)
                answer = await upstream.begin(response, pool, stream=stream)
            if durable is not None:
                try:
                    await durable  # the caller sees nothing of what is not on disk
                except SpoolBroken:
                    if self._policy.workloads[self._facts.workload].records_required:
                        raise
            self.first_byte_at = self._services.engine.clock()
            if answer.status < 400:
                self._services.engine.first_byte(admission)
            self._began = True
            await sink.begin(
                status=answer.status, content_type=answer.content_type, pool=admission.route.pool, stream=stream
            )
            ended = await self._pass_on(answer, reader, sink)
        except TimeoutError:
            if self._began:
                raise
            raise UpstreamError("no-answer", Outcome.FAILED, status=504) from None
        else:
            whole = ended[0] is not Outcome.FAILED
            return ended
        finally:
            if response is not None:
                if whole:
                    response.release()
                else:
                    response.close()  # tells the pool to stop: nobody reads on

    async def _pass_on(self, answer: Answer, reader: UsageReader, sink: Sink) -> tuple[Outcome, str, int]:
        if not self._facts.stream or answer.status >= 400:
            reader.feed(answer.first)
            await sink.write(answer.first)
            await sink.end(broken=False)
            ok = answer.status < 400
            return (Outcome.OK if ok else Outcome.CALLER_FAULT), ("ok" if ok else "caller-fault"), answer.status
        options = self._body.get("stream_options")
        asked = isinstance(options, dict) and options.get("include_usage") is True
        events = StreamFilter(drop_usage=not asked)
        try:
            reader.feed(answer.first)
            await sink.write(events.feed(answer.first))
            async for chunk in answer.chunks:
                reader.feed(chunk)
                await sink.write(events.feed(chunk))
        except (StreamBroken, ValueError) as error:
            kind = error.kind if isinstance(error, StreamBroken) else "garbage"
            await self._break(sink, "upstream_failed", "the model server's answer broke off")
            self._services.metrics.upstream_errors.labels(self._base.pool or "-", kind).inc()
            return Outcome.FAILED, f"stream-{kind}", answer.status
        if not reader.done:
            await self._break(sink, "upstream_failed", "the model server's answer ended too early")
            return Outcome.FAILED, "stream-cut", answer.status
        await sink.write(events.rest())
        await sink.end(broken=False)
        return Outcome.OK, "ok", answer.status

    async def _break(self, sink: Sink, code: str, sentence: str) -> None:
        try:
            async with asyncio.timeout(1.0):
                if self._facts.stream:
                    await sink.write(error_event(code, sentence))
                await sink.end(broken=True)
        except (TimeoutError, OSError):
            return

    # -- what is said about it ----------------------------------------------------------------------------------------

    def _decided(self, admission: Admission) -> None:
        metrics, facts, route = self._services.metrics, self._facts, admission.route
        metrics.decisions.labels(facts.workload, route.pool, route.reason.value).inc()
        if route.spilled:
            metrics.spills.labels(facts.workload, route.pool, route.reason.value).inc()
        if route.cold:
            metrics.cold_starts.labels(route.pool).inc()
        metrics.wait.labels(facts.workload).observe(max(0.0, admission.since - admission.arrived))

    def _record(self, admission: Admission, usage: Usage, said: str, status: int) -> None:
        metrics, facts, pool = self._services.metrics, self._facts, admission.route.pool
        now = self._services.engine.clock()
        latency = now - self._arrived
        first = self.first_byte_at - self._arrived if self.first_byte_at is not None else 0.0
        if not self._began:
            usage = Usage(prompt=0, completion=0)
        self._services.journal.post(
            self._base,
            admission,
            self._policy,
            usage=usage,
            cost=self._spent,
            status=status,
            outcome=said,
            first_token_s=first,
            latency_s=latency,
        )
        metrics.requests.labels(facts.workload, facts.tenant, pool, str(status)).inc()
        metrics.cost.labels(facts.workload, facts.tenant, facts.project, pool).inc(self._spent / NANO)
        metrics.latency.labels(facts.workload, pool).observe(latency)
        if not self._began or said == "caller-fault":
            return
        metrics.first_token.labels(facts.workload, pool).observe(first)
        metrics.tokens.labels(facts.workload, facts.tenant, pool, "in").inc(usage.prompt)
        metrics.tokens.labels(facts.workload, facts.tenant, pool, "out").inc(usage.completion)
        if facts.stream and usage.completion > 1:
            metrics.inter_token.labels(facts.workload, pool).observe((latency - first) / (usage.completion - 1))
        slo = self._policy.workloads[facts.workload].time_to_first_token_s
        if slo is not None and facts.stream:
            metrics.slo.labels(facts.workload, str(first <= slo).lower()).inc()

    def _refused(self, refusal: Refusal, facts: RequestFacts) -> None:
        metrics = self._services.metrics
        metrics.refusals.labels(facts.workload, facts.tenant, refusal.code).inc()
        metrics.requests.labels(facts.workload, facts.tenant, "-", str(refusal.status)).inc()
        base = replace(self._base, cost_nano=self._spent)
        self._services.journal.refuse(base, facts, refusal, self._policy)


class _Unrecorded(Exception):
    """A request that must be recorded could not be."""


def _first_byte_limit(admission: Admission, pool: PoolConfig, *, stream: bool) -> float:
    """When an answer that has not begun counts as hung. Without streaming it begins when it is complete."""
    if not stream:
        return admission.route.time_limit_s
    return pool.first_byte_timeout_s + (pool.cold_start_s * 3 if admission.route.cold else 0.0)


def _gone() -> Refusal:
    return Refusal(status=499, code="caller_gone", sentence="the caller went away while it waited", next_step="none")


def _after_failure(error: UpstreamError, placed: Refusal | None) -> Refusal:
    """What to answer when attempts failed and no pool is left or the retry budget is used up."""
    removed = placed.removed if placed is not None else ()
    if error.outcome is Outcome.PUSHED_BACK:
        return Refusal(
            status=429,
            code="upstream_busy",
            sentence="every pool that may take this request is over its own limits",
            next_step="try again after the time in Retry-After",
            retry_after_s=error.retry_after_s or 1.0,
            removed=removed,
        )
    status = 504 if error.status == 504 or error.kind == "no-answer" else 502
    return Refusal(
        status=status,
        code="upstream_failed",
        sentence=f"no model server answered ({error.kind})",
        next_step="try again",
        retry_after_s=1.0,
        removed=removed,
    )
