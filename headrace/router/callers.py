"""Waste in applications: loops, retry storms and abandoned streams of one caller, and the breaker that stops it. Pure.

A request's fingerprint is its text without digits, case and spacing, so that a counter or a time stamp in a prompt does
not hide a loop. Memory is bounded: the most recent callers, the most recent fingerprints of each.

Replicas count together: what came more than once, what failed, who left and whose breaker opened is kept as notes,
which the background carries to the others (`headrace.router.callers_redis`). Notes hold keyed hashes only.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from headrace.router.config import CallerBreaker
from headrace.router.notes import Note, Notes, Sign, Why
from headrace.router.types import Refusal

MOST_CALLERS: Final = 10_000
# Requests remembered of one caller: a key at 130 requests a second for a minute. And of all callers: about 90 MB.
MOST_REMEMBERED: Final = 8192
MOST_OF_ALL: Final = 262_144
# Failures within this part of the window are one entry.
_GRAINS: Final = 64
# Only the beginning and the end of a long prompt are compared.
_COMPARED: Final = 2048
_DROPPED: Final = bytes(range(0x21)) + b"0123456789"
_TOO_MANY: Final = 429
_PERSON: Final = b"headrace callers"


def fingerprint(workload: str, text: bytes, *, key: bytes = b"") -> bytes:
    """Equal for requests that are the same but for digits, case and spacing. `key` has at most 64 bytes."""
    if len(text) > 2 * _COMPARED:
        text = text[:_COMPARED] + text[-_COMPARED:]
    core = text.lower().translate(None, _DROPPED)
    return hashlib.blake2b(workload.encode() + b"\0" + core, digest_size=8, key=key).digest()


@dataclass(kw_only=True, slots=True)
class _Tally:
    """How often something happened lately. Entries are (time of the first, how many): what is close together is
    forgotten together, a little early rather than late, so that no limit needs more than a few entries."""

    times: deque[tuple[float, int]] = field(default_factory=deque)
    total: int = 0

    def add(self, at: float, amount: int, now: float, window_s: float) -> None:
        self.count(now - window_s)
        place = _place(self.times, at)
        if place and at - self.times[place - 1][0] <= window_s / _GRAINS:
            first, known = self.times[place - 1]
            self.times[place - 1] = first, known + amount
        else:
            self.times.insert(place, (at, amount))
        self.total += amount

    def count(self, since: float) -> int:
        while self.times and self.times[0][0] < since:
            self.total -= self.times.popleft()[1]
        return self.total


@dataclass(kw_only=True, slots=True)
class _Seen:
    requests: deque[tuple[float, bytes, int]] = field(default_factory=deque)
    repeats: dict[bytes, int] = field(default_factory=dict)
    """How often each fingerprint stands in `requests`."""
    single: set[bytes] = field(default_factory=set)
    """Fingerprints that came here once, of which other replicas know nothing yet."""
    failures: _Tally = field(default_factory=_Tally)
    abandoned: _Tally = field(default_factory=_Tally)
    opened_at: float = float("-inf")
    why: Why = Why.LOOP
    number: int = 0

    def count(self, mark: bytes, at: float, amount: int, since: float, most: int) -> int:
        """Remembers requests, forgets those before `since` and beyond `most`; how often they came, these included."""
        requests, repeats = self.requests, self.repeats
        entry = (at, mark, amount)
        if not requests or requests[-1][0] <= at:
            requests.append(entry)
        else:  # heard late
            requests.insert(_place(requests, at), entry)
        repeats[mark] = repeats.get(mark, 0) + amount
        while requests and (requests[0][0] < since or len(requests) > most):
            _, old, fewer = requests.popleft()
            left = repeats[old] - fewer
            if left:
                repeats[old] = left
            else:
                del repeats[old]
                self.single.discard(old)
        return repeats.get(mark, 0)

    def open(self, at: float, why: Why, number: int) -> None:
        """Stopped since `at`: what led to it is used up."""
        self.opened_at, self.why, self.number = at, why, number
        self.failures, self.abandoned = _Tally(), _Tally()
        self.requests.clear()
        self.repeats.clear()
        self.single.clear()


class Callers:
    """What each caller (a key and its user) did lately. All times are arguments.

    `secret` keys the hashes by which callers and requests are known here and in notes.
    """

    def __init__(self, rules: CallerBreaker, *, secret: bytes = b"") -> None:
        self._rules = rules
        self._seen: OrderedDict[bytes, _Seen] = OrderedDict()
        self._remembered = 0
        self._notes: Notes | None = None
        self.key: Final = hashlib.blake2b(secret, digest_size=32, person=_PERSON).digest()

    def __len__(self) -> int:
        return len(self._seen)

    @property
    def remembered(self) -> int:
        """Requests that are remembered, of all callers."""
        return self._remembered

    @property
    def keep_s(self) -> float:
        """Seconds after which nothing of a caller matters any more."""
        return max(self._rules.window_s, self._rules.open_s)

    def configure(self, rules: CallerBreaker) -> None:
        """New rules, for open breakers too; what is remembered stays."""
        self._rules = rules

    def share(self) -> Notes:
        """Keeps notes for other replicas from now on; whoever asks carries them."""
        self._notes = self._notes or Notes()
        return self._notes

    def mark(self, scope: str, text: bytes) -> bytes:
        """The fingerprint of a request, keyed."""
        return fingerprint(scope, text, key=self.key)

    def admit(self, caller: str, mark: bytes, now: float) -> Refusal | None:
        """Remembers a request; the 429 of an open breaker, which the request itself may have opened."""
        who = self._who(caller)
        seen = self._of(who)
        rules = self._rules
        left_s = seen.opened_at + rules.open_s - now
        if left_s > 0:
            return _refusal(seen.why, seen.number, left_s, rules)
        since = now - rules.window_s
        repeats = self._count(seen, mark, now, 1, since)
        if repeats > rules.repeats:
            return self._open(who, seen, now, Why.LOOP, repeats)
        if seen.failures.count(since) >= rules.retries:
            return self._open(who, seen, now, Why.RETRIES, rules.retries)
        if seen.abandoned.count(since) >= rules.abandoned:
            return self._open(who, seen, now, Why.ABANDONED, rules.abandoned)
        if self._notes is not None:
            if repeats == 1:  # most requests come once: nobody needs to hear of those
                seen.single.add(mark)
            else:
                self._notes.add(Sign.REQUEST, who, mark, 2 if mark in seen.single else 1, now)
                seen.single.discard(mark)
        return None

    def failed(self, caller: str, now: float) -> None:
        """An answer of 429 or 5xx went to the caller."""
        who = self._who(caller)
        self._of(who).failures.add(now, 1, now, self._rules.window_s)
        if self._notes is not None:
            self._notes.add(Sign.FAILED, who, b"", 1, now)

    def left(self, caller: str, now: float) -> None:
        """The caller went away before its answer was complete."""
        who = self._who(caller)
        self._of(who).abandoned.add(now, 1, now, self._rules.window_s)
        if self._notes is not None:
            self._notes.add(Sign.LEFT, who, b"", 1, now)

    def heard(self, notes: Iterable[Note], now: float) -> None:
        """What other replicas saw. Opens nothing by itself: the caller's next request does, wherever it comes."""
        rules = self._rules
        since = now - rules.window_s
        for note in notes:
            if note.sign is Sign.OPENED:
                seen = self._of(note.caller)
                if note.at > seen.opened_at:
                    self._remembered -= len(seen.requests)
                    seen.open(note.at, Why(note.mark.decode()), note.count)
                continue
            if note.at < since:
                continue
            seen = self._of(note.caller)
            if note.at <= seen.opened_at or now < seen.opened_at + rules.open_s:
                continue  # used up, or on its way when the breaker opened
            if note.sign is Sign.REQUEST:
                self._count(seen, note.mark, note.at, note.count, since)
            else:
                tally = seen.failures if note.sign is Sign.FAILED else seen.abandoned
                tally.add(note.at, note.count, now, rules.window_s)

    def announce(self, now: float) -> None:
        """Notes of every breaker that is open, for a store that forgot them."""
        if self._notes is None:
            return
        for who, seen in self._seen.items():
            if now < seen.opened_at + self._rules.open_s:
                self._notes.add(Sign.OPENED, who, seen.why.value.encode(), seen.number, seen.opened_at)

    def _open(self, who: bytes, seen: _Seen, now: float, why: Why, number: int) -> Refusal:
        self._remembered -= len(seen.requests)
        seen.open(now, why, number)
        if self._notes is not None:
            self._notes.add(Sign.OPENED, who, why.value.encode(), number, now)
        return _refusal(why, number, self._rules.open_s, self._rules)

    def _count(self, seen: _Seen, mark: bytes, at: float, amount: int, since: float) -> int:
        before = len(seen.requests)
        found = seen.count(mark, at, amount, since, max(MOST_REMEMBERED, self._rules.repeats + 1))
        self._remembered += len(seen.requests) - before
        while self._remembered > MOST_OF_ALL and len(self._seen) > 1:
            self._forget()
        return found

    def _who(self, caller: str) -> bytes:
        return hashlib.blake2b(caller.encode(errors="surrogatepass"), digest_size=12, key=self.key).digest()

    def _of(self, who: bytes) -> _Seen:
        seen = self._seen.get(who)
        if seen is None:
            seen = self._seen[who] = _Seen()
            if len(self._seen) > MOST_CALLERS:
                self._forget()
        else:
            self._seen.move_to_end(who)
        return seen

    def _forget(self) -> None:
        """The caller that was quiet for longest is a new one next time."""
        _, gone = self._seen.popitem(last=False)
        self._remembered -= len(gone.requests)


def _place(times: Sequence[tuple[float, *tuple[object, ...]]], at: float) -> int:
    """Where `at` belongs among entries that begin with their time: nearly always at the end."""
    place = len(times)
    while place and times[place - 1][0] > at:
        place -= 1
    return place


def _refusal(why: Why, number: int, seconds: float, rules: CallerBreaker) -> Refusal:
    within = f"within {rules.window_s:g} s"
    sentence = {
        Why.LOOP: f"the same request {number} times {within} (a loop?)",
        Why.RETRIES: f"retries after {number} failures {within}",
        Why.ABANDONED: f"{number} abandoned streams {within}",
    }[why]
    return Refusal(
        status=_TOO_MANY,
        code="caller_stopped",
        sentence=f"this caller is stopped for {seconds:.0f} s: {sentence}",
        next_step="correct the application, then wait for the time in Retry-After",
        retry_after_s=max(1.0, seconds),
    )
