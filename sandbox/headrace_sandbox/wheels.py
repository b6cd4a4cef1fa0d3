"""Installing a pinned wheel into a folder of its own, with whichever installer the machine has."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from headrace.errors import refuse
from headrace_sandbox import cache

_NO_NETWORK = (
    "dns error",
    "failed to fetch",
    "connection refused",
    "network is unreachable",
    "no route to host",
    "temporary failure in name resolution",
    "name or service not known",
    "no such host",
    "dial tcp",
    "i/o timeout",
    "tls handshake timeout",
    "connect timeout",
    "max retries exceeded",
    "newconnectionerror",
    "proxyconnect",
)


def looks_like_no_network(output: str) -> bool:
    """Whether a tool's output says that it could not reach anything (as against a wrong version or a bad hash)."""
    lowered = output.lower()
    return any(sign in lowered for sign in _NO_NETWORK)


def installer() -> tuple[str, ...] | None:
    """The command that installs into a folder: uv on PATH, the uv `make setup` keeps, this Python's pip, or None."""
    kept = sorted((cache.root() / "uv").glob("*/bin/uv"))
    uv = shutil.which("uv") or (str(kept[-1]) if kept else None)
    if uv is not None:
        return (uv, "pip", "install", "--python", sys.executable, "--quiet")
    if importlib.util.find_spec("pip") is not None:
        return (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    return None


def install(lock: Path, target: Path, *, what: str) -> None:
    """Install the hash-pinned requirements in `lock` into `target` (made whole in one rename, or not at all)."""
    if target.exists():
        return
    command = installer()
    if command is None:
        raise refuse(
            what,
            None,
            "neither uv nor pip is here to install it with",
            next_step="run make setup, which brings its own uv, or install uv or pip",
        )
    with cache.locked(target.parent / f".{target.name}.lock", what=f"install {what}"):
        if target.exists():
            return
        partial = target.parent / f".partial-{target.name}"
        shutil.rmtree(partial, ignore_errors=True)
        done = subprocess.run(  # noqa: S603 - our own argv
            [*command, "--no-deps", "--require-hashes", "--target", str(partial), "-r", str(lock)],
            capture_output=True,
            text=True,
            env={**os.environ, "UV_LINK_MODE": "copy"},
            check=False,
        )
        if done.returncode != 0:
            shutil.rmtree(partial, ignore_errors=True)
            raise _refusal(what, done.stdout + done.stderr)
        partial.rename(target)


def _refusal(what: str, output: str) -> Exception:
    if looks_like_no_network(output):
        return refuse(
            what,
            None,
            "it can't be downloaded",
            reason="no package index can be reached from here",
            next_step="connect to the network, or configure a mirror for pip or uv, and run the command again",
        )
    closing = " ".join(output.split())[-300:]
    return refuse(what, None, f"the installer refused it: {closing}", next_step="fix that and run the command again")
