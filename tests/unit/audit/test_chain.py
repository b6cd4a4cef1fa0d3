"""Canonical bytes, the chain, and that any change to it is found."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.audit.chain import GENESIS, Broken, Checkpoint, Intact, Link, genuine, link, sign, verify
from headrace.audit.ledger import fold
from headrace.audit.record import Entry, Kind, RecordError, canonical, keyed_hash, parse, record_hash


def entry(number: int = 0, kind: Kind = Kind.POST, **over: object) -> Entry:
    fields: dict[str, object] = {
        "kind": kind,
        "request_id": f"q{number}",
        "at_us": 1_790_000_000_000_000 + number,
        "period": "2026-11",
        "environment": "test",
        "tenant": "search",
        "project": "assistant",
        "cost_nano": 120,
        **over,
    }
    return Entry(**fields)  # type: ignore[arg-type] # fields of several types by name


def chain(count: int) -> list[Link]:
    links, head = [], GENESIS
    for number in range(count):
        links.append(link("w1", number, head, canonical(entry(number))))
        head = links[-1].hash
    return links


# Frozen on 2026-11-21. A journal written then must verify for ever: a change here breaks every existing one.
VECTORS = [
    (
        entry(1, wait_us=5, spilled=True),
        (
            b'\x01{"at_us":1790000000000001,"cost_nano":120,"environment":"test","kind":"post","period":"2026-11",'
            b'"project":"assistant","request_id":"q1","spilled":true,"tenant":"search","wait_us":5}'
        ),
    ),
    (
        entry(2, Kind.REFUSE, decision="not floor: voll besetzt ü", status=503, cost_nano=0),
        '\x01{"at_us":1790000000000002,"decision":"not floor: voll besetzt ü","environment":"test","kind":"refuse",'
        '"period":"2026-11","project":"assistant","request_id":"q2","status":503,"tenant":"search"}'.encode(),
    ),
]


@pytest.mark.parametrize(("record", "data"), VECTORS)
def test_canonical_bytes_never_change(record: Entry, data: bytes) -> None:
    assert canonical(record) == data
    assert parse(data) == record


def test_the_hash_of_a_link_never_changes() -> None:
    assert chain(2)[1].hash.hex() == "993c0b4446cfa68bc151412bd284bf250ebc93ddd0a4e4ca8207fc6859517e32"
    assert record_hash(b"\x01{}") != chain(1)[0].hash


@pytest.mark.parametrize(
    "data", [b"", b"\x02{}", b"\x01[]", b"\x01{", b'\x01{"kind":"post"}', b'\x01{"kind":1}', b'\x01{"colour":"red"}']
)
def test_anything_else_is_no_record(data: bytes) -> None:
    with pytest.raises(RecordError):
        parse(data)


def test_an_untouched_chain_is_intact() -> None:
    links = chain(5)
    assert verify("w1", links) == Intact(writer="w1", size=5, head=links[-1].hash)
    assert verify("w1", []) == Intact(writer="w1", size=0, head=GENESIS)


@settings(max_examples=150)
@given(data=st.data())
def test_any_flipped_dropped_swapped_or_repeated_entry_is_found(data: st.DataObject) -> None:
    links = chain(6)
    mark = Checkpoint(writer="w1", size=6, head=links[-1].hash, at_us=1)
    where = data.draw(st.integers(0, 5))
    match data.draw(st.sampled_from(["flip", "drop", "swap", "repeat", "cut", "rewrite"])):
        case "flip":
            record = bytearray(links[where].record)
            place = data.draw(st.integers(0, len(record) - 1))
            record[place] ^= 1 << data.draw(st.integers(0, 7))
            links[where] = replace(links[where], record=bytes(record))
        case "drop":
            del links[where]
        case "swap":
            other = (where + 1) % 6
            links[where], links[other] = links[other], links[where]
        case "repeat":
            links.insert(where, links[where])
        case "cut":
            links = links[:where]
        case "rewrite":  # a whole new chain from `where` on, consistent in itself
            head = links[where].previous
            for number in range(where, 6):
                links[number] = link("w1", number, head, canonical(entry(number, cost_nano=1)))
                head = links[number].hash
    assert isinstance(verify("w1", links, [mark]), Broken)


def test_two_checkpoints_of_one_size_that_differ_are_evidence() -> None:
    links = chain(2)
    good = Checkpoint(writer="w1", size=2, head=links[-1].hash, at_us=1)
    assert isinstance(verify("w1", links, [good, replace(good, head=bytes(32))]), Broken)


def test_a_checkpoint_is_genuine_only_with_its_key() -> None:
    signed = sign(Checkpoint(writer="w1", size=2, head=bytes(32), at_us=1), b"key")
    assert genuine(signed, b"key")
    assert not genuine(signed, b"other")
    assert not genuine(replace(signed, size=1), b"key")


def test_a_crash_cannot_hide_spending_and_nothing_counts_twice() -> None:
    ledger = fold(
        [
            entry(1, Kind.RESERVE, reserved_nano=100, cost_nano=0),
            entry(1, Kind.POST, cost_nano=40),
            entry(1, Kind.POST, cost_nano=40),
            entry(2, Kind.RESERVE, reserved_nano=70, cost_nano=0),
            entry(3, Kind.RESERVE, reserved_nano=50, cost_nano=0),
            entry(3, Kind.VOID),
            entry(4, Kind.RESERVE, reserved_nano=10, cost_nano=0),
            entry(4, Kind.POST, cost_nano=12),
        ]
    )
    for scope in ("environment", "tenant/search", "project/search/assistant"):
        balance = ledger.balance("2026-11", scope)
        assert (balance.spent, balance.reserved) == (52, 70)
    assert (ledger.repeated, ledger.overruns, set(ledger.open)) == (1, 1, {"q2"})


def test_the_hash_of_a_prompt_differs_by_tenant_and_key() -> None:
    hashes = {keyed_hash(key, tenant, b"hello") for key in (b"a", b"b") for tenant in ("x", "y")}
    assert len(hashes) == 4
