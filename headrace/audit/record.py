"""What the journal holds, and the one function that turns it into bytes. Pure.

A request leaves one or two entries: a reservation when it is sent upstream (its worst case), and one outcome (posted,
void, refused, or expired after a crash). Money is whole nano-dollars, durations whole microseconds: canonical bytes
hold no floating-point number. They are compact JSON with sorted keys in UTF-8 behind a version byte; committed vectors
(tests/unit/audit) hold them, so an old journal verifies for ever.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final

import orjson

FORMAT: Final = b"\x01"
# Prefixes keep a record's hash from ever being a link's (RFC 6962 does the same for leaves and nodes).
RECORD_PREFIX: Final = b"\x00"
LINK_PREFIX: Final = b"\x01"


class Kind(StrEnum):
    """What an entry says about money."""

    RESERVE = "reserve"
    POST = "post"
    VOID = "void"
    EXPIRE = "expire"
    REFUSE = "refuse"
    OVERHEAD = "overhead"

    @property
    def final(self) -> bool:
        """Whether it is a request's one outcome."""
        return self in (Kind.POST, Kind.VOID, Kind.EXPIRE, Kind.REFUSE)


class RecordError(ValueError):
    """Bytes that are not an entry: what is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line of the journal. Empty text and zero mean "does not apply".

    `reserved_nano` is the worst case held since the reservation, `cost_nano` what it came to; more than was reserved is
    an overrun and raises an alert. `at_us` is UTC in microseconds since 1970. `prompt_hash` is keyed per tenant: a
    plain hash of a short prompt could be guessed, and dropping the key erases what it says.
    """

    kind: Kind
    request_id: str
    at_us: int
    period: str
    environment: str
    tenant: str = ""
    project: str = ""
    key_id: str = ""
    user_hash: str = ""
    conversation_hash: str = ""
    feature: str = ""
    workload: str = ""
    workload_class: str = ""
    endpoint: str = ""
    release: str = ""
    release_digest: str = ""
    pool: str = ""
    provider: str = ""
    region: str = ""
    gpu: str = ""
    reason: str = ""
    decision: str = ""
    spilled: bool = False
    cold: bool = False
    status: int = 0
    outcome: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    tokens_exact: bool = False
    wait_us: int = 0
    first_token_us: int = 0
    latency_us: int = 0
    reserved_nano: int = 0
    cost_nano: int = 0
    price_version: str = ""
    policy_version: str = ""
    prompt_hash: str = ""
    trace_id: str = ""


_ORDER: Final = tuple(field.name for field in fields(Entry))
_NAMES: Final = frozenset(_ORDER)
_TYPES: Final = {field.name: str(field.type) for field in fields(Entry)}


def canonical(entry: Entry) -> bytes:
    """The bytes of an entry."""
    return encode({name: getattr(entry, name) for name in _ORDER})


def encode(document: Mapping[str, str | int]) -> bytes:
    """The bytes of an entry given as fields by name. The only place that makes them.

    Empty text, zero and false are left out. orjson writes the same bytes as the reference below for everything that
    it can write at all (a property test holds it); a lone surrogate or a number beyond 64 bits goes the slow way.
    """
    applies = {name: value for name, value in document.items() if value}
    try:
        return FORMAT + orjson.dumps(applies, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return FORMAT + reference(applies)


def reference(applies: Mapping[str, str | int]) -> bytes:
    """Canonical JSON by the standard library: compact, sorted keys, UTF-8."""
    return json.dumps(applies, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", errors="backslashreplace"
    )


def parse(data: bytes) -> Entry:
    """The entry in canonical bytes. Raises `RecordError` for anything else, other versions included."""
    if data[:1] != FORMAT:
        raise RecordError(f"format {data[:1].hex() or 'missing'} is not {FORMAT.hex()}")
    try:
        document: Any = json.loads(data[1:])
    except (ValueError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError("not JSON") from error
    if not isinstance(document, dict):
        raise RecordError("not an object")
    unknown = document.keys() - _NAMES
    if unknown:
        raise RecordError(f"unknown fields {sorted(unknown)}")
    for name, value in document.items():
        wanted = {"bool": bool, "int": int}.get(_TYPES[name], str)
        if type(value) is not wanted:
            raise RecordError(f"{name} is not {wanted.__name__}")
    try:
        return Entry(**{**document, "kind": Kind(document["kind"])})
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"a field is missing or wrong ({error})") from error


def outline(data: bytes) -> tuple[Kind, str, int]:
    """Kind, request and time of canonical bytes: all that a sink asks of them, a tenth of the work of `parse`, and the
    same for a later release's. Raises `RecordError`."""
    if data[:1] != FORMAT:
        raise RecordError(f"format {data[:1].hex() or 'missing'} is not {FORMAT.hex()}")
    try:
        document: Any = orjson.loads(memoryview(data)[1:])
        kind, request_id, at_us = Kind(document["kind"]), document["request_id"], document["at_us"]
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"not an entry ({type(error).__name__})") from error
    if type(request_id) is not str or type(at_us) is not int:
        raise RecordError("request_id or at_us is wrong")
    return kind, request_id, at_us


def salvage(data: bytes) -> Entry | None:
    """What this release understands of bytes that it can't read as a whole, such as a later release's: for balances,
    which must hold every known cost. None where it understands nothing of them."""
    try:
        document: Any = json.loads(data[1:])
        known: dict[str, Any] = {
            name: value
            for name, value in document.items()
            if name in _NAMES and type(value) is {"bool": bool, "int": int}.get(_TYPES[name], str)
        }
        return Entry(**{**known, "kind": Kind(document["kind"])})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def record_hash(data: bytes) -> bytes:
    """Hash of canonical bytes."""
    return hashlib.sha256(RECORD_PREFIX + data).digest()


class Hashes:
    """Keyed hashes of one tenant's prompts, users and conversations; its key is derived from `secret`."""

    __slots__ = ("_begun",)

    def __init__(self, secret: bytes, tenant: str) -> None:
        key = hmac.digest(secret, b"headrace/tenant/" + tenant.encode(), "sha256")
        self._begun = hmac.new(key, digestmod="sha256")  # a copy of it is four times faster than to begin anew

    def of(self, text: bytes) -> str:
        """32 hexadecimal digits."""
        made = self._begun.copy()
        made.update(text)
        return made.hexdigest()[:32]


def keyed_hash(secret: bytes, tenant: str, text: bytes) -> str:
    """Hash of a prompt, user or conversation under the tenant's own key."""
    return Hashes(secret, tenant).of(text)
