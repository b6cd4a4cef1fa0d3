"""What happens to a router: the closed vocabulary that `observe` folds into the state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from headrace.router.types import Route


class Outcome(StrEnum):
    """How an upstream call ended, as far as the pool's health is concerned."""

    OK = "ok"
    FAILED = "failed"
    PUSHED_BACK = "pushed-back"
    CANCELLED = "cancelled"
    CALLER_FAULT = "caller-fault"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """Time passes. `period` is the month of the budgets; `min_instances` what warm-up windows hold now."""

    now: float
    period: str | None = None
    min_instances: Mapping[str, int] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Admitted:
    """A request was sent on its way as `route` says."""

    now: float
    route: Route
    scopes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstByte:
    """The first byte of an answer came `seconds` after the request was sent. `whole`: the last one came with it."""

    now: float
    pool: str
    seconds: float
    cold: bool
    prompt_tokens: int = 0
    whole: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """A request left its pool: slot and reservation go back, the cost is booked. Exactly one for each `Admitted`."""

    now: float
    route: Route
    scopes: tuple[str, ...]
    admitted_at: float
    cost: int
    tokens: int
    outcome: Outcome
    retry_after_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Queued:
    """A request joined (+) or left (-) the queue of a pool with the slots that it will take; batch work has a line of
    its own, behind the other."""

    now: float
    pool: str
    change: int
    batch: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Scraped:
    """Model servers' own numbers: requests waiting in them, share of KV cache in use, how many there are."""

    now: float
    pool: str
    queue: int
    kv_use: float
    servers: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaseChanged:
    """This replica's shares of the limits named; others stay."""

    now: float
    leases: Mapping[str, int]


Event = Tick | Admitted | FirstByte | Finished | Queued | Scraped | LeaseChanged
