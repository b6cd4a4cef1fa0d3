"""The generated day: the same for the same arguments, within the configuration's rules."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.router.callers import fingerprint
from headrace.traffic.client import text_of
from headrace.traffic.day import BATCH, INTERACTIVE, LAUNCH_FACTOR, LOOP_REPEATS, generated_day, level
from headrace.traffic.trace import azure
from tests.unit.router.worlds import document, overflow, pool
from tests.unit.traffic.samples import CALLERS, paces, policy

SECONDS = 200.0


def day(seed: int = 7, **over: object) -> list:  # type: ignore[type-arg] # list of Ask
    of = policy(**over)
    return generated_day(of, paces(of), CALLERS, seconds=SECONDS, seed=seed)


def test_the_same_arguments_give_the_same_day() -> None:
    assert day() == day()
    assert day() != day(seed=8)


def test_requests_come_in_order_within_the_day_and_fit_the_context() -> None:
    found = day()
    assert len(found) > 100
    assert [one.at_s for one in found] == sorted(one.at_s for one in found)
    assert all(0 <= one.at_s < SECONDS for one in found)
    assert all(one.tokens_in + one.max_tokens <= 4096 for one in found)
    assert all(one.answer_tokens <= one.max_tokens for one in found), "a model stops at max_tokens"


def test_a_caller_is_given_only_what_its_key_may_use() -> None:
    of = policy()
    callers = {("search", "assistant"): frozenset({"chat"}), ("support", "answers"): frozenset({"digest"})}
    found = generated_day(of, paces(of), callers, seconds=SECONDS)
    assert {(one.workload, one.project) for one in found} == {("chat", "assistant")}, "digest has no pool of its own"


def test_data_is_narrowed_to_the_routers_own_place_only_where_the_workload_allows_more() -> None:
    assert {one.residency for one in day()} == {None}
    workloads = document()["workloads"]
    workloads["chat"] = {**workloads["chat"], "allowedJurisdictions": ["EU", "US"]}
    assert {one.residency for one in day(workloads=workloads)} == {None, "EU"}


def test_one_agent_repeats_itself_and_nobody_else_does() -> None:
    marks = Counter((one.user, fingerprint(one.workload, text_of(one).encode())) for one in day())
    repeated = {user: count for (user, _), count in marks.items() if count > 5}
    assert repeated == {"agent-in-a-circle": LOOP_REPEATS}


def test_load_follows_the_hours_and_fills_the_floor_by_day() -> None:
    found = [one for one in day() if one.workload == "chat" and one.user != "agent-in-a-circle"]
    by_hour = Counter(int(one.at_s / SECONDS * 24) for one in found)
    assert sum(by_hour[h] for h in (14, 15, 16)) > 3 * sum(by_hour[h] for h in (1, 2, 3))


@given(st.floats(0, 23.999), st.booleans())
def test_the_level_stays_within_its_table_and_the_launch(hour: float, batch: bool) -> None:
    table = BATCH if batch else INTERACTIVE
    assert min(table) <= level(hour, batch=batch) <= max(table) * (1.0 if batch else LAUNCH_FACTOR) + 1e-9


def test_text_has_the_length_that_its_tokens_need() -> None:
    for one in day()[:50]:
        assert len(text_of(one)) == one.tokens_in * 4
    assert text_of(day()[3]) == text_of(day()[3])


def test_the_trace_keeps_times_and_lengths(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv.gz"
    lines = [
        "TIMESTAMP,ContextTokens,GeneratedTokens",
        "2023-11-16 18:15:46.6805900,374,44",
        "2023-11-16 18:15:50.9951690,99999,5000",
        "2023-11-16 18:16:59.0000000,10,10",
    ]
    with gzip.open(file, "wt", encoding="utf-8") as out:
        out.write("\n".join(lines) + "\n")
    found = azure(file, policy(), CALLERS, seconds=60)
    assert [(round(one.at_s, 3), one.tokens_in, one.answer_tokens) for one in found] == [
        (0.0, 374, 44),
        (4.315, 4096 - 1024 - 16, 1024),
    ], "a request longer than the workload's context is cut to it, one after the end is left out"


@pytest.mark.parametrize("pools", [{"floor": pool()}, {"burst": overflow()}, {}])
def test_a_configuration_with_one_side_or_none_has_a_day_too(pools: dict[str, object]) -> None:
    found = day(pools=pools)
    assert bool(found) == bool(pools)
