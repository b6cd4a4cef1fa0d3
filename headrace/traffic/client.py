"""The callers: send requests at their times through a router and note what came back. One process, one event loop."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import orjson

from headrace.router.prompt import BYTES_PER_TOKEN
from headrace.traffic.day import Ask

_PATHS: Final = {"chat.completions": "/v1/chat/completions", "completions": "/v1/completions"}
_WORDS: Final = (
    *("river", "stone", "copper", "window", "signal", "garden", "market", "letter", "winter", "engine", "paper"),
    *("harbor", "mirror", "forest", "number", "silver", "bridge", "cotton", "planet", "answer", "summer", "valley"),
)
_PROGRESS_S: Final = 5.0
_LONGEST_S: Final = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What a caller saw. Times in platform seconds; `first_s` is the first byte of the answer, 0 where none came.

    `id` and `pool` are the router's headers; `tokens_out` is counted by the caller, None where it hung up. `late_s` is
    how long after its time it was sent: a busy machine's doing, not the router's.
    """

    ask: Ask
    status: int
    id: str
    pool: str
    first_s: float
    total_s: float
    tokens_out: int | None
    code: str
    complete: bool
    left: bool
    error: str
    late_s: float


def text_of(ask: Ask) -> str:
    """Filler of the right length, the same for the same ask."""
    rng = random.Random(ask.text_seed)  # noqa: S311 - filler
    wanted = ask.tokens_in * BYTES_PER_TOKEN
    return " ".join(rng.choices(_WORDS, k=wanted // 6 + 1))[:wanted]


def body_of(ask: Ask) -> bytes:
    """The request's body."""
    document: dict[str, Any] = {
        "model": ask.workload,
        "max_tokens": ask.max_tokens,
        "user": ask.user,
        "metadata": {"answer_tokens": str(ask.answer_tokens)},
    }
    if ask.endpoint == "completions":
        document["prompt"] = text_of(ask)
    else:
        document["messages"] = [{"role": "user", "content": text_of(ask)}]
    if ask.stream:
        document |= {"stream": True, "stream_options": {"include_usage": True}}
    return orjson.dumps(document)


async def replay(
    asks: Sequence[Ask],
    *,
    urls: Sequence[str],
    keys: Mapping[tuple[str, str], str],
    speed: float,
    say: Callable[[str], None] = lambda _: None,
) -> list[Seen]:
    """Send every ask at its time, `speed` platform seconds in each second, to the routers at `urls` in turn.

    keys: API key of (tenant, project).
    """
    found: list[Seen | None] = [None] * len(asks)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def one(index: int, ask: Ask, body: bytes, url: str, due: float) -> None:
            late = time.monotonic() - due
            found[index] = await _send(session, url, ask, body, keys[(ask.tenant, ask.project)], speed, late)

        began = said = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for index, ask in enumerate(asks):
                body = body_of(ask)
                due = began + ask.at_s / speed
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                group.create_task(one(index, ask, body, urls[index % len(urls)], due))
                if time.monotonic() - said >= _PROGRESS_S:
                    said = time.monotonic()
                    done = sum(1 for seen in found if seen is not None)
                    say(f"{index + 1} of {len(asks)} requests sent, {index + 1 - done} under way")
    return [seen for seen in found if seen is not None]


async def _send(
    session: aiohttp.ClientSession, url: str, ask: Ask, body: bytes, key: str, speed: float, late: float
) -> Seen:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    if ask.feature:
        headers["X-Headrace-Feature"] = ask.feature
    if ask.residency is not None:
        headers["X-Headrace-Residency"] = ask.residency
    started = time.monotonic()
    status, identifier, pool, first, error, left = 0, "", "", 0.0, "", False
    pieces: list[bytes] = []
    try:
        async with (
            asyncio.timeout(_LONGEST_S),
            session.post(f"{url}{_PATHS[ask.endpoint]}", data=body, headers=headers) as answer,
        ):
            status = answer.status
            identifier = answer.headers.get("X-Request-Id", "")
            pool = answer.headers.get("X-Headrace-Pool", "")
            async for piece in answer.content.iter_any():
                first = first or time.monotonic() - started
                pieces.append(piece)
                if ask.leaves_after_s is not None and (time.monotonic() - started) * speed >= ask.leaves_after_s:
                    left = True
                    answer.close()
                    break
    except (aiohttp.ClientError, TimeoutError) as failed:
        error = type(failed).__name__
    data = b"".join(pieces)
    tokens, code, complete = read_answer(data, stream=ask.stream, status=status)
    left = left and not complete  # whoever hangs up on the last byte has the whole answer
    return Seen(
        ask=ask,
        status=status,
        id=identifier,
        pool=pool,
        first_s=first * speed,
        total_s=(time.monotonic() - started) * speed,
        tokens_out=None if left else tokens,
        code=code,
        complete=complete and not error and not left,
        left=left,
        error=error,
        late_s=late * speed,
    )


def read_answer(data: bytes, *, stream: bool, status: int) -> tuple[int | None, str, bool]:
    """Tokens of the answer, the error's code, and whether the answer is whole."""
    if status != 200:
        try:
            return None, str(orjson.loads(data)["error"]["code"]), False
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return None, f"status-{status}", False
    if not stream:
        try:
            return int(orjson.loads(data)["usage"]["completion_tokens"]), "", True
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return None, "unreadable", False
    tokens = None
    for line in reversed(data.split(b"\n")):
        if line.startswith(b"data: {") and b'"usage"' in line:
            usage = orjson.loads(line[6:]).get("usage")
            if isinstance(usage, dict):
                tokens = int(usage["completion_tokens"])
                break
    return tokens, "", data.rstrip().endswith(b"data: [DONE]")
