"""Prometheus metrics. Labels are names from the configuration, never text of a caller, so their number is bounded."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from headrace.router import budget, capacity
from headrace.router.engine import Engine
from headrace.router.types import NANO, Circuit, Phase

# Seconds: from a free slot (under a millisecond) to a cold start of minutes.
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_TOKEN_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 5)
_ROUTED: Final = ("workload", "pool")


class Metrics:
    """All series of one router, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"headrace_{name}", text, labels, registry=self.registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"headrace_{name}", text, labels, registry=self.registry, buckets=buckets)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"headrace_{name}", text, labels, registry=self.registry)

        self.requests = counter("requests", "Requests by end.", "workload", "tenant", "pool", "status")
        self.decisions = counter("decisions", "Routes by reason.", *_ROUTED, "reason")
        self.refusals = counter("refusals", "Refusals by code.", "workload", "tenant", "code")
        self.spills = counter("spills", "Requests that left the floor, by reason.", *_ROUTED, "reason")
        self.cold_starts = counter("cold_starts", "Requests that started an instance.", "pool")
        self.retries = counter("retries", "Attempts after the first.", "workload", "pool")
        self.upstream_errors = counter("upstream_errors", "Failed attempts by kind.", "pool", "kind")
        self.abandoned = counter("abandoned_streams", "Answers whose caller went away.", "workload", "tenant")
        self.stopped = counter("callers_stopped", "Requests refused by the breaker of their caller.", "tenant")
        self.unauthorized = counter("unauthorized_requests", "Requests without a valid key.")
        self.tokens = counter("tokens", "Tokens by direction.", "workload", "tenant", "pool", "direction")
        self.cost = counter("cost_usd", "Cost of requests in US dollars.", "workload", "tenant", "project", "pool")
        self.wait = histogram("wait_seconds", "Time in our queue.", _SECONDS, "workload")
        self.first_token = histogram("time_to_first_token_seconds", "From arrival to first byte.", _SECONDS, *_ROUTED)
        self.inter_token = histogram("inter_token_seconds", "Mean time between tokens.", _TOKEN_S, *_ROUTED)
        self.latency = histogram("request_seconds", "From arrival to the end.", _SECONDS, *_ROUTED)
        self.slo = counter("slo", "Requests by whether they kept their time to first token.", "workload", "kept")
        self.alerts = counter("budget_alerts", "Budget thresholds passed.", "scope", "share")
        self.lost = gauge("records_lost", "Entries that could not be recorded since the start.")
        self._in_flight = gauge("in_flight", "Requests in flight.", "pool")
        self._waiting = gauge("queue_depth", "Requests in our queue.", "pool")
        self._used = gauge("floor_utilisation", "Used share of a floor's slots in this replica's lease.", "pool")
        self._live = gauge("live_instances", "Serverless instances that are billed, by our count.", "pool")
        self._idle_cost = gauge("idle_cost_usd", "Cost of idle serverless instances since the start.", "pool")
        self._spilling = gauge("spilling", "1 while work may leave the floor.", "pool")
        self._open = gauge("breaker_open", "1 while a pool's breaker is not closed.", "pool")
        self._left = gauge("budget_left_usd", "Money of this replica's lease that is left this month.", "scope")
        self._spool = gauge("spool_waiting", "Entries that are not on disk yet.")

    def render(self, engine: Engine, *, spool_waiting: int, lost: int) -> bytes:
        """The text format, with gauges read from the state now."""
        state, policy = engine.state, engine.policy
        for name, config in policy.pools.items():
            view = state.pools[name]
            self._in_flight.labels(name).set(view.in_flight)
            self._waiting.labels(name).set(view.waiting + view.waiting_batch)
            self._open.labels(name).set(view.circuit is not Circuit.CLOSED)
            if config.dedicated:
                self._used.labels(name).set(capacity.share_of_slots(name, config, view, state))
                self._spilling.labels(name).set(view.phase is Phase.SPILLING)
            else:
                self._live.labels(name).set(capacity.live(config, view, state.now))
                self._idle_cost.labels(name).set(view.idle_cost / NANO)
        for scope, limits in policy.limits_by_scope.items():
            if limits.budget_nano_usd is not None:
                account = state.accounts.get(scope)
                used = budget.usage(account, "money", state.now) if account else 0
                self._left.labels(scope).set((state.leases.get(f"{scope}/money", 0) - used) / NANO)
        self._spool.set(spool_waiting)
        self.lost.set(lost)
        return generate_latest(self.registry)
