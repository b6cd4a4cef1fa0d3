"""`make setup` on machines that lack one thing or another (its own Python is played by small scripts)."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))
    spec = importlib.util.spec_from_file_location("headrace_setup", ROOT / "scripts" / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def python(folder: Path, body: str) -> str:
    script = folder / "python"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return str(script)


def test_this_pythons_pip_is_used_where_it_has_one(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", python(tmp_path, '[ "$2" = pip ]'))
    assert setup.pip(tmp_path / "venv") == [sys.executable, "-m", "pip"]


def test_a_throwaway_venv_gives_pip_where_python_has_none(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", python(tmp_path, '[ "$2" = venv ]'))
    assert setup.pip(tmp_path / "venv") == [str(tmp_path / "venv" / "bin" / "python"), "-m", "pip"]


def test_without_either_the_sentence_says_what_to_install(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", python(tmp_path, "exit 1"))
    with pytest.raises(setup.Refusal, match="has neither pip nor venv, and uv is not on PATH; install one of them"):
        setup.pip(tmp_path / "venv")


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        ("error: Failed to fetch x: dns error", "no package index can be reached"),
        ("OSError: No space left on device", "the disk filled up"),
        ("error: hash mismatch", "failed: error: hash mismatch"),
    ],
)
def test_a_failed_step_is_one_sentence(setup: ModuleType, tmp_path: Path, says: str, sentence: str) -> None:
    with pytest.raises(setup.Refusal, match=f"^installing uv.*{sentence}"):
        setup.run([python(tmp_path, f"echo '{says}'; exit 1")], "installing uv")


def test_an_old_python_is_refused_by_a_sentence(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    with pytest.raises(setup.Refusal, match=r"^Python 3\.9\.18 .* is too old, this project needs 3\.11 or newer"):
        setup.main()


def test_the_stamp_follows_the_lock_and_the_project(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, project = tmp_path / "requirements.lock", tmp_path / "pyproject.toml"
    lock.write_text("a==1")
    project.write_text("[project]")
    monkeypatch.setattr(setup, "LOCK", lock)
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    before = setup.wanted_stamp()
    lock.write_text("a==2")
    assert setup.wanted_stamp() != before


def test_the_bootstrap_pins_uv_by_hash(setup: ModuleType) -> None:
    text = (ROOT / "requirements-bootstrap.lock").read_text()
    assert f"uv=={setup.pinned_uv()}" in text
    assert "--hash=sha256:" in text


def test_the_script_parses_with_old_pythons() -> None:
    code = "import ast, sys; ast.parse(open(sys.argv[1]).read(), feature_version=(3, 7))"
    done = subprocess.run([sys.executable, "-c", code, str(ROOT / "scripts" / "setup.py")], check=False)
    assert done.returncode == 0, "an old Python must be able to say that it is too old"
