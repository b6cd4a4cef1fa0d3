"""The rules of the script in Redis by which replicas divide limits, in Python: for tests and benchmarks without one.

The script itself is held to the same rules in tests/engine/router/test_silent_replica.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from headrace.router.engine import Engine
from headrace.router.lease import Ask
from headrace.router.lease_redis import RedisLeaser


@dataclass
class Redis:
    """The rules of the script for one month."""

    held: dict[str, dict[str, int]] = field(default_factory=dict)
    claims: dict[str, dict[str, tuple[int, int, int]]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    told: dict[str, int] = field(default_factory=dict)

    def say(self, me: str, asked: Sequence[Ask], told: Callable[[str], int]) -> list[str]:
        answer: list[str] = []
        self.silent.discard(me)
        for ask in asked:
            held, claims = self.held.setdefault(ask.name, {}), self.claims.setdefault(ask.name, {})
            if not ask.sticky:
                for name in self.silent & held.keys():
                    del held[name], claims[name]
            gone = {name for name in held if name != me and (name in self.silent or claims[name][0] < 0)}
            used = {name: claims[name][0] if claims[name][0] >= 0 else held[name] for name in gone}
            others = sum(value for name, value in held.items() if name != me)
            if ask.sticky:
                self.told[ask.name] = max(self.told.get(ask.name, 0), told(ask.name.removesuffix("/money")))
            granted = max(ask.held, min(ask.want, ask.total - others)) if ask.want > ask.held else ask.held
            held[me], claims[me] = granted, (ask.base, ask.need, ask.spent)
            answer += [
                str(granted),
                str(sum(held[name] for name in gone)),
                str(sum(claims[name][2] if ask.sticky else used[name] for name in gone)),
                str(sum(used.values())),
                str(self.told.get(ask.name, 0)),
                "\n".join(
                    f"{name} {held[name]} {claims[name][0]} {claims[name][1]} {claims[name][2]}"
                    for name in sorted(held.keys() - {me} - gone)
                ),
            ]
        return answer


def leaser(name: str, engine: Engine, store: Redis) -> RedisLeaser:
    """The real leaser of a replica, over these rules."""
    made = RedisLeaser("redis://127.0.0.1:1/0", name, engine)

    async def say(asked: Sequence[Ask], period: str) -> list[str]:
        assert period == engine.state.period
        return store.say(name, asked, engine.told)

    made._say = say  # type: ignore[method-assign] # the wire is what this stands in for
    return made
