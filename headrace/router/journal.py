"""Routes and outcomes as entries of the spool: every request that has a key leaves exactly one final entry."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from headrace.audit.ledger import Ledger
from headrace.audit.record import Entry, Kind, keyed_hash
from headrace.audit.spool import Position, Pushback, Spool, SpoolBroken
from headrace.router.classify import Caller, Parsed
from headrace.router.config import RouterConfig
from headrace.router.engine import Admission
from headrace.router.types import Account, Refusal, RequestFacts, explain
from headrace.router.usage import Usage

_TRACE = re.compile(r"^00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$")


def trace_id_of(traceparent: str | None) -> str:
    """Trace id of a W3C traceparent header; empty where there is none."""
    found = _TRACE.match(traceparent) if traceparent else None
    return found.group(1) if found else ""


class Journal:
    """Writes entries. `now_us` is UTC in microseconds, `period` the month of the budgets."""

    def __init__(self, spool: Spool, *, secret: bytes, now_us: Callable[[], int], period: Callable[[], str]) -> None:
        self.spool = spool
        self.lost = 0
        self._secret = secret
        self._now_us = now_us
        self._period = period

    def base(self, parsed: Parsed | None, facts: RequestFacts, caller: Caller, user: str, trace: str) -> Entry:
        """What all entries of a request share."""
        hashed = parsed is not None
        return Entry(
            kind=Kind.REFUSE,
            request_id=facts.id,
            at_us=self._now_us(),
            period=self._period(),
            environment=facts.environment,
            tenant=facts.tenant,
            project=facts.project,
            key_id=caller.key_id,
            user_hash=keyed_hash(self._secret, facts.tenant, user.encode(errors="replace")) if user else "",
            conversation_hash=keyed_hash(self._secret, facts.tenant, parsed.conversation.encode(errors="replace"))
            if hashed and parsed
            else "",
            feature=facts.feature,
            workload=facts.workload,
            workload_class=facts.workload_class.value,
            endpoint=facts.endpoint,
            release=facts.release,
            prompt_hash=keyed_hash(self._secret, facts.tenant, parsed.prompt_digest_input) if hashed and parsed else "",
            trace_id=trace,
        )

    def reserve(
        self, base: Entry, admission: Admission, policy: RouterConfig, *, spent: int = 0
    ) -> asyncio.Future[Position] | None:
        """The reservation of an admitted request, with what earlier attempts `spent`. None: it can't be recorded."""
        entry = self._routed(base, admission, policy, Kind.RESERVE)
        return self._append(replace(entry, reserved_nano=entry.reserved_nano + spent))

    def _routed(self, base: Entry, admission: Admission, policy: RouterConfig, kind: Kind) -> Entry:
        route = admission.route
        pool = policy.pools.get(route.pool)
        return replace(
            base,
            kind=kind,
            at_us=self._now_us(),
            release=admission.facts.release,
            release_digest=pool.release_digest if pool else "",
            pool=route.pool,
            provider=pool.provider if pool else "",
            region=",".join(pool.regions) if pool else "",
            gpu=pool.gpu if pool else "",
            reason=route.reason.value,
            decision=admission.explanation,
            spilled=route.spilled,
            cold=route.cold,
            reserved_nano=route.reservation,
            price_version=policy.price_version,
            policy_version=policy.policy_version,
        )

    def post(
        self,
        base: Entry,
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
        entry = replace(
            self._routed(base, admission, policy, Kind.POST),
            status=status,
            outcome=outcome,
            tokens_in=usage.prompt,
            tokens_out=usage.completion,
            tokens_cached=usage.cached,
            tokens_exact=usage.exact,
            wait_us=round((admission.since - admission.arrived) * 1e6),
            first_token_us=round(first_token_s * 1e6),
            latency_us=round(latency_s * 1e6),
            cost_nano=cost,
        )
        self._append(entry, wait=False)

    def refuse(self, base: Entry, facts: RequestFacts, refusal: Refusal, policy: RouterConfig) -> None:
        """A request that went nowhere."""
        self._append(
            replace(
                base,
                at_us=self._now_us(),
                status=refusal.status,
                outcome=refusal.code,
                decision=explain(facts, refusal),
                policy_version=policy.policy_version,
            ),
            wait=False,
        )

    def _append(self, entry: Entry, *, wait: bool = True) -> asyncio.Future[Position] | None:
        try:
            return self.spool.append(entry, wait=wait)
        except (Pushback, SpoolBroken):
            self.lost += 1
            return None

    def expire(self, ledger: Ledger) -> int:
        """Posts in full what a crash left open, so that it can't hide spending. Returns how many."""
        left = list(ledger.open.values())
        for held in left:
            entry = replace(
                held, kind=Kind.EXPIRE, at_us=self._now_us(), outcome="crashed", cost_nano=held.reserved_nano
            )
            self._append(entry, wait=False)
            ledger.apply(entry)
        return len(left)


def accounts_of(ledger: Ledger, period: str) -> Mapping[str, Account]:
    """The router's accounts as a journal left them."""
    return {
        scope: Account(spent=balance.spent) for (month, scope), balance in ledger.balances.items() if month == period
    }
