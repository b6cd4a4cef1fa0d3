"""A volume that is nearly full: new work is pushed back in time, and goes on by itself when there is room."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.audit import spool as spool_module
from headrace.audit.spool import RESERVE_BYTES, Pushback, Spool
from headrace.audit.spool_base import Files
from tests.unit.audit.test_chain import entry


class Volume(Files):
    """A large volume of which `left` bytes are free."""

    left = 10 * RESERVE_BYTES

    def free(self, path: Path) -> tuple[int, int]:
        return self.left, 1000 * RESERVE_BYTES


def wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_volume_that_fills_up_takes_outcomes_and_no_new_work_until_it_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "_LOOK_S", 0.01)
    files = Volume()
    spool = Spool(tmp_path, "w1", files=files)
    try:
        spool.append(entry(0), wait=False)
        files.left = RESERVE_BYTES - 1
        wait_for(lambda: not spool.healthy)
        assert "nearly full" in (spool.trouble or "")
        with pytest.raises(Pushback):
            spool.append(entry(1), wait=False)
        spool.append(entry(1), wait=False, soon=False)  # what became of work that was let in before
        files.left = RESERVE_BYTES // 2 - 1
        wait_for(lambda: spool._empty)
        with pytest.raises(Pushback):
            spool.append(entry(2), wait=False, soon=False)
        files.left = RESERVE_BYTES
        wait_for(lambda: spool.healthy)
        spool.append(entry(2), wait=False)
        assert spool.lost == 0
    finally:
        spool.close()
    assert len(list(Spool(tmp_path, "w1").links())) == 3, "the disk never failed, so nothing needs a restart"


def test_a_small_volume_keeps_a_part_of_it_free(tmp_path: Path) -> None:
    class Small(Files):
        def free(self, path: Path) -> tuple[int, int]:
            return 60_000, 1_000_000

    spool = Spool(tmp_path, "w1", files=Small())
    assert spool.healthy, "a twentieth, where the reserve would be more than that"
    spool.close()
