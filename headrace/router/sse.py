"""Event streams on their way to the caller: whole events only, without the usage event that only we asked for. Pure."""

from __future__ import annotations

from typing import Final

import orjson

_LARGEST_EVENT: Final = 1 << 20


class StreamFilter:
    """Feed it chunks; it gives back whole events. `drop_usage`: the caller did not ask for the last usage event."""

    def __init__(self, *, drop_usage: bool) -> None:
        self._drop = drop_usage
        self._pending = b""

    def feed(self, chunk: bytes) -> bytes:
        """What may go to the caller now. Raises ValueError for an event that never ends."""
        if not self._drop:
            return chunk
        data = self._pending + chunk if self._pending else chunk
        if data.endswith(b"\n\n") and b'"usage"' not in data:
            self._pending = b""
            return data
        *events, self._pending = data.split(b"\n\n")
        if len(self._pending) > _LARGEST_EVENT:
            raise ValueError("an event is longer than a mebibyte")
        return b"".join(event + b"\n\n" for event in events if not _only_usage(event))

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


def error_event(code: str, sentence: str) -> bytes:
    """The event that ends a broken stream; no `[DONE]` follows."""
    return b"data: " + orjson.dumps({"error": {"message": sentence, "type": "server_error", "code": code}}) + b"\n\n"
