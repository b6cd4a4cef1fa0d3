"""Money and rates: reserve the worst case, settle what it was. Pure functions over accounts.

A request counts against three accounts at once (environment, tenant, project). A reservation that one of them has no
room for changes none of them. Because concurrent requests hold their worst case, they can't overshoot together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from headrace.router.types import BUCKET_S, WINDOW_BUCKETS, Account, Window, changed

MINUTE_S: Final = 60.0
# Seconds after which a caller who ran into a money budget may try again: nothing frees money but a settled request.
_MONEY_RETRY_S: Final = 60.0
_PARALLEL_RETRY_S: Final = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Shortfall:
    """What is missing: `kind` is money, requests, tokens or parallel; amounts in the kind's unit."""

    scope: str
    kind: str
    limit: int
    used: int
    asked: int
    retry_after_s: float


def count(window: Window, now: float) -> int:
    """Events of the last 60 to 65 seconds: whole buckets, so that no burst at a boundary is missed."""
    age = int(now // BUCKET_S) - window.bucket
    if age <= 0:
        return sum(window.counts)
    return sum(window.counts[age:]) if age <= WINDOW_BUCKETS else 0


def add(window: Window, now: float, amount: int) -> Window:
    """The window with `amount` at `now`. A clock that goes back adds to the newest bucket."""
    bucket = int(now // BUCKET_S)
    age = bucket - window.bucket
    if age <= 0:
        return Window(bucket=window.bucket, counts=(*window.counts[:-1], max(0, window.counts[-1] + amount)))
    if age > WINDOW_BUCKETS:
        return Window(bucket=bucket, counts=(*(0,) * WINDOW_BUCKETS, max(0, amount)))
    return Window(bucket=bucket, counts=(*window.counts[age:], *(0,) * (age - 1), max(0, amount)))


def correct(window: Window, at: float, now: float, delta: int) -> Window:
    """The window with the bucket of `at` corrected by `delta`; nothing where that bucket has already left it.

    The correction goes where the reservation was made: taken from another bucket it would hide somebody else's use.
    """
    window = add(window, now, 0)
    index = WINDOW_BUCKETS - (window.bucket - int(at // BUCKET_S))
    if not 0 <= index <= WINDOW_BUCKETS:
        return window
    counts = list(window.counts)
    counts[index] = max(0, counts[index] + delta)
    return Window(bucket=window.bucket, counts=tuple(counts))


def shortfall(
    accounts: Mapping[str, Account],
    leases: Mapping[str, int],
    limited: Mapping[str, int],
    scopes: tuple[str, ...],
    *,
    now: float,
    money: int,
    tokens: int,
) -> Shortfall | None:
    """The first limit without room for one more request of `money` and `tokens`; None where all three have room.

    `limited` names the limits that exist at all (with their totals); this replica's share of each is in `leases`.
    """
    for scope in scopes:
        account = accounts.get(scope) or Account()
        for kind, asked in (("parallel", 1), ("requests", 1), ("tokens", tokens), ("money", money)):
            name = f"{scope}/{kind}"
            if name not in limited:
                continue
            used = usage(account, kind, now)
            if used + asked > leases.get(name, 0):
                return Shortfall(
                    scope=scope, kind=kind, limit=limited[name], used=used, asked=asked, retry_after_s=_retry(kind)
                )
    return None


def usage(account: Account, kind: str, now: float) -> int:
    """What an account uses of a limit of `kind`."""
    if kind == "money":
        return account.spent + account.reserved
    if kind == "parallel":
        return account.parallel
    return count(account.requests if kind == "requests" else account.tokens, now)


def _retry(kind: str) -> float:
    return {"money": _MONEY_RETRY_S, "parallel": _PARALLEL_RETRY_S}.get(kind, BUCKET_S)


def reserve(
    accounts: Mapping[str, Account], scopes: tuple[str, ...], *, now: float, money: int, tokens: int
) -> dict[str, Account]:
    """The accounts with one more request held in each scope. Whether there is room is `shortfall`'s question."""
    after = dict(accounts)
    for scope in scopes:
        account = after.get(scope) or Account()
        after[scope] = changed(
            account,
            reserved=account.reserved + money,
            parallel=account.parallel + 1,
            requests=add(account.requests, now, 1),
            tokens=add(account.tokens, now, tokens),
        )
    return after


def settle(
    accounts: Mapping[str, Account],
    scopes: tuple[str, ...],
    *,
    now: float,
    reserved_at: float,
    reserved: int,
    cost: int,
    reserved_tokens: int,
    tokens: int,
) -> dict[str, Account]:
    """The accounts with a reservation turned into its real cost; tokens are corrected where they were reserved."""
    after = dict(accounts)
    for scope in scopes:
        account = after.get(scope) or Account()
        after[scope] = changed(
            account,
            spent=account.spent + cost,
            reserved=max(0, account.reserved - reserved),
            parallel=max(0, account.parallel - 1),
            tokens=correct(account.tokens, reserved_at, now, tokens - reserved_tokens),
        )
    return after


def new_period(accounts: Mapping[str, Account]) -> dict[str, Account]:
    """A new month: what was spent is history, what is reserved still counts."""
    return {scope: changed(account, spent=0) for scope, account in accounts.items()}


def crossed(before: int, after: int, limit: int, thresholds: tuple[float, ...]) -> tuple[float, ...]:
    """Thresholds of a budget that spending has just passed."""
    return tuple(share for share in thresholds if before < share * limit <= after)
