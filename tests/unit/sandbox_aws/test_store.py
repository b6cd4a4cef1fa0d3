"""The recorded store, the kept properties and the faults, without any server."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_sandbox.aws.errors import AwsError
from headrace_sandbox.aws.faults import Fault, Faults
from headrace_sandbox.aws.kept import overlay
from headrace_sandbox.aws.moto_process import Clock, Journal
from headrace_sandbox.aws.store import Kind, Later, Store
from headrace_sandbox.aws.wire import parse
from headrace_sandbox.aws.world import page

THING = Kind(service="s", name="thing")
GLOBAL = Kind(service="s", name="global", regional=False)


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_document_comes_back_after_the_file_is_reopened(tmp_path: Path) -> None:
    store = Store(tmp_path / "a" / "store.sqlite")
    store.put(THING, "r", "k", {"x": 1})
    store.close()
    again = Store(tmp_path / "a" / "store.sqlite")
    assert again.get(THING, "r", "k") == {"x": 1}
    assert again.get(THING, "other-region", "k") is None, "regions are worlds of their own"


def test_a_transition_happens_when_its_time_has_come_and_not_before(tmp_path: Path) -> None:
    time = Time()
    store = Store(tmp_path / "s", clock=time)
    store.put(THING, "r", "k", {"status": "CREATING", "x": 1}, later=Later(seconds=5, members={"status": "ACTIVE"}))
    time.now += 4.9
    assert store.get(THING, "r", "k") == {"status": "CREATING", "x": 1}
    store.amend(THING, "r", "k", {"x": 2})
    time.now += 0.2
    assert store.get(THING, "r", "k") == {"status": "ACTIVE", "x": 2}, "an amendment doesn't cancel what is pending"
    store.put(THING, "r", "k", {"status": "DELETING"}, later=Later(seconds=1, members=None))
    time.now += 2
    assert store.list(THING, "r") == [] and store.get(THING, "r", "k") is None


def test_listings_keep_the_order_of_creation(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    for key in "cab":
        store.put(THING, "r", key, {"k": key}, parent="p")
    store.put(THING, "r", "c", {"k": "c", "again": True}, parent="p")
    assert [doc["k"] for doc in store.list(THING, "r", parent="p")] == ["c", "a", "b"]
    assert store.list(THING, "r", parent="q") == []


def test_a_global_kind_is_the_same_in_every_region(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    store.put(GLOBAL, "eu-west-1", "k", {})
    assert store.get(GLOBAL, "us-east-1", "k") == {}


@given(st.lists(st.integers(), max_size=30), st.integers(min_value=1, max_value=7))
def test_pages_joined_are_the_whole(items: list[int], size: int) -> None:
    seen: list[int] = []
    more: dict[str, str] = {}
    while True:
        part, more = page(items, {"maxResults": size, **more})
        seen += part
        if not more:
            break
    assert seen == items


def test_a_token_that_no_listing_gave_is_refused() -> None:
    with pytest.raises(AwsError):
        page([1], {"nextToken": "mine"})


def test_what_was_asked_for_wins_and_what_only_the_server_knows_stays() -> None:
    served = {"a": 1, "nested": {"b": 2, "c": 3}, "nics": [{"index": 0, "id": "eni"}]}
    kept = {"nested": {"c": 4}, "nics": [{"index": 0, "type": "efa"}], "d": 5}
    assert overlay(served, kept) == {
        "a": 1,
        "nested": {"b": 2, "c": 4},
        "nics": [{"index": 0, "id": "eni", "type": "efa"}],
        "d": 5,
    }
    assert overlay({"x": [1]}, {"x": [1, 2]}) == {"x": [1, 2]}, "a list of another length is replaced"


def test_faults_are_taken_in_order_and_calls_are_counted() -> None:
    body = b"Action=DescribeVpcs&Version=2016-11-15"
    headers = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=A/20261121/r/ec2/aws4_request",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    call = parse(method="POST", url="http://127.0.0.1:1/", headers=headers, body=body)
    faults = Faults()
    faults.order("ec2", "DescribeVpcs", Fault.THROTTLE, 1)
    faults.order("ec2", "DescribeVpcs", Fault.ERROR, 1)
    assert [faults.take(call) for _ in range(3)] == [Fault.THROTTLE, Fault.ERROR, None]
    assert faults.calls["ec2:DescribeVpcs"] == 3 and faults.due() == {}


def test_the_journal_gives_back_calls_in_order_without_what_belongs_to_the_server(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j" / "moto.sqlite")
    for n in range(3):
        journal.append(
            float(n), f"seed{n}", {"REQUEST_METHOD": "POST", "HTTP_X": "1", "wsgi.input": object()}, bytes([n])
        )
    again = Journal(tmp_path / "j" / "moto.sqlite")
    assert [(at, seed, body) for at, seed, _, body in again.calls()] == [
        (0.0, "seed0", b"\0"),
        (1.0, "seed1", b"\1"),
        (2.0, "seed2", b"\2"),
    ]
    assert all(environ == {"REQUEST_METHOD": "POST", "HTTP_X": "1"} for _, _, environ, _ in again.calls())


def test_the_clock_of_a_replay_shows_the_time_of_the_call() -> None:
    clock = Clock()
    clock.frozen_at = 1_700_000_000.0
    assert clock.module.datetime.now().timestamp() == 1_700_000_000.0
    clock.frozen_at = None
    assert clock.module.datetime.now().timestamp() > 1_700_000_000.0
