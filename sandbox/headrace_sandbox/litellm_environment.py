"""The environment that LiteLLM runs in: its pins conflict with ours, so it gets a virtual environment in the cache.

Made on first need from requirements-litellm.lock with every file's hash checked, in one rename or not at all. Our own
package comes to it by a folder that holds one link to it, so nothing else of our environment gets in.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

from headrace.errors import refuse
from headrace_sandbox import cache, wheels

LOCK: Final = "requirements-litellm.lock"
_GIB: Final = 1.0


def lock_file() -> Path:
    """The lock of this checkout; refused where the package was installed without its checkout."""
    found = Path(__file__).resolve().parents[2] / LOCK
    if not found.is_file():
        raise refuse(
            LOCK,
            str(found),
            "it is not there",
            reason="only a checkout has it",
            next_step="install it from the checkout into an environment of your own, and name that with --environment",
        )
    return found


def target() -> Path:
    """Where `make` puts the environment, made or not."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {sys.platform}\n".encode() + lock_file().read_bytes())
    return cache.root() / "litellm" / digest.hexdigest()[:16]


def make() -> Path:
    """The environment, made now if it is not in the cache. Raises `Refused` without network, disk or installer."""
    found = target()
    if (found / "bin" / "python").exists():
        return found
    what = "LiteLLM's environment"
    with cache.locked(found.parent / f".{found.name}.lock", what=f"make {what}"):
        if (found / "bin" / "python").exists():
            return found
        cache.need_space(found.parent, gib=_GIB, what=what)
        cache.say(f"litellm: making {found}")
        partial = found.parent / f".partial-{found.name}"
        shutil.rmtree(partial, ignore_errors=True)
        venv.EnvBuilder(with_pip=False, symlinks=True).create(partial)
        _install(partial / "bin" / "python", what)
        shutil.rmtree(found, ignore_errors=True)
        partial.rename(found)
    return found


def _install(python: Path, what: str) -> None:
    command = wheels.installer()
    if command is None:
        raise refuse(
            what, None, "neither uv nor pip is here to install it with", next_step="run make setup, which brings uv"
        )
    if command[1:3] == ("-m", "pip"):
        command = (*command[:3], "--python", str(python), *command[3:])
    else:
        command = (*(str(python) if part == sys.executable else part for part in command), "--compile-bytecode")
    done = subprocess.run(  # noqa: S603 - our own argv
        [*command, "--no-deps", "--require-hashes", "-r", str(lock_file())],
        capture_output=True,
        text=True,
        env={**os.environ, "UV_SYSTEM_CERTS": "true"},
        check=False,
    )
    if done.returncode == 0:
        return
    output = done.stdout + done.stderr
    if wheels.looks_like_no_network(output):
        raise refuse(
            what,
            None,
            "it can't be downloaded",
            reason="no package index can be reached from here",
            next_step="connect to the network, or configure a mirror for pip or uv, and run the command again",
        )
    closing = " ".join(output.split())[-300:]
    raise refuse(what, None, f"the installer refused it: {closing}", next_step="fix that and run the command again")


def own_package() -> Path:
    """A folder that holds nothing but a link to our package: for PYTHONPATH of LiteLLM's environment."""
    package = Path(__file__).resolve().parents[2] / "headrace"
    folder = cache.root() / "litellm" / "own" / hashlib.sha256(str(package).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "headrace"
    with contextlib.suppress(FileExistsError):
        link.symlink_to(package, target_is_directory=True)
    return folder
