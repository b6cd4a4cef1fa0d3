"""Waste in applications: loops, retry storms and abandoned streams of one caller, and the breaker that stops it. Pure.

A request's fingerprint is its text without digits, case and spacing, so that a counter or a time stamp in a prompt does
not hide a loop. Memory is bounded: the most recent callers, the most recent fingerprints of each.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final

from headrace.router.config import CallerBreaker
from headrace.router.types import Refusal

MOST_CALLERS: Final = 10_000
MOST_REMEMBERED: Final = 256
# Only the beginning and the end of a long prompt are compared.
_COMPARED: Final = 2048
_DROPPED: Final = bytes(range(0x21)) + b"0123456789"
_TOO_MANY: Final = 429


def fingerprint(workload: str, text: bytes) -> bytes:
    """Equal for requests that are the same but for digits, case and spacing."""
    if len(text) > 2 * _COMPARED:
        text = text[:_COMPARED] + text[-_COMPARED:]
    core = text.lower().translate(None, _DROPPED)
    return hashlib.blake2b(workload.encode() + b"\0" + core, digest_size=8).digest()


@dataclass(kw_only=True, slots=True)
class _Seen:
    requests: deque[tuple[float, bytes]] = field(default_factory=deque)
    repeats: dict[bytes, int] = field(default_factory=dict)
    """How often each fingerprint stands in `requests`."""
    failures: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_REMEMBERED))
    abandoned: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_REMEMBERED))
    open_until: float = float("-inf")
    why: str = ""

    def count(self, mark: bytes, now: float, since: float, most: int) -> int:
        """Remembers a request, forgets those before `since` and beyond `most`; how often it came, this one included."""
        requests, repeats = self.requests, self.repeats
        requests.append((now, mark))
        repeats[mark] = repeats.get(mark, 0) + 1
        while requests and (requests[0][0] < since or len(requests) > most):
            _, old = requests.popleft()
            left = repeats[old] - 1
            if left:
                repeats[old] = left
            else:
                del repeats[old]
        return repeats.get(mark, 0)


class Callers:
    """What each caller (a key and its user) did lately. All times are arguments."""

    def __init__(self, rules: CallerBreaker) -> None:
        self._rules = rules
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def configure(self, rules: CallerBreaker) -> None:
        """New rules; what is remembered stays."""
        self._rules = rules

    def admit(self, caller: str, mark: bytes, now: float) -> Refusal | None:
        """Remembers a request; the 429 of an open breaker, which the request itself may have opened."""
        seen = self._of(caller)
        rules = self._rules
        if now < seen.open_until:
            return _refusal(seen.why, seen.open_until - now)
        since = now - rules.window_s
        repeats = seen.count(mark, now, since, max(MOST_REMEMBERED, rules.repeats + 1))
        if repeats > rules.repeats:
            return self._open(seen, now, f"the same request {repeats} times within {rules.window_s:g} s (a loop?)")
        if seen.failures and _recent(seen.failures, since) >= rules.retries:
            return self._open(seen, now, f"retries after {rules.retries} failures within {rules.window_s:g} s")
        if seen.abandoned and _recent(seen.abandoned, since) >= rules.abandoned:
            return self._open(seen, now, f"{rules.abandoned} abandoned streams within {rules.window_s:g} s")
        return None

    def failed(self, caller: str, now: float) -> None:
        """An answer of 429 or 5xx went to the caller."""
        self._of(caller).failures.append(now)

    def left(self, caller: str, now: float) -> None:
        """The caller went away before its answer was complete."""
        self._of(caller).abandoned.append(now)

    def _open(self, seen: _Seen, now: float, why: str) -> Refusal:
        seen.open_until, seen.why = now + self._rules.open_s, why
        seen.failures.clear()
        seen.abandoned.clear()
        seen.requests.clear()
        seen.repeats.clear()
        return _refusal(why, self._rules.open_s)

    def _of(self, caller: str) -> _Seen:
        seen = self._seen.get(caller)
        if seen is None:
            seen = self._seen[caller] = _Seen()
            if len(self._seen) > MOST_CALLERS:
                self._seen.popitem(last=False)
        else:
            self._seen.move_to_end(caller)
        return seen


def _recent(times: deque[float], since: float) -> int:
    return sum(1 for at in times if at >= since)


def _refusal(why: str, seconds: float) -> Refusal:
    return Refusal(
        status=_TOO_MANY,
        code="caller_stopped",
        sentence=f"this caller is stopped for {seconds:.0f} s: {why}",
        next_step="correct the application, then wait for the time in Retry-After",
        retry_after_s=max(1.0, seconds),
    )
