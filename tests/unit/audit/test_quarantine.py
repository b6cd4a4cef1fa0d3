"""A bad piece of a journal is set aside and everything behind it moves on; nothing ends the drain."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.audit import segments as segments_module
from headrace.audit import spool as spool_module
from headrace.audit.chain import GENESIS, Link
from headrace.audit.ledger import Ledger
from headrace.audit.quarantine import FILE
from headrace.audit.record import Entry, Kind, RecordError, canonical, outline, parse, salvage
from headrace.audit.segments import HASH, HEAD, Damaged, Segment, Torn, frame, read_segment
from headrace.audit.sinks import drain as drain_module
from headrace.audit.sinks.base import MemorySink, SinkConflict
from headrace.audit.sinks.drain import Drain
from headrace.audit.spool import Spool, TooLong, replay
from tests.unit.audit.test_chain import chain, entry
from tests.unit.audit.test_spool import fill, on_disk

LINKS = chain(8)
FRAMES = [frame(item) for item in LINKS]
# Offsets in a frame: length (to something small, to something huge), checksum, hash, record.
PLACES = {"length": 3, "huge length": 0, "checksum": 5, "hash": HEAD + 3, "record": HEAD + HASH + 20}


def pieces(directory: Path) -> list[dict[str, Any]]:
    file = directory / FILE
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def sequences(sink: MemorySink) -> list[int]:
    return [item.sequence for item in sink.links.get("w1", ())]


def flip(file: Path, number: int, within: int) -> None:
    """Changes one byte of the frame of an entry in the first segment."""
    data = bytearray(file.read_bytes())
    at = sum(len(one) for one in FRAMES[:number]) + within
    data[at] ^= 0x55
    file.write_bytes(bytes(data))


async def drained(spool: Spool, sink: MemorySink) -> None:
    drain = Drain(spool, sink)
    while await drain.step():
        pass


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("number", [0, 3, 6])
async def test_a_damaged_entry_is_set_aside_once_and_all_others_reach_the_sink(
    tmp_path: Path, place: str, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    spool, sink = Spool(tmp_path, "w1"), MemorySink()
    await fill(spool, 8)
    flip(next(tmp_path.glob("*.journal")), number, PLACES[place])
    with caplog.at_level(logging.WARNING):
        await drained(spool, sink)
        await drained(spool, MemorySink())  # a sink that begins anew meets it again
    assert sequences(sink) == [one for one in range(8) if one != number]
    assert all(item == LINKS[item.sequence] for item in sink.links["w1"])
    spool.close()
    again = Spool(tmp_path, "w1")
    assert again.durable == 8, "the damage in its middle cuts nothing off"
    assert on_disk(again) == sequences(sink)
    await fill(again, 2, start=8)
    await drained(again, sink)
    assert sequences(sink)[-2:] == [8, 9]
    assert [(one["sequence"], one["entries"], one["why"]) for one in pieces(tmp_path)] == [(number, 1, "damaged")]
    assert len(bytes.fromhex(pieces(tmp_path)[0]["bytes"])) == len(FRAMES[number])
    assert again.quarantine.pieces == {"damaged": 1}
    assert [record.message for record in caplog.records] == ["a piece of the journal was set aside"]
    again.close()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_bytes_are_damaged_the_rest_keeps_its_place(data: st.DataObject, tmp_path_factory: Any) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(segments_module, "STEP", data.draw(st.sampled_from([1, 64, 300, 1 << 18])))
        _damage_and_read(data, tmp_path_factory.mktemp("segment") / "0000000000000000.journal")


def _damage_and_read(data: st.DataObject, file: Path) -> None:
    whole = b"".join(FRAMES)
    start = data.draw(st.integers(0, len(whole) - 1))
    length = data.draw(st.integers(1, 2 * len(FRAMES[0])))
    noise = data.draw(st.binary(min_size=length, max_size=length))
    broken = (whole[:start] + noise + whole[start + length :])[: len(whole)]
    file.write_bytes(broken)
    ends = [sum(map(len, FRAMES[: number + 1])) for number in range(len(FRAMES))]
    touched = {number for number, end in enumerate(ends) if broken[end - len(FRAMES[number]) : end] != FRAMES[number]}
    found, aside, bad_bytes = [], 0, 0
    for item in read_segment(Segment(path=file, first=0), "w1", GENESIS, until=8):
        assert not isinstance(item, Torn), "with a segment behind it nothing is a torn end"
        if isinstance(item, Damaged):
            aside, bad_bytes = aside + item.count, bad_bytes + item.bytes
        else:
            found.append(item)
    assert [item.sequence for item in found] == [number for number in range(8) if number not in touched]
    assert all(item.record == LINKS[item.sequence].record and item.hash == LINKS[item.sequence].hash for item in found)
    assert aside == len(touched)
    assert bad_bytes == sum(len(FRAMES[number]) for number in touched), "every bad byte is in some piece"


async def test_damage_at_the_end_of_a_segment_does_not_hold_up_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", len(b"".join(FRAMES[:3])))
    spool, sink = Spool(tmp_path, "w1"), MemorySink()
    await fill(spool, 8)
    flip(min(tmp_path.glob("*.journal")), 2, PLACES["record"])
    drain = Drain(spool, sink)
    await drain.step()
    assert sequences(sink) == [0, 1, 3, 4, 5, 6, 7]
    assert spool.base.size == 6, "whole segments still go once they are drained"
    spool.close()
    again = Spool(tmp_path, "w1")
    assert replay(again).balance("2026-11", "environment").spent == 7 * 120
    again.close()


async def test_a_torn_end_is_cut_off_and_kept(tmp_path: Path) -> None:
    spool, sink = Spool(tmp_path, "w1"), MemorySink()
    await fill(spool, 3)
    spool.close()
    file = next(tmp_path.glob("*.journal"))
    file.write_bytes(file.read_bytes() + FRAMES[3][:50])
    again = Spool(tmp_path, "w1")
    await fill(again, 2, start=3)
    await drained(again, sink)
    assert sequences(sink) == [0, 1, 2, 3, 4]
    assert [(one["sequence"], one["why"], one["bytes"]) for one in pieces(tmp_path)] == [
        (3, "torn", FRAMES[3][:50].hex())
    ]
    again.close()


async def test_an_entry_that_is_too_long_gets_no_place_and_one_in_the_file_is_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, sink = Spool(tmp_path, "w1"), MemorySink()
    await fill(spool, 2)
    with pytest.raises(TooLong):
        spool.append(entry(2, decision="x" * (1 << 20)))
    assert spool.size == 2, "a reader would stop at it"
    with monkeypatch.context() as larger:  # a release with a larger limit wrote it
        larger.setattr(spool_module, "LARGEST_FRAME", 2 << 20)
        promise = spool.append(entry(2, decision="x" * (1 << 20)))
        assert promise is not None
        await promise
    await fill(spool, 2, start=3)
    assert segments_module.LARGEST_FRAME == 1 << 20
    await drained(spool, sink)
    assert sequences(sink) == [0, 1, 3, 4]
    assert [(one["sequence"], one["why"]) for one in pieces(tmp_path)] == [(2, "damaged")]
    spool.close()


def later(number: int) -> bytes:
    """An entry as a later release might write it."""
    return canonical(entry(number))[:-1] + b',"zone":"eu-central-1a"}'


async def test_an_entry_of_a_later_release_reaches_the_sink_and_counts_against_budgets(tmp_path: Path) -> None:
    spool, sink = Spool(tmp_path, "w1"), MemorySink()
    await fill(spool, 2)
    promise = spool.append(later(2))
    assert promise is not None
    await promise
    await fill(spool, 40, start=3)
    await drained(spool, sink)
    assert sequences(sink) == list(range(43)), "a sink needs to know no more of it than kind, request and time"
    for _ in range(2):
        assert replay(spool).balance("2026-11", "environment").spent == 43 * 120, "its cost is known, so it counts"
    assert [(one["sequence"], one["why"], one["bytes"]) for one in pieces(tmp_path)] == [
        (2, "unreadable", later(2).hex())
    ], "somebody should know that this release does not understand it, once"
    spool.close()


async def test_what_is_no_entry_at_all_is_set_aside_by_halves(tmp_path: Path) -> None:
    spool, sink = Spool(tmp_path, "w1"), MemorySink()
    for number in range(150):
        promise = spool.append(b"\x01[]" if number in (0, 77, 149) else canonical(entry(number)))
    assert promise is not None
    await promise
    await drained(spool, sink)
    assert sequences(sink) == [one for one in range(150) if one not in (0, 77, 149)]
    assert [(one["sequence"], one["why"]) for one in pieces(tmp_path)] == [
        (number, "unstorable") for number in (0, 77, 149)
    ]
    replay(spool)
    assert spool.quarantine.pieces == {"unstorable": 3}, "the same piece is kept once, whoever meets it next"
    spool.close()


@pytest.mark.parametrize("step", [1, 100, 1000])
async def test_who_goes_on_where_it_ended_reads_every_entry_once_and_only_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(segments_module, "STEP", step)
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 1000)
    spool, at, seen = Spool(tmp_path, "w1"), 0, list[int]()
    for round_ in range(6):
        await fill(spool, 7, start=round_ * 7)
        while found := spool.links_from(at, 3):
            links = [item for item in found if isinstance(item, Link)]
            assert len(links) == len(found) <= 3
            seen += [item.sequence for item in links]
            at = links[-1].sequence + 1
    assert seen == list(range(42))
    assert len(list(tmp_path.glob("*.journal"))) > 3
    assert [item.sequence for item in spool.links_from(20, 2) if isinstance(item, Link)] == [20, 21], "or anywhere else"
    spool.close()


async def test_a_drain_that_is_up_to_date_reads_little_of_a_long_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [0]
    frame_at = segments_module._frame_at

    def counting(data: bytes, offset: int) -> Any:
        frames[0] += 1
        return frame_at(data, offset)

    spool = Spool(tmp_path, "w1")
    await fill(spool, 500)
    assert len(spool.links_from(0, 1000)) == 500
    monkeypatch.setattr(segments_module, "_frame_at", counting)
    await fill(spool, 2, start=500)
    assert len(spool.links_from(500, 1000)) == 2
    assert frames[0] < 10
    spool.close()


@given(
    st.builds(
        entry, st.integers(0, 9), st.sampled_from(list(Kind)), decision=st.text(), wait_us=st.integers(0, 1 << 60)
    )
)
def test_an_outline_is_what_the_whole_entry_says(one: Entry) -> None:
    data = canonical(one)
    assert outline(data) == (parse(data).kind, one.request_id, one.at_us)


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x02{}", b"\x01{}", b"\x01[]", b'\x01{"kind":"post","at_us":1.5}'])
def test_nothing_else_has_an_outline(data: bytes) -> None:
    with pytest.raises(RecordError):
        outline(data)


def test_only_what_is_understood_is_salvaged() -> None:
    assert salvage(canonical(entry(1))) == entry(1)
    assert salvage(later(1)) == entry(1)
    assert salvage(b'\x02{"kind":"post"}') is None
    assert salvage(b"\x01[]") is salvage(b"\x01{") is salvage(b"") is None
    wrong = canonical(entry(1)).replace(b'"cost_nano":120', b'"cost_nano":"a lot"')
    salvaged = salvage(wrong)
    assert salvaged is not None
    assert salvaged.cost_nano == 0
    Ledger().apply(salvaged)


async def test_a_quarantine_file_that_a_crash_cut_short_is_read_and_continued(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "w1")
    await fill(spool, 8)
    file = next(tmp_path.glob("*.journal"))
    flip(file, 2, PLACES["record"])
    await drained(spool, MemorySink())
    flip(file, 5, PLACES["record"])
    await drained(spool, MemorySink())
    spool.close()
    kept = tmp_path / FILE
    kept.write_bytes(kept.read_bytes()[:-40])
    again = Spool(tmp_path, "w1")
    whole = [line for line in kept.read_text().splitlines() if line.endswith("}")]
    assert [json.loads(line)["sequence"] for line in whole] == [2, 5]
    assert again.quarantine.pieces == {"damaged": 2}
    again.close()


class Moody(MemorySink):
    """Fails in ways that nobody thought of."""

    def __init__(self, faults: int) -> None:
        super().__init__()
        self.faults = faults

    async def write(self, links: Sequence[Link]) -> None:
        if self.faults:
            self.faults -= 1
            raise ZeroDivisionError("a fault of ours")
        await super().write(links)


async def test_nothing_that_nobody_thought_of_ends_the_drain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain_module, "_POLL_S", 0.001)
    failed: list[str] = []
    spool, sink = Spool(tmp_path, "w1"), Moody(3)
    await fill(spool, 8)
    drain = Drain(spool, sink, failed=failed.append)
    task = asyncio.create_task(drain.run())
    async with asyncio.timeout(60):
        while sequences(sink) != list(range(8)):
            assert not task.done(), "the drain has ended"
            await asyncio.sleep(0.001)
    assert failed == ["unexpected"] * 3
    assert drain.behind == 0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not pieces(tmp_path), "what a fault of ours stops is no bad piece"
    spool.close()


async def test_a_journal_that_was_begun_anew_under_an_old_name_is_a_conflict(tmp_path: Path) -> None:
    sink = MemorySink()
    await sink.write(LINKS)
    spool = Spool(tmp_path, "w1")
    await fill(spool, 3)
    with pytest.raises(SinkConflict, match="begun anew"):
        await Drain(spool, sink).step()
    assert [parse(item.record).request_id for item in sink.links["w1"]] == [f"q{number}" for number in range(8)]
    spool.close()
