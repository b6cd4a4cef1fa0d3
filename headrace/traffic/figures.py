"""What became of a replay, as numbers: from the ledger's rows, the metrics and what model servers say. Pure.

All times and costs are of platform time (the squeezed day), never of the wall clock.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from headrace.router.config import RouterConfig
from headrace.router.types import NANO
from headrace.traffic.account import Snapshot
from headrace.traffic.ledger import Row
from headrace.traffic.pricing import Alternative

BINS: Final = 24
SAMPLES: Final = 288
_DAY_S: Final = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Percentiles:
    """Seconds to the first token (or of whatever was asked for); None where nothing was measured."""

    p50: float | None
    p95: float | None
    p99: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Percentiles:
        """Nearest-rank percentiles."""
        return cls(p50=percentile(values, 50), p95=percentile(values, 95), p99=percentile(values, 99))


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The value that `percent` of all are at most; None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


# Platform seconds that requests may be late: an eighth of the strictest objective in the stacks (800 ms).
LATE_S: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class PoolFigures:
    """One pool. `usd` is what it is billed: the floor's whole time, or the vendor's instance-seconds."""

    name: str
    kind: str
    provider: str
    gpu: str
    instances: int
    slots: int
    usd_per_instance_hour: float
    requests: int
    share: float
    tokens_out: int
    first_token: Percentiles
    cold_starts: int
    instance_seconds: float
    gpu_seconds: float
    usd: float
    ledger_usd: float


@dataclass(frozen=True, kw_only=True)
class SloFigures:
    """A workload's objective. `attained`: of answered streams; `of_all`: refused and failed ones missed it."""

    workload: str
    limit_s: float
    target: float
    streams: int
    attained: float
    of_all: float


@dataclass(frozen=True, kw_only=True)
class ReplicaFigures:
    """What one replica of the router took."""

    name: str
    requests: int
    served: int
    spilled: int
    refused: int
    first_token: Percentiles


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Over the replay, in `BINS` equal parts (hours of the day) and `SAMPLES` moments.

    requests: pool -> served per part. spills: reason -> per part. refusals: code -> per part. in_flight: pool -> at
    each moment. first_token: percentile -> per part, None without streams.
    """

    requests: Mapping[str, tuple[int, ...]]
    spills: Mapping[str, tuple[int, ...]]
    refusals: Mapping[str, tuple[int, ...]]
    in_flight: Mapping[str, tuple[int, ...]]
    first_token: Mapping[str, tuple[float | None, ...]]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One replay."""

    name: str
    source: str
    seconds: float
    speed: float
    requests: int
    served: int
    abandoned: int
    failed: int
    refusals: Mapping[str, int]
    spills: Mapping[str, int]
    spilled: int
    cold_starts: int
    started_ahead: int
    first_token: Percentiles
    first_token_by_caller: Percentiles
    wait: Percentiles
    late: Percentiles
    slo: tuple[SloFigures, ...]
    pools: tuple[PoolFigures, ...]
    replicas: tuple[ReplicaFigures, ...]
    tokens_in: int
    tokens_out: int
    usd: float
    ledger_usd: float
    dedicated: Alternative
    serverless: Alternative
    timeline: Timeline
    mismatches: tuple[str, ...]

    @property
    def tokens(self) -> int:
        """Prompt and answer tokens of all answers."""
        return self.tokens_in + self.tokens_out

    @property
    def caution(self) -> str | None:
        """A sentence where the machine was too busy for the replay's speed: then waits are partly its own doing."""
        late = self.late.p95 or 0.0
        if late <= LATE_S:
            return None
        return (
            f"{self.name}: requests left up to {late:.2f} s after their time (P95), because this machine was too busy "
            f"for {self.speed:g} times the speed; part of every wait here is its own"
        )

    def per_thousand(self, usd: float, tokens: float | None = None) -> float:
        """US dollars per 1,000 tokens, prompt and answer."""
        count = self.tokens if tokens is None else tokens
        return usd / count * 1000 if count else 0.0

    def per_day(self, usd: float) -> float:
        """US dollars of 24 hours at the same loads."""
        return usd / self.seconds * _DAY_S

    def document(self) -> dict[str, Any]:
        """For up.json: everything but the timeline."""
        found = asdict(self)
        del found["timeline"]
        for side, alternative in (("dedicated", self.dedicated), ("serverless", self.serverless)):
            found[side] = _document(self, alternative)
        found["usdPer1kTokens"] = self.per_thousand(self.usd)
        found["usdPerDay"] = self.per_day(self.usd)
        return {_camel(key): value for key, value in _plain(found).items()}


def _document(figures: Figures, found: Alternative) -> dict[str, Any]:
    return {
        "usd": found.usd,
        "usdPer1kTokens": figures.per_thousand(found.usd, served_tokens(figures, found)),
        "usdPerDay": figures.per_day(found.usd),
        "attained": found.attained,
        "leftOut": found.left_out,
        "missing": list(found.missing),
        "workloads": [asdict(side) for side in found.sides],
    }


def served_tokens(figures: Figures, found: Alternative) -> float:
    """Tokens of the requests that an alternative may serve, taken as its share of all."""
    asked = found.requests + found.left_out
    return figures.tokens * found.requests / asked if asked else 0.0


def _plain(value: Any) -> Any:
    """Camel-case keys throughout; tuples as lists."""
    if isinstance(value, dict):
        return {_camel(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _camel(name: str) -> str:
    """`first_token` as `firstToken`; names with anything but lower case stay."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def figures(
    policy: RouterConfig,
    rows: Sequence[Row],
    *,
    name: str,
    source: str,
    start_s: float,
    seconds: float,
    speed: float,
    callers_first_s: Sequence[float],
    late_s: Sequence[float],
    streams: frozenset[str],
    shares: Mapping[str, float],
    before: Snapshot,
    after: Snapshot,
    alternatives: tuple[Alternative, Alternative],
    started_ahead: int,
    mismatches: Sequence[str],
) -> Figures:
    """Numbers of one replay that began at `start_s` of the router's clock. streams: ids of requests that streamed.
    late_s: how long after its time each request was sent."""
    served = [row for row in rows if row.served]
    pools = tuple(_pool(policy, pool, served, rows, seconds, before, after, streams) for pool in policy.pools)
    first = [row.first_token_s for row in served if row.request_id in streams and _has_slo(policy, row)]
    return Figures(
        name=name,
        source=source,
        seconds=seconds,
        speed=speed,
        requests=len(rows),
        served=len(served),
        abandoned=sum(row.outcome == "cancelled" for row in rows),
        failed=sum(not row.served and not row.refused and row.outcome != "cancelled" for row in rows),
        refusals=_counted(row.outcome for row in rows if row.refused),
        spills=_counted(row.reason for row in rows if row.spilled),
        spilled=sum(row.spilled for row in rows),
        cold_starts=sum(pool.cold_starts for pool in pools),
        started_ahead=started_ahead,
        first_token=Percentiles.of(first),
        first_token_by_caller=Percentiles.of(callers_first_s),
        wait=Percentiles.of([row.wait_s for row in served if _has_slo(policy, row)]),
        late=Percentiles.of(late_s),
        slo=tuple(
            _slo(policy, workload, rows, streams, shares.get(workload, 0.95))
            for workload, config in policy.workloads.items()
            if config.time_to_first_token_s is not None
        ),
        pools=pools,
        replicas=tuple(_replica(policy, one, rows, streams) for one in sorted({row.writer for row in rows})),
        tokens_in=sum(row.tokens_in for row in served),
        tokens_out=sum(row.tokens_out for row in served),
        usd=sum(pool.usd for pool in pools),
        ledger_usd=sum(row.cost_nano for row in rows) / NANO,
        dedicated=alternatives[0],
        serverless=alternatives[1],
        timeline=_timeline(policy, rows, served, streams, start_s, seconds),
        mismatches=tuple(mismatches),
    )


def _replica(policy: RouterConfig, name: str, rows: Sequence[Row], streams: frozenset[str]) -> ReplicaFigures:
    mine = [row for row in rows if row.writer == name]
    return ReplicaFigures(
        name=name,
        requests=len(mine),
        served=sum(row.served for row in mine),
        spilled=sum(row.spilled for row in mine),
        refused=sum(row.refused for row in mine),
        first_token=Percentiles.of(
            [row.first_token_s for row in mine if row.served and row.request_id in streams and _has_slo(policy, row)]
        ),
    )


def _counted(values: Any) -> dict[str, int]:
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))


def _has_slo(policy: RouterConfig, row: Row) -> bool:
    workload = policy.workloads.get(row.model)
    return workload is not None and workload.time_to_first_token_s is not None


def _vendor_s(state: Mapping[str, Any]) -> float:
    """Instance-seconds that the vendor has counted, and will count until what is idle now has stopped: they belong to
    the replay that left them, not to the next."""
    return float(state.get("billedSeconds", 0.0)) + float(state.get("committedSeconds", 0.0))


def _pool(
    policy: RouterConfig,
    name: str,
    served: Sequence[Row],
    rows: Sequence[Row],
    seconds: float,
    before: Snapshot,
    after: Snapshot,
    streams: frozenset[str],
) -> PoolFigures:
    config = policy.pools[name]
    mine = [row for row in served if row.pool == name]
    state, earlier = after.servers.get(name, {}), before.servers.get(name, {})
    billed = config.instances * seconds if config.dedicated else _vendor_s(state) - _vendor_s(earlier)
    return PoolFigures(
        name=name,
        kind=config.kind,
        provider=config.provider,
        gpu=config.gpu,
        instances=config.instances,
        slots=config.slots,
        usd_per_instance_hour=config.nano_usd_per_instance_second * 3600 / NANO,
        requests=len(mine),
        share=len(mine) / len(served) if served else 0.0,
        tokens_out=sum(row.tokens_out for row in mine),
        first_token=Percentiles.of(
            [row.first_token_s for row in mine if row.request_id in streams and _has_slo(policy, row)]
        ),
        cold_starts=int(state.get("coldStarts", 0)) - int(earlier.get("coldStarts", 0)),
        instance_seconds=billed,
        gpu_seconds=billed * config.gpus_per_instance,
        usd=billed * config.nano_usd_per_instance_second / NANO,
        ledger_usd=sum(row.cost_nano for row in rows if row.pool == name) / NANO,
    )


def _slo(
    policy: RouterConfig, workload: str, rows: Sequence[Row], streams: frozenset[str], target: float
) -> SloFigures:
    limit = policy.workloads[workload].time_to_first_token_s or 0.0
    asked = [row for row in rows if row.model == workload and row.request_id in streams and row.outcome != "cancelled"]
    answered = [row for row in asked if row.served]
    kept = sum(row.first_token_s <= limit for row in answered)
    return SloFigures(
        workload=workload,
        limit_s=limit,
        target=target,
        streams=len(asked),
        attained=kept / len(answered) if answered else 1.0,
        of_all=kept / len(asked) if asked else 1.0,
    )


def _timeline(
    policy: RouterConfig,
    rows: Sequence[Row],
    served: Sequence[Row],
    streams: frozenset[str],
    start_s: float,
    seconds: float,
) -> Timeline:
    def part(row: Row) -> int:
        return max(0, min(BINS - 1, int((row.at_s - row.latency_s - start_s) / seconds * BINS)))

    def per_part(chosen: Sequence[Row], key: str) -> dict[str, tuple[int, ...]]:
        counts = Counter((getattr(row, key), part(row)) for row in chosen)
        names = sorted({name for name, _ in counts})
        return {name: tuple(counts[(name, at)] for at in range(BINS)) for name in names}

    first: list[list[float]] = [[] for _ in range(BINS)]
    for row in served:
        if row.request_id in streams and _has_slo(policy, row):
            first[part(row)].append(row.first_token_s)
    requests = per_part(served, "pool")
    return Timeline(
        requests={name: requests[name] for name in policy.pools if name in requests},
        spills=per_part([row for row in rows if row.spilled], "reason"),
        refusals=per_part([row for row in rows if row.refused], "outcome"),
        in_flight={name: _in_flight(name, rows, start_s, seconds) for name in policy.pools},
        first_token={label: tuple(percentile(one, percent) for one in first) for label, percent in _SHOWN.items()},
    )


_SHOWN: Final = {"P50": 50, "P95": 95, "P99": 99}


def _in_flight(pool: str, rows: Sequence[Row], start_s: float, seconds: float) -> tuple[int, ...]:
    """Requests on the pool at each moment, from when each was sent to when it ended."""
    change = [0] * (SAMPLES + 1)

    def at(moment: float) -> int:
        return max(0, min(SAMPLES, math.ceil((moment - start_s) / seconds * SAMPLES)))

    for row in rows:
        if row.pool == pool:
            change[at(row.at_s - row.latency_s + row.wait_s)] += 1
            change[at(row.at_s)] -= 1
    found, now = [], 0
    for step in change[:SAMPLES]:
        now += step
        found.append(now)
    return tuple(found)
