"""One request from admission to its record, with no HTTP in it: what every engine that fronts a pool shares.

A turn is entered, placed once for each attempt, and ended exactly once: by a refusal, by `settle`, or by `abandon`.
Whatever the caller of these methods does, the slot goes back once and one final entry is written. The order is

    enter -> place -> recorded -> began -> settle
               ^                  |
               +---- failed <-----+        (only before `began`)

Our own HTTP server drives it in `headrace.router.exchange`; the LiteLLM plug-in drives it from its hooks.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Final

from headrace.audit.spool import SpoolBroken
from headrace.router.callers import Callers
from headrace.router.classify import Caller, Parsed
from headrace.router.config import PoolConfig
from headrace.router.engine import Admission, Engine, RetryBudget
from headrace.router.events import Outcome
from headrace.router.journal import Journal, Reserved
from headrace.router.metrics import Metrics
from headrace.router.types import Refusal
from headrace.router.usage import Usage

MOST_ATTEMPTS: Final = 3
# How model servers answer on a path that their model has no use for.
_NOT_SERVED: Final = frozenset({404, 405, 501})
_NOTHING_USED: Final = Usage(prompt=0, completion=0)
_NO_RECORD: Final = Refusal(
    status=503,
    code="cannot_record",
    sentence="requests of this workload must be recorded, and the journal can't be written",
    next_step="try again later",
    retry_after_s=5.0,
)
_GONE: Final = Refusal(
    status=499, code="caller_gone", sentence="the caller went away while it waited", next_step="none"
)


@dataclass(kw_only=True, slots=True)
class Services:
    """What turns work with: one of each for a router."""

    engine: Engine
    journal: Journal
    metrics: Metrics
    retries: RetryBudget
    callers: Callers


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """An attempt that failed before a byte of its answer went to the caller. `kind` is a label of metrics."""

    kind: str
    outcome: Outcome
    status: int | None = None
    retry_after_s: float | None = None


class Turn:
    """One request. `policy` is the configuration of its last decision, before that of its arrival."""

    __slots__ = (
        "_admission",
        "_attempts",
        "_base",
        "_began_at",
        "_ended",
        "_failure",
        "_parsed",
        "_reserved",
        "_services",
        "_spent",
        "_who",
        "arrived",
        "facts",
        "policy",
        "pool",
    )

    def __init__(
        self, services: Services, parsed: Parsed, caller: Caller, *, user: str = "", trace_id: str = ""
    ) -> None:
        self._services = services
        self._parsed = parsed
        self.facts = parsed.facts
        self.policy = services.engine.policy
        self.arrived = services.engine.clock()
        self.pool: PoolConfig | None = None
        self._base = services.journal.base(parsed, caller, user=user, trace_id=trace_id)
        self._who = f"{caller.key_id}/{user}"
        self._admission: Admission | None = None
        self._reserved: Reserved | None = None
        self._began_at: float | None = None
        self._failure: Failure | None = None
        self._ended = False
        self._attempts = 0
        self._spent = 0

    @property
    def admission(self) -> Admission | None:
        """The attempt that holds a slot now."""
        return self._admission

    @property
    def began(self) -> bool:
        """Whether the caller got a first byte."""
        return self._began_at is not None

    @property
    def ended(self) -> bool:
        """Whether its one final entry was written."""
        return self._ended

    @property
    def must_be_recorded(self) -> bool:
        """Whether the request's workload is refused rather than served without a record."""
        return self.policy.workloads[self.facts.workload].records_required

    def enter(self) -> Refusal | None:
        """The 429 of a caller that repeats itself, or None. Recorded."""
        services = self._services
        mark = services.callers.mark(f"{self.facts.tenant}/{self.facts.workload}", self._parsed.prompt_digest_input)
        stopped = services.callers.admit(self._who, mark, self.arrived)
        if stopped is not None:
            services.metrics.caller_stopped(self.facts.tenant)
            services.metrics.refused(self.facts, stopped)
            services.journal.refuse(self._base, self.facts, stopped, self.policy)
            self._ended = True
            return stopped
        services.retries.request(self.arrived)
        return None

    async def place(self) -> Admission | Refusal:
        """Waits for a pool. An admission holds its slot and its reservation; a refusal is recorded and final."""
        services, facts = self._services, self.facts
        try:
            placed = await services.engine.place(facts)
        except asyncio.CancelledError:
            self.gone()
            raise
        if isinstance(placed, Refusal):
            return self._refuse(placed if self._failure is None else after_failure(self._failure, placed))
        self._admission = placed
        self._attempts += 1
        self.policy = placed.policy
        self.pool = self.policy.pools[placed.route.pool]
        self._reserved = services.journal.reserve(
            self._base, placed, self.policy, spent=self._spent, sync=self.must_be_recorded
        )
        if self._reserved is None and self.must_be_recorded:
            return self._unrecorded()
        services.metrics.decided(facts, placed)
        return placed

    def gone(self) -> None:
        """The caller went away before its request was placed."""
        services = self._services
        self._refuse(_GONE)
        services.callers.left(self._who, services.engine.clock())
        services.metrics.abandoned(self.facts.workload, self.facts.tenant)

    def refuse(self, refusal: Refusal) -> Refusal:
        """Ends a turn that holds no slot, for a reason from outside of the router. Recorded."""
        return self._refuse(refusal)

    async def recorded(self) -> Refusal | None:
        """Returns when the reservation may be relied on; before that the caller must not see a byte.

        For a workload with a duty of records it is on disk then, and a journal that can't be written refuses the
        request. For others it is in the kernel's hands: it survives the death of this process, not of the machine.
        """
        journal, reserved = self._services.journal, self._reserved
        try:
            if reserved is not None:
                if self.must_be_recorded:
                    await journal.synced(reserved)
                else:
                    journal.written()
        except SpoolBroken:
            if self.must_be_recorded:
                return self._unrecorded()
        return None

    def begin(self, *, fault_of_caller: bool = False) -> None:
        """The answer begins. One that says that the caller erred tells nothing about the pool's speed."""
        self._began_at = self._services.engine.clock()
        if not fault_of_caller:
            self._services.engine.first_byte(self._held())

    def failed(self, failure: Failure) -> Refusal | None:
        """The attempt failed and gives back its slot. None: `place` again; else the final answer, recorded."""
        services, admission = self._services, self._held()
        pool = admission.route.pool
        if failure.status in _NOT_SERVED and self.facts.endpoint == "embeddings":
            # Of a model that makes text: it says nothing about the pool's health, or one caller could stop all others.
            failure = replace(failure, outcome=Outcome.CALLER_FAULT)
        self._release(failure.outcome, tokens=0, retry_after_s=failure.retry_after_s)
        services.metrics.upstream_error(pool, failure.kind)
        now = services.engine.clock()
        if self._attempts >= MOST_ATTEMPTS or not services.retries.take(now, self.policy.retry_budget):
            return self._refuse(after_failure(failure, None))
        services.metrics.retried(self.facts.workload, pool)
        self._failure = failure
        self.facts = replace(self.facts, excluded=self.facts.excluded | {pool})
        return None

    def settle(self, outcome: Outcome, *, said: str, status: int, usage: Usage) -> None:
        """The answer has ended, well or badly: the slot goes back, the cost is booked, the record is written."""
        services, admission = self._services, self._held()
        began = self._began_at is not None
        if not began:
            usage = _NOTHING_USED
        self._release(outcome, tokens=usage.total)
        self._ended = True
        if outcome is Outcome.FAILED:
            services.metrics.upstream_error(admission.route.pool, said)
        now = services.engine.clock()
        first_token_s = self._began_at - self.arrived if self._began_at is not None else 0.0
        latency_s = now - self.arrived
        services.journal.post(
            self._base,
            admission,
            self.policy,
            usage=usage,
            cost=self._spent,
            status=status,
            outcome=said,
            first_token_s=first_token_s,
            latency_s=latency_s,
        )
        slo = self.policy.workloads[self.facts.workload].time_to_first_token_s
        services.metrics.served(
            self.facts,
            admission.route.pool,
            status=status,
            cost=self._spent,
            usage=usage,
            first_token_s=first_token_s if began and outcome is not Outcome.CALLER_FAULT else None,
            latency_s=latency_s,
            slo_s=slo,
        )

    def abandon(self, usage: Usage) -> None:
        """The caller went away while its request was on its way."""
        services = self._services
        services.callers.left(self._who, services.engine.clock())
        services.metrics.abandoned(self.facts.workload, self.facts.tenant)
        self.settle(Outcome.CANCELLED, said="cancelled", status=499, usage=usage)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _held(self) -> Admission:
        if self._admission is None:
            raise RuntimeError("this turn holds no slot: it was not placed, or it has ended")
        return self._admission

    def _release(self, outcome: Outcome, *, tokens: int, retry_after_s: float | None = None) -> None:
        admission = self._held()
        self._admission = None
        self._spent += self._services.engine.finish(
            admission, outcome=outcome, tokens=tokens, retry_after_s=retry_after_s
        )

    def _unrecorded(self) -> Refusal:
        self._release(Outcome.CALLER_FAULT, tokens=0)
        return self._refuse(_NO_RECORD)

    def _refuse(self, refusal: Refusal) -> Refusal:
        services, facts = self._services, self.facts
        self._ended = True
        services.metrics.refused(facts, refusal)
        services.journal.refuse(self._base, facts, refusal, self.policy, spent=self._spent)
        if refusal.status == 429 or refusal.status >= 500:
            services.callers.failed(self._who, services.engine.clock())
        return refusal


def after_failure(failure: Failure, placed: Refusal | None) -> Refusal:
    """What to answer when attempts failed and no pool is left or the retry budget is used up."""
    removed = placed.removed if placed is not None else ()
    if failure.outcome is Outcome.CALLER_FAULT:
        return Refusal(
            status=404,
            code="endpoint_not_served",
            sentence="the model of this workload makes no embeddings",
            next_step="ask for a workload whose model does",
            removed=removed,
        )
    if failure.outcome is Outcome.PUSHED_BACK:
        return Refusal(
            status=429,
            code="upstream_busy",
            sentence="every pool that may take this request is over its own limits",
            next_step="try again after the time in Retry-After",
            retry_after_s=failure.retry_after_s or 1.0,
            removed=removed,
        )
    status = 504 if failure.status == 504 or failure.kind == "no-answer" else 502
    return Refusal(
        status=status,
        code="upstream_failed",
        sentence=f"no model server answered ({failure.kind})",
        next_step="try again",
        retry_after_s=1.0,
        removed=removed,
    )
