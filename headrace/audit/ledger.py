"""Balances as a fold over entries. Pure; integer nano-dollars.

Spend is reserve, then one outcome: post (what it cost), void (never sent), or expire (open after a crash: posted in
full, so that a crash can't hide spending). Each request resolves once; a second outcome is a fault that is counted, not
money that is counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from headrace.audit.record import Entry, Kind


@dataclass(frozen=True, kw_only=True, slots=True)
class Balance:
    """Nano-dollars of a scope in a period."""

    spent: int = 0
    reserved: int = 0


@dataclass(kw_only=True, slots=True)
class Ledger:
    """What a run of entries comes to. `open` holds reservations without an outcome, by request."""

    balances: dict[tuple[str, str], Balance] = field(default_factory=dict)
    open: dict[str, Entry] = field(default_factory=dict)
    resolved: set[str] = field(default_factory=set)
    repeated: int = 0
    overruns: int = 0

    def apply(self, entry: Entry) -> None:
        """The next entry."""
        if entry.kind is Kind.OVERHEAD:  # a request of the router's own; reserved first as any other
            held = self.open.pop(entry.request_id, None)
            if held is not None:
                self._add(held, spent=0, reserved=-held.reserved_nano)
            self._add(entry, spent=entry.cost_nano, reserved=0)
            return
        if entry.request_id in self.resolved:
            self.repeated += 1
            return
        if entry.kind is Kind.RESERVE:
            earlier = self.open.get(entry.request_id)
            if earlier is not None:  # a retry: its reservation takes the place of the first one and holds its cost
                self._add(earlier, spent=0, reserved=-earlier.reserved_nano)
            self.open[entry.request_id] = entry
            self._add(entry, spent=0, reserved=entry.reserved_nano)
            return
        cost = 0 if entry.kind is Kind.VOID else entry.cost_nano
        held = self.open.pop(entry.request_id, None)
        self.resolved.add(entry.request_id)
        if held is not None:
            self._add(held, spent=0, reserved=-held.reserved_nano)
            self.overruns += cost > held.reserved_nano
        self._add(entry, spent=cost, reserved=0)

    def _add(self, entry: Entry, *, spent: int, reserved: int) -> None:
        for scope in scopes(entry):
            known = self.balances.get((entry.period, scope), Balance())
            self.balances[entry.period, scope] = Balance(spent=known.spent + spent, reserved=known.reserved + reserved)

    def balance(self, period: str, scope: str) -> Balance:
        """What a scope has spent and holds in a period."""
        return self.balances.get((period, scope), Balance())


def scopes(entry: Entry) -> tuple[str, ...]:
    """Accounts that an entry counts against; the same names as the router's."""
    return scopes_of(entry.tenant, entry.project)


def scopes_of(tenant: str, project: str) -> tuple[str, ...]:
    """Accounts of a project; of the environment alone where there is no tenant."""
    if not tenant:
        return ("environment",)
    return ("environment", f"tenant/{tenant}", f"project/{tenant}/{project}")


def fold(entries: Iterable[Entry]) -> Ledger:
    """The ledger of a run of entries."""
    ledger = Ledger()
    for entry in entries:
        ledger.apply(entry)
    return ledger
