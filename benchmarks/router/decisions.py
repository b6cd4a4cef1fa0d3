"""Decisions, and whole turns of decide and observe, per second of one core. CPU time, not wall time."""

from __future__ import annotations

import time

from headrace.router.decide import decide
from headrace.router.events import Admitted, Finished, Outcome
from headrace.router.observe import advance, cost_share, observe
from headrace.router.types import Route
from tests.unit.router.worlds import config, overflow, pool, request, state

ROUNDS = 20_000


def measure(rounds: int = ROUNDS) -> dict[str, float]:
    """Both figures, and their microseconds."""
    policy = config(pools={"floor": pool(instances=8), "burst": overflow(), "second": overflow(workload="chat")})
    current, asked = state(policy), request()
    started = time.process_time()
    for _ in range(rounds):
        decide(asked, current, policy)
    decided = time.process_time() - started
    started = time.process_time()
    for turn in range(rounds):
        current = advance(current, turn * 0.001)
        route = decide(asked, current, policy)
        if not isinstance(route, Route):
            raise TypeError(f"turn {turn}: {route}")
        cost_share(current, route.pool, current.now, policy)
        current = observe(current, Admitted(now=current.now, route=route, scopes=asked.scopes), policy)
        current = observe(
            current,
            Finished(
                now=current.now,
                route=route,
                scopes=asked.scopes,
                admitted_at=current.now,
                cost=1,
                tokens=route.tokens,
                outcome=Outcome.OK,
            ),
            policy,
        )
        if turn % 4000 == 3999:  # the project's requests per minute are not what is measured
            current = state(policy, now=current.now)
    turned = time.process_time() - started
    return {
        "decisionsPerSecond": round(rounds / decided),
        "microsecondsPerDecision": round(decided / rounds * 1e6, 1),
        "turnsPerSecond": round(rounds / turned),
        "microsecondsPerTurn": round(turned / rounds * 1e6, 1),
    }
