"""What was paid for nothing, from entries whose sums can be done by hand."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from headrace.audit.record import Entry, Kind
from headrace.audit.spool import Spool
from headrace.cli.router import router
from headrace.errors import Refused
from headrace.router.waste import Rules, waste
from tests.unit.audit.test_chain import entry

SECOND = 1_000_000


def served(number: int, at_s: float, **over: Any) -> Entry:
    return entry(
        number,
        over.pop("kind", Kind.POST),
        **{
            "at_us": round(at_s * SECOND),
            "key_id": "k1",
            "workload": "chat",
            "outcome": "ok",
            "status": 200,
            "cost_nano": 100,
            "tokens_in": 10,
            "tokens_out": 5,
            "prompt_hash": f"p{number}",
            **over,
        },
    )


def test_cost_is_told_by_feature_user_and_conversation() -> None:
    made = waste(
        [
            served(1, 1, feature="search", user_hash="u1", conversation_hash="c1"),
            served(2, 2, feature="search", user_hash="u2", conversation_hash="c2", cost_nano=300),
            served(3, 3, feature="mail", user_hash="u1", tokens_in=90),
            served(4, 4, kind=Kind.RESERVE, feature="mail"),
        ]
    )
    assert {name: (one.requests, one.cost_nano) for name, one in made.features.items()} == {
        "search": (2, 400),
        "mail": (1, 100),
    }
    assert [one.cost_nano for one in made.users.values()] == [300, 200], "the dearest first"
    assert (made.total.requests, made.total.cost_nano) == (3, 500), "a reservation is no request of its own"
    assert made.total.input_to_output == 110 / 15


def test_repeats_resent_context_and_what_nobody_read() -> None:
    made = waste(
        [
            served(1, 1, prompt_hash="same", conversation_hash="c"),
            served(2, 2, prompt_hash="same", outcome="stream-cut", cost_nano=7),
            served(3, 3, prompt_hash="same", cost_nano=40),
            served(4, 4, conversation_hash="c", tokens_in=25, tokens_cached=12),
            served(5, 5, outcome="cancelled", cost_nano=9),
            served(6, 6, kind=Kind.REFUSE, outcome="caller_stopped", status=429, cost_nano=0),
            served(7, 7, tenant="", project="", cost_nano=1),
        ]
    )
    assert (made.repeated.requests, made.repeated.cost_nano) == (1, 40), "after a good answer, and only good ones"
    assert (made.resent_tokens, made.resent_cached) == (15, 12), "10 sent and 5 got before"
    assert (made.abandoned.requests, made.abandoned.cost_nano) == (1, 9)
    assert (made.failed.requests, made.failed.cost_nano) == (1, 7)
    assert made.stopped == 1
    assert (made.own.requests, made.own.cost_nano) == (1, 1), "the router's own requests are nobody's waste"


def test_loops_and_storms_are_runs_of_one_caller() -> None:
    loop = [served(number, number, prompt_hash="again") for number in range(6)]
    later = [served(10 + number, 500 + number, prompt_hash="again") for number in range(5)]
    slow = [served(20 + number, 20 * number, prompt_hash="slow") for number in range(6)]
    other = [served(30 + number, number, prompt_hash="again", key_id="k2") for number in range(4)]
    storm = [
        served(40 + number, number / 10, kind=Kind.REFUSE, outcome="no_capacity", status=503, cost_nano=0)
        for number in range(12)
    ]
    made = waste([*loop, *later, *slow, *other, *storm], Rules(window_s=10, loop_requests=5, storm_failures=10))
    assert [(one.sum.requests, one.seconds) for one in made.loops] == [(6, 5.0), (5, 4.0)]
    assert [one.sum.requests for one in made.storms] == [12]


@given(
    times=st.lists(st.integers(0, 300), min_size=1, max_size=40),
    least=st.integers(2, 6),
    window=st.integers(1, 50),
)
def test_a_loop_is_where_enough_requests_lie_within_the_window(times: list[int], least: int, window: int) -> None:
    entries = [served(number, at, prompt_hash="x") for number, at in enumerate(times)]
    made = waste(entries, Rules(window_s=window, loop_requests=least, top=100))
    found = sum(one.sum.requests for one in made.loops)
    within = [sum(1 for other in times if at <= other <= at + window) for at in times]
    assert bool(made.loops) == (max(within) >= least)
    assert found <= len(times), "no request is in two loops of the same prompt"
    assert made.total.requests == len(times)


def test_the_command_reads_a_journal_and_its_export(tmp_path: Path) -> None:
    async def write() -> None:
        spool = Spool(tmp_path / "spool", "w1")
        promises = [
            spool.append(served(number, 1 + number, prompt_hash="again", feature="mail")) for number in range(6)
        ]
        await asyncio.gather(*(promise for promise in promises if promise is not None))
        spool.close()

    asyncio.run(write())
    run = CliRunner().invoke(router, ["waste", str(tmp_path / "spool"), "--json"])
    assert run.exit_code == 0, run.output
    document = json.loads(run.stdout)
    assert document["byFeature"]["mail"]["requests"] == 6
    assert document["byFeature"]["mail"]["inputToOutput"] == 2.0
    assert document["loops"][0]["requests"] == 6
    assert document["repeatedPrompts"]["requests"] == 5
    words = CliRunner().invoke(router, ["waste", str(tmp_path / "spool")])
    assert words.exit_code == 0, words.output
    assert "loop: search/assistant/k1/- mail: 6 requests in 5.0 s" in words.stdout
    for wrong in (["waste"], ["waste", str(tmp_path / "no")], ["waste", str(tmp_path / "spool"), "--loop", "1"]):
        assert isinstance(CliRunner().invoke(router, wrong, env={"HEADRACE_POSTGRES_DSN": ""}).exception, Refused)
