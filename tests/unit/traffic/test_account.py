"""Whatever one side counts otherwise is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from headrace.router.types import NANO
from headrace.traffic.account import added, mismatches, read_metrics, together
from tests.unit.traffic.samples import Replay, row, seen, series


def found(replay: Replay) -> list[str]:
    return mismatches(replay.policy, replay.seen, replay.rows, replay.overhead, replay.before, replay.after)


def test_a_replay_in_which_all_counts_agree_has_no_mismatch() -> None:
    assert found(Replay()) == []


def lose(replay: Replay) -> None:
    replay.rows.pop(0)


def double(replay: Replay) -> None:
    replay.rows.append(row("a", cost_nano=0))


def foreign(replay: Replay) -> None:
    replay.rows.append(row("z", cost_nano=0))


def no_id(replay: Replay) -> None:
    replay.seen.append(seen("", status=0, error="ClientConnectorError", complete=False))


def other_tokens(replay: Replay) -> None:
    replay.seen[0] = replace(replay.seen[0], tokens_out=19)


def other_pool(replay: Replay) -> None:
    replay.seen[0] = replace(replay.seen[0], pool="burst")


def other_refusal(replay: Replay) -> None:
    replay.seen[2] = replace(replay.seen[2], code="no_capacity")


def cut_short(replay: Replay) -> None:
    replay.seen[0] = replace(replay.seen[0], complete=False)


def metric_missing(replay: Replay) -> None:
    replay.metrics[series("headrace_requests_total", pool="floor", status="200", workload="chat")] = 2


def spill_uncounted(replay: Replay) -> None:
    replay.metrics[series("headrace_spills_total", pool="burst", reason="spill-full")] = 0


def overcharged(replay: Replay) -> None:
    replay.accounts["tenant/search"]["spentNano"] += 1


def start_unbooked(replay: Replay) -> None:
    replay.overhead.clear()


def over_budget(replay: Replay) -> None:
    replay.accounts["environment"]["reservedNano"] = 1000 * NANO


def tokens_from_nowhere(replay: Replay) -> None:
    replay.servers["floor"]["tokensOut"] = 10


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lose, "not in the ledger"),
        (double, "more than one outcome"),
        (foreign, "no caller sent"),
        (no_id, "without an id"),
        (other_tokens, "got 19 tokens, the ledger charges 20"),
        (other_pool, "saw 200 from burst, the ledger holds 200 from floor"),
        (other_refusal, "refused with no_capacity"),
        (cut_short, "broken answer"),
        (metric_missing, "count requests differently"),
        (spill_uncounted, "headrace_spills_total grew by 0"),
        (overcharged, "tenant/search was charged 4001"),
        (start_unbooked, "environment was charged 4500"),
        (over_budget, "of a budget of"),
        (tokens_from_nowhere, "generated 10 tokens, the ledger charges 20"),
    ],
)
def test_a_count_that_differs_is_said(spoil: Callable[[Replay], None], words: str) -> None:
    replay = Replay()
    spoil(replay)
    said = found(replay)
    assert any(words in sentence for sentence in said), said


def test_a_caller_that_hung_up_may_have_left_a_little_unread() -> None:
    replay = Replay()
    replay.seen[0] = replace(replay.seen[0], left=True, complete=False, tokens_out=None)
    replay.rows[0] = replace(replay.rows[0], status=499, outcome="cancelled", tokens_out=8)
    replay.metrics.pop(series("headrace_requests_total", pool="floor", status="200", workload="chat"))
    replay.metrics[series("headrace_requests_total", pool="floor", status="499", workload="chat")] = 1
    assert found(replay) == [], "the server generated 20 tokens, 8 were read before the caller went away"


def test_a_caller_that_hung_up_on_the_last_byte_may_be_booked_either_way() -> None:
    for status, outcome, tokens in ((499, "cancelled", 12), (200, "ok", 20)):
        replay = Replay()
        replay.seen[0] = replace(replay.seen[0], ask=replace(replay.seen[0].ask, leaves_after_s=1.0))
        replay.rows[0] = replace(replay.rows[0], status=status, outcome=outcome, tokens_out=tokens)
        replay.metrics.pop(series("headrace_requests_total", pool="floor", status="200", workload="chat"))
        replay.metrics[series("headrace_requests_total", pool="floor", status=str(status), workload="chat")] = 1
        assert found(replay) == [], outcome


def test_metrics_are_read_by_series_and_labels() -> None:
    text = '# TYPE headrace_spills counter\nheadrace_spills_total{pool="b",reason="spill-full"} 3.0\n'
    assert read_metrics(text)[series("headrace_spills_total", pool="b", reason="spill-full")] == 3.0


def test_what_two_routers_counted_is_added_up() -> None:
    first, second = {series("n", pool="floor"): 2.0}, {series("n", pool="floor"): 3.0, series("n", pool="burst"): 1.0}
    assert added([first, second]) == {series("n", pool="floor"): 5.0, series("n", pool="burst"): 1.0}
    accounts = [
        {"environment": {"spentNano": 5, "reservedNano": 1}},
        {"environment": {"spentNano": 7, "reservedNano": 0}},
    ]
    assert together(accounts) == {"environment": {"spentNano": 12, "reservedNano": 1}}
