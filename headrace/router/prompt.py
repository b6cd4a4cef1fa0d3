"""What a request asks about: its text, how many tokens that is, and of how many prompts. Pure; walks without recursion.

English text has about four characters to a token in common byte-pair vocabularies; other scripts have fewer, so the
estimate takes bytes and not characters. A token is never shorter than a byte, which makes bytes an upper bound. A
number in a prompt is a token. An image, a sound or a film that stands in a message is no text: it counts as a fixed
number of tokens, whatever its length in base64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

BYTES_PER_TOKEN: Final = 4
_MESSAGE_TOKENS: Final = 4
# An image of a megapixel in Qwen2.5-VL, one token for 28 x 28 pixels; and the most that its preprocessor makes of one
# (max_pixels 12,845,056), both by its preprocessor_config.json.
MEDIA_TOKENS: Final = 1_280
MEDIA_TOKENS_BOUND: Final = 16_384
_MEDIA: Final = frozenset({"image_url", "input_audio", "audio_url", "video_url"})
_SOURCES: Final = {"chat.completions": "messages", "completions": "prompt", "embeddings": "input"}
# Digits as letters: fingerprints leave digits out, and token ids are nothing else.
_AS_LETTERS: Final = bytes.maketrans(b"0123456789", b"abcdefghij")


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """`texts` is the number of prompts, `longest` the tokens of the longest of several (0 where there is one)."""

    tokens: int
    bound: int
    texts: int
    longest: int
    digest_input: bytes


@dataclass(kw_only=True, slots=True)
class _Sum:
    """Text in bytes, token ids and media of some part of a request."""

    pieces: list[bytes]
    text: int = 0
    ids: int = 0
    media: int = 0

    def add(self, part: Any) -> None:
        """Everything within `part`."""
        stack = [part]
        while stack:
            value = stack.pop()
            if isinstance(value, str):
                encoded = value.encode(errors="surrogatepass")
                self.pieces.append(encoded)
                self.text += len(encoded)
            elif isinstance(value, dict):
                kind = value.get("type")
                if isinstance(kind, str) and kind in _MEDIA:
                    self.media += 1
                    self.pieces.append(_bytes_of(value))
                else:
                    stack.extend(value.values())
            elif isinstance(value, list):
                if _token_ids(value):
                    self.ids += len(value)
                    self.pieces.append(_bytes_of(value))
                else:
                    stack.extend(value)
            elif isinstance(value, int | float) and not isinstance(value, bool):
                self.ids += 1
                self.pieces.append(_bytes_of(value))

    @property
    def tokens(self) -> int:
        return self.text // BYTES_PER_TOKEN + self.ids + self.media * MEDIA_TOKENS


def read_prompt(endpoint: str, body: dict[str, Any]) -> Prompt:
    """The prompt of a body that has the shape of `endpoint`."""
    source = body.get(_SOURCES[endpoint])
    if endpoint != "chat.completions" and isinstance(source, list) and not _token_ids(source):
        return _several(source)
    whole = _Sum(pieces=[])
    whole.add(body.get("tools"))
    whole.add(source)
    overhead = 1 + _MESSAGE_TOKENS * (len(source) if endpoint == "chat.completions" and isinstance(source, list) else 1)
    return Prompt(
        tokens=whole.tokens + overhead,
        bound=_bound(whole) + overhead,
        texts=1,
        longest=0,
        digest_input=b"\0".join(reversed(whole.pieces)),
    )


def _several(prompts: list[Any]) -> Prompt:
    """A list of texts, or of lists of token ids: each is a prompt of its own."""
    pieces: list[bytes] = []
    tokens = bound = longest = 0
    overhead = 1 + _MESSAGE_TOKENS
    for one in prompts:
        part = _Sum(pieces=pieces)
        part.add(one)
        tokens += part.tokens + overhead
        bound += _bound(part) + overhead
        longest = max(longest, part.tokens + overhead)
    return Prompt(
        tokens=max(1, tokens),
        bound=max(1, bound),
        texts=max(1, len(prompts)),
        longest=longest,
        digest_input=b"\0".join(pieces),
    )


def _bound(part: _Sum) -> int:
    return part.text + part.ids + part.media * MEDIA_TOKENS_BOUND


def _token_ids(value: list[Any]) -> bool:
    return bool(value) and type(value[0]) is int and all(type(one) is int for one in value)


def _bytes_of(value: Any) -> bytes:
    """The same for the same value. What JSON can't hold, such as half a surrogate, is spelled as Python does."""
    try:
        return orjson.dumps(value).translate(_AS_LETTERS)
    except TypeError:
        return repr(value).encode(errors="surrogatepass").translate(_AS_LETTERS)
