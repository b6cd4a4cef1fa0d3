"""Build the Go programs that nobody ships as a wheel: the Pulumi CLI, the Kubernetes control plane, etcd, KWOK.

Each folder `go/<module>/` is a Go module of our own with a committed go.sum and a `build.toml` that says what to build.
The result lies in `<cache>/go/<module>-<hash of the folder>/<binary>`, so an edit to the folder makes a new one and two
checkouts share an old one.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import threading
import time
import tomllib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from headrace.errors import refuse
from headrace_sandbox import cache, gobuild_toolchain, wheels

MODULES: Final = Path(__file__).parent / "go"
_PROGRESS_S: Final = 10.0
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """`build.toml`: the Go package to build, the name of the result, and what a first build costs."""

    package: str
    binary: str
    version: str
    ldflags: str = "-s -w"
    cold_minutes: float
    disk_gib: float


def recipe(folder: Path) -> Recipe:
    """Read a module's `build.toml`. An unknown or missing key is an error of ours (TypeError)."""
    return Recipe(**tomllib.loads((folder / "build.toml").read_text(encoding="utf-8")))


def folder_hash(folder: Path) -> str:
    """16 hex digits over every file's path and content and the machine's architecture."""
    digest = hashlib.sha256(f"{platform.system()}/{platform.machine()}\n".encode())
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def target(module: str, *, modules: Path = MODULES) -> Path:
    """Where `build(module)` puts its result, built or not."""
    folder = modules / module
    return cache.root() / "go" / f"{module}-{folder_hash(folder)}" / recipe(folder).binary


def built(module: str) -> bool:
    """Whether `build(module)` would return at once."""
    return target(module).is_file()


def build(module: str, *, modules: Path = MODULES) -> Path:
    """The executable built from `go/<module>/`, built now if it is not in the cache.

    Safe between processes: one build runs at a time (it uses every core), a second process waits for it and finds the
    result. Raises `Refused` when Go can't be had, the network or the disk is missing, or the compiler says no.
    """
    binary = target(module, modules=modules)
    if binary.is_file():
        return binary
    made = recipe(modules / module)
    with cache.locked(cache.root() / "go" / ".build.lock", what=f"build {module} {made.version}"):
        if not binary.is_file():
            _build(modules / module, made, binary)
    return binary


def _build(folder: Path, made: Recipe, binary: Path) -> None:
    toolchain = gobuild_toolchain.find(
        gobuild_toolchain.needed_version((folder / "go.mod").read_text(encoding="utf-8"))
    )
    cache.need_space(cache.root(), gib=made.disk_gib, what=f"building {folder.name} {made.version}")
    for stale in binary.parent.parent.glob(".partial-*"):  # we hold the lock: whoever made these is dead
        shutil.rmtree(stale, ignore_errors=True)
    partial = binary.parent.parent / f".partial-{binary.parent.name}"
    partial.mkdir(parents=True)
    cache.say(f"{folder.name} {made.version}: building from source, about {made.cold_minutes:g} min the first time")
    argv = (
        str(toolchain.go),
        *("build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false"),
        *("-ldflags", made.ldflags),
        *("-o", str(partial / made.binary), made.package),
    )
    # -mod=readonly and GOFLAGS of our own: what is built is what go.sum pins, whatever the user has set for other work.
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOWORK": "off",
        "GOFLAGS": "-buildvcs=false",
        **toolchain.environment,
    }
    environment.pop("GO111MODULE", None)
    started = time.monotonic()
    code, output = _run(argv, folder, environment, label=f"{folder.name} {made.version}")
    if code != 0:
        shutil.rmtree(partial, ignore_errors=True)
        raise _refusal(folder.name, made, output)
    cache.sync(partial / made.binary)
    cache.sync(partial)
    partial.rename(binary.parent)
    cache.sync(binary.parent.parent)
    cache.say(f"{folder.name} {made.version}: built in {time.monotonic() - started:.0f} s")


def _run(argv: tuple[str, ...], folder: Path, environment: dict[str, str], *, label: str) -> tuple[int, str]:
    """Run `go build -v`, printing a line now and then; returns its exit code and its last 40 lines of messages."""
    started = time.monotonic()
    process = subprocess.Popen(  # noqa: S603 - our own argv
        argv,
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_dies_with_us(),  # one prctl, looked up before the fork
    )
    assert process.stderr is not None  # noqa: S101 - PIPE above
    kept: deque[str] = deque(maxlen=40)
    compiled = [0]
    reader = threading.Thread(target=_read, args=(process.stderr, kept, compiled), daemon=True)
    reader.start()
    try:
        while True:
            try:
                code = process.wait(timeout=_PROGRESS_S)
            except subprocess.TimeoutExpired:
                cache.say(f"{label}: {compiled[0]} packages compiled, {time.monotonic() - started:.0f} s")
            else:
                break
    except BaseException:
        process.terminate()
        process.wait()
        raise
    reader.join(timeout=5)
    return code, "\n".join(kept)


def _read(stream: IO[str], kept: deque[str], compiled: list[int]) -> None:
    for line in stream:
        text = line.rstrip()
        if " " in text:  # a message; `go build -v` prints each compiled package as a bare path
            kept.append(text)
        else:
            compiled[0] += 1


def _dies_with_us() -> Callable[[], None]:
    """A compiler must not keep two cores busy for minutes after we were killed: ask the kernel to end it with us."""
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    return ask


def _refusal(module: str, made: Recipe, output: str) -> Exception:
    name = f"{module} {made.version}"
    if "no space left on device" in output.lower():
        return refuse(
            name,
            None,
            "the disk filled up while it was being built",
            reason=f"a first build needs about {made.disk_gib:g} GiB for Go's caches",
            next_step="free some space (go clean -cache helps) and run the command again",
        )
    if wheels.looks_like_no_network(output):
        return refuse(
            name,
            None,
            "its Go modules can't be downloaded",
            reason="the Go module proxy can't be reached from here",
            next_step="connect to the network or set GOPROXY to a proxy you can reach, and run the command again",
        )
    closing = " | ".join(line for line in output.splitlines()[-6:] if line.strip())
    return refuse(name, None, f"the Go build failed: {closing}", next_step="fix that and run the command again")
