"""Traces with OpenTelemetry, where an exporter is configured (OTEL_EXPORTER_OTLP_ENDPOINT), and structured logs.

Without an exporter a request keeps its caller's trace, or gets one of its own, so that records and the model servers'
traces can be joined; the SDK is not even imported. No attribute and no log line holds a prompt.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

from headrace.router.types import RequestFacts

if TYPE_CHECKING:
    from opentelemetry.trace import Span as OtelSpan

_TRACEPARENT: Final = re.compile(r"^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$")


class Span(Protocol):
    """A request's span."""

    @property
    def traceparent(self) -> str:
        """What goes upstream."""

    def ended(self, status: int, note: str) -> None:
        """How the request ended."""


class Tracing(Protocol):
    """Makes spans."""

    def request(self, facts: RequestFacts, traceparent: str | None) -> Any:
        """A context manager that yields the `Span` of a request."""

    def close(self) -> None:
        """Sends what is left."""


class _PlainSpan:
    def __init__(self, traceparent: str) -> None:
        self.traceparent = traceparent

    def ended(self, status: int, note: str) -> None:
        """Nothing to send."""


class Propagation:
    """Traces are passed on, none are exported."""

    @contextmanager
    def request(self, facts: RequestFacts, traceparent: str | None) -> Iterator[Span]:
        """The caller's trace with a span of ours, or a new trace."""
        del facts
        if traceparent is not None and _TRACEPARENT.match(traceparent):
            yield _PlainSpan(f"{traceparent[:36]}{secrets.token_hex(8)}{traceparent[52:]}")
        else:
            yield _PlainSpan(f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00")

    def close(self) -> None:
        """Nothing is held."""


class _ExportedSpan:
    def __init__(self, span: OtelSpan) -> None:
        self._span = span
        context = span.get_span_context()
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"

    def ended(self, status: int, note: str) -> None:
        """Status and, for a refusal, its code."""
        self._span.set_attribute("http.response.status_code", status)
        if note:
            self._span.set_attribute("headrace.note", note)


class Exported:
    """Spans go to an OTLP collector in batches, from a thread of the SDK."""

    def __init__(self, environment: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = TracerProvider(
            resource=Resource.create({"service.name": "headrace-router", "deployment.environment.name": environment})
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("headrace.router")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, facts: RequestFacts, traceparent: str | None) -> Iterator[Span]:
        """A span of the request under its caller's."""
        context = self._propagator.extract({"traceparent": traceparent}) if traceparent else None
        with self._tracer.start_as_current_span(
            f"router {facts.endpoint}",
            context=context,
            attributes={
                "gen_ai.operation.name": facts.endpoint,
                "gen_ai.request.model": facts.workload,
                "headrace.tenant": facts.tenant,
                "headrace.project": facts.project,
                "headrace.release": facts.release,
                "headrace.request_id": facts.id,
            },
        ) as span:
            yield _ExportedSpan(span)

    def close(self) -> None:
        """Sends what is left."""
        self._provider.shutdown()


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
