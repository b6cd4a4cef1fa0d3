"""A turn through an application that stands for LiteLLM's: however it ends, the slot goes back once."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from headrace.audit.chain import Link
from headrace.audit.record import Kind, parse
from headrace.audit.segments import read_links
from headrace.audit.spool import Spool
from headrace.router.callers import Callers
from headrace.router.classify import Caller, Parsed
from headrace.router.engine import Engine, RetryBudget
from headrace.router.events import Outcome
from headrace.router.http_client import Response
from headrace.router.journal import Journal
from headrace.router.lease import fixed
from headrace.router.litellm.application import log_kinds_only
from headrace.router.litellm.exchange import Application, ProxyExchange, Receive, Send
from headrace.router.litellm.passage import CURRENT, Passage
from headrace.router.litellm.transport import PoolTransport
from headrace.router.metrics import Metrics
from headrace.router.telemetry import Propagation
from headrace.router.turn import Services, Turn
from headrace.router.types import Refusal
from headrace.router.upstream import Answer, Upstream
from tests.unit.router.worlds import config, request

Scope = MutableMapping[str, Any]


@pytest.fixture
def services(tmp_path: Path) -> Services:
    """What turns work with; `outcomes` closes its journal."""
    spool = Spool(tmp_path, "w")
    policy = config()
    engine = Engine(policy, clock=time.monotonic, period="2026-11", leases=fixed(policy), accounts={})
    journal = Journal(spool, secret=b"s" * 16, now_us=lambda: 1, period=lambda: "2026-11")
    return Services(
        engine=engine,
        journal=journal,
        metrics=Metrics(),
        retries=RetryBudget(),
        callers=Callers(policy.caller_breaker),
    )


class Caught:
    """A caller's connection that may break."""

    def __init__(self, *, breaks: bool = False) -> None:
        self.body = b""
        self.broken = False
        self._breaks = breaks

    def whole(self, *, status: int, content_type: str, pool: str, body: bytes) -> None:
        if self._breaks:
            raise ConnectionResetError
        self.body = body

    def begin(self, *, status: int, content_type: str, pool: str) -> None:
        return

    async def write(self, data: bytes) -> None:
        if self._breaks:
            raise ConnectionResetError
        self.body += data

    def end(self, *, broken: bool) -> None:
        self.broken = broken


def turn_of(services: Services, *, stream: bool) -> Turn:
    caller = Caller(key_id="k", tenant="search", project="assistant", environment="test")
    turn = Turn(services, Parsed(facts=request(stream=stream), conversation="c", prompt_digest_input=b"p"), caller)
    assert turn.enter() is None
    return turn


async def through(
    services: Services,
    sink: Caught,
    application: Application,
    *,
    stream: bool = False,
    upstream: Upstream | None = None,
) -> Refusal | None:
    turn = turn_of(services, stream=stream)
    span = Propagation().request(turn.facts, None)
    body = {"model": "chat", "messages": [{"role": "user", "content": "p"}], "stream": stream}
    return await ProxyExchange(turn, upstream or Upstream(), body, span, application=application).run(sink)


def told(passage: Passage, *, stream: bool) -> None:
    """What the transport notes of a good answer."""
    passage.answer = Answer(status=200, content_type="-", first=b"{}", document=None if stream else {})
    passage.sent = True


async def placed() -> Passage:
    passage = CURRENT.get()
    assert passage is not None
    await passage.turn.place()
    return passage


def outcomes(services: Services) -> list[tuple[Kind, str]]:
    """Final entries, once the journal is closed; nothing may be in flight or reserved."""
    engine = services.engine
    assert engine.in_flight == 0 and engine.waiting == 0, "a slot leaked"
    assert all(account.reserved == 0 for account in engine.state.accounts.values()), "a reservation leaked"
    spool = services.journal.spool
    spool.close()
    entries = [parse(link.record) for link in read_links(spool.directory, spool.writer) if isinstance(link, Link)]
    return [(entry.kind, entry.outcome) for entry in entries if entry.kind.final]


async def never(scope: Scope, receive: Receive, send: Send) -> None:
    await placed()
    await asyncio.sleep(3600)


async def fails_before(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("LiteLLM is broken")


async def fails_after(scope: Scope, receive: Receive, send: Send) -> None:
    await placed()
    raise ValueError("LiteLLM is broken")


async def answers(scope: Scope, receive: Receive, send: Send) -> None:
    passage = await placed()
    told(passage, stream=passage.stream)
    passage.end(Outcome.OK, "ok", 200)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b'data: {"a":1}\n\n', "more_body": False})


async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 422, "headers": []})
    await send({"type": "http.response.body", "body": b"the prompt, repeated", "more_body": False})


async def answers_unasked(scope: Scope, receive: Receive, send: Send) -> None:
    """As a mock answer or a cache would: no pool was called."""
    await placed()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b'{"made":"up"}', "more_body": False})


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_is_passed_on_and_recorded(services: Services, *, stream: bool) -> None:
    sink = Caught()
    assert await through(services, sink, answers, stream=stream) is None
    assert b'{"a":1}' in sink.body and not sink.broken
    assert outcomes(services) == [(Kind.POST, "ok")]


@pytest.mark.parametrize(
    ("application", "status", "outcome"),
    [
        (fails_before, 502, (Kind.REFUSE, "proxy_failed")),
        (fails_after, 502, (Kind.POST, "proxy_failed")),
        (refuses, 422, (Kind.REFUSE, "invalid_request")),
        (answers_unasked, 502, (Kind.POST, "proxy_failed")),
    ],
)
async def test_a_failure_of_litellm_is_an_error_of_ours_and_frees_the_slot(
    services: Services, application: Application, status: int, outcome: tuple[Kind, str]
) -> None:
    sink = Caught()
    refusal = await through(services, sink, application)
    assert refusal is not None and refusal.status == status
    assert "prompt" not in refusal.sentence and sink.body == b"", "nothing of LiteLLM's words or answers gets out"
    assert outcomes(services) == [outcome]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_connection_that_breaks_while_it_is_written_frees_the_slot(services: Services, *, stream: bool) -> None:
    with pytest.raises(ConnectionResetError):
        await through(services, Caught(breaks=True), answers, stream=stream)
    assert outcomes(services) == [(Kind.POST, "cancelled")]


async def test_a_caller_that_leaves_cancels_litellm_and_frees_the_slot(services: Services) -> None:
    task = asyncio.create_task(through(services, Caught(), never))
    while not services.engine.in_flight:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert outcomes(services) == [(Kind.POST, "cancelled")]


async def words_at_the_end(scope: Scope, receive: Receive, send: Send) -> None:
    """As LiteLLM's own handling of errors fails when a caller leaves."""
    await placed()
    try:
        await asyncio.sleep(3600)
    finally:
        raise ValueError("the prompt, repeated")


async def test_what_litellm_says_to_a_caller_that_has_left_is_written_nowhere(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    task = asyncio.create_task(through(services, Caught(), words_at_the_end))
    while not services.engine.in_flight:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    gc.collect()  # asyncio complains when a task goes whose exception nobody took
    assert outcomes(services) == [(Kind.POST, "cancelled")]
    assert "the prompt" not in caplog.text and not caplog.records, caplog.text


async def test_tasks_that_nobody_waits_for_leave_their_kind_and_place_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def callback() -> None:
        raise ValueError("the prompt, repeated")

    asyncio.get_running_loop().set_exception_handler(log_kinds_only)
    task = asyncio.create_task(callback())
    await asyncio.wait({task})
    del task
    gc.collect()
    (record,) = caplog.records
    said = f"{record.getMessage()} {vars(record)}"
    assert "ValueError" in said and "test_exchange.py:" in said and "the prompt" not in said


class Hanging(Upstream):
    """A pool that takes calls and never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.running = 0

    async def open(self, *_: object) -> Response:
        self.calls += 1
        self.running += 1
        try:
            await asyncio.sleep(3600)
        finally:
            self.running -= 1
        raise AssertionError("nobody waits for an hour")


@pytest.mark.parametrize("late", [False, True])
async def test_a_guardrail_that_rejects_beside_the_call_leaves_no_call_behind(
    services: Services, *, late: bool
) -> None:
    """LiteLLM runs guardrails of mode during_call beside the call, and lets the call go on when one rejects."""
    upstream, begin = Hanging(), asyncio.Event()
    calls: list[asyncio.Task[None]] = []

    async def call() -> None:
        if late:
            await begin.wait()
        async with httpx.AsyncClient(transport=PoolTransport()) as client:
            await client.post("http://floor.pool.invalid/v1/chat/completions", json={})

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await placed()
        calls.append(asyncio.create_task(call()))
        while not late and not upstream.running:
            await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 400, "headers": []})
        await send({"type": "http.response.body", "body": b"rejected", "more_body": False})

    refusal = await through(services, Caught(), application, upstream=upstream)
    begin.set()
    async with asyncio.timeout(60):
        ended = await asyncio.gather(*calls, return_exceptions=True)
    assert refusal is not None and refusal.status == 400
    assert upstream.running == 0 and upstream.calls == (0 if late else 1), "nothing is sent, or stays, without a slot"
    assert isinstance(ended[0], httpx.ConnectError if late else asyncio.CancelledError)
    assert outcomes(services) == [(Kind.POST, "invalid_request")]


async def test_what_litellm_still_does_for_an_attempt_that_has_ended_goes_nowhere(services: Services) -> None:
    upstream = Hanging()
    turn = turn_of(services, stream=False)
    await turn.place()
    passage = Passage(turn=turn, upstream=upstream, beside={}, traceparent="")
    passage.finish()  # the next attempt of the same turn holds the slot
    CURRENT.set(passage)
    async with httpx.AsyncClient(transport=PoolTransport()) as client:
        with pytest.raises(httpx.ConnectError):
            async with asyncio.timeout(60):
                await client.post("http://floor.pool.invalid/v1/chat/completions", json={})
    assert upstream.calls == 0
    turn.abandon(passage.reader.usage)
    assert outcomes(services) == [(Kind.POST, "cancelled")]
