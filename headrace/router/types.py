"""What goes into a routing decision and what comes out of it. Frozen records; nothing here does anything.

Money is whole nano-dollars (1e-9 $): one token costs about 1e-7 $, so anything coarser would round requests to nothing.
Times are seconds of a monotonic clock that only the interpreters read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from headrace.router.config import PoolConfig
from headrace.settings.releases import WorkloadClass

NANO: Final = 1_000_000_000
WINDOW_BUCKETS: Final = 12
BUCKET_S: Final = 5.0


class Phase(StrEnum):
    """Where a floor stands between quiet and full. Work may leave it only in the phase `spilling`."""

    STEADY = "steady"
    SPILLING = "spilling"


class Circuit(StrEnum):
    """A pool's breaker: closed lets requests through, open none, half-open one probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Reason(StrEnum):
    """Why a request went where it went."""

    FLOOR_FREE = "floor-free"
    FLOOR_IDLE = "floor-idle"
    SPILL_FULL = "spill-full"
    SPILL_SIGNAL = "spill-signal"
    SPILL_DOWN = "spill-down"
    NO_FLOOR = "no-floor"
    START_AHEAD = "start-ahead"


class Ground(StrEnum):
    """Why a pool was not taken."""

    RESIDENCY = "residency"
    RELEASE = "release"
    MEMORY = "memory"
    TRIAL = "trial"
    BREAKER = "breaker"
    PUSHED_BACK = "pushed-back"
    EXCLUDED = "excluded"
    CAP = "cap"
    PROVIDER_CAP = "provider-cap"
    SPEND = "spend"
    BUDGET = "budget"
    LIMIT = "limit"
    FULL = "full"
    NO_SLOTS = "no-slots"
    SATURATED = "saturated"
    LAST_SLOTS = "last-slots"
    FLOOR_ONLY = "floor-only"
    TOO_WIDE = "too-wide"
    SLOWER = "slower"


GROUND_TEXT: Final[Mapping[Ground, str]] = {
    Ground.RESIDENCY: "its compute, ingress or storage lies outside the workload's jurisdictions",
    Ground.RELEASE: "it runs another model release",
    Ground.MEMORY: "the model with this context does not fit its GPU memory",
    Ground.TRIAL: "this conversation is outside the proof of concept's share",
    Ground.BREAKER: "its breaker is open",
    Ground.PUSHED_BACK: "it answered 429 and is left alone for a moment",
    Ground.EXCLUDED: "it already failed this request",
    Ground.CAP: "its most instances are in use",
    Ground.PROVIDER_CAP: "the provider's account limit is reached",
    Ground.SPEND: "another instance would exceed the spend ceiling",
    Ground.BUDGET: "its worst-case cost does not fit the budget",
    Ground.LIMIT: "a limit of requests or tokens has no room",
    Ground.FULL: "all its slots are in use",
    Ground.NO_SLOTS: "it has no slots here: none of its model servers serves, or this replica has no share of it",
    Ground.SATURATED: "its model servers report a queue or a full KV cache",
    Ground.LAST_SLOTS: "batch work never takes the last slots",
    Ground.FLOOR_ONLY: "batch work waits for idle floor",
    Ground.TOO_WIDE: "it asks for more texts at once than batch work ever has slots there",
    Ground.SLOWER: "waiting for the floor answers sooner",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestFacts:
    """A request as the decision sees it.

    `prompt_tokens` is an estimate from the body's length, `prompt_tokens_bound` an upper bound; `max_tokens` is what
    the caller declared over all its answers, None where nothing was. The length of the answer is never guessed (it
    can't be known). `sequences` is how many texts the model server works on: prompts times choices;
    `longest_prompt_tokens` is the longest prompt of several, 0 where there is one.
    `bucket` in [0, 100) is the conversation's place for canary and proof-of-concept shares.
    `waited_s` is the time spent in our queue so far; `excluded` are pools that already failed this request.
    """

    id: str
    tenant: str
    project: str
    environment: str
    workload: str
    workload_class: WorkloadClass
    release: str
    feature: str = ""
    prompt_tokens: int = 0
    prompt_tokens_bound: int = 0
    max_tokens: int | None = None
    sequences: int = 1
    longest_prompt_tokens: int = 0
    stream: bool = False
    endpoint: str = "chat.completions"
    residency: frozenset[str] | None = None
    bucket: float = 0.0
    waited_s: float = 0.0
    excluded: frozenset[str] = frozenset()

    @property
    def scopes(self) -> tuple[str, ...]:
        """Accounts that the request counts against: all must have room. The router's own requests have no tenant."""
        if not self.tenant:
            return ("environment",)
        return ("environment", f"tenant/{self.tenant}", f"project/{self.tenant}/{self.project}")


# The records below are the interpreter's own: `observe` changes them in place, once for each event, and nothing else
# does. The decision only reads them.


@dataclass(kw_only=True, slots=True)
class Window:
    """Exact count over the last minute: `WINDOW_BUCKETS` whole buckets and the current one (60 to 65 s)."""

    bucket: int = 0
    counts: list[int] = field(default_factory=lambda: [0] * (WINDOW_BUCKETS + 1))
    total: int = 0
    """Sum of `counts`."""


@dataclass(kw_only=True, slots=True)
class Account:
    """What a scope has used: money in nano-dollars of the current month, requests and tokens of the last minute."""

    spent: int = 0
    reserved: int = 0
    parallel: int = 0
    requests: Window = field(default_factory=Window)
    tokens: Window = field(default_factory=Window)


@dataclass(kw_only=True, slots=True)
class PoolView:
    """A pool as this replica knows it. In-flight work is exact; `queue` and `kv_use` are as old as `scraped_at`.

    `in_flight` counts requests, `extra` the slots that they take beside one each; `over` those of them that were above
    this replica's share when a request of several texts entered, and wait in a model server. The lines are in slots
    that those who wait will take. `first_token_s` is the mean over prompts whose mean is `prompt_mean` tokens;
    `prompt_var` and `prompt_cov` (with the seconds) say what a longer one adds. `queue` is of texts that model servers
    keep waiting beside the `extra` ones, which are counted here.

    `servers` is how many model servers a counted floor has, None where nobody has counted yet. `starting` holds when
    each instance was started that has not answered yet.
    """

    in_flight: int = 0
    extra: int = 0
    over: int = 0
    waiting: int = 0
    waiting_batch: int = 0
    phase: Phase = Phase.STEADY
    phase_since: float = 0.0
    saturated: bool = False
    saturated_since: float = 0.0
    circuit: Circuit = Circuit.CLOSED
    open_until: float = 0.0
    opened: int = 0
    probing: bool = False
    failures_in_a_row: int = 0
    results: Window = field(default_factory=Window)
    failures: Window = field(default_factory=Window)
    pushed_back_until: float = 0.0
    pushbacks_in_a_row: int = 0
    idle: tuple[float, ...] = ()
    starting: tuple[float, ...] = ()
    min_instances: int = 0
    service_s: float = 1.0
    first_token_s: float = 0.2
    cold_start_s: float = 0.0
    prompt_mean: float | None = None
    prompt_var: float = 0.0
    prompt_cov: float = 0.0
    queue: int | None = None
    kv_use: float | None = None
    servers: int | None = None
    scraped_at: float = float("-inf")
    cost_per_slot: float = 0.0
    idle_cost: float = 0.0
    cost_at: float = 0.0

    @property
    def taken(self) -> int:
        """Slots that the requests in flight take."""
        return self.in_flight + self.extra


@dataclass(kw_only=True, slots=True)
class State:
    """Everything that changes. `leases` holds this replica's share of each limit; a limit without a share is zero.

    `retired` holds pools that a reload took away while requests were on them.
    """

    now: float = 0.0
    period: str = ""
    pools: dict[str, PoolView] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    leases: dict[str, int] = field(default_factory=dict)
    retired: dict[str, PoolConfig] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """Go to `pool`. `reservation` is the most it can cost, because the request is cut off after `time_limit_s`.

    `cold`: it waits for an instance to start; `joins`: one that an earlier request started. `slots`: how many it takes.
    """

    pool: str
    reason: Reason
    spilled: bool
    cold: bool
    reservation: int
    tokens: int
    time_limit_s: float
    removed: tuple[tuple[str, Ground], ...]
    joins: bool = False
    slots: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """Stay in the queue of `pool` for at most `seconds`, then ask again; a freed slot asks earlier."""

    pool: str
    seconds: float
    removed: tuple[tuple[str, Ground], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """No, with what to do. `code` is the error code of the OpenAI-style answer.

    `lacked` names the limit that had no room, and the amount asked of it.
    """

    status: int
    code: str
    sentence: str
    next_step: str
    retry_after_s: float | None = None
    removed: tuple[tuple[str, Ground], ...] = ()
    lacked: tuple[str, int] | None = None


Decision = Route | Wait | Refusal


def explain(request: RequestFacts, decision: Decision) -> str:
    """The decision in one line."""
    who = (
        f"{request.workload} ({request.release}, {request.workload_class.value}) of {request.tenant}/{request.project}"
    )
    others = "; ".join(f"not {pool}: {GROUND_TEXT[ground]}" for pool, ground in decision.removed)
    tail = f" [{others}]" if others else ""
    if isinstance(decision, Route):
        how = (" (a start of another's)" if decision.joins else " (cold start)") if decision.cold else ""
        if decision.slots > 1:
            how += f" ({decision.slots} slots)"
        return f"{who} -> {decision.pool}{how}: {decision.reason.value}{tail}"
    if isinstance(decision, Wait):
        return f"{who} -> waits up to {decision.seconds:.3g} s for {decision.pool}{tail}"
    return f"{who} -> refused ({decision.status} {decision.code}): {decision.sentence}{tail}"
