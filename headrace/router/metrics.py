"""Prometheus metrics. Labels are names from the configuration, never text of a caller, so their number is bounded.

Counts are kept in plain dictionaries by label values and turned into Prometheus' families when somebody scrapes: a
request touches a dozen of them, and the client library's own children cost a lock and a search each.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from headrace.audit.quarantine import Why
from headrace.router import budget, capacity
from headrace.router.engine import Admission, Engine
from headrace.router.journal import Journal
from headrace.router.types import NANO, Circuit, Phase, Refusal, RequestFacts
from headrace.router.usage import Usage

# Seconds: from a free slot (under a millisecond) to a cold start of minutes.
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_TOKEN_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 5)
_ROUTED: Final = ("workload", "pool")
Labels = tuple[str, ...]


class Count:
    """A counter: label values -> number."""

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self.name = name
        self.text = text
        self.labels = labels
        self.values: defaultdict[Labels, float] = defaultdict(float)
        if not labels:
            self.values[()] = 0.0

    def family(self) -> Metric:
        """As Prometheus wants it."""
        found = CounterMetricFamily(f"headrace_{self.name}", self.text, labels=self.labels)
        for labels, value in list(self.values.items()):
            found.add_metric(labels, value)
        return found


class _Cells:
    __slots__ = ("counts", "total")

    def __init__(self, size: int) -> None:
        self.counts = [0] * size
        self.total = 0.0


class Spread:
    """A histogram: label values -> counts by bucket."""

    def __init__(self, name: str, text: str, bounds: tuple[float, ...], *labels: str) -> None:
        self.name = name
        self.text = text
        self.bounds = bounds
        self.labels = labels
        self._cells: dict[Labels, _Cells] = {}

    def observe(self, labels: Labels, value: float) -> None:
        """One more value."""
        cells = self._cells.get(labels)
        if cells is None:
            cells = self._cells[labels] = _Cells(len(self.bounds) + 1)
        cells.counts[bisect_left(self.bounds, value)] += 1
        cells.total += value

    def family(self) -> Metric:
        """As Prometheus wants it: counts at or below each bound."""
        found = HistogramMetricFamily(f"headrace_{self.name}", self.text, labels=self.labels)
        for labels, cells in list(self._cells.items()):
            running, buckets = 0, []
            for bound, count in zip((*map(_go_number, self.bounds), "+Inf"), cells.counts, strict=True):
                running += count
                buckets.append((bound, float(running)))
            found.add_metric(labels, buckets, cells.total)
        return found


def _go_number(value: float) -> str:
    return str(float(value))


class Metrics:
    """All series of one router."""

    def __init__(self) -> None:
        self.last_errors: dict[str, str] = {}
        """Pool -> kind of its last failure."""
        self._requests = Count("requests", "Requests by end.", "workload", "tenant", "pool", "status")
        self._decisions = Count("decisions", "Routes by reason.", *_ROUTED, "reason")
        self._refusals = Count("refusals", "Refusals by code.", "workload", "tenant", "code")
        self._spills = Count("spills", "Requests that left the floor, by reason.", *_ROUTED, "reason")
        self._cold_starts = Count("cold_starts", "Requests that waited for an instance to start.", "pool")
        self._started = Count("instances_started_ahead", "Instances started before work waited for them.", "pool")
        self._retries = Count("retries", "Attempts after the first.", "workload", "pool")
        self._upstream_errors = Count("upstream_errors", "Failed attempts by kind.", "pool", "kind")
        self._abandoned = Count("abandoned_streams", "Answers whose caller went away.", "workload", "tenant")
        self._stopped = Count("callers_stopped", "Requests refused by the breaker of their caller.", "tenant")
        self._malformed = Count("malformed_requests", "Requests with a form that is nobody's work, by code.", "code")
        self._unauthorized = Count("unauthorized_requests", "Requests without a valid key.")
        self._tokens = Count("tokens", "Tokens by direction.", "workload", "tenant", "pool", "direction")
        self._cost = Count("cost_usd", "Cost of requests in US dollars.", "workload", "tenant", "project", "pool")
        self._slo = Count("slo", "Requests by whether they kept their time to first token.", "workload", "kept")
        self._alerts = Count("budget_alerts", "Budget thresholds passed.", "scope", "share")
        self._alerts_lost = Count("budget_alerts_lost", "Budget alerts that the webhook did not take.")
        self._checkpoints = Count("checkpoints", "Checkpoints of the journal by what became of them.", "result")
        self._background = Count("background_failures", "Background work that ended and began again.", "task")
        self._drain = Count("drain_failures", "Tries that moved no record to the sink, by kind.", "kind")
        self._wait = Spread("wait_seconds", "Time in our queue.", _SECONDS, "workload")
        self._first_token = Spread("time_to_first_token_seconds", "From arrival to first byte.", _SECONDS, *_ROUTED)
        self._inter_token = Spread("inter_token_seconds", "Mean time between tokens.", _TOKEN_S, *_ROUTED)
        self._latency = Spread("request_seconds", "From arrival to the end.", _SECONDS, *_ROUTED)

    # -- what happened ------------------------------------------------------------------------------------------------

    def unauthorized(self) -> None:
        """A request came without a valid key."""
        self._unauthorized.values[()] += 1

    def malformed(self, code: str) -> None:
        """A request was refused for its form. It is in no ledger: it names no work."""
        self._malformed.values[(code,)] += 1

    def caller_stopped(self, tenant: str) -> None:
        """The breaker of a caller refused a request."""
        self._stopped.values[(tenant,)] += 1

    def decided(self, facts: RequestFacts, admission: Admission) -> None:
        """A request was sent on its way."""
        route, workload = admission.route, facts.workload
        key = (workload, route.pool, route.reason)
        self._decisions.values[key] += 1
        if route.spilled:
            self._spills.values[key] += 1
        if route.cold:
            self._cold_starts.values[(route.pool,)] += 1
        self._wait.observe((workload,), max(0.0, admission.since - admission.arrived))

    def upstream_error(self, pool: str, kind: str) -> None:
        """An attempt failed, or an answer broke off."""
        self._upstream_errors.values[pool, kind] += 1
        self.last_errors[pool] = kind

    def started_ahead(self, pool: str) -> None:
        """The router started an instance."""
        self._started.values[(pool,)] += 1

    def retried(self, workload: str, pool: str) -> None:
        """A failed attempt at `pool` is followed by another."""
        self._retries.values[workload, pool] += 1

    def abandoned(self, workload: str, tenant: str) -> None:
        """A caller went away."""
        self._abandoned.values[workload, tenant] += 1

    def refused(self, facts: RequestFacts, refusal: Refusal) -> None:
        """A request went nowhere."""
        self._refusals.values[facts.workload, facts.tenant, refusal.code] += 1
        self._requests.values[facts.workload, facts.tenant, "-", str(refusal.status)] += 1

    def served(
        self,
        facts: RequestFacts,
        pool: str,
        *,
        status: int,
        cost: int,
        usage: Usage,
        first_token_s: float | None,
        latency_s: float,
        slo_s: float | None,
    ) -> None:
        """A request ended at a pool. `cost` in nano-dollars; `first_token_s` None where no answer began."""
        workload, tenant = facts.workload, facts.tenant
        routed = (workload, pool)
        self._requests.values[workload, tenant, pool, str(status)] += 1
        self._cost.values[workload, tenant, facts.project, pool] += cost / NANO
        self._latency.observe(routed, latency_s)
        if first_token_s is None:
            return
        self._first_token.observe(routed, first_token_s)
        self._tokens.values[workload, tenant, pool, "in"] += usage.prompt
        self._tokens.values[workload, tenant, pool, "out"] += usage.completion
        if not facts.stream:
            return
        if usage.completion > 1:
            self._inter_token.observe(routed, (latency_s - first_token_s) / (usage.completion - 1))
        if slo_s is not None:
            self._slo.values[workload, "true" if first_token_s <= slo_s else "false"] += 1

    def alerted(self, scope: str, share: float) -> None:
        """A budget passed a threshold."""
        self._alerts.values[scope, f"{share:g}"] += 1

    def alert_lost(self) -> None:
        """The webhook did not take an alert, however often it was tried."""
        self._alerts_lost.values[()] += 1

    def checkpoint(self, result: str) -> None:
        """A checkpoint was kept, or was not."""
        self._checkpoints.values[(result,)] += 1

    def background_failed(self, task: str) -> None:
        """Background work ended by a fault."""
        self._background.values[(task,)] += 1

    def drain_failed(self, kind: str) -> None:
        """Records could not be moved to the sink: `unavailable`, `conflict` or `unexpected`."""
        self._drain.values[(kind,)] += 1

    # -- what a scrape sees -------------------------------------------------------------------------------------------

    def scrape(self, engine: Engine, journal: Journal, *, behind: int) -> Scrape:
        """What a scrape shows, gauges read from the state now. `behind`: records that the sink lacks."""
        series = [one for one in vars(self).values() if isinstance(one, Count | Spread)]
        return Scrape(series, [*_gauges(engine), *_records(journal, behind)])


class Scrape:
    """One scrape. `text` takes tens of milliseconds with many tenants: call it from a thread."""

    def __init__(self, series: list[Count | Spread], gauges: list[GaugeMetricFamily]) -> None:
        self._series = series
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """All families, as a registry gives them."""
        for one in self._series:
            yield one.family()
        yield from self._gauges

    def text(self) -> bytes:
        """The text format. Counts go on meanwhile: two of them may be a request apart."""
        return generate_latest(self)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"headrace_{name}", text, labels=labels)


def _records(journal: Journal, behind: int) -> Iterator[GaugeMetricFamily]:
    """How the journal is."""
    waiting = _gauge("spool_waiting", "Entries that are not on disk yet.")
    lost = _gauge("records_lost", "Entries that could not be recorded since the start.")
    lacking = _gauge("sink_behind", "Entries on disk that the sink lacks.")
    aside = _gauge("journal_set_aside", "Pieces of the journal in its quarantine file, by what is wrong.", "why")
    waiting.add_metric([], journal.spool.waiting)
    lost.add_metric([], journal.lost)
    lacking.add_metric([], behind)
    for why in Why:
        aside.add_metric([why], journal.spool.quarantine.pieces[why])
    yield from (waiting, lost, lacking, aside)


def _gauges(engine: Engine) -> Iterator[GaugeMetricFamily]:
    in_flight = _gauge("in_flight", "Requests in flight.", "pool")
    waiting = _gauge("queue_depth", "Requests in our queue.", "pool")
    used = _gauge("floor_utilisation", "Used share of a floor's slots in this replica's lease.", "pool")
    live = _gauge("live_instances", "Serverless instances that are billed, by our count.", "pool")
    idle_cost = _gauge("idle_cost_usd", "Cost of idle serverless instances since the start.", "pool")
    spilling = _gauge("spilling", "1 while work may leave the floor.", "pool")
    opened = _gauge("breaker_open", "1 while a pool's breaker is not closed.", "pool")
    left = _gauge("budget_left_usd", "Money of this replica's lease that is left this month.", "scope")
    state, policy = engine.state, engine.policy
    for name, config in policy.pools.items():
        view = state.pools[name]
        in_flight.add_metric([name], view.in_flight)
        waiting.add_metric([name], engine.waiting_for(name))
        opened.add_metric([name], view.circuit is not Circuit.CLOSED)
        if config.dedicated:
            used.add_metric([name], capacity.share_of_slots(name, config, view, state))
            spilling.add_metric([name], view.phase is Phase.SPILLING)
        else:
            live.add_metric([name], capacity.live(config, view, state.now))
            idle_cost.add_metric([name], view.idle_cost / NANO)
    for scope, limits in policy.limits_by_scope.items():
        if limits.budget_nano_usd is not None:
            account = state.accounts.get(scope)
            spent = budget.usage(account, "money", state.now) if account else 0
            left.add_metric([scope], (state.leases.get(f"{scope}/money", 0) - spent) / NANO)
    yield from (in_flight, waiting, used, live, idle_cost, spilling, opened, left)
