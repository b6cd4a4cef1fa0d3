"""Whether everybody counted the same: callers, ledger, metrics, budgets and model servers. Pure.

A replay proves nothing if its figures are the router's own word. So each is held against the count of somebody else,
and a difference is an error of the replay, never rounded away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from headrace.router.config import RouterConfig
from headrace.traffic.client import Seen
from headrace.traffic.ledger import Row

_SHOWN: Final = 5
_GONE: Final = 499


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What router and model servers say of themselves at one moment.

    metrics: series (name, labels) -> value. accounts: scope -> nano-dollars spent and reserved. servers: pool -> state.
    """

    metrics: Mapping[tuple[str, frozenset[tuple[str, str]]], float]
    accounts: Mapping[str, Mapping[str, int]]
    servers: Mapping[str, Mapping[str, Any]]


def read_metrics(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Prometheus' text format as a table."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def added(
    tables: Sequence[Mapping[tuple[str, frozenset[tuple[str, str]]], float]],
) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The series of several routers as one: what each counted, added up."""
    found: Counter[tuple[str, frozenset[tuple[str, str]]]] = Counter()
    for table in tables:
        for series, value in table.items():
            found[series] += value  # type: ignore[assignment] # a Counter of floats
    return dict(found)


def together(accounts: Sequence[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """The accounts of several routers as one: each books what went through it."""
    found: dict[str, dict[str, int]] = {}
    for one in accounts:
        for scope, amounts in one.items():
            sums = found.setdefault(scope, {})
            for name, amount in amounts.items():
                sums[name] = sums.get(name, 0) + amount
    return found


def grown(before: Snapshot, after: Snapshot, name: str, *by: str) -> Counter[tuple[str, ...]]:
    """How much a counter grew between two snapshots, summed by labels."""
    found: Counter[tuple[str, ...]] = Counter()
    for (series, labels), value in after.metrics.items():
        if series == name:
            known = dict(labels)
            more = round(value - before.metrics.get((series, labels), 0.0))
            if more:
                found[tuple(known.get(label, "") for label in by)] += more
    return found


def mismatches(
    policy: RouterConfig,
    seen: Sequence[Seen],
    rows: Sequence[Row],
    overhead: Sequence[tuple[str, int]],
    before: Snapshot,
    after: Snapshot,
) -> list[str]:
    """Every disagreement, one sentence each; empty when all agree. overhead: pool and cost of the router's requests."""
    return [
        *_every_request_once(seen, rows),
        *_same_story(seen, rows),
        *_metrics_agree(rows, before, after),
        *_money_agrees(policy, rows, overhead, before, after),
        *_tokens_agree(seen, rows, overhead, before, after),
    ]


CHECKS: Final = (
    "each request that a caller sent has exactly one outcome in the ledger, and there is no other",
    "status, pool and tokens of each answer are the same for its caller and in the ledger",
    "the router's metrics count as many requests by pool and status, cold starts and spills as the ledger",
    "the costs in the ledger add up to what the accounts were charged, and no account is above its budget",
    "the model servers generated the tokens that the ledger charges",
)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _every_request_once(seen: Sequence[Seen], rows: Sequence[Row]) -> Iterator[str]:
    lost = [f"{one.error or one.status}" for one in seen if not one.id]
    if lost:
        yield f"{len(lost)} requests ended without an id ({_some(sorted(set(lost)))})"
    booked = Counter(row.request_id for row in rows)
    asked = {one.id for one in seen if one.id}
    twice = [name for name, count in booked.items() if count > 1]
    if twice:
        yield f"{len(twice)} requests have more than one outcome in the ledger: {_some(twice)}"
    missing = sorted(asked - booked.keys())
    if missing:
        yield f"{len(missing)} requests are not in the ledger: {_some(missing)}"
    foreign = sorted(booked.keys() - asked)
    if foreign:
        yield f"{len(foreign)} requests are in the ledger that no caller sent: {_some(foreign)}"


def _hung_up(one: Seen) -> bool:
    """Whether a caller meant to hang up and was answered until then; it may have had the last byte by chance."""
    return one.left or (one.ask.leaves_after_s is not None and one.complete)


def _same_story(seen: Sequence[Seen], rows: Sequence[Row]) -> Iterator[str]:
    booked = {row.request_id: row for row in rows}
    for one in seen:
        row = booked.get(one.id)
        if row is None:
            continue
        if _hung_up(one):  # the router may have written the last byte just before the caller hung up
            if row.status not in (_GONE, one.status):
                yield f"{one.id}: its caller hung up, the ledger says {row.status}"
            continue
        if one.error or (one.status == 200 and not one.complete):
            broken = one.error or "cut short"
            yield f"{one.id}: its caller got a broken answer ({broken}), the ledger says {row.outcome}"
        elif (one.status, one.pool) != (row.status, row.pool):
            said, kept = f"{one.status} from {one.pool or '-'}", f"{row.status} from {row.pool or '-'}"
            yield f"{one.id}: its caller saw {said}, the ledger holds {kept}"
        elif one.complete and one.tokens_out != row.tokens_out:
            yield f"{one.id}: its caller got {one.tokens_out} tokens, the ledger charges {row.tokens_out}"
        elif not one.complete and one.code != row.outcome:
            yield f"{one.id}: its caller was refused with {one.code}, the ledger says {row.outcome}"


def _metrics_agree(rows: Sequence[Row], before: Snapshot, after: Snapshot) -> Iterator[str]:
    booked: Counter[tuple[str, ...]] = Counter((row.pool or "-", str(row.status)) for row in rows)
    counted = grown(before, after, "headrace_requests_total", "pool", "status")
    if counted != booked:
        wrong = sorted(key for key in counted | booked if counted[key] != booked[key])
        said = (f"{' '.join(key)}: {counted[key]} and {booked[key]}" for key in wrong)
        yield f"metrics and ledger count requests differently ({_some(list(said))})"
    # The metrics count each attempt of a request, the ledger how the request ended: attempts that failed come on top.
    failed = sum(grown(before, after, "headrace_upstream_errors_total").values())
    for name, found in (
        ("headrace_cold_starts_total", sum(row.cold for row in rows)),
        ("headrace_spills_total", sum(row.spilled for row in rows)),
    ):
        total = sum(grown(before, after, name).values())
        if not found <= total <= found + failed:
            yield f"{name} grew by {total}, the ledger holds {found}"


def _money_agrees(
    policy: RouterConfig,
    rows: Sequence[Row],
    overhead: Sequence[tuple[str, int]],
    before: Snapshot,
    after: Snapshot,
) -> Iterator[str]:
    charged: Counter[str] = Counter({"environment": sum(cost for _, cost in overhead)})
    for row in rows:
        for scope in ("environment", f"tenant/{row.tenant}", f"project/{row.tenant}/{row.project}"):
            charged[scope] += row.cost_nano
    for scope, limits in policy.limits_by_scope.items():
        account = after.accounts.get(scope, {})
        spent = account.get("spentNano", 0) - before.accounts.get(scope, {}).get("spentNano", 0)
        if spent != charged[scope]:
            yield f"{scope} was charged {spent} nano-dollars, what it asked for cost {charged[scope]} in the ledger"
        used = account.get("spentNano", 0) + account.get("reservedNano", 0)
        if limits.budget_nano_usd is not None and used > limits.budget_nano_usd:
            yield f"{scope} used {used} nano-dollars of a budget of {limits.budget_nano_usd}"


def _tokens_agree(
    seen: Sequence[Seen],
    rows: Sequence[Row],
    overhead: Sequence[tuple[str, int]],
    before: Snapshot,
    after: Snapshot,
) -> Iterator[str]:
    """An answer that its caller left may have been generated a little further than anybody read; each of the router's
    own requests is answered with one token."""
    slack = sum(one.ask.max_tokens for one in seen if _hung_up(one) or one.error)
    for pool, state in after.servers.items():
        made = int(state["tokensOut"]) - int(before.servers.get(pool, {}).get("tokensOut", 0))
        booked = sum(row.tokens_out for row in rows if row.pool == pool)
        own = sum(name == pool for name, _ in overhead)
        if not booked <= made <= booked + slack + own:
            yield f"{pool} generated {made} tokens, the ledger charges {booked}"
