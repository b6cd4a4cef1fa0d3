"""What of a request LiteLLM gets to see. Pure.

LiteLLM 1.106.2 reads more than 350 names of a body as orders to itself (addresses, credentials, fallbacks, mock
answers) and dozens of headers. It gets an allow-list; everything else a caller sent goes to the model server beside it,
as our own engine sends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

# Parameters of the OpenAI API that LiteLLM needs to build the call, or its guardrails and callbacks may want to see.
_SEEN: Final = frozenset(
    {
        *("model", "messages", "prompt", "input", "stream", "max_tokens", "max_completion_tokens", "n", "stop", "seed"),
        *("temperature", "top_p", "presence_penalty", "frequency_penalty", "tools", "tool_choice", "response_format"),
        "user",
    }
)


def seen(body: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a body that goes through LiteLLM."""
    found = {name: value for name, value in body.items() if name in _SEEN}
    if asks_for_usage(body):
        found["stream_options"] = {"include_usage": True}
    return found


def beside(body: Mapping[str, Any]) -> dict[str, Any]:
    """The part that goes around it. The usage event of a stream is asked for by us, so those options go there too."""
    rest = {name: value for name, value in body.items() if name not in _SEEN}
    if body.get("stream") is True:
        options = rest.get("stream_options")
        rest["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    return rest


def asks_for_usage(body: Mapping[str, Any]) -> bool:
    """Whether the caller itself wants the usage event of a stream."""
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def header_lines(length: int, traceparent: str) -> list[tuple[bytes, bytes]]:
    """The header lines that LiteLLM gets, for a body of `length` bytes. The key was checked and stays outside."""
    lines = {
        "host": "router",
        "authorization": "Bearer checked-by-the-router",
        "content-type": "application/json",
        "content-length": str(length),
        "traceparent": traceparent,
    }
    return [(name.encode(), value.encode("latin-1")) for name, value in lines.items() if value]
