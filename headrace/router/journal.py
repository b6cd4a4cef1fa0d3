"""Routes and outcomes as entries of the spool: every request that has a key leaves exactly one final entry."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from headrace.audit.ledger import Ledger
from headrace.audit.record import Entry, Hashes, Kind, encode
from headrace.audit.spool import Position, Pushback, Spool, SpoolBroken, TooLong
from headrace.router.classify import Caller, Parsed
from headrace.router.config import RouterConfig
from headrace.router.engine import Admission
from headrace.router.types import Account, Refusal, RequestFacts, explain
from headrace.router.usage import Usage

_TRACE = re.compile(r"^00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$")
# Fields of an `Entry` by name; those that do not apply may be absent.
Fields = dict[str, str | int]


def trace_id_of(traceparent: str | None) -> str:
    """Trace id of a W3C traceparent header; empty where there is none."""
    found = _TRACE.match(traceparent) if traceparent else None
    return found.group(1) if found else ""


@dataclass(frozen=True, slots=True)
class Reserved:
    """A reservation that has its place in the journal. `promise` is done once it is on disk, where that was asked."""

    promise: asyncio.Future[Position] | None


class Journal:
    """Writes entries. `now_us` is UTC in microseconds, `period` the month of the budgets."""

    def __init__(self, spool: Spool, *, secret: bytes, now_us: Callable[[], int], period: Callable[[], str]) -> None:
        self.spool = spool
        self._refused = 0
        self._secret = secret
        self._hashes: dict[str, Hashes] = {}
        self._now_us = now_us
        self._period = period

    @property
    def lost(self) -> int:
        """Entries that could not be recorded since the start."""
        return self._refused + self.spool.lost

    def base(self, parsed: Parsed, caller: Caller, *, user: str = "", trace_id: str = "") -> Fields:
        """What all entries of a request share."""
        facts = parsed.facts
        hashes = self._hashes.get(facts.tenant)
        if hashes is None:  # tenants come from the configuration, so this stays small
            hashes = self._hashes[facts.tenant] = Hashes(self._secret, facts.tenant)
        return {
            "request_id": facts.id,
            "period": self._period(),
            "environment": facts.environment,
            "tenant": facts.tenant,
            "project": facts.project,
            "key_id": caller.key_id,
            "user_hash": hashes.of(user.encode(errors="replace")) if user else "",
            "conversation_hash": hashes.of(parsed.conversation.encode(errors="replace")),
            "feature": facts.feature,
            "workload": facts.workload,
            "workload_class": facts.workload_class,
            "endpoint": facts.endpoint,
            "release": facts.release,
            "prompt_hash": hashes.of(parsed.prompt_digest_input),
            "trace_id": trace_id,
        }

    def reserve(
        self, base: Fields, admission: Admission, policy: RouterConfig, *, spent: int = 0, sync: bool = False
    ) -> Reserved | None:
        """The reservation of an admitted request, with what earlier attempts `spent`. None: it can't be recorded.

        With `sync` the result's promise says when it is on disk.
        """
        fields = {**base, **_routed(admission, policy), "kind": "reserve", "at_us": self._now_us()}
        fields["reserved_nano"] = admission.route.reservation + spent
        try:
            return Reserved(self.spool.append(encode(fields), wait=sync))
        except (Pushback, SpoolBroken, TooLong):
            self._refused += 1
            return None

    def written(self) -> None:
        """Everything appended so far is in the kernel's hands when this returns. Raises `SpoolBroken`."""
        self.spool.flush()

    async def synced(self, reserved: Reserved) -> None:
        """Returns when a reservation made with `sync` is on disk. Raises `SpoolBroken`."""
        if reserved.promise is not None:
            await reserved.promise

    def post(
        self,
        base: Fields,
        admission: Admission,
        policy: RouterConfig,
        *,
        usage: Usage,
        cost: int,
        status: int,
        outcome: str,
        first_token_s: float,
        latency_s: float,
    ) -> None:
        """What became of an admitted request, at the end of its last attempt."""
        self._append(
            {
                **base,
                **_routed(admission, policy),
                "kind": "post",
                "at_us": self._now_us(),
                "status": status,
                "outcome": outcome,
                "tokens_in": usage.prompt,
                "tokens_out": usage.completion,
                "tokens_cached": usage.cached,
                "tokens_exact": usage.exact,
                "wait_us": round((admission.since - admission.arrived) * 1e6),
                "first_token_us": round(first_token_s * 1e6),
                "latency_us": round(latency_s * 1e6),
                "cost_nano": cost,
            }
        )

    def refuse(
        self, base: Fields, facts: RequestFacts, refusal: Refusal, policy: RouterConfig, *, spent: int = 0
    ) -> None:
        """A request that went nowhere, with what failed attempts `spent`."""
        self._append(
            {
                **base,
                "kind": "refuse",
                "at_us": self._now_us(),
                "status": refusal.status,
                "outcome": refusal.code,
                "decision": explain(facts, refusal),
                "policy_version": policy.policy_version,
                "cost_nano": spent,
            }
        )
        # In the kernel's hands before the caller hears of it: nothing was reserved that a crash would bring to light.
        with contextlib.suppress(SpoolBroken):
            self.written()

    def start(self, admission: Admission, policy: RouterConfig) -> bool:
        """The reservation of a request of the router's own, in the kernel's hands when this returns: a crash posts it
        in full. False: it can't be recorded, so it must not be sent."""
        fields: Fields = {**self._own(admission, policy), "kind": "reserve"}
        try:
            self.spool.append(encode(fields), wait=False)
            self.spool.flush()
        except (Pushback, SpoolBroken, TooLong):
            self._refused += 1
            return False
        return True

    def overhead(self, admission: Admission, policy: RouterConfig, *, cost: int, outcome: str) -> None:
        """What a request of the router's own came to; it belongs to no tenant and is no request of a caller."""
        self._append({**self._own(admission, policy), "kind": "overhead", "outcome": outcome, "cost_nano": cost})

    def _own(self, admission: Admission, policy: RouterConfig) -> Fields:
        facts = admission.facts
        return {
            **_routed(admission, policy),
            "request_id": facts.id,
            "at_us": self._now_us(),
            "period": self._period(),
            "environment": facts.environment,
            "tenant": "",
            "project": "",
            "workload": facts.workload,
            "endpoint": facts.endpoint,
        }

    def _append(self, entry: Entry | Fields) -> None:
        try:
            # An outcome may wait a moment for company: lost in a crash, its reservation is posted in full.
            self.spool.append(entry if isinstance(entry, Entry) else encode(entry), wait=False, soon=False)
        except (Pushback, SpoolBroken, TooLong):
            self._refused += 1

    def expire(self, ledger: Ledger) -> int:
        """Posts in full what a crash left open, so that it can't hide spending. Returns how many."""
        left = list(ledger.open.values())
        for held in left:
            # A start of the router's own has no tenant, and is no request that somebody reads as traffic.
            kind = Kind.EXPIRE if held.tenant else Kind.OVERHEAD
            entry = replace(held, kind=kind, at_us=self._now_us(), outcome="crashed", cost_nano=held.reserved_nano)
            self._append(entry)
            ledger.apply(entry)
        return len(left)


def _routed(admission: Admission, policy: RouterConfig) -> Fields:
    route = admission.route
    pool = policy.pools.get(route.pool)
    fields: Fields = {
        "release": admission.facts.release,
        "pool": route.pool,
        "reason": route.reason,
        "decision": admission.explanation,
        "spilled": route.spilled,
        "cold": route.cold,
        "reserved_nano": route.reservation,
        "price_version": policy.price_version,
        "policy_version": policy.policy_version,
    }
    if pool is not None:
        fields["release_digest"] = pool.release_digest
        fields["provider"] = pool.provider
        fields["region"] = ",".join(pool.regions)
        fields["gpu"] = pool.gpu
    return fields


def accounts_of(ledger: Ledger, period: str) -> Mapping[str, Account]:
    """The router's accounts as a journal left them."""
    return {
        scope: Account(spent=balance.spent) for (month, scope), balance in ledger.balances.items() if month == period
    }
