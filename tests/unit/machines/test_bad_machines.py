"""What a person reads when the machine lacks something: one sentence, exit code 2, nothing half-done."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.cli.main import COMMANDS, cli, main
from headrace_sandbox import supervise

ROOT = Path(__file__).resolve().parents[3]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 2, "a refusal has an exit code of its own"
    said = capsys.readouterr().err
    assert "Traceback" not in said
    sentences = [line for line in said.splitlines() if line.startswith("headrace: ")]
    assert len(sentences) == 1, f"one sentence: {said}"
    return sentences[0]


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EROFS, "the file system is read-only; make it writable"),
        (errno.EACCES, "you may not read or write it; change its permissions"),
    ],
)
def test_a_write_that_fails_says_what_the_disk_lacks(
    number: int,
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    directory = tmp_path / "sandbox"

    def fail(path: Path, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "mkdir", fail)
    said = refused(capsys, "sandbox", "up", "--directory", str(directory))
    assert sentence in said
    assert str(directory) in said, "the place is named"
    assert not directory.exists()


def test_a_command_whose_packages_are_not_installed_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the router's image, which has the library whole and the packages of the router alone."""
    monkeypatch.setitem(COMMANDS, "plan", ("tests.unit.machines.lacking", "plan", "Plan."))
    said = refused(capsys, "plan")
    assert said.startswith("headrace: a_package_that_nobody_has: this command needs it, and it is not installed here")


def test_a_module_of_ours_that_is_missing_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'headrace.gone'", name="headrace.gone")

    monkeypatch.setattr(cli, "main", fail)
    with pytest.raises(ModuleNotFoundError):
        main(["plan"])


def test_a_fault_of_ours_is_not_dressed_up_as_one_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "no such file", "a file that we forgot")

    monkeypatch.setattr(supervise, "open_context", fail)
    with pytest.raises(FileNotFoundError):
        main(["sandbox", "up"])


def test_a_path_through_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    said = refused(capsys, "sandbox", "up", "--directory", str(tmp_path / "file" / "sandbox"))
    assert "a part of this path is a file and not a folder" in said


def test_a_stack_without_a_file_names_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "up", "--stack", "prod-uk")
    assert "there is no file Pulumi.prod-uk.yaml" in said
    assert "prod-us" in said


def test_without_go_and_without_a_network_the_engine_says_what_to_install(tmp_path: Path) -> None:
    """A whole process, as a person runs it: no pulumi and no Go on PATH, an index and a vendor that nobody reaches."""
    closed = "http://127.0.0.1:9"  # the discard port, where nothing listens
    environment = {
        "PATH": str(tmp_path),
        "HOME": str(tmp_path),
        "HEADRACE_CACHE": str(tmp_path / "cache"),
        "PIP_INDEX_URL": f"{closed}/simple",
        "UV_DEFAULT_INDEX": f"{closed}/simple",
        "PIP_RETRIES": "0",
        "https_proxy": closed,
        **{name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},
    }
    code = "from headrace.cli.main import main; main(['engine', 'path'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "headrace: go: Go 1." in done.stderr
    assert "or newer is needed to build from source" in done.stderr
    assert "install Go" in done.stderr
    built = [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.stat().st_size > 1024]
    assert built == [], "nothing half-built is left"
