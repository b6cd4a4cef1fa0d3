"""Faults on order, for tests: what happens to the next requests of a method and path."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Fault(StrEnum):
    """What happens to a request."""

    THROTTLE = "throttle"
    """429 with Retry-After; nothing is done."""
    ERROR = "error"
    """500; nothing is done."""
    LOST_REPLY = "lost-reply"
    """Done, but the connection is cut before the caller learns of it."""
    MALFORMED = "malformed"
    """Done, but the answer is not JSON."""
    SLOW = "slow"
    """Done, after `seconds`."""


@dataclass
class Order:
    """One fault that is due `times` more times, for paths that begin with `prefix`."""

    fault: Fault
    method: str
    prefix: str
    times: int
    seconds: float = 0.0


@dataclass
class Faults:
    """What is due, and how often each method and kind of path was called."""

    orders: list[Order] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)

    def take(self, method: str, path: str, pattern: str) -> Order | None:
        """Count the call and take the next fault that is due for it."""
        self.calls[f"{method} {pattern}"] += 1
        for order in self.orders:
            if order.times > 0 and order.method in ("*", method) and path.startswith(order.prefix):
                order.times -= 1
                return order
        return None
