"""Errors that come as answers, and streams whose lines end as they like."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.router.sse import StreamFilter, error_status, first_error
from headrace.router.usage import UsageReader

WORD = b'data: {"choices":[{"delta":{"content":"\\"error\\""}}]}'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}'
DONE = b"data: [DONE]"


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"error": {"message": "engine dead", "code": 500}}, 500),
        ({"error": {"message": "too long", "code": "400"}}, 400),
        ({"object": "error", "message": "busy", "code": 429}, 429),  # older vLLM, and RunPod's worker
        ({"error": "job timed out"}, 500),
        ({"error": {"message": "odd", "code": 200}}, 500),
        ({"error": {"message": "odd", "code": "²²²"}}, 500),
        ({"error": None, "choices": []}, None),
        ({"error": None, "data": [{}]}, None),
        ({"choices": [{"message": {"content": "error"}}]}, None),
        ({"choices": [{}], "error": {"code": 500}}, None),
        ({}, None),
    ],
)
def test_an_error_is_known_by_what_it_says_of_itself(document: dict[str, Any], status: int | None) -> None:
    assert error_status(document) == status


@given(cuts=st.lists(st.integers(1, 60), max_size=30), end=st.sampled_from([b"\n\n", b"\r\n\r\n"]))
def test_an_error_in_a_stream_is_found_however_it_is_cut(cuts: list[int], end: bytes) -> None:
    for middle, failed in ((WORD, False), (b'data: {"error": {"message": "engine dead", "code": 500}}', True)):
        data = end.join([WORD, middle, DONE, b""])
        reader = UsageReader(stream=True, prompt_estimate=1)
        for size in [*cuts, len(data)]:
            reader.feed(data[:size])
            data = data[size:]
        assert reader.failed is failed


def test_a_stream_that_begins_with_an_error_is_none() -> None:
    assert first_error(b'data: {"error": {"code": 503}}\n\ndata: [DONE]\n\n') == {"error": {"code": 503}}
    assert first_error(WORD + b"\n\n") is None
    assert first_error(b'data: {"error"') is None, "half an error is found when its rest comes"


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
@pytest.mark.parametrize("drop", [True, False])
def test_each_event_goes_on_when_it_is_whole_and_not_before(end: bytes, drop: bool) -> None:
    events = StreamFilter(drop_usage=drop)
    assert events.feed(WORD + end) == WORD + end, "nothing is held back, whatever ends the lines"
    assert events.feed(WORD[:20]) == b"", "half an event would spoil what is said after it"
    assert events.feed(WORD[20:] + end + USAGE + end) == WORD + end + (b"" if drop else USAGE + end)
    assert events.feed(DONE + end) == DONE + end
