"""Real Go, two builds of one module at once: one compiles, both get the same working program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from headrace_sandbox import gobuild

pytestmark = pytest.mark.engine

MAIN = 'package main\n\nimport "fmt"\n\nvar version = "none"\n\nfunc main() { fmt.Println("tool", version) }\n'
RECIPE = (
    'package = "."\nbinary = "tool"\nversion = "1.0.0"\nldflags = "-s -w -X main.version=1.0.0"\n'
    "cold_minutes = 1\ndisk_gib = 0.1\n"
)


def test_two_at_once_get_one_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "modules" / "tool"
    folder.mkdir(parents=True)
    for name, text in (("main.go", MAIN), ("go.mod", "module tool.invalid\n\ngo 1.25\n"), ("build.toml", RECIPE)):
        (folder / name).write_text(text)
    code = (
        "import pathlib, sys; from headrace_sandbox import gobuild; "
        "print(gobuild.build('tool', modules=pathlib.Path(sys.argv[1])))"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder.parent)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    results = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0, 0], results
    binary = gobuild.target("tool", modules=folder.parent)
    assert {out.strip() for out, _ in results} == {str(binary)}
    assert sum("building from source" in said for _, said in results) == 1, "only one of them compiled"
    assert subprocess.run([binary], capture_output=True, text=True, check=True).stdout == "tool 1.0.0\n"
