"""The supervisor, with small real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.errors import Refused
from headrace_sandbox import supervise, supervise_process
from headrace_sandbox.service import Kind, SandboxContext, Service

pytestmark = pytest.mark.enable_socket  # free ports are found by binding them

# Writes its file once it "listens", then sleeps; SIGTERM ends it at once.
WELL_BEHAVED = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
STUBBORN = (
    "import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
)


@pytest.fixture
def context(tmp_path: Path) -> Iterator[SandboxContext]:
    opened = supervise.open_context(tmp_path / "sandbox")
    yield opened
    supervise.down(opened.directory)


def service(context: SandboxContext, name: str, *, code: str = WELL_BEHAVED, **changes: object) -> Service:
    flag = context.directory / f"{name}.ready"
    fields: dict[str, object] = {
        "name": name,
        "kind": Kind.STAND_IN,
        "what": f"the {name} part",
        "argv": (sys.executable, "-S", "-c", code, str(flag)),
        "ready": flag.exists,
        "urls": {name: f"http://127.0.0.1:{context.port(name)}"},
        "stop_timeout_s": 0.5,
    }
    return Service(**{**fields, **changes})  # type: ignore[arg-type]  # a test builder over one dict of fields


def test_parts_start_after_what_they_stand_on_and_stop_before_it(context: SandboxContext) -> None:
    order = context.directory / "order"
    write = "import pathlib, sys, time; open(sys.argv[2], 'a').write(sys.argv[3]); "
    first = service(context, "first")
    first = service(context, "first", argv=(*_argv(first, write), str(order), "1"))
    second = service(context, "second", after=("first",))
    second = service(context, "second", argv=(*_argv(second, write), str(order), "2"), after=("first",))
    supervise.up(context, [second, first])
    assert order.read_text() == "12", "a part starts only once what it stands on is ready"
    assert supervise.down(context.directory) == ["second", "first"]


def _argv(made: Service, before: str) -> tuple[str, ...]:
    return (*made.argv[:3], before + made.argv[3], made.argv[4])


def test_it_records_what_runs(context: SandboxContext) -> None:
    supervise.up(context, [service(context, "api")])
    entry = json.loads((context.directory / "processes.json").read_text())[0]
    assert (entry["name"], entry["kind"]) == ("api", "stand-in")
    assert supervise_process.start_ticks(entry["pid"]) == entry["start_time"]
    assert supervise.endpoints(context.directory) == {"api": f"http://127.0.0.1:{context.port('api')}"}
    row = supervise.status(context.directory)[0]
    assert row.memory_mib > 1, "memory of a running part is measured"
    assert row.state == "not answering", "alive, but nothing listens on its port"


def test_a_second_up_adopts_what_runs_and_starts_what_died(context: SandboxContext) -> None:
    services = [service(context, "stays"), service(context, "dies")]
    supervise.up(context, services)
    before = {row.name: row.pid for row in supervise.status(context.directory)}
    os.kill(before["dies"], signal.SIGKILL)
    os.waitpid(before["dies"], 0)
    assert {row.name: row.state for row in supervise.status(context.directory)}["dies"] == "dead"
    supervise.up(context, services)
    after = {row.name: row.pid for row in supervise.status(context.directory)}
    assert after["stays"] == before["stays"], "a running part is adopted"
    assert after["dies"] != before["dies"], "a dead part is started again"


def test_a_part_described_otherwise_is_restarted_with_what_stands_on_it(context: SandboxContext) -> None:
    base, leaf = service(context, "base"), service(context, "leaf", after=("base",))
    supervise.up(context, [base, leaf])
    before = {row.name: row.pid for row in supervise.status(context.directory)}
    supervise.up(context, [service(context, "base", env={"SIZE": "2"}), leaf])
    after = {row.name: row.pid for row in supervise.status(context.directory)}
    assert not set(before.values()) & set(after.values()), "the dependent held a connection to the old one"


def test_a_recycled_pid_is_never_killed(context: SandboxContext) -> None:
    stranger = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    time.sleep(0.05)  # more than a clock tick: within one, two processes have the same start time
    try:
        supervise.up(context, [service(context, "api")])
        file = context.directory / "processes.json"
        records = json.loads(file.read_text())
        real = records[0]["pid"]
        records[0]["pid"] = stranger.pid
        file.write_text(json.dumps(records))
        supervise.down(context.directory)
        assert stranger.poll() is None, "same pid, other start time: not ours"
        assert supervise_process.start_ticks(real) is None, "the real one is found by its mark"
    finally:
        stranger.kill()
        stranger.wait()


def test_a_part_that_ignores_sigterm_is_killed(context: SandboxContext) -> None:
    supervise.up(context, [service(context, "stubborn", code=STUBBORN)])
    pid = supervise.status(context.directory)[0].pid
    supervise.down(context.directory)
    assert supervise_process.start_ticks(pid) is None


def test_a_dead_part_shows_its_last_lines_and_takes_nothing_with_it(context: SandboxContext) -> None:
    fine = service(context, "fine")
    broken = service(context, "broken", code="print('no certificate'); raise SystemExit(3)", after=("fine",))
    with pytest.raises(
        Refused, match=r"sandbox part broken: it ended with code 3; its last lines are\n +no certificate"
    ):
        supervise.up(context, [fine, broken])
    assert supervise.status(context.directory) == [], "what this run had started is stopped again"


def test_a_part_that_never_answers_is_refused_after_its_time(context: SandboxContext) -> None:
    slow = service(context, "slow", ready=lambda: False, ready_timeout_s=0.3)
    with pytest.raises(Refused, match=r"was not ready within 0\.3 s"):
        supervise.up(context, [slow])


def test_an_occupied_port_names_its_holder(context: SandboxContext) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", context.port("api")))
        taken.listen()
        with pytest.raises(
            Refused, match=rf"port of api is {context.port('api')}: it is taken by process {os.getpid()}"
        ):
            supervise.up(context, [service(context, "api")])


def test_ports_stay_the_same_and_differ_between_parts(context: SandboxContext) -> None:
    first = {name: context.port(name) for name in "abcdef"}
    again = supervise.open_context(context.directory)
    assert {name: again.port(name) for name in "abcdef"} == first
    assert len(set(first.values())) == 6


def test_down_after_the_starter_was_killed_leaves_nothing(tmp_path: Path) -> None:
    """Kill -9 between the start of a process and everything after it, then stop from another process."""
    directory = tmp_path / "sandbox"
    program = (
        "import sys, pathlib\n"
        "from headrace_sandbox import supervise\n"
        "from headrace_sandbox.service import Kind, Service\n"
        f"context = supervise.open_context(pathlib.Path({str(directory)!r}))\n"
        "sleep = (sys.executable, '-S', '-c', 'import time; time.sleep(600)')\n"
        "part = lambda name: Service(name=name, kind=Kind.REAL, what='', argv=sleep, ready=lambda: False)\n"
        "supervise.up(context, [part('one'), part('two')])\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", program])
    deadline = time.monotonic() + 120
    while len(pids := supervise_process.marked(f"{directory}/")) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    starter.kill()
    starter.wait()
    (directory / "processes.json").unlink(missing_ok=True)  # the worst moment: nothing was written down yet
    assert len(pids) == 2
    supervise.down(directory, purge=True)
    assert [supervise_process.start_ticks(pid) for pid in pids] == [None, None]
    assert not directory.exists(), "purge removes the folder"


def test_services_that_wait_for_each_other_are_our_own_mistake(context: SandboxContext) -> None:
    with pytest.raises(ValueError, match="wait for each other"):
        supervise.up(context, [service(context, "a", after=("b",)), service(context, "b", after=("a",))])
