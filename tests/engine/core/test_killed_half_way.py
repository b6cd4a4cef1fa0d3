"""`headrace up` killed at the worst moments, then `headrace down`: nothing is left, neither processes nor files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headrace_sandbox import engine, supervise, supervise_process

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a sandbox, with everything built ahead so that only the run itself is measured and killed."""
    engine.find(ROOT)
    directory = tmp_path / "checkout-state" / "sandbox"
    monkeypatch.setenv("HEADRACE_SANDBOX_DIR", str(directory))
    yield directory
    supervise.down(directory, purge=True)


def headrace(*arguments: str) -> subprocess.Popen[bytes]:
    code = "import sys; from headrace.cli.main import main; main(sys.argv[1:])"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def wait_for(what: Callable[[], bool], process: subprocess.Popen[bytes], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, f"it ended before it could be killed, with code {process.returncode}"
        assert time.monotonic() < deadline, "the moment to kill it never came"
        time.sleep(0.1)


def kill(process: subprocess.Popen[bytes]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def take_down() -> str:
    process = headrace("down")
    said, _ = process.communicate(timeout=900)
    assert process.returncode == 0, said.decode()
    return said.decode()


def nothing_left(directory: Path) -> None:
    assert supervise_process.marked(f"{directory}/") == [], "no process is left"
    assert not directory.parent.exists(), "no file is left"


def test_killed_while_the_sandbox_starts(place: Path) -> None:
    process = headrace("up")
    wait_for(lambda: len(supervise_process.marked(f"{place}/")) >= 2, process, seconds=300)
    kill(process)
    take_down()
    nothing_left(place)


def test_killed_while_the_engine_creates_resources(place: Path) -> None:
    process = headrace("up")
    state = place.parent / "state" / ".pulumi" / "stacks" / "inference" / "sandbox.json"
    # The state grows with every step: the update is under way once it names a first cloud resource.
    wait_for(lambda: state.is_file() and b"aws:ec2/vpc:Vpc" in state.read_bytes(), process, seconds=900)
    kill(process)
    said = take_down()
    assert "destroyed the stack sandbox" in said
    nothing_left(place)


def test_down_with_nothing_there_says_so(place: Path) -> None:
    assert take_down().strip() == "there was nothing to take down"
