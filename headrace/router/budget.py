"""Money and rates: reserve the worst case, settle what it was. Integer arithmetic over accounts, no clock, no I/O.

Questions (`count`, `shortfall`, `usage`) change nothing; `add`, `correct`, `reserve` and `settle` change in place.

A request counts against three accounts at once (environment, tenant, project). A reservation that one of them has no
room for changes none of them. Because concurrent requests hold their worst case, they can't overshoot together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from headrace.router.config import RouterConfig
from headrace.router.types import BUCKET_S, WINDOW_BUCKETS, Account, Window

MINUTE_S: Final = 60.0
# Seconds after which a caller who ran into a money budget may try again: nothing frees money but a settled request.
_MONEY_RETRY_S: Final = 60.0
_PARALLEL_RETRY_S: Final = 1.0
_UNUSED: Final = Account()


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
        return window.total
    return sum(window.counts[age:]) if age <= WINDOW_BUCKETS else 0


def add(window: Window, now: float, amount: int) -> Window:
    """Adds `amount` at `now`. A clock that goes back adds to the newest bucket."""
    _move(window, now)
    newest = window.counts[-1]
    after = max(0, newest + amount)
    window.counts[-1] = after
    window.total += after - newest
    return window


def _move(window: Window, now: float) -> None:
    """Makes the bucket of `now` the newest, unless it is older than the newest is."""
    bucket = int(now // BUCKET_S)
    age = bucket - window.bucket
    if age <= 0:
        return
    counts = window.counts
    if age > WINDOW_BUCKETS:
        counts[:] = [0] * (WINDOW_BUCKETS + 1)
    else:
        del counts[:age]
        counts += [0] * age
    window.bucket = bucket
    window.total = sum(counts)


def correct(window: Window, at: float, now: float, delta: int) -> Window:
    """Corrects the bucket of `at` by `delta`; nothing where that bucket has already left the window.

    The correction goes where the reservation was made: taken from another bucket it would hide somebody else's use.
    """
    _move(window, now)
    index = WINDOW_BUCKETS - (window.bucket - int(at // BUCKET_S))
    if 0 <= index <= WINDOW_BUCKETS:
        before = window.counts[index]
        after = max(0, before + delta)
        window.counts[index] = after
        window.total += after - before
    return window


def shortfall(
    accounts: Mapping[str, Account],
    leases: Mapping[str, int],
    policy: RouterConfig,
    scopes: tuple[str, ...],
    *,
    now: float,
    money: int,
    tokens: int,
) -> Shortfall | None:
    """The first limit without room for one more request of `money` and `tokens`; None where all three have room.

    This replica's share of each limit is in `leases`.
    """
    for scope in scopes:
        kinds = policy.kinds_by_scope.get(scope)
        if not kinds:
            continue
        account = accounts.get(scope) or _UNUSED
        for kind, name in kinds:
            if kind == "money":
                used, asked = account.spent + account.reserved, money
            elif kind == "tokens":
                used, asked = count(account.tokens, now), tokens
            elif kind == "requests":
                used, asked = count(account.requests, now), 1
            else:
                used, asked = account.parallel, 1
            if used + asked > leases.get(name, 0):
                limit = policy.totals[name]
                return Shortfall(
                    scope=scope, kind=kind, limit=limit, used=used, asked=asked, retry_after_s=_retry(kind)
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


def reserve(accounts: dict[str, Account], scopes: tuple[str, ...], *, now: float, money: int, tokens: int) -> None:
    """Holds one more request in each scope. Whether there is room is `shortfall`'s question."""
    for scope in scopes:
        account = accounts.get(scope)
        if account is None:
            account = accounts[scope] = Account()
        account.reserved += money
        account.parallel += 1
        add(account.requests, now, 1)
        add(account.tokens, now, tokens)


def settle(
    accounts: dict[str, Account],
    scopes: tuple[str, ...],
    *,
    now: float,
    reserved_at: float,
    reserved: int,
    cost: int,
    reserved_tokens: int,
    tokens: int,
) -> None:
    """Turns a reservation into its real cost; tokens are corrected where they were reserved."""
    for scope in scopes:
        account = accounts.get(scope)
        if account is None:
            account = accounts[scope] = Account()
        account.spent += cost
        account.reserved = max(0, account.reserved - reserved)
        account.parallel = max(0, account.parallel - 1)
        correct(account.tokens, reserved_at, now, tokens - reserved_tokens)


def new_period(accounts: Mapping[str, Account]) -> None:
    """A new month: what was spent is history, what is reserved still counts."""
    for account in accounts.values():
        account.spent = 0


def crossed(before: int, after: int, limit: int, thresholds: tuple[float, ...]) -> tuple[float, ...]:
    """Thresholds of a budget that spending has just passed."""
    return tuple(share for share in thresholds if before < share * limit <= after)
