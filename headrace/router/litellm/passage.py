"""One attempt on its way through LiteLLM: what the exchange, the hooks and the transport know of it together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from headrace.router.events import Outcome
from headrace.router.http_client import Response
from headrace.router.turn import Failure, Turn
from headrace.router.types import Refusal
from headrace.router.upstream import Answer, Upstream
from headrace.router.usage import UsageReader


@dataclass(kw_only=True, slots=True)
class Passage:
    """One call of LiteLLM's application, and at most one call of a pool out of it."""

    turn: Turn
    upstream: Upstream
    beside: Mapping[str, Any]
    """What of the body goes around LiteLLM."""
    traceparent: str
    deadline: asyncio.Timeout | None = None
    """Cuts the attempt off when its reservation ends; set while LiteLLM runs."""
    refusal: Refusal | None = None
    """Our final answer, recorded already."""
    sent: bool = False
    """Whether the pool was called."""
    over: bool = False
    """Whether the attempt has ended: what LiteLLM still does for it goes nowhere."""
    call: asyncio.Task[Any] | None = None
    """The task that waits for the pool's answer to begin."""
    response: Response | None = None
    """The pool's answer while it is open."""
    answer: Answer | None = None
    """How it began."""
    failure: Failure | None = None
    """Why there is none: the attempt failed before its first byte."""
    ended: tuple[Outcome, str, int] | None = None
    """Outcome, word for the record and status of an answer that was read to its end."""
    reader: UsageReader = field(init=False)
    """Counts its tokens."""

    def __post_init__(self) -> None:
        facts = self.turn.facts
        self.reader = UsageReader(stream=facts.stream, prompt_estimate=facts.prompt_tokens)

    @property
    def endpoint(self) -> str:
        """Of the OpenAI API."""
        return self.turn.facts.endpoint

    @property
    def stream(self) -> bool:
        """Whether the answer is wanted as events."""
        return self.turn.facts.stream

    def end(self, outcome: Outcome, said: str, status: int) -> None:
        """The pool's answer has ended; the first word counts."""
        if self.ended is None:
            self.ended = (outcome, said, status)

    @property
    def overdue(self) -> bool:
        """Whether the time limit has passed."""
        return self.deadline is not None and self.deadline.expired()

    def close(self) -> None:
        """Lets go of the pool's answer; one that was not read to its end tells the pool to stop."""
        response, self.response = self.response, None
        if response is not None:
            response.release()

    def finish(self) -> None:
        """The attempt is over, whoever still holds on to it: a guardrail that fails leaves LiteLLM's call running."""
        self.over = True
        self.close()
        if self.call is not None and self.call is not asyncio.current_task():
            self.call.cancel()
        self.reader.finish()


# Tasks that LiteLLM starts for a request inherit it; code outside of a request finds nothing and is refused.
CURRENT: Final[ContextVar[Passage | None]] = ContextVar("headrace_passage", default=None)
