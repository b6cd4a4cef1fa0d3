"""Shares of divisible limits between replicas: slots, instances, spend, rates and money. The arithmetic is pure.

Every limit (`RouterConfig.totals`) is divided into shares that add up to at most the total. A replica decides within
its own share alone, so nothing on a request's path asks anybody. In the background it grows where it is short and
shrinks where others are. Order makes it exact: a smaller share is in force here before it is published, a larger one
is published before it is in force.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from headrace.router import budget, capacity
from headrace.router.config import RouterConfig
from headrace.router.types import Account, Decision, Ground, Refusal, State, Wait

# A replica needs room for this part of what it uses, in case more comes: half.
_ROOM: Final = 2
# An idle replica needs a tenth of an equal part, so that its first requests needn't wait for a round.
_KEPT: Final = 10
# What a replica claimed a round ago it still claims by this share: a pause of a moment gives nothing away.
_FADES_NUM: Final = 7
_FADES_DEN: Final = 8
_UNUSED: Final = Account()


class Leaser(Protocol):
    """Renews shares in the background."""

    async def step(self) -> None:
        """One round."""

    async def run(self) -> None:
        """Rounds for ever."""

    async def close(self) -> None:
        """Gives back what can be given back."""

    def hurry(self) -> None:
        """The next round comes at once."""

    @property
    def counting(self) -> bool:
        """Whether there are no shares of budgets yet because what was spent is still being counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Other:
    """What another replica published of a limit."""

    name: str
    held: int
    """What it may use, or still uses above that."""
    base: int
    """What it uses, and what requests lack that came: of money, all that is spent or reserved."""
    need: int
    """What it needs beside `base`."""
    spent: int = 0
    """The part of `base` that is spent; the rest is reserved."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """What to say about one limit."""

    name: str
    limit: int
    """The share in force here from now on."""
    held: int
    """What is published: the limit, or what is still in use above it."""
    want: int
    """Share to take as far as it is free."""
    base: int
    """See `Other`."""
    need: int
    """See `Other`."""
    spent: int
    """See `Other`."""
    total: int
    """Of all replicas together."""
    sticky: bool
    """Whether what was used stays used when the replica dies: money."""


def fixed(policy: RouterConfig) -> dict[str, int]:
    """All of every limit: for a single replica."""
    return dict(policy.totals)


def used(state: State, policy: RouterConfig, names: Collection[str]) -> dict[str, int]:
    """What this replica uses of some limits now."""
    now = state.now
    alive = {
        name: capacity.live(pool, state.pools[name], now) for name, pool in policy.pools.items() if not pool.dedicated
    }
    spend = capacity.run_rates(policy, alive)
    found: dict[str, int] = {"serverless/spend": sum(spend.values())}
    for name, pool in policy.pools.items():
        if pool.dedicated:
            view = state.pools[name]
            # What waits in a model server for a slot takes none of others' shares.
            found[f"pool/{name}/slots"] = capacity.in_shares(pool, view, view.taken - view.over)
        else:
            found[f"pool/{name}/instances"] = alive[name]
            found[f"pool/{name}/spend"] = spend[name]
    for provider in policy.provider_caps:
        same = [name for name in alive if policy.pools[name].provider == provider]
        found[f"provider/{provider}/instances"] = sum(alive[name] for name in same)
        found[f"provider/{provider}/gpus"] = sum(alive[name] * policy.pools[name].gpus_per_instance for name in same)
        found[f"provider/{provider}/spend"] = sum(spend[name] for name in same)
    for name in names:
        scope, _, kind = name.rpartition("/")
        if scope in policy.limits_by_scope:
            found[name] = budget.usage(state.accounts.get(scope) or _UNUSED, kind, now)
    return {name: found.get(name, 0) for name in names}


def asks(
    state: State,
    policy: RouterConfig,
    *,
    me: str,
    others: Mapping[str, Sequence[Other]] | None,
    lost: Mapping[str, int] | None = None,
    short: Mapping[str, int] | None = None,
    before: Mapping[str, tuple[int, int]] | None = None,
    names: Collection[str] | None = None,
) -> list[Ask]:
    """What to hold, to take and to publish of every limit, or of those in `names`: each stands for itself.

    `others` is what living replicas published of each, None where that was not heard in the last round: a share stays
    as it is then, because others may need less, or hold more, than when they were last heard. `lost` is what dead ones
    hold for good (of money), `short` what requests lacked here since the last round (see `shortages`), `before` base
    and need of this replica then.
    """
    names = policy.totals if names is None else names
    in_use = used(state, policy, names)
    found = []
    for name in names:
        total = policy.totals[name]
        limit, now_used = state.leases.get(name, 0), in_use[name]
        known = others.get(name, ()) if others is not None else ()
        there = total - (lost or {}).get(name, 0)
        sticky = name.endswith("/money")
        lacking, earlier = (short or {}).get(name, 0), (before or {}).get(name, (0, 0))
        kept = max(1, there // (_KEPT * (len(known) + 1)))
        if sticky:
            base, need = now_used, max(kept, lacking)
        else:
            wanted = now_used + _in_line(name, state, policy) + lacking
            # One is always kept: without any share nothing could be decided until the next round.
            base, need = max(1, wanted, _faded(earlier[0])), max(kept, now_used // _ROOM + 1)
        need = min(total, max(need, _faded(earlier[1])))
        parts = divide(there, {me: (base, need), **{other.name: (other.base, other.need) for other in known}})
        above = limit + sum(other.held for other in known) - there
        below = sum(max(0, parts[other.name] - other.held) for other in known)
        if above > 0:  # a limit was lowered, or more is known to be spent: first that holds, then parts are taken
            limit = max(0, limit - above)
        elif limit > parts[me] and below > 0:
            limit = max(parts[me], limit - below)
        found.append(
            Ask(
                name=name,
                limit=limit,
                held=max(limit, now_used),
                want=limit if others is None else max(limit, parts[me]),
                base=base,
                need=need,
                spent=_spent(name, state) if sticky else 0,
                total=total,
                sticky=sticky,
            )
        )
    return found


def divide(total: int, claims: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """A limit in parts: bases, then needs, then what is left in equal parts; each as evenly as it fits.

    The parts add up to `total`; nothing is divided where that is negative. Everybody who knows the same claims gets
    the same.
    """
    names, left = sorted(claims), max(0, total)
    parts = dict.fromkeys(names, 0)
    for wanted in ({name: claims[name][0] for name in names}, {name: claims[name][1] for name in names}, None):
        # Small wants are met whole, and what they leave of an equal part goes to the larger ones (max-min fairness).
        for place, name in enumerate(sorted(names, key=wanted.__getitem__) if wanted else names):
            equal = left // (len(names) - place)
            given = min(wanted[name], equal) if wanted else equal
            parts[name] += given
            left -= given
    return parts


def shortages(decision: Decision, state: State, policy: RouterConfig) -> dict[str, int]:
    """What a request lacked of the shares here, by limit: it was refused, or went elsewhere, for want of it."""
    found: dict[str, int] = {}
    if isinstance(decision, Refusal) and decision.lacked is not None:
        found[decision.lacked[0]] = decision.lacked[1]
    for name, ground in decision.removed:
        pool = policy.pools.get(name)
        if pool is None:
            continue
        hourly = pool.nano_usd_per_instance_second * capacity.HOUR_S
        if ground in (Ground.FULL, Ground.NO_SLOTS):
            if isinstance(decision, Wait):
                continue  # whoever waits is counted in the queue
            found[f"pool/{name}/slots"] = capacity.in_shares(pool, state.pools[name], 1)
        elif ground is Ground.CAP:
            found[f"pool/{name}/instances"] = 1
        elif ground is Ground.SPEND:
            found[f"pool/{name}/spend"] = found["serverless/spend"] = hourly
        elif ground is Ground.PROVIDER_CAP:
            provider = f"provider/{pool.provider}"
            found[f"{provider}/instances"] = 1
            found[f"{provider}/gpus"] = pool.gpus_per_instance
            found[f"{provider}/spend"] = hourly
    return found


def _faded(claim: int) -> int:
    return claim * _FADES_NUM // _FADES_DEN


def _spent(name: str, state: State) -> int:
    account = state.accounts.get(name.rpartition("/")[0])
    return account.spent if account is not None else 0


def _in_line(name: str, state: State, policy: RouterConfig) -> int:
    """What those need who wait for a floor."""
    parts = name.split("/")
    if parts[0] == "pool" and parts[-1] == "slots" and parts[1] in state.pools:
        view = state.pools[parts[1]]
        return capacity.in_shares(policy.pools[parts[1]], view, view.waiting + view.waiting_batch)
    return 0
