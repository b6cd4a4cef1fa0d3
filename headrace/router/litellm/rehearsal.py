"""One request through everything before the first caller's: LiteLLM loads much of itself with its first requests.

It goes through LiteLLM's application, our hooks and our transport like any other, as a turn and an upstream that exist
only here: nothing is placed, sent or recorded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping
from typing import Any, Final, cast

import orjson

from headrace.errors import refuse
from headrace.router.config import RouterConfig
from headrace.router.engine import Admission
from headrace.router.http_client import Response
from headrace.router.litellm.exchange import Application, call
from headrace.router.litellm.passage import Passage
from headrace.router.turn import Turn
from headrace.router.types import Reason, RequestFacts, Route
from headrace.router.upstream import Answer, Upstream

_LOG: Final = logging.getLogger("headrace.router.litellm")
# LiteLLM takes seconds for its first request; a guardrail's service may take more.
_PATIENCE_S: Final = 90.0
_MESSAGES: Final = [{"role": "user", "content": "-"}]
_WHOLE: Final[dict[str, Any]] = {
    "id": "-",
    "object": "chat.completion",
    "created": 0,
    "model": "-",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "-"}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
_EVENTS: Final = (
    b'data: {"id":"-","object":"chat.completion.chunk","created":0,"model":"-",'
    b'"choices":[{"index":0,"delta":{"role":"assistant","content":"-"}}]}\n\ndata: [DONE]\n\n'
)


class _Turn:
    """A turn that is always placed."""

    def __init__(self, policy: RouterConfig, *, stream: bool) -> None:
        name, self.pool = next(iter(policy.pools.items()))
        workload = policy.workloads[self.pool.workload]
        self.facts = RequestFacts(
            id="rehearsal",
            tenant="-",
            project="-",
            environment=policy.environment,
            workload=self.pool.workload,
            workload_class=workload.workload_class,
            release=self.pool.release,
            stream=stream,
        )
        route = Route(
            pool=name,
            reason=Reason.FLOOR_FREE,
            spilled=False,
            cold=False,
            reservation=0,
            tokens=0,
            time_limit_s=30.0,
            removed=(),
        )
        self.admission = Admission(
            facts=self.facts, policy=policy, route=route, since=0.0, arrived=0.0, cost_at_start=0.0, explanation=""
        )

    async def place(self) -> Admission:
        return self.admission

    async def recorded(self) -> None:
        return None


class _Upstream:
    """A pool that answers at once."""

    def __init__(self, *, stream: bool) -> None:
        self._stream = stream

    async def open(self, *_: object) -> Response:
        return cast(Response, _Nothing())

    async def begin(self, *_: object, **__: object) -> Answer:
        if self._stream:
            return Answer(status=200, content_type="text/event-stream", first=_EVENTS)
        return Answer(status=200, content_type="application/json", first=orjson.dumps(_WHOLE), document=_WHOLE)

    async def more(self, *_: object, **__: object) -> bytes:
        return b""


class _Nothing:
    def release(self) -> None:
        return


async def rehearse(application: Application, policy: RouterConfig, *, guarded: bool = False) -> None:
    """A whole answer and a stream. Raises `Refused` where LiteLLM gives none: it would fail its callers too.

    Where the team's own callbacks or guardrails run (`guarded`), they may reject it: nobody's request is not theirs.
    """
    for stream in (False, True):
        if not policy.pools:
            return
        passage = Passage(
            turn=cast(Turn, _Turn(policy, stream=stream)),
            upstream=cast(Upstream, _Upstream(stream=stream)),
            beside={},
            traceparent="",
        )
        said = _Said()
        body = orjson.dumps({"model": "-", "messages": _MESSAGES, "stream": stream})
        try:
            async with asyncio.timeout(_PATIENCE_S):
                fault = await call(application, passage, body, said.send)
        except TimeoutError:
            fault = TimeoutError()
        if guarded and fault is None and 400 <= said.status < 500:
            _LOG.warning("a callback or guardrail rejects the rehearsal", extra={"fields": {"status": said.status}})
            continue
        if fault is not None or said.status != 200 or b"choices" not in said.body:
            raise refuse(
                "litellm",
                said.status,
                f"it can't pass {'a stream' if stream else 'an answer'} on",
                reason=type(fault).__name__ if fault is not None else "",
                next_step="run headrace router litellm check",
            )


class _Said:
    """What LiteLLM's application sent."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
        else:
            self.body += message.get("body", b"")
