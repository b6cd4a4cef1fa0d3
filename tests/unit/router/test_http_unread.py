"""Callers that don't read, and callers that hold much: what a connection may keep of our memory."""

from __future__ import annotations

import asyncio

import pytest

from headrace.router import http_server
from tests.unit.router.test_http import Caller, post


async def test_who_asks_on_without_reading_is_not_served_until_it_has_read() -> None:
    caller = Caller()
    caller.connection.pause_writing()
    await caller.say(post("/a"))
    await caller.say(*[post("/b", b"x" * 900)] * 400)
    assert [one.target for one in caller.app.seen] == ["/a"], "an answer that nobody takes is the last that we make"
    assert caller.wire.paused, "what is sent ahead is bounded"
    caller.connection.resume_writing()
    for _ in range(4000):
        await asyncio.sleep(0)
    assert len(caller.app.seen) == 401, "whoever reads on is served on"


@pytest.mark.parametrize("extra", ["", "Connection: close\r\n"])
async def test_an_answer_that_nobody_takes_ends_its_connection(extra: str) -> None:
    caller = Caller()
    caller.wire.unread = 5000
    await caller.say(post("/a", extra=extra))
    assert caller.connection.deadline < float("inf"), "a connection that is closing has a limit too"
    for left in (5000, 4000, 3000):
        caller.wire.unread = left
        caller.connection.expire()
        assert not caller.wire.aborted, "a slow reader has time as long as it reads"
    caller.connection.expire()
    assert caller.wire.aborted, "closing in order would wait for ever for a caller that doesn't read"


async def test_large_bodies_together_are_bounded_and_small_requests_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "MOST_BODIES", 350_000)
    large, small = Caller(most_body=1 << 20), Caller(most_body=1 << 20)
    small.connection._server = large.server
    other = Caller(most_body=1 << 20)
    other.connection._server = large.server
    await large.say(post("/a", b"x" * 300_000)[:-1], b"x")
    assert b"200 OK" in large.wire.sent
    assert large.server.held == 0, "a body that was served is given back"
    await large.say(post("/a", b"x" * 400_000)[:-1])
    assert large.server.held > 350_000
    answer = await other.say(post("/b", b"y" * 100_000)[:90_000])
    assert b" 503 " in answer, "one more large body is refused"
    assert b":ok" in await small.say(post("/c", b"ok"))
    large.connection.connection_lost(None)
    assert large.server.held == 0, "and one whose caller went away"
