"""How large a request is, of how many prompts, and what makes it the same as another."""

from __future__ import annotations

import pytest

from headrace.router import capacity
from headrace.router.callers import Callers, fingerprint
from headrace.router.classify import Parsed
from headrace.router.config import CallerBreaker
from headrace.router.decide import decide
from headrace.router.prompt import MEDIA_TOKENS, read_prompt
from headrace.router.types import Refusal, RequestFacts, Route
from tests.unit.router.test_pure import chat, classified
from tests.unit.router.worlds import config, state


def facts(body: dict[str, object], endpoint: str = "chat.completions") -> RequestFacts:
    found = classified(body, endpoint=endpoint)
    assert isinstance(found, Parsed), found
    return found.facts


def goes(body: dict[str, object], endpoint: str = "chat.completions") -> bool:
    policy = config()
    return isinstance(decide(facts(body, endpoint), state(policy), policy), Route)


def test_token_ids_that_differ_are_no_loop() -> None:
    """Clients that tokenize themselves send numbers and nothing else; digits are left out of fingerprints."""
    callers = Callers(CallerBreaker(repeats=5))
    hashes = set()
    for number in range(50):
        found = classified({"model": "chat", "input": [[number, 7, 1000 + number], [3]]}, endpoint="embeddings")
        assert isinstance(found, Parsed)
        hashes.add(found.prompt_digest_input)
        assert callers.admit("k", fingerprint("chat", found.prompt_digest_input), number * 0.1) is None
    assert len(hashes) == 50, "and the ledger's prompt hash tells them apart"
    flat = {read_prompt("completions", {"prompt": [1, 2, number]}).digest_input for number in range(5)}
    assert len(flat) == 5


def test_a_batch_of_texts_fits_if_its_longest_does() -> None:
    """A hundred chunks of 400 tokens each went nowhere: their sum was taken for one context."""
    chunks = ["x" * 1600] * 100
    assert goes({"model": "chat", "input": chunks}, "embeddings")
    assert facts({"model": "chat", "input": chunks}, "embeddings").prompt_tokens >= 40_000, "they all count as tokens"
    assert goes({"model": "chat", "prompt": chunks, "max_tokens": 100}, "completions")
    assert facts({"model": "chat", "prompt": chunks, "max_tokens": 100}, "completions").max_tokens == 10_000
    assert not goes({"model": "chat", "input": ["x" * 1600, "x" * 40_000]}, "embeddings")
    ids = facts({"model": "chat", "input": [[5] * 300, [6] * 200]}, "embeddings")
    assert (ids.sequences, ids.longest_prompt_tokens) == (2, 305)
    assert 500 <= ids.prompt_tokens <= 510


def test_choices_are_contexts_of_their_own() -> None:
    assert goes(chat(n=4, max_tokens=3000)), "four times 3000 is 12,000, but none is longer than 8192"
    assert not goes(chat(n=4, max_tokens=9000))
    four = facts(chat(n=4, max_tokens=3000))
    assert (four.sequences, four.max_tokens) == (4, 12_000), "the time and the tokens of all are reserved"
    assert capacity.reserved_tokens(four, 4096) == four.prompt_tokens + 12_000
    assert capacity.reserved_tokens(facts(chat(n=4)), 4096) == 4 * 4096, "without max_tokens each may fill its context"
    assert facts(chat(best_of=3, n=2, max_tokens=10)).max_tokens == 30
    for wrong in (0, 10**9, True, "2"):
        assert isinstance(classified(chat(best_of=wrong)), Refusal)


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "video_url"])
def test_media_are_no_text(kind: str) -> None:
    """An image of 100 kB counted as 25,000 tokens, which is more than a context."""
    key = "data" if kind == "input_audio" else "url"

    def body(data: str) -> dict[str, object]:
        part = {"type": kind, kind: {key: "data:image/png;base64," + data}}
        content = [{"type": "text", "text": "what is this?"}, part]
        return chat(messages=[{"role": "user", "content": content}], max_tokens=100)

    assert goes(body("A" * 100_000))
    assert MEDIA_TOKENS <= facts(body("A" * 100_000)).prompt_tokens < MEDIA_TOKENS + 50
    first, second = (read_prompt("chat.completions", body(data)).digest_input for data in ("A" * 9000, "B" * 9000))
    assert first != second, "two images are two prompts"
    text = chat(messages=[{"role": "user", "content": "data:image/png;base64," + "A" * 100_000}], max_tokens=100)
    assert not goes(text), "text that looks like an image is text"


@pytest.mark.parametrize("kind", [[], {}, 3, None, "image_url"])
def test_parts_of_any_form_are_read(kind: object) -> None:
    part = {"type": kind, "image_url": [[{"url": None}], 1.5, True]}
    assert facts(chat(messages=[{"role": "user", "content": [part]}])).prompt_tokens > 0


def test_an_embedding_is_no_stream() -> None:
    """Taken for a stream its answer was garbage, and five of them opened the breaker of the pool for everybody."""
    assert not facts({"model": "chat", "input": "x", "stream": True}, "embeddings").stream
