"""The spool keeps what it promised: through crashes at every file operation, torn ends, full queues and restarts."""

from __future__ import annotations

import asyncio
import contextlib
import time
import zlib
from pathlib import Path

import pytest

from headrace.audit import spool as module
from headrace.audit.chain import Intact, Link, verify
from headrace.audit.record import Kind, parse
from headrace.audit.spool import Pushback, Spool, SpoolBroken, replay
from headrace.audit.spool_base import Files
from headrace.errors import Refused
from tests.unit.audit.test_chain import entry


class Stop(Exception):
    """The process ends here."""


class Failing(Files):
    """Fails at the n-th operation and ever after, like a process that was killed; writes go in halves."""

    def __init__(self, at: int | None) -> None:
        self.left = at
        self.count = 0

    def _step(self) -> None:
        self.count += 1
        if self.left is not None and self.count >= self.left:
            raise Stop

    def write(self, handle: int, data: bytes) -> int:
        self._step()
        return super().write(handle, data[: max(1, len(data) // 2)])

    def sync(self, handle: int) -> None:
        self._step()
        super().sync(handle)

    def sync_directory(self, path: Path) -> None:
        self._step()
        super().sync_directory(path)

    def replace(self, source: Path, target: Path) -> None:
        self._step()
        super().replace(source, target)


async def fill(spool: Spool, count: int, start: int = 0) -> list[int]:
    """Appends entries one by one; the numbers that were acknowledged."""
    kept = []
    for number in range(start, start + count):
        try:
            promise = spool.append(entry(number))
            assert promise is not None
            await promise
            kept.append(number)
        except (SpoolBroken, Pushback):
            break
    return kept


def on_disk(spool: Spool) -> list[int]:
    return [int(parse(item.record).request_id[1:]) for item in spool.links()]


async def test_entries_come_back_in_order_after_a_restart(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "w1")
    assert await fill(spool, 20) == list(range(20))
    spool.close()
    again = Spool(tmp_path, "w1")
    await fill(again, 5, start=20)
    assert on_disk(again) == list(range(25))
    links = list(again.links())
    assert verify("w1", links) == Intact(writer="w1", size=25, head=again.head)
    again.close()


async def test_no_acknowledged_entry_is_lost_whatever_operation_the_process_dies_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 1000)
    counted = Failing(None)
    spool = Spool(tmp_path / "whole", "w1", files=counted)
    await fill(spool, 12)
    spool.drop_before(8)
    spool.close()
    assert counted.count > 20, "the run must roll segments and drop some"
    for at in range(2, counted.count + 1, 2):
        directory = tmp_path / str(at)
        spool = Spool(directory, "w1", files=Failing(at))
        kept = await fill(spool, 12)
        with contextlib.suppress(Stop):
            spool.drop_before(8)
        spool.close()
        again = Spool(directory, "w1")
        total = replay(again)
        there = on_disk(again)
        assert there == list(range(again.base.size, again.durable)), f"gap after dying at operation {at}"
        assert again.durable >= len(kept), f"an acknowledged entry is missing after dying at operation {at}"
        assert total.balance("2026-11", "environment").spent == 120 * again.durable
        await fill(again, 2, start=again.durable)
        assert on_disk(again)[-1] == again.durable - 1
        again.close()


async def test_a_torn_end_is_cut_off_and_said(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "w1")
    await fill(spool, 3)
    spool.close()
    file = next(tmp_path.glob("*.journal"))
    file.write_bytes(file.read_bytes() + b"\0\0\1\0half")
    again = Spool(tmp_path, "w1")
    assert again.torn is not None
    assert again.torn.bytes == 8
    assert on_disk(again) == [0, 1, 2]
    again.close()


async def test_a_changed_entry_stops_the_router_from_writing_on(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "w1")
    await fill(spool, 3)
    spool.close()
    file = next(tmp_path.glob("*.journal"))
    data = bytearray(file.read_bytes())
    length = int.from_bytes(data[:4])
    data[60] ^= 1
    data[4:8] = zlib.crc32(bytes(data[8 : 8 + length])).to_bytes(4)
    file.write_bytes(bytes(data))
    with pytest.raises(Refused, match="damaged"):
        Spool(tmp_path, "w1")


async def test_two_writers_cannot_share_a_directory(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "w1")
    with pytest.raises(Refused, match="another router"):
        Spool(tmp_path, "w1")
    spool.close()


async def test_a_full_queue_pushes_back_and_every_promise_given_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 50)

    class Slow(Files):
        def sync(self, handle: int) -> None:
            time.sleep(0.02)
            super().sync(handle)

    spool = Spool(tmp_path, "w1", files=Slow())
    promises = []
    with pytest.raises(Pushback):
        for number in range(100):
            promises.append(spool.append(entry(number)))
    await asyncio.gather(*(promise for promise in promises if promise is not None))
    assert spool.durable == len(promises) == 50
    spool.close()


async def test_open_reservations_survive_the_drop_of_their_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 300)
    spool = Spool(tmp_path, "w1")
    promise = spool.append(entry(99, Kind.RESERVE, reserved_nano=7, cost_nano=0))
    assert promise is not None
    await promise
    await fill(spool, 10)
    assert spool.drop_before(spool.durable) > 0
    spool.close()
    again = Spool(tmp_path, "w1")
    assert set(replay(again).open) == {"q99"}
    assert replay(again).balance("2026-11", "environment").spent == 1200
    tail = again.links_from(again.base.size + 1, 3)
    assert [item.sequence for item in tail if isinstance(item, Link)] == [
        again.base.size + 1 + step for step in range(len(tail))
    ]
    again.close()
