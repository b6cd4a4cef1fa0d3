"""`waste(entries) -> Waste`: what requests cost by feature, project, user and conversation, and what was for nothing.

Pure; reads the ledger's final entries in any order. Users, conversations and prompts are keyed hashes there, so a loop
is found where the same prompt comes again; the live breaker also finds prompts that differ in a counter.

Definitions, each in the sum of every request it names:
  repeated    the same prompt of the same tenant again: an answer that was there already
  resent      prompt tokens of a conversation that the turn before had sent or got already; `cached` of them were not
              computed again, if the model server said so
  loops       one caller, one prompt, `loop_requests` times or more within `window_s`
  storms      one caller, `storm_failures` answers of 429 or 5xx or more within `window_s`
  abandoned   the caller went away before its answer was complete
  failed      it cost something and gave no whole answer
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from headrace.audit.record import Entry, Kind

_US: Final = 1_000_000
_TOO_MANY: Final = 429
_OURS: Final = 500
_ABANDONED: Final = frozenset({"cancelled", "caller_gone"})


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What counts as a loop and as a storm."""

    window_s: float = 60.0
    loop_requests: int = 5
    storm_failures: int = 10
    top: int = 10
    """Rows of each list, the dearest first."""


@dataclass(kw_only=True)
class Sum:
    """Requests and what they came to. Money in nano-dollars."""

    requests: int = 0
    cost_nano: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0

    def add(self, entry: Entry) -> None:
        """One more request."""
        self.requests += 1
        self.cost_nano += entry.cost_nano
        self.tokens_in += entry.tokens_in
        self.tokens_out += entry.tokens_out
        self.tokens_cached += entry.tokens_cached

    @property
    def input_to_output(self) -> float | None:
        """Prompt tokens for each token of answers; None where nothing was answered."""
        return self.tokens_in / self.tokens_out if self.tokens_out else None


@dataclass(frozen=True, kw_only=True)
class Episode:
    """A loop or a storm of one caller: from when, how long, and what it came to."""

    caller: str
    feature: str
    began_us: int
    seconds: float
    sum: Sum


@dataclass(kw_only=True)
class Waste:
    """The report."""

    total: Sum = field(default_factory=Sum)
    own: Sum = field(default_factory=Sum)
    """The router's own requests: instances started ahead."""
    features: dict[str, Sum] = field(default_factory=dict)
    projects: dict[str, Sum] = field(default_factory=dict)
    users: dict[str, Sum] = field(default_factory=dict)
    conversations: dict[str, Sum] = field(default_factory=dict)
    repeated: Sum = field(default_factory=Sum)
    resent_tokens: int = 0
    resent_cached: int = 0
    abandoned: Sum = field(default_factory=Sum)
    failed: Sum = field(default_factory=Sum)
    stopped: int = 0
    """Requests that the breaker of their caller refused."""
    loops: list[Episode] = field(default_factory=list)
    storms: list[Episode] = field(default_factory=list)


def waste(entries: Iterable[Entry], rules: Rules | None = None) -> Waste:
    """The report of a ledger. Lists hold the dearest `rules.top`."""
    rules = rules or Rules()
    made = Waste()
    final = sorted((one for one in entries if one.kind.final), key=lambda one: (one.at_us, one.request_id))
    asked = [one for one in final if one.tenant]
    for entry in final:
        (made.total if entry.tenant else made.own).add(entry)
    made.features = _grouped(asked, lambda one: one.feature or "-", rules.top)
    made.projects = _grouped(asked, lambda one: f"{one.tenant}/{one.project}", rules.top)
    made.users = _grouped([one for one in asked if one.user_hash], _caller, rules.top)
    talks = [one for one in asked if one.conversation_hash and one.kind is Kind.POST]
    made.conversations = _grouped(talks, lambda one: f"{one.tenant}/{one.conversation_hash}", rules.top)
    _repeated(asked, made)
    _resent(talks, made)
    for entry in asked:
        if entry.outcome in _ABANDONED:
            made.abandoned.add(entry)
        elif entry.cost_nano and entry.outcome not in ("ok", "caller-fault"):
            made.failed.add(entry)
        made.stopped += entry.outcome == "caller_stopped"
    prompts = [one for one in asked if one.prompt_hash]
    made.loops = _episodes(prompts, lambda one: (_caller(one), one.prompt_hash), rules.loop_requests, rules)
    bad = [one for one in asked if one.status == _TOO_MANY or one.status >= _OURS]
    made.storms = _episodes(bad, lambda one: (_caller(one), ""), rules.storm_failures, rules)
    return made


def _caller(entry: Entry) -> str:
    return f"{entry.tenant}/{entry.project}/{entry.key_id}/{entry.user_hash or '-'}"


def _grouped(entries: Iterable[Entry], of: Callable[[Entry], str], top: int) -> dict[str, Sum]:
    sums: defaultdict[str, Sum] = defaultdict(Sum)
    for entry in entries:
        sums[of(entry)].add(entry)
    dearest = sorted(sums.items(), key=lambda item: (-item[1].cost_nano, -item[1].requests, item[0]))
    return dict(dearest[:top])


def _repeated(entries: Iterable[Entry], made: Waste) -> None:
    """Answered before: only what came after a good answer to the same prompt was for nothing."""
    answered: set[tuple[str, str, str]] = set()
    for entry in entries:
        mark = (entry.tenant, entry.workload, entry.prompt_hash)
        if not entry.prompt_hash or entry.outcome != "ok":
            continue
        if mark in answered:
            made.repeated.add(entry)
        answered.add(mark)


def _resent(talks: Iterable[Entry], made: Waste) -> None:
    before: dict[tuple[str, str], Entry] = {}
    for entry in talks:
        mark = (entry.tenant, entry.conversation_hash)
        last = before.get(mark)
        if last is not None and entry.tokens_in >= last.tokens_in:
            sent = min(entry.tokens_in, last.tokens_in + last.tokens_out)
            made.resent_tokens += sent
            made.resent_cached += min(sent, entry.tokens_cached)
        if entry.tokens_in:
            before[mark] = entry


def _episodes(
    entries: Sequence[Entry], of: Callable[[Entry], tuple[str, str]], least: int, rules: Rules
) -> list[Episode]:
    """Runs in which any `least` neighbours lie within the window."""
    lines: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        lines[of(entry)].append(entry)
    found: list[Episode] = []
    window_us = rules.window_s * _US
    for (caller, _), line in lines.items():
        first = last = -1
        for place in range(least - 1, len(line)):
            begin = place - least + 1
            if line[place].at_us - line[begin].at_us > window_us:
                continue
            if begin > last and last >= 0:  # apart from the run before
                found.append(_episode(caller, line[first : last + 1]))
                first = -1
            first, last = (begin if first < 0 else first), place
        if first >= 0:
            found.append(_episode(caller, line[first : last + 1]))
    found.sort(key=lambda one: (-one.sum.cost_nano, -one.sum.requests, one.caller))
    return found[: rules.top]


def _episode(caller: str, run: Sequence[Entry]) -> Episode:
    total = Sum()
    for entry in run:
        total.add(entry)
    return Episode(
        caller=caller,
        feature=run[0].feature,
        began_us=run[0].at_us,
        seconds=(run[-1].at_us - run[0].at_us) / _US,
        sum=total,
    )
