"""A generated day of traffic for any router configuration. Pure: the same arguments give the same requests.

The day is squeezed: its 24 hours pass in `seconds` of platform time, while requests, cold starts and idle timeouts last
as long as they do. So the load at each hour is right, and ramps are `86,400 / seconds` times as steep as in life. Made
up, and says so: shares and shapes are assumptions, chosen so that the floor is busy by day and overflows at its peaks.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from headrace.router.config import PoolConfig, RouterConfig
from headrace.settings.releases import WorkloadClass

DAY_HOURS: Final = 24
# Share of the peak by hour: an office day with two peaks and an evening. Batch work runs mostly at night.
INTERACTIVE: Final = (
    *(0.16, 0.12, 0.10, 0.10, 0.12, 0.18, 0.30, 0.50, 0.76, 0.95, 1.00, 0.92),
    *(0.74, 0.82, 0.97, 1.00, 0.90, 0.72, 0.56, 0.50, 0.46, 0.38, 0.28, 0.20),
)
BATCH: Final = (
    *(1.00, 1.00, 0.95, 0.90, 0.80, 0.55, 0.30, 0.15, 0.10, 0.10, 0.10, 0.12),
    *(0.45, 0.35, 0.12, 0.10, 0.10, 0.15, 0.25, 0.35, 0.50, 0.70, 0.90, 1.00),
)
# Load at the peak of an ordinary day over what the floor holds: a floor is sized to be nearly enough; a launch exceeds
# it. Of a workload without a floor: over the slots of its overflow.
PEAK_OVER_FLOOR: Final = 0.86
PEAK_OVER_OVERFLOW: Final = 0.5
PEAK_OF_BATCH: Final = 0.9
# Short-term unevenness: the rate of each slice is multiplied by a Gamma variable of mean 1 and this variance.
BURST_VARIANCE: Final = 0.06
BURST_SLICE_S: Final = 4.0
# One product launch: interactive load rises to this multiple within an hour, stays for two and falls within one.
LAUNCH_HOUR: Final = 13.5
LAUNCH_HOURS: Final = 4.0
LAUNCH_RAMP_HOURS: Final = 1.0
LAUNCH_FACTOR: Final = 1.45
SHARE_COMPLETIONS: Final = 0.15
SHARE_STREAMS: Final = 0.85
SHARE_NARROWED: Final = 0.18
SHARE_ABANDONED: Final = 0.006
USERS: Final = 60
# One agent that runs in a circle: this many times the same request, within a minute of platform time.
LOOP_HOUR: Final = 19.5
LOOP_REPEATS: Final = 45
LOOP_SPACING_S: Final = 0.8


Callers = Mapping[tuple[str, str], frozenset[str] | None]
"""(tenant, project) that hold a key -> workloads that it may use, None for all."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Speed of one replica at its working batch: prompt tokens a second, seconds for each token of one answer."""

    prefill_tokens_s: float
    token_s: float
    source: str = ""

    def service_s(self, tokens_in: float, tokens_out: float) -> float:
        """Seconds of one request on a free slot."""
        return tokens_in / self.prefill_tokens_s + tokens_out * self.token_s


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """One request to send: `at_s` is platform seconds from the start, `leaves_after_s` when its caller hangs up.

    `answer_tokens` is what the model will say, which neither the router nor its caller knows beforehand.
    """

    at_s: float
    tenant: str
    project: str
    user: str
    workload: str
    endpoint: str
    stream: bool
    tokens_in: int
    max_tokens: int
    answer_tokens: int
    text_seed: int
    feature: str = ""
    residency: str | None = None
    leaves_after_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """Sizes of a workload's requests: medians, and the spread of a log-normal."""

    tokens_in: float
    tokens_out: float
    sigma: float
    most_tokens: int


_CHAT: Final = _Kind(tokens_in=420, tokens_out=95, sigma=0.6, most_tokens=384)
_DOCUMENTS: Final = _Kind(tokens_in=1500, tokens_out=110, sigma=0.5, most_tokens=384)


def owners_of(policy: RouterConfig, callers: Callers, workload: str) -> list[tuple[str, str, int | None]]:
    """Tenant, project and parallel limit of every caller that may use a workload."""
    return [
        (tenant, project, policy.tenants[tenant].projects[project].parallel_requests)
        for (tenant, project), workloads in sorted(callers.items())
        if workloads is None or workload in workloads
    ]


def generated_day(
    policy: RouterConfig, paces: Mapping[str, Pace], callers: Callers, *, seconds: float, seed: int = 7
) -> list[Ask]:
    """Requests of a day squeezed into `seconds`, in order of time. paces: speed of each pool's servers, by pool."""
    asks: list[Ask] = []
    for name, workload in policy.workloads.items():
        batch = workload.workload_class is WorkloadClass.BATCH
        owners = _owners(policy, callers, name, batch=batch)
        if not policy.candidates[name] or not owners:
            continue
        kind = _DOCUMENTS if batch else _CHAT
        rng = random.Random(f"{seed}/{name}")  # noqa: S311 - made-up traffic, not secrets
        own = [pool for _, pool in policy.candidates[name] if pool.workload == name]
        peak = _peak_rate(own, kind, paces, policy, batch=batch)
        for at in _arrivals(rng, peak, seconds, batch=batch):
            asks.append(_ask(rng, policy, name, kind, at, owners, batch=batch))
    asks += _loop(policy, callers, seconds)
    return sorted(asks, key=lambda ask: ask.at_s)


def _peak_rate(
    pools: list[PoolConfig], kind: _Kind, paces: Mapping[str, Pace], policy: RouterConfig, *, batch: bool
) -> float:
    """Requests a second at the peak hour, from the slots there are and how long a request holds one."""
    names = {id(pool): name for name, pool in policy.pools.items()}
    floors = [pool for pool in pools if pool.dedicated]
    share = PEAK_OF_BATCH if batch else PEAK_OVER_FLOOR if floors else PEAK_OVER_OVERFLOW
    mean = math.exp(kind.sigma**2 / 2)  # of a log-normal, over its median
    rate = 0.0
    for pool in floors or pools:
        held = paces[names[id(pool)]].service_s(kind.tokens_in * mean, min(kind.most_tokens, kind.tokens_out * mean))
        rate += pool.slots / held
    return share * rate


def _arrivals(rng: random.Random, peak: float, seconds: float, *, batch: bool) -> list[float]:
    """Poisson arrivals in slices, each with its own burst factor."""
    found: list[float] = []
    slices = max(1, round(seconds / BURST_SLICE_S))
    width = seconds / slices
    for index in range(slices):
        hour = (index + 0.5) / slices * DAY_HOURS
        rate = peak * level(hour, batch=batch) * rng.gammavariate(1 / BURST_VARIANCE, BURST_VARIANCE)
        at = index * width
        while rate > 0:
            at += rng.expovariate(rate)
            if at >= (index + 1) * width:
                break
            found.append(at)
    return found


def level(hour: float, *, batch: bool) -> float:
    """Share of the peak at an hour of the day, straight lines between whole hours."""
    table = BATCH if batch else INTERACTIVE
    low = int(hour) % DAY_HOURS
    part = hour - int(hour)
    value = table[low] * (1 - part) + table[(low + 1) % DAY_HOURS] * part
    if batch:
        return value
    inside = min(hour - LAUNCH_HOUR, LAUNCH_HOUR + LAUNCH_HOURS - hour)
    return value * (1 + (LAUNCH_FACTOR - 1) * max(0.0, min(1.0, inside / LAUNCH_RAMP_HOURS)))


def _size(rng: random.Random, median: float, sigma: float, most: int) -> int:
    return max(1, min(most, round(rng.lognormvariate(math.log(median), sigma))))


def _ask(
    rng: random.Random,
    policy: RouterConfig,
    workload: str,
    kind: _Kind,
    at: float,
    owners: Sequence[tuple[str, str, int | None]],
    *,
    batch: bool,
) -> Ask:
    tenant, project, _ = rng.choices(owners, [one[2] or 1 for one in owners])[0]
    room = policy.workloads[workload].context_tokens - kind.most_tokens
    stream = not batch and rng.random() < SHARE_STREAMS
    narrowed = not batch and rng.random() < SHARE_NARROWED
    answer = _size(rng, kind.tokens_out, kind.sigma, kind.most_tokens)
    return Ask(
        at_s=at,
        tenant=tenant,
        project=project,
        user=f"{project}-{rng.randrange(USERS)}",
        workload=workload,
        endpoint="completions" if rng.random() < SHARE_COMPLETIONS else "chat.completions",
        stream=stream,
        tokens_in=_size(rng, kind.tokens_in, kind.sigma, max(16, room)),
        max_tokens=kind.most_tokens,
        answer_tokens=answer,
        text_seed=rng.randrange(1 << 30),
        feature=rng.choice(("nightly", "backfill") if batch else ("search-box", "assistant", "reply-draft")),
        residency=_home(policy, workload) if narrowed else None,
        leaves_after_s=0.8 + rng.random() * 2 if stream and rng.random() < SHARE_ABANDONED else None,
    )


def _owners(policy: RouterConfig, callers: Callers, workload: str, *, batch: bool) -> list[tuple[str, str, int | None]]:
    """Batch work belongs to the projects without a parallel limit where there are such, the rest to the others."""
    known = owners_of(policy, callers, workload)
    return [one for one in known if (one[2] is None) == batch] or known


def _home(policy: RouterConfig, workload: str) -> str | None:
    """The router's own jurisdiction where the workload allows more than that: data that may not leave it."""
    allowed = policy.workloads[workload].allowed_jurisdictions
    return policy.jurisdiction if policy.jurisdiction in allowed and len(allowed) > 1 else None


def _loop(policy: RouterConfig, callers: Callers, seconds: float) -> list[Ask]:
    """The agent that repeats itself."""
    found = [
        (name, owners)
        for name, config in policy.workloads.items()
        if config.workload_class is WorkloadClass.LATENCY_SENSITIVE
        and (owners := owners_of(policy, callers, name))
        and policy.candidates[name]
    ]
    if not found:
        return []
    workload, owners = found[0]
    start = LOOP_HOUR / DAY_HOURS * seconds
    return [
        Ask(
            at_s=start + index * LOOP_SPACING_S,
            tenant=owners[0][0],
            project=owners[0][1],
            user="agent-in-a-circle",
            workload=workload,
            endpoint="chat.completions",
            stream=False,
            tokens_in=60,
            max_tokens=32,
            answer_tokens=12,
            text_seed=1,
            feature="agent",
        )
        for index in range(LOOP_REPEATS)
        if start + index * LOOP_SPACING_S < seconds
    ]
