"""Processes by identity: a pid together with the moment it started, so that a recycled pid is never taken for ours."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from headrace_sandbox.supervise_ports import write_json

# Every process we start carries this variable: what a killed starter had no time to write down is found by it.
MARK: Final = "HEADRACE_SANDBOX_PROCESS"
MIB: Final = 2**20


@dataclass(frozen=True, kw_only=True)
class Record:
    """One started process, as `processes.json` keeps it.

    `start_time` is in clock ticks since boot (field 22 of /proc/<pid>/stat), which no clock change moves; with
    `boot_id` it identifies the process for good. `spec` is a digest of how it was started.
    """

    name: str
    pid: int
    start_time: int
    boot_id: str
    kind: str
    what: str
    url: str
    log: str
    after: tuple[str, ...] = ()
    urls: Mapping[str, str] = field(default_factory=dict)
    spec: str = ""
    stop_timeout_s: float = 10.0


def boot_id() -> str:
    """The kernel's random id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def start_ticks(pid: int) -> int | None:
    """When a process started, in ticks since boot; None if there is none or it is only a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the command in parentheses and may hold spaces and parentheses itself: cut after the last one.
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def alive(record: Record) -> bool:
    """Whether the very process that was recorded still runs."""
    return record.boot_id == boot_id() and start_ticks(record.pid) == record.start_time


def memory_mib(record: Record) -> float:
    """Resident memory of the process and its descendants, in MiB; 0 when it is gone."""
    if not alive(record):
        return 0.0
    total = 0
    try:
        leader = psutil.Process(record.pid)
        family = [leader, *leader.children(recursive=True)]
    except psutil.Error:
        return 0.0
    for process in family:
        try:
            total += int(process.memory_info().rss)
        except psutil.Error:
            continue
    return total / MIB


def load(directory: Path) -> list[Record]:
    """The records of a sandbox, in the order in which the processes were started."""
    file = directory / "processes.json"
    if not file.is_file():
        return []
    return [_record(entry) for entry in json.loads(file.read_text(encoding="utf-8"))]


def _record(entry: dict[str, Any]) -> Record:
    return Record(**{**entry, "after": tuple(entry.get("after", ()))})


def save(directory: Path, records: Iterable[Record]) -> None:
    """Replace the records as a whole."""
    write_json(directory / "processes.json", [asdict(record) for record in records])


def marked(mark_prefix: str) -> list[int]:
    """Pids of our own user's processes whose MARK begins with `mark_prefix`: also those that nobody recorded."""
    found = []
    needle = f"{MARK}={mark_prefix}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if entry.stat().st_uid != os.getuid():
                continue
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(variable.startswith(needle) for variable in variables):
            found.append(int(entry.name))
    return found


def stop(record: Record) -> bool:
    """End a recorded process and its group: SIGTERM, then SIGKILL after its stop time. True when it was running."""
    if not alive(record):
        return False
    _signal_group(record.pid, signal.SIGTERM)
    if not _gone(record, record.stop_timeout_s):
        _signal_group(record.pid, signal.SIGKILL)
        _gone(record, 5.0)
    return True


def stop_marked(mark_prefix: str) -> int:
    """End what carries our mark and still runs: children that outlived their leader, starts that nobody recorded."""
    pids = [(pid, start_ticks(pid)) for pid in marked(mark_prefix)]
    for sent in (signal.SIGTERM, signal.SIGKILL):
        left = [(pid, ticks) for pid, ticks in pids if ticks is not None and start_ticks(pid) == ticks]
        for pid, _ in left:
            _signal(pid, sent)
        deadline = time.monotonic() + 5.0
        while time.monotonic() < deadline and any(start_ticks(pid) == ticks for pid, ticks in left):
            time.sleep(0.05)
    return len(pids)


def _signal_group(pid: int, sent: signal.Signals) -> None:
    try:
        os.killpg(pid, sent)
    except ProcessLookupError:
        _signal(pid, sent)


def _signal(pid: int, sent: signal.Signals) -> None:
    try:
        os.kill(pid, sent)
    except ProcessLookupError:
        return


def _gone(record: Record, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        _reap(record.pid)
        if not alive(record):
            return True
        time.sleep(0.05)
    return not alive(record)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # not our child: started by an earlier run
