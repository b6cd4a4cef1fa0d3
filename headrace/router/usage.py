"""Token counts of an answer or an event stream, fed in chunks as they pass. Pure; bounded memory.

A stream's usage stands in its last data event (we ask for it with `stream_options`); without one, content events are
counted, one token each, which is what vLLM sends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from headrace.router.sse import error_status

_LONGEST_LINE: Final = 1 << 20
_LONGEST_BODY: Final = 16 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Tokens of one request. `exact` False means that they were counted or estimated here."""

    prompt: int
    completion: int
    cached: int = 0
    exact: bool = False

    @property
    def total(self) -> int:
        """Prompt and answer."""
        return self.prompt + self.completion


class UsageReader:
    """Feed it what comes from upstream; ask for `usage` at the end."""

    def __init__(self, *, stream: bool, prompt_estimate: int) -> None:
        self._stream = stream
        self._prompt = prompt_estimate
        self._events = 0
        self._found: Usage | None = None
        self._buffer = bytearray()
        self._overflow = False
        self.done = False
        """Whether a stream said `[DONE]`, or a whole answer was JSON."""
        self.failed = False
        """Whether a stream held an error in place of an answer's event: vLLM says so, and then `[DONE]`."""

    def feed(self, chunk: bytes) -> None:
        """The next bytes of the answer."""
        if not self._stream:
            if len(self._buffer) + len(chunk) > _LONGEST_BODY:
                self._overflow = True
            else:
                self._buffer += chunk
            return
        if (
            not self._buffer
            and chunk.endswith(b"\n\n")
            and not (b'"usage"' in chunk or b"[DONE]" in chunk or b'"choices":[]' in chunk or b'"choices": []' in chunk)
            and b'"error"' not in chunk
        ):  # whole events of content and nothing else: nearly every chunk
            self._events += chunk.count(b"\ndata:") + chunk.startswith(b"data:")
            return
        self._buffer += chunk
        *lines, rest = self._buffer.split(b"\n")
        if len(rest) > _LONGEST_LINE:
            rest = bytearray()
        self._buffer = bytearray(rest)
        for line in lines:
            if line.startswith(b"data:"):
                self._event(bytes(line[5:]).strip())

    def _event(self, data: bytes) -> None:
        if data == b"[DONE]":
            self.done = True
            return
        if b'"usage":{' in data or b'"usage": {' in data or b'"error"' in data:
            self._read(data)
            if self.failed:
                return
        if b'"choices":[]' not in data and b'"choices": []' not in data:
            self._events += 1

    def _read(self, data: bytes) -> None:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            return
        if isinstance(document, dict):
            self.failed = self.failed or (self._stream and error_status(document) is not None)
            self._take(document)

    def _take(self, document: Mapping[str, Any]) -> None:
        usage = document.get("usage")
        if not isinstance(usage, dict):
            return
        prompt, completion = _whole(usage.get("prompt_tokens")), _whole(usage.get("completion_tokens"))
        if prompt is None and completion is None:
            return
        details = usage.get("prompt_tokens_details")
        cached = _whole(details.get("cached_tokens")) if isinstance(details, dict) else 0
        self._found = Usage(
            prompt=self._prompt if prompt is None else prompt,
            completion=completion or 0,
            cached=cached or 0,
            exact=prompt is not None,
        )

    def whole(self, document: Mapping[str, Any]) -> None:
        """A whole answer that was parsed already."""
        self._take(document)
        self.done = True

    def finish(self) -> None:
        """No more comes. Reads a whole answer."""
        if not self._stream and self._buffer and not self._overflow:
            self._read(bytes(self._buffer))
            self.done = bytes(self._buffer.lstrip()[:1]) in (b"{", b"[")
            self._buffer.clear()

    @property
    def usage(self) -> Usage:
        """What was found, else what was counted."""
        return self._found or Usage(prompt=self._prompt, completion=self._events)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40 else None
