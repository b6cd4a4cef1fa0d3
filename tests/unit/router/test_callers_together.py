"""The breaker of a caller over several replicas: what they tell each other, and what that comes to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.router import callers, notes
from headrace.router.callers import Callers, fingerprint
from headrace.router.config import CallerBreaker
from headrace.router.notes import Note, Notes, Sign, decode, encode

SECRET = b"the same for all replicas"
RULES = CallerBreaker(repeats=6, window_s=60, retries=5, abandoned=5, open_s=30)
MARK = fingerprint("chat", b"the same again")


@dataclass
class Fleet:
    """Replicas that carry their notes as lines of text."""

    count: int
    rules: CallerBreaker = RULES
    all: list[Callers] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.all = [Callers(self.rules, secret=SECRET) for _ in range(self.count)]
        for one in self.all:
            one.share()

    def round(self, now: float) -> None:
        told = [encode(one.share().take(500, now - one.keep_s), now) for one in self.all]
        for number, one in enumerate(self.all):
            for sender, text in enumerate(told):
                if sender != number:
                    one.heard(decode(text, now), now)


@settings(max_examples=25)
@given(st.lists(st.integers(0, 2), min_size=30, max_size=60), st.integers(1, 4))
def test_a_loop_over_replicas_is_stopped_as_if_they_were_one(order: list[int], per_round: int) -> None:
    """However its requests are spread: at most one of each other replica, and what comes within a round, is more."""
    fleet, served, now = Fleet(3), 0, 0.0
    for number, replica in enumerate(order):
        now += 0.1
        if fleet.all[replica].admit("k", MARK, now) is None:
            served += 1
        if number % per_round == per_round - 1:
            fleet.round(now)
    assert RULES.repeats <= served <= RULES.repeats + 2 + per_round
    fleet.round(now)
    assert all(one.admit("k", MARK, now + 1) is not None for one in fleet.all), "open for one is open for all"
    assert all(one.admit("other", MARK, now + 1) is None for one in fleet.all), "and for this caller only"


def test_retry_storms_and_left_streams_count_over_all_replicas() -> None:
    for happened in (Callers.failed, Callers.left):
        fleet = Fleet(3)
        for number in range(RULES.retries):
            happened(fleet.all[number % 3], "k", number * 0.1)
        fleet.round(1.0)
        for one in fleet.all:
            refused = one.admit("k", MARK, 2.0)
            assert refused is not None
            assert refused.code == "caller_stopped"


def test_an_open_breaker_closes_everywhere_at_the_same_time_and_starts_from_nothing() -> None:
    fleet = Fleet(2)
    for number in range(RULES.repeats + 1):
        fleet.all[number % 2].admit("k", MARK, number * 0.1)
        fleet.round(number * 0.1)
    opened = RULES.repeats * 0.1
    refused = [one.admit("k", MARK, opened + 10) for one in fleet.all]
    assert [one is not None and one.retry_after_s for one in refused] == [20.0, 20.0], "counted from when it opened"
    late = Note(sign=Sign.REQUEST, caller=b"?", mark=MARK, count=50, at=opened - 1)
    fleet.all[1].heard([late], opened + 31)
    for one in fleet.all:
        for number in range(RULES.repeats):
            assert one.admit("k", MARK, opened + 31 + number) is None, "what led to it is used up, on every replica"


def test_a_reload_moves_the_end_of_an_open_breaker() -> None:
    fleet = Fleet(1)
    one = fleet.all[0]
    for _ in range(RULES.repeats + 1):
        one.admit("k", MARK, 0.0)
    assert one.admit("k", MARK, 1.0) is not None
    one.configure(RULES.model_copy(update={"open_s": 0.5}))
    assert one.admit("k", MARK, 1.0) is None, "an operator can let a caller in again without a restart"


def test_what_is_told_twice_late_or_by_another_release_does_no_harm() -> None:
    one = Callers(RULES, secret=SECRET)
    other = Callers(RULES, secret=SECRET)
    told = other.share()
    for _ in range(RULES.repeats):
        other.admit("k", MARK, 100.0)
    text = encode(told.take(10, 0.0), 100.0)
    one.heard(decode(text, 500.0 - 61), 500.0)
    assert one.admit("k", MARK, 500.0) is None, "older than the window"
    assert decode(f"{text}\nx 00 00 1 0\nr zz 00 1 0\no 00 00 1 0\nr 00 00 -5 0\nr 00 00 1 -9999\nr 00\n\n", 0.0) == (
        decode(text, 0.0)
    ), "lines that make no sense are left out"


def test_a_count_beyond_what_was_once_remembered_is_reached() -> None:
    """A limit of 300 failures was never reached while 256 were kept, and a loop between 300 other requests a minute
    was forgotten before it was found."""
    many = Callers(CallerBreaker(repeats=5, retries=300, window_s=60))
    for number in range(300):
        many.failed("k", number * 0.1)
    assert many.admit("k", MARK, 30.0) is not None
    between = Callers(CallerBreaker(repeats=5, window_s=60))
    answers = []
    for number in range(360):
        between.admit("k", fingerprint("chat", bytes([97 + number // 26, 97 + number % 26])), number / 6)
        if number % 60 == 0:
            answers.append(between.admit("k", MARK, number / 6))
    assert [one is None for one in answers] == [True] * 5 + [False]


def test_memory_is_bounded_whatever_others_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "MOST_CALLERS", 100)
    monkeypatch.setattr(callers, "MOST_OF_ALL", 1000)
    monkeypatch.setattr(notes, "MOST_KEPT", 50)
    one = Callers(CallerBreaker(repeats=100_000), secret=SECRET)
    one.share()
    for number in range(150):
        caller = number.to_bytes(12, "big")
        one.heard([Note(sign=Sign.REQUEST, caller=caller, mark=b"m", count=1, at=1.0)], 1.0)
    assert len(one) == 100
    for number in range(5):
        told = (
            Note(sign=Sign.REQUEST, caller=number.to_bytes(12, "big"), mark=index.to_bytes(8, "big"), count=1, at=1.0)
            for index in range(400)
        )
        one.heard(told, 1.0)
    assert 500 < one.remembered <= 1000
    quiet = Callers(RULES, secret=SECRET)
    quiet.share()
    for second in range(500):  # a caller that another replica serves for an hour
        quiet.heard([Note(sign=Sign.FAILED, caller=b"k", mark=b"", count=1, at=second * 2.0)], second * 2.0)
    assert max(len(seen.failures.times) for seen in quiet._seen.values()) <= 130
    kept = Notes()
    for number in range(100):
        kept.add(Sign.FAILED, number.to_bytes(12, "big"), b"", 1, 1.0)
    kept.add(Sign.OPENED, b"k", b"loop", 7, 1.0)
    assert len(kept) == 50
    assert kept.take(1, -math.inf)[0].sign is Sign.OPENED, "what stops a caller is told first"


def test_notes_hold_no_names_and_no_texts() -> None:
    one = Callers(RULES, secret=SECRET)
    told = one.share()
    mark = one.mark("search/chat", b"my secret")
    for _ in range(3):
        one.admit("key-1/anna@example.com", mark, 1.0)
    text = encode(told.take(10, 0.0), 2.0)
    assert text
    assert "anna" not in text
    assert fingerprint("search/chat", b"my secret").hex() not in text, "a hash without a key could be guessed"
    assert Callers(RULES, secret=b"another").mark("search/chat", b"my secret") != mark
