"""Building Go modules: the cache key, one build at a time, all or nothing, and what is said when it can't be done."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from headrace.errors import Refused
from headrace_sandbox import cache, gobuild, gobuild_toolchain, wheels

FAKE_GO = """#!/bin/sh
if [ "$1" = env ]; then echo go1.30.0; exit 0; fi
echo built >> "$FAKE_GO_LOG"
out=
while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done
{body}
"""
RECIPE = 'package = "example.invalid/tool"\nbinary = "tool"\nversion = "1.2.3"\ncold_minutes = 1\ndisk_gib = 0.01\n'


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FAKE_GO_LOG", str(tmp_path / "builds"))
    folder = tmp_path / "modules" / "tool"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module example.invalid/tool\n\ngo 1.26.0\n")
    (folder / "build.toml").write_text(RECIPE)
    return folder.parent


def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Put a `go` on PATH that does `body` with `$out`, the path it is to write."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "go").write_text(FAKE_GO.format(body=body))
    (folder / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def builds(tmp_path: Path) -> int:
    log = tmp_path / "builds"
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_any_change_to_the_folder_is_another_build(modules: Path) -> None:
    before = gobuild.folder_hash(modules / "tool")
    assert gobuild.folder_hash(modules / "tool") == before
    (modules / "tool" / "go.sum").write_text("")
    with_file = gobuild.folder_hash(modules / "tool")
    assert with_file != before, "an added empty file counts"
    (modules / "tool" / "go.sum").rename(modules / "tool" / "main.go")
    assert gobuild.folder_hash(modules / "tool") not in {before, with_file}, "a name counts"


def test_a_build_is_made_once_and_kept(modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go(tmp_path, monkeypatch, 'echo tool > "$out"')
    first = gobuild.build("tool", modules=modules)
    assert first.read_text() == "tool\n"
    assert gobuild.build("tool", modules=modules) == first
    assert builds(tmp_path) == 1


def test_a_failed_build_leaves_nothing_that_looks_built(
    modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(tmp_path, monkeypatch, 'echo half > "$out"; echo "main.go:3: syntax error" >&2; exit 1')
    with pytest.raises(Refused, match=r"tool 1\.2\.3: the Go build failed: main\.go:3: syntax error; fix that"):
        gobuild.build("tool", modules=modules)
    assert not gobuild.target("tool", modules=modules).parent.exists()
    assert list((tmp_path / "cache" / "go").glob(".partial-*")) == []


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        ("dial tcp: lookup proxy.invalid: no such host", "its Go modules can't be downloaded"),
        ("write /tmp/x: no space left on device", "the disk filled up while it was being built"),
    ],
)
def test_what_is_missing_is_named(
    modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, sentence: str
) -> None:
    go(tmp_path, monkeypatch, f'echo "{says}" >&2; exit 1')
    with pytest.raises(Refused, match=sentence):
        gobuild.build("tool", modules=modules)


def test_too_little_disk_is_refused_before_the_build(
    modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(tmp_path, monkeypatch, 'echo tool > "$out"')
    (modules / "tool" / "build.toml").write_text(RECIPE.replace("0.01", "1e9"))
    with pytest.raises(Refused, match="needs 1e\\+09 GiB of free disk space"):
        gobuild.build("tool", modules=modules)
    assert builds(tmp_path) == 0


def test_without_go_and_without_an_index_the_sentence_says_both(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(wheels, "installer", lambda: None)
    with pytest.raises(Refused, match=r"^go: Go 1\.26\.0 or newer is needed .* none is on PATH.*install Go 1\.26\.0"):
        gobuild.build("tool", modules=modules)


def test_a_go_that_is_too_old_is_not_used(modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go(tmp_path, monkeypatch, 'echo tool > "$out"')
    (modules / "tool" / "go.mod").write_text("module example.invalid/tool\n\ngo 1.99\n")
    monkeypatch.setattr(wheels, "installer", lambda: None)
    with pytest.raises(Refused, match=r"go is '1\.30\.0 \(.*\)': Go 1\.99\.0 or newer is needed"):
        gobuild.build("tool", modules=modules)
    assert builds(tmp_path) == 0


def test_two_at_once_make_one_build(modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = tmp_path / "goes-on"
    go(tmp_path, monkeypatch, f'while [ ! -e "{goes_on}" ]; do sleep 0.05; done; echo tool > "$out"')
    code = (
        "import pathlib, sys; from headrace_sandbox import gobuild; "
        "print(gobuild.build('tool', modules=pathlib.Path(sys.argv[1])))"
    )

    def start() -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-c", code, str(modules)]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    first = start()
    while not builds(tmp_path):
        assert first.poll() is None, first.communicate()
        time.sleep(0.05)
    second = start()
    assert second.stderr is not None
    said = next((line for line in second.stderr if b"waiting for" in line), b"nothing")
    assert b"waiting for process" in said, "the second says for whom it waits"
    goes_on.touch()
    results = [process.communicate()[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert results[0] == results[1]
    assert builds(tmp_path) == 1, "the second takes the first one's result"


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time; from headrace_sandbox import cache\n"
        "with cache.locked(pathlib.Path(sys.argv[1]), what='hold'):\n    print('held', flush=True); time.sleep(60)"
    )
    lock = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    holder.kill()
    holder.wait()
    holder.stdout.close()
    got = threading.Event()

    def take() -> None:
        with cache.locked(lock, what="take"):
            got.set()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join(60)
    assert got.is_set()


def test_versions_of_go_compare_as_numbers() -> None:
    assert gobuild_toolchain.parse_version("go1.26.8") == (1, 26, 8)
    assert gobuild_toolchain.parse_version("go1.9") == (1, 9, 0)
    assert gobuild_toolchain.needed_version("module x\n\ngo 1.25.11\n") == (1, 25, 11)
    assert (1, 9, 0) < (1, 25, 11)


def test_every_committed_module_is_complete() -> None:
    found = sorted(path.parent for path in gobuild.MODULES.glob("*/go.mod"))
    assert {folder.name for folder in found} >= {"pulumi", "kubernetes", "etcd", "kwok"}
    for folder in found:
        made = gobuild.recipe(folder)
        assert (folder / "go.sum").stat().st_size > 0, f"{folder.name}: sums are pinned"
        assert made.cold_minutes > 0
        assert made.disk_gib > 0
