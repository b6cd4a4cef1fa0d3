"""Shares of divisible limits between replicas: slots, instances, spend, rates and money. The arithmetic is pure.

Every limit (`RouterConfig.totals`) is divided into shares that add up to at most the total. A replica decides within
its own share alone, so nothing on a request's path asks anybody. In the background it grows where it is short and
shrinks where others are. Order makes it exact: a smaller share is in force here before it is published, a larger one
is published before it is in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from headrace.router import budget, capacity
from headrace.router.config import RouterConfig
from headrace.router.types import Account, State

# A replica asks for this multiple of what it uses, at least its fair share.
_GROWTH_NUM: Final = 3
_GROWTH_DEN: Final = 2
# Of its fair share an idle replica keeps a tenth when others are short.
_KEPT: Final = 10


class Leaser(Protocol):
    """Renews shares in the background."""

    async def step(self) -> None:
        """One round."""

    async def run(self) -> None:
        """Rounds for ever."""

    async def close(self) -> None:
        """Gives back what can be given back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """What to say about one limit."""

    name: str
    limit: int
    """The share in force here from now on."""
    held: int
    """What is published: the limit, or what is still in use above it."""
    want: int
    """Share to take if it is free: at least the fair one."""
    demand: int
    """Share that this replica needs; others give up what they don't need for it."""
    total: int
    """Of all replicas together."""
    sticky: bool
    """Whether what was used stays used when the replica dies: money."""


def fixed(policy: RouterConfig) -> dict[str, int]:
    """All of every limit: for a single replica."""
    return dict(policy.totals)


def used(state: State, policy: RouterConfig) -> dict[str, int]:
    """What this replica uses of every limit now."""
    now = state.now
    alive = {
        name: capacity.live(pool, state.pools[name], now) for name, pool in policy.pools.items() if not pool.dedicated
    }
    spend = capacity.run_rates(policy, alive)
    found: dict[str, int] = {"serverless/spend": sum(spend.values())}
    for name, pool in policy.pools.items():
        if pool.dedicated:
            found[f"pool/{name}/slots"] = state.pools[name].in_flight
        else:
            found[f"pool/{name}/instances"] = alive[name]
            found[f"pool/{name}/spend"] = spend[name]
    for provider in policy.provider_caps:
        same = [name for name in alive if policy.pools[name].provider == provider]
        found[f"provider/{provider}/instances"] = sum(alive[name] for name in same)
        found[f"provider/{provider}/gpus"] = sum(alive[name] * policy.pools[name].gpus_per_instance for name in same)
        found[f"provider/{provider}/spend"] = sum(spend[name] for name in same)
    for scope in policy.limits_by_scope:
        account = state.accounts.get(scope) or Account()
        for kind in ("money", "requests", "tokens", "parallel"):
            found[f"{scope}/{kind}"] = budget.usage(account, kind, now)
    return {name: found.get(name, 0) for name in policy.totals}


def asks(state: State, policy: RouterConfig, *, replicas: int, needed: Mapping[str, int]) -> list[Ask]:
    """What to hold and what to want of every limit. `needed` is what other replicas lack of each."""
    in_use = used(state, policy)
    found = []
    for name, total in policy.totals.items():
        limit, now_used = state.leases.get(name, 0), in_use[name]
        fair = total // max(1, replicas)
        demand = min(total, now_used * _GROWTH_NUM // _GROWTH_DEN + _waiting(name, state) + 1)
        lacking = needed.get(name, 0)
        if lacking > 0:
            # Others are short. What is above the fair share goes as it falls free; an idle replica gives more.
            floor = min(fair, max(demand, fair // _KEPT))
            limit = min(limit, max(floor, limit - lacking))
            demand = min(demand, max(fair, limit))
        found.append(
            Ask(
                name=name,
                limit=limit,
                held=max(limit, now_used),
                want=max(demand, fair if lacking == 0 else limit),
                demand=demand,
                total=total,
                sticky=name.endswith("/money"),
            )
        )
    return found


def _waiting(name: str, state: State) -> int:
    """Whoever is in line for a floor needs slots of it."""
    parts = name.split("/")
    if parts[0] == "pool" and parts[-1] == "slots" and parts[1] in state.pools:
        view = state.pools[parts[1]]
        return view.waiting + view.waiting_batch
    return 0
