"""Traces with OpenTelemetry, where an exporter is configured (OTEL_EXPORTER_OTLP_ENDPOINT), and structured logs.

Without an exporter a request keeps its caller's trace, or gets one of its own, so that records and the model servers'
traces can be joined; the SDK is not even imported. No attribute and no log line holds a prompt.
"""

from __future__ import annotations

import json
import logging
import os
import random
import re
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from headrace.router.types import RequestFacts

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import Tracer

_TRACEPARENT: Final = re.compile(r"^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$")


_LAST_S: Final = 3.0
# Identifiers of traces must be unlikely to meet, not hard to guess; the system's source costs two calls a request.
_IDS: Final = random.Random(os.urandom(32))  # noqa: S311 - see above


class Span(Protocol):
    """A request's span, or one of its attempts at a pool."""

    @property
    def traceparent(self) -> str:
        """What goes upstream."""

    def upstream(self, pool: str) -> Span:
        """A child for one attempt at a pool."""

    def ended(self, status: int, note: str) -> None:
        """How it ended. Call once."""


class Tracing(Protocol):
    """Makes spans."""

    def request(self, facts: RequestFacts, traceparent: str | None) -> Span:
        """The span of a request under its caller's trace."""

    def close(self) -> None:
        """Sends what is left."""


class _PlainSpan:
    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str) -> None:
        self.traceparent = traceparent

    def upstream(self, pool: str) -> Span:
        """Nobody sees the difference: the same."""
        del pool
        return self

    def ended(self, status: int, note: str) -> None:
        """Nothing to send."""


class Propagation:
    """Traces are passed on, none are exported."""

    def request(self, facts: RequestFacts, traceparent: str | None) -> Span:
        """The caller's trace with a span of ours, or a new trace."""
        del facts
        own = f"{_IDS.getrandbits(64) or 1:016x}"
        if traceparent is not None and _TRACEPARENT.match(traceparent):
            return _PlainSpan(f"{traceparent[:36]}{own}{traceparent[52:]}")
        return _PlainSpan(f"00-{_IDS.getrandbits(128) or 1:032x}-{own}-00")

    def close(self) -> None:
        """Nothing is held."""


class _ExportedSpan:
    __slots__ = ("_context", "_span", "_tracer", "traceparent")

    def __init__(self, tracer: Tracer, span: OtelSpan, context: Context) -> None:
        self._tracer = tracer
        self._span = span
        self._context = context
        found = span.get_span_context()
        self.traceparent = f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"

    def upstream(self, pool: str) -> Span:
        """A client span under this one."""
        from opentelemetry.trace import SpanKind, set_span_in_context

        span = self._tracer.start_span(
            f"pool {pool}", context=self._context, kind=SpanKind.CLIENT, attributes={"headrace.pool": pool}
        )
        return _ExportedSpan(self._tracer, span, set_span_in_context(span, self._context))

    def ended(self, status: int, note: str) -> None:
        """Status and, for what did not go well, why."""
        from opentelemetry.trace import StatusCode

        self._span.set_attribute("http.response.status_code", status)
        if note:
            self._span.set_attribute("headrace.note", note)
        if status >= 500 or status == 0:
            self._span.set_status(StatusCode.ERROR, note)
        self._span.end()


class Exported:
    """Spans go to an OTLP collector in batches, from a thread of the SDK."""

    def __init__(self, environment: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = TracerProvider(
            resource=Resource.create({"service.name": "headrace-router", "deployment.environment.name": environment}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("headrace.router")
        self._propagator = TraceContextTextMapPropagator()

    def request(self, facts: RequestFacts, traceparent: str | None) -> Span:
        """A span of the request under its caller's."""
        from opentelemetry.trace import SpanKind, set_span_in_context

        context = self._propagator.extract({"traceparent": traceparent} if traceparent else {})
        span = self._tracer.start_span(
            f"router {facts.endpoint}",
            context=context,
            kind=SpanKind.SERVER,
            attributes={
                "gen_ai.operation.name": facts.endpoint,
                "gen_ai.request.model": facts.workload,
                "headrace.tenant": facts.tenant,
                "headrace.project": facts.project,
                "headrace.release": facts.release,
                "headrace.request_id": facts.id,
            },
        )
        return _ExportedSpan(self._tracer, span, set_span_in_context(span, context))

    def close(self) -> None:
        """Sends what is left, within a few seconds: a collector that hangs would hold the stop up for half a minute."""
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(_LAST_S)


def tracing(environment: str) -> Tracing:
    """Exported where a collector is configured, else passed on."""
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        return Exported(environment)
    return Propagation()


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            line |= fields
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_to_stderr() -> None:
    """One JSON object a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # aiohttp logs a caller's malformed request with its bytes: those may be a prompt.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    logging.getLogger("aiohttp.access").setLevel(logging.CRITICAL)
