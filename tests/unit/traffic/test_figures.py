"""Figures of a replay: what is billed, shares, percentiles, the page."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.router.types import NANO
from headrace.traffic.client import read_answer
from headrace.traffic.figures import Figures, figures, percentile
from headrace.traffic.page import context, html, notes
from headrace.traffic.pricing import Objective, alternatives, objectives
from tests.unit.router.worlds import document, overflow, pool
from tests.unit.traffic.samples import PACE, SECONDS, START_S, Replay, ask, paces, policy, row


def made(
    replay: Replay | None = None, *, mismatches: tuple[str, ...] = (), late_s: tuple[float, ...] = (0.01,)
) -> Figures:
    one = replay or Replay()
    asks = [ask(at_s=float(at)) for at in range(20)]
    sides = alternatives(one.policy, asks, paces(one.policy), objectives(one.policy, {}), seconds=SECONDS)
    return figures(
        one.policy,
        one.rows,
        name="day",
        source="made up",
        start_s=START_S,
        seconds=SECONDS,
        speed=10.0,
        callers_first_s=[0.3],
        late_s=late_s,
        streams=frozenset({"a", "b", "c"}),
        shares={"chat": 0.95},
        before=one.before,
        after=one.after,
        alternatives=sides,
        started_ahead=1,
        mismatches=mismatches,
    )


def test_a_floor_is_billed_for_the_whole_time_and_overflow_for_what_the_vendor_counts() -> None:
    pools = {one.name: one for one in made().pools}
    assert pools["floor"].usd == pytest.approx(2 * SECONDS * 200_000 / NANO), "two instances, used or not"
    assert pools["burst"].usd == pytest.approx(90.0 * 300_000 / NANO)
    assert pools["burst"].cold_starts == 1


def test_shares_and_reasons_come_from_the_ledger() -> None:
    found = made()
    assert (found.requests, found.served, found.spilled) == (3, 2, 1)
    assert found.refusals == {"rate_limited": 1}
    assert found.spills == {"spill-full": 1}
    assert sum(one.share for one in found.pools) == pytest.approx(1.0)


def test_what_each_replica_took_adds_up_and_stands_on_the_page() -> None:
    replay = Replay()
    replay.rows[1] = row("b", writer="router-1", pool="burst", reason="spill-full", spilled=True, cold=True)
    found = made(replay)
    assert [(one.name, one.requests, one.spilled) for one in found.replicas] == [("router-0", 2, 0), ("router-1", 1, 1)]
    assert sum(one.requests for one in found.replicas) == found.requests
    assert "2 replicas ran" in " ".join(notes([found], replay.policy))
    assert "One replica ran" in " ".join(notes([made()], replay.policy))


def test_a_refused_stream_counts_as_missed_for_all_and_not_for_the_answered() -> None:
    (slo,) = made().slo
    assert slo.attained == 1.0
    assert slo.of_all == pytest.approx(2 / 3)


def test_in_flight_rises_and_falls_with_the_requests() -> None:
    replay = Replay()
    replay.rows = [row("a", at_s=START_S + 120.0, latency_s=60.0), row("b", at_s=START_S + 90.0, latency_s=60.0)]
    line = made(replay).timeline.in_flight["floor"]
    assert max(line) == 2, "they overlap from 60 s to 90 s"
    assert line[0] == 0
    assert line[-1] == 0


def test_costs_of_a_day_are_the_replays_over_its_share_of_the_day() -> None:
    found = made()
    assert found.per_day(found.usd) == pytest.approx(found.usd * 86_400 / SECONDS)
    assert found.per_thousand(2.0, 1000) == 2.0


def test_the_document_is_plain_and_has_no_timeline() -> None:
    document_ = made().document()
    assert "timeline" not in document_
    assert {"usdPer1kTokens", "coldStarts", "firstToken", "dedicated", "serverless", "mismatches"} <= document_.keys()


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.1, 100))
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(one <= found for one in values) >= len(values) * percent / 100 - 1e-6


def test_no_values_have_no_percentile() -> None:
    assert percentile([], 50) is None


def test_all_dedicated_holds_the_fewest_replicas_that_keep_the_objective() -> None:
    of = policy()
    asks = [ask(at_s=at * 0.25, answer_tokens=50) for at in range(200)]
    wanted = {"chat": Objective(limit_s=1.0, share=0.95), "digest": Objective(limit_s=60, share=0.95)}
    dedicated, serverless = alternatives(of, asks, paces(of), wanted, seconds=60.0)
    (side,) = dedicated.sides
    # 4 requests a second for 2.525 s each: 10.1 slots at once, four in a replica.
    assert side.instances == 3
    assert side.usd == pytest.approx(3 * 60 * 200_000 / NANO)
    assert serverless.sides[0].cold_starts >= 3


def test_an_objective_that_long_prompts_break_by_themselves_is_kept_as_far_as_possible() -> None:
    of = policy()
    asks = [ask(at_s=float(at), tokens_in=8000 if at % 2 else 100) for at in range(20)]
    wanted = {"chat": Objective(limit_s=1.0, share=0.95), "digest": Objective(limit_s=60, share=0.95)}
    (side,) = alternatives(of, asks, paces(of), wanted, seconds=60.0)[0].sides
    assert side.instances == 1
    assert side.attained == pytest.approx(0.5)


def test_requests_that_may_not_enter_a_provider_are_left_out_of_all_serverless() -> None:
    workloads = document()["workloads"]
    workloads["chat"] = {**workloads["chat"], "allowedJurisdictions": ["EU", "US"]}
    of = policy(workloads=workloads, pools={"floor": pool(), "burst": overflow(ingressJurisdictions=["US"])})
    asks = [ask(at_s=1.0), ask(at_s=2.0, residency="EU")]
    _, serverless = alternatives(of, asks, paces(of), objectives(of, {}), seconds=10.0)
    assert (serverless.requests, serverless.left_out) == (1, 1)


def test_the_page_is_one_file_without_links_and_says_what_is_a_stand_in() -> None:
    page = html(context([made()], policy(), version="sha256:0"))
    assert not re.search(r"(src|href)=[\"']https?:", page), "nothing is loaded from elsewhere"
    assert page.count("<svg") == 5
    assert "Stand-ins: model servers" in page
    assert "All of these held" in page


def test_the_page_says_when_counts_disagree() -> None:
    page = html(context([made(mismatches=("floor <b>lost</b> a request",))], policy(), version="sha256:0"))
    assert "1 counts disagree" in page
    assert "&lt;b&gt;lost" in page, "text is escaped"


def test_a_machine_that_was_too_busy_is_named_as_a_part_of_every_wait() -> None:
    slow = made(late_s=(0.02, 0.3, 0.4))
    assert "day: requests left up to 0.40 s after their time" in html(context([slow], policy(), version="sha256:0"))
    assert made().caution is None, "a few milliseconds late is on time"


@pytest.mark.parametrize(
    ("data", "stream", "status", "expected"),
    [
        (b'{"usage": {"completion_tokens": 7}}', False, 200, (7, "", True)),
        (b'data: {"usage": {"completion_tokens": 9}}\n\ndata: [DONE]\n\n', True, 200, (9, "", True)),
        (b'data: {"choices": []}\n\n', True, 200, (None, "", False)),
        (b'{"error": {"code": "no_capacity"}}', True, 503, (None, "no_capacity", False)),
        (b"<html>", False, 502, (None, "status-502", False)),
        (b"not json", False, 200, (None, "unreadable", False)),
    ],
)
def test_a_caller_reads_what_it_got(data: bytes, *, stream: bool, status: int, expected: object) -> None:
    assert read_answer(data, stream=stream, status=status) == expected


def test_a_pace_adds_prefill_and_decode() -> None:
    assert PACE.service_s(4000, 20) == pytest.approx(2.0)
