"""Event streams on their way to the caller: whole events only, without the usage event that only we asked for. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

_LARGEST_EVENT: Final = 1 << 20
# Servers end lines with LF or with CRLF; both are event streams.
_END: Final = re.compile(rb"\r?\n\r?\n")


class StreamFilter:
    """Feed it chunks; it gives back whole events. `drop_usage`: the caller did not ask for the last usage event."""

    def __init__(self, *, drop_usage: bool) -> None:
        self._drop = drop_usage
        self._pending = b""

    def feed(self, chunk: bytes) -> bytes:
        """What may go to the caller now. Raises ValueError for an event that never ends."""
        data = self._pending + chunk if self._pending else chunk
        if data.endswith(b"\n\n") and not (self._drop and b'"usage"' in data):
            self._pending = b""
            return data
        # What is pending holds no end, at most three bytes of one: an event of many pieces is looked through once.
        ends = [found.end() for found in _END.finditer(data, max(0, len(self._pending) - 3))]
        events = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        self._pending = data[ends[-1] :] if ends else data
        if len(self._pending) > _LARGEST_EVENT:
            raise ValueError("an event is longer than a mebibyte")
        return b"".join(event for event in events if not (self._drop and _only_usage(event)))

    def rest(self) -> bytes:
        """What was left without an end."""
        pending, self._pending = self._pending, b""
        return pending


def _only_usage(event: bytes) -> bool:
    if b'"usage"' not in event or not event.startswith(b"data:"):
        return False
    try:
        document = orjson.loads(event[5:])
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and document.get("choices") == [] and isinstance(document.get("usage"), dict)


def error_status(document: Mapping[str, Any]) -> int | None:
    """The status that an error says of itself where it stands instead of an answer, 500 where it says none; None for
    an answer. vLLM sends one as an event of a stream under 200, RunPod's worker as a whole answer under 200.
    """
    error = document if document.get("object") == "error" else document.get("error")
    if not error or document.get("choices") or document.get("data"):
        return None
    code = str(error.get("code")) if isinstance(error, dict) else ""
    return int(code) if len(code) == 3 and code.isascii() and code.isdigit() and 400 <= int(code) < 600 else 500


def first_error(chunk: bytes) -> dict[str, Any] | None:
    """The error that a stream begins with instead of an answer."""
    if b'"error"' not in chunk:
        return None
    event = _END.split(chunk, maxsplit=1)[0]
    try:
        document = orjson.loads(event[5:]) if event.startswith(b"data:") else None
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) and error_status(document) is not None else None


def error_event(code: str, sentence: str) -> bytes:
    """The event that ends a broken stream; no `[DONE]` follows."""
    return b"data: " + orjson.dumps({"error": {"message": sentence, "type": "server_error", "code": code}}) + b"\n\n"
