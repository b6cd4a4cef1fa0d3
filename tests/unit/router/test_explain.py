"""The line that explains a decision says what is so: each cause and number is computed here again, from the state."""

from __future__ import annotations

import asyncio
import math
import re
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from headrace.router.classify import bucket_of
from headrace.router.config import PoolConfig
from headrace.router.decide import decide, release_of
from headrace.router.engine import Engine
from headrace.router.types import (
    GROUND_TEXT,
    NANO,
    Account,
    Circuit,
    Decision,
    Ground,
    Phase,
    Reason,
    Refusal,
    RequestFacts,
    Route,
    State,
    Wait,
    Window,
    explain,
)
from headrace.settings.releases import WorkloadClass
from tests.unit.router.worlds import config, document, overflow, pool, request, state

NOW = 100.0
MODAL_GPUS, CEILING_INSTANCES = 4, 3
HOURLY = 300_000 * 3600
WORKLOADS: dict[str, Any] = document()["workloads"]
POLICY = config(
    pools={
        "floor": pool(maxRequestTokens=5000),
        "small": pool(maxRequestTokens=600, instances=1),
        "next": pool(release="r2", instances=1),
        "burst": overflow(),
        "abroad": overflow(computeJurisdictions=["US"]),
        "short": overflow(maxRequestTokens=600, provider="runpod"),
    },
    workloads={**WORKLOADS, "chat": {**WORKLOADS["chat"], "canary": {"r2": 30.0}}},
    limits={"budgetNanoUsd": NANO // 5},
    tenants={"search": {"limits": {"parallelRequests": 5}, "projects": {"assistant": {"requestsPerMinute": 7}}}},
    spendCeilingNanoUsdPerHour=CEILING_INSTANCES * HOURLY,
    providerCaps={"modal": {"gpus": MODAL_GPUS}},
    proofOfConcept=0.6,
)


def mostly(usual: Any, *others: Any) -> list[Any]:
    """Values to take one of; the first is nine times as likely as all others together."""
    return [usual] * 9 * len(others) + list(others)


FACTS: dict[str, list[Any]] = {
    "workload_class": list(WorkloadClass),
    "release": mostly("r1", "r2", "r3"),
    "prompt_tokens": [10] * 5 + [500, 6000, 6000, 9000],
    "max_tokens": [None, 10, 200],
    "sequences": [1, 1, 3, 9],
    "bucket": mostly(59.99, 0.0, 60.0),
    "waited_s": mostly(0.0, 0.3, 200.0),
    "residency": mostly(None, frozenset({"EU"}), frozenset({"US"})),
    "excluded": mostly(frozenset(), frozenset({"floor"}), frozenset({"burst"})),
}
VIEW: dict[str, list[Any]] = {
    "in_flight": [0, 3, 4, 7, 8, 12],
    "extra": [0, 0, 2, 9],
    "waiting": mostly(0, 1, 40),
    "waiting_batch": [0, 40],
    "phase": list(Phase),
    "saturated": mostly(False, True),
    "circuit": mostly(Circuit.CLOSED, Circuit.OPEN, Circuit.HALF_OPEN),
    "open_until": [NOW - 1, NOW + 1],
    "probing": [False, True],
    "pushed_back_until": mostly(NOW - 1, NOW + 1),
    "idle": [(), (NOW + 5,), (NOW - 5, NOW + 5)],
    "service_s": [0.5, 60.0],
}
USED: dict[str, list[Any]] = {
    "money": mostly(0, NANO // 5 - 2_000_000, NANO // 5),
    "parallel": mostly(0, 5),
    "requests": mostly(0, 7),
}


def drawn(by: Random, table: dict[str, list[Any]]) -> dict[str, Any]:
    return {name: by.choice(values) for name, values in table.items()}


def seen(views: dict[str, dict[str, Any]], leases: dict[str, int], used: dict[str, int]) -> State:
    """A state of just these numbers."""
    made = state(POLICY, now=NOW)
    for name, over in views.items():
        view = replace(made.pools[name], **over)
        idle = tuple(end for end in view.idle if not POLICY.pools[name].dedicated)
        made.pools[name] = replace(view, idle=idle, extra=view.extra if view.in_flight else 0)
    made.leases |= leases
    window = Window(bucket=int(NOW // 5), counts=[0] * 12 + [used["requests"]], total=used["requests"])
    made.accounts["environment"] = Account(spent=used["money"])
    made.accounts["tenant/search"] = Account(parallel=used["parallel"])
    made.accounts["project/search/assistant"] = Account(requests=window)
    return made


# -- the same questions as in `decide` and `capacity`, from the meaning of the words ----------------------------------


def alive(name: str, current: State) -> int:
    config, view = POLICY.pools[name], current.pools[name]
    return math.ceil(view.in_flight / config.slots_per_instance) + sum(end > NOW for end in view.idle)


def worst(config: PoolConfig, asked: RequestFacts) -> float:
    """Nano-dollars."""
    seconds = config.execution_timeout_s
    if asked.max_tokens is not None:
        tokens = asked.max_tokens + asked.prompt_tokens_bound * 0.05
        seconds = min(seconds, 30 + 3 * config.cold_start_s + tokens * config.slowest_token_s)
    part = min(asked.sequences, config.slots_per_instance) / config.slots_per_instance if config.dedicated else 1
    return seconds * config.nano_usd_per_instance_second * part


def full_limit(current: State) -> str | None:
    """The limit of requests that has no room."""
    if current.accounts["tenant/search"].parallel + 1 > current.leases["tenant/search/parallel"]:
        return "tenant/search"
    used = current.accounts["project/search/assistant"].requests.total
    return "project/search/assistant" if used + 1 > current.leases["project/search/assistant/requests"] else None


def share(name: str, current: State) -> int:
    return min(current.leases[f"pool/{name}/slots"], POLICY.pools[name].slots)


def is_so(ground: Ground, name: str, asked: RequestFacts, current: State) -> bool:
    config, view = POLICY.pools[name], current.pools[name]
    most = current.leases.get(f"pool/{name}/instances", 0)
    starts = not view.idle or not any(end > NOW for end in view.idle)
    others = [key for key in POLICY.pools if not POLICY.pools[key].dedicated]
    batch_has = int(0.65 * share(name, current)) if config.dedicated else 0
    slots = min(asked.sequences, config.slots_per_instance)
    match ground:
        case Ground.RESIDENCY:
            return config.compute_jurisdictions != {"EU"} or asked.residency == frozenset({"US"})
        case Ground.RELEASE:
            return asked.release != config.release
        case Ground.MEMORY:
            answer = asked.max_tokens
            context = max(asked.prompt_tokens + 1, 4096)
            if answer is not None:
                context = asked.prompt_tokens + math.ceil(answer / asked.sequences)
            return context > config.max_request_tokens
        case Ground.TRIAL:
            return not config.dedicated and asked.bucket >= 60
        case Ground.EXCLUDED:
            return name in asked.excluded
        case Ground.BREAKER:
            shut = view.circuit is Circuit.OPEN and view.open_until > NOW
            return view.circuit is not Circuit.CLOSED and (view.probing or shut)
        case Ground.PUSHED_BACK:
            return view.pushed_back_until > NOW
        case Ground.BUDGET:
            left = current.leases["environment/money"] - current.accounts["environment"].spent
            return worst(config, asked) > left - 1e6
        case Ground.LIMIT:
            return full_limit(current) is not None
        case Ground.FULL:
            return 0 < share(name, current) <= view.in_flight + view.extra
        case Ground.NO_SLOTS:
            return config.dedicated and share(name, current) == 0
        case Ground.SATURATED:
            return view.saturated
        case Ground.LAST_SLOTS:
            over = view.in_flight + view.extra + slots > batch_has
            return over or view.phase is Phase.SPILLING or view.waiting > 0
        case Ground.TOO_WIDE:
            return slots > int(0.65 * config.slots)
        case Ground.FLOOR_ONLY:
            return asked.workload_class is WorkloadClass.BATCH and not config.dedicated
        case Ground.CAP:
            return alive(name, current) + starts > most or math.ceil((view.in_flight + 1) / 4) > most
        case Ground.SPEND:
            return sum(alive(key, current) for key in others) + 1 > CEILING_INSTANCES
        case Ground.PROVIDER_CAP:
            same = [key for key in others if POLICY.pools[key].provider == "modal"]
            return config.provider == "modal" and sum(alive(key, current) for key in same) + 1 > MODAL_GPUS
        case Ground.SLOWER:
            return _floor_is_sooner(name, asked, current)


def _floor_is_sooner(other: str, asked: RequestFacts, current: State) -> bool:
    """Some floor is not spilling, or answers before the other pool would, or keeps the SLO without a start."""
    config, view = POLICY.pools[other], current.pools[other]
    within = 4 * alive(other, current)
    starts = view.in_flight + 1 > within  # vendors count requests
    answer_s = view.first_token_s
    if starts:
        answer_s += config.cold_start_s
    else:
        answer_s += max(0, view.in_flight + view.extra + 1 - within) * view.service_s / within
    for name in ("floor", "small", "next"):
        floor, slots = current.pools[name], share(name, current)
        if not slots:
            continue
        wait_s = (floor.waiting + max(0, floor.in_flight + floor.extra - slots) + 1) * floor.service_s / slots
        sooner = answer_s >= wait_s + floor.first_token_s
        if floor.phase is Phase.STEADY or sooner or (starts and wait_s <= 0.5 - asked.waited_s):
            return True
    return False


def check_route(asked: RequestFacts, route: Route, line: str, current: State) -> None:
    config, view = POLICY.pools[route.pool], current.pools[route.pool]
    grounds = dict(route.removed)
    assert f"-> {route.pool}" in line
    assert f": {route.reason.value}" in line
    assert ("start" in line.split(": ")[0]) == route.cold
    assert (f"({route.slots} slots)" in line) == (route.slots > 1)
    assert route.slots == min(asked.sequences, 4)
    assert config.release == asked.release
    assert abs(route.reservation - worst(config, asked)) <= 1e6, "the worst case is that of this request there"
    for name in POLICY.pools:  # nothing that removes others removes it
        assert name != route.pool or not any(
            is_so(ground, name, asked, current)
            for ground in (Ground.RESIDENCY, Ground.RELEASE, Ground.MEMORY, Ground.TRIAL, Ground.EXCLUDED)
        )
    floors = [name for name in ("floor", "small", "next") if POLICY.pools[name].release == asked.release]
    free = [name for name in floors if share(name, current) > current.pools[name].taken]
    match route.reason:
        case Reason.FLOOR_FREE:
            assert route.pool in free
            assert not view.saturated
        case Reason.FLOOR_IDLE:
            assert route.pool in free
            assert asked.workload_class is WorkloadClass.BATCH
        case Reason.SPILL_FULL:
            assert any(name not in free and grounds.get(name) in _LINES for name in floors)
        case Reason.SPILL_SIGNAL:
            assert any(grounds.get(name) is Ground.SATURATED for name in free)
        case Reason.SPILL_DOWN:
            assert any(grounds.get(name) in (Ground.BREAKER, Ground.PUSHED_BACK, Ground.EXCLUDED) for name in floors)
        case _:
            assert all(name in grounds for name in floors), "no floor may take it"
            assert not {grounds[name] for name in floors} & {*_LINES, Ground.BREAKER, Ground.PUSHED_BACK}
    assert route.spilled == route.reason.value.startswith("spill")


_LINES = (Ground.FULL, Ground.SATURATED, Ground.NO_SLOTS)


def check_wait(asked: RequestFacts, wait: Wait, line: str, current: State) -> None:
    patience = 120.0 if asked.workload_class is WorkloadClass.BATCH else 10.0
    found = re.search(r"-> waits up to ([0-9.e+-]+) s for (\w+)", line)
    assert found is not None
    assert found[2] == wait.pool
    assert math.isclose(float(found[1]), wait.seconds, rel_tol=0.01)
    assert POLICY.pools[wait.pool].release == asked.release
    assert wait.seconds <= patience - asked.waited_s, "never longer than patience lasts"
    view = current.pools[wait.pool]
    ahead = view.waiting_batch if asked.workload_class is WorkloadClass.BATCH else view.waiting
    assert ahead < max(1, 2 * share(wait.pool, current)), "the line has room"


def check_refusal(asked: RequestFacts, refusal: Refusal, line: str, current: State) -> None:
    assert f"-> refused ({refusal.status} {refusal.code}): {refusal.sentence}" in line
    if refusal.code == "rate_limited":
        scope = full_limit(current)
        assert refusal.sentence.startswith(f"{scope}: ")
        assert re.findall(r"\d+", refusal.sentence)[0] == {"tenant/search": "5"}.get(str(scope), "7")
        return
    assert {name for name, _ in refusal.removed} == set(POLICY.pools), "of each pool it says why not"
    if refusal.code == "budget_exceeded":
        assert refusal.sentence.startswith("environment: ")
        return
    waited = re.search(r"it has waited ([0-9.]+) s", line)
    assert waited is None or float(waited[1]) == asked.waited_s
    if "the line for it is full" in line:
        assert any(view.waiting >= 40 or view.waiting_batch >= 40 for view in current.pools.values())


def check(asked: RequestFacts, decision: Decision, current: State) -> None:
    line = explain(asked, decision)
    assert "\n" not in line
    assert line.startswith(f"chat ({asked.release}, {asked.workload_class.value}) of search/assistant -> ")
    for name, ground in decision.removed:
        assert line.count(f"not {name}: {GROUND_TEXT[ground]}") == 1
        assert is_so(ground, name, asked, current), f"{name} is said to be out because {GROUND_TEXT[ground]}"
    event(f"{type(decision).__name__} {getattr(decision, 'reason', '')}{getattr(decision, 'code', '')}")
    for _, ground in decision.removed:
        event(f"ground {ground}")
    match decision:
        case Route():
            check_route(asked, decision, line, current)
        case Wait():
            check_wait(asked, decision, line, current)
        case Refusal():
            check_refusal(asked, decision, line, current)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 1 << 40))
def test_the_line_says_what_is_so(seed: int) -> None:
    """Drawn evenly, so that rare decisions come up beside the many refusals."""
    by = Random(seed)  # noqa: S311 - no secret
    leases = {"pool/floor/slots": by.choice(mostly(8, 0, 3)), "pool/burst/instances": by.choice(mostly(3, 0, 2))}
    current = seen({name: drawn(by, VIEW) for name in POLICY.pools}, leases, drawn(by, USED))
    facts = drawn(by, FACTS)
    asked = request(prompt_tokens_bound=4 * int(facts["prompt_tokens"]), **facts)
    check(asked, decide(asked, current, POLICY), current)


def test_a_conversation_is_said_to_go_to_its_release_at_every_turn() -> None:
    names = [f"search/assistant/{number}" for number in range(200)]
    releases = {name: release_of(POLICY.workloads["chat"], bucket_of(name)) for name in names}
    assert set(releases.values()) == {"r1", "r2"}
    for name, release in releases.items():
        for busy in (0, 3):
            current = state(POLICY, now=NOW)
            current.pools["floor"].in_flight = busy
            asked = request(release=release_of(POLICY.workloads["chat"], bucket_of(name)), bucket=bucket_of(name))
            decision = decide(asked, current, POLICY)
            assert isinstance(decision, Route)
            assert POLICY.pools[decision.pool].release == release
            assert f"chat ({release}, " in explain(asked, decision)


def test_a_start_ahead_says_which_pool_starts_for_whom() -> None:
    policy = config()
    engine = Engine(policy, clock=lambda: 0.0, period="2026-11", leases=policy.totals, accounts={})
    for _ in range(7):
        asyncio.run(engine.place(request()))
    started = engine.start_ahead(lambda: "start-1")
    assert [one.route.pool for one in started] == ["burst"]
    assert started[0].explanation == "burst starts an instance: the floor of chat is filling up"
    assert engine.state.pools["floor"].taken / 8 >= policy.spill.start_at
