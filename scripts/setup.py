"""`make setup`: the locked environment in .venv, then the Pulumi engine. Quick when nothing changed.

Runs on the machine's own Python with the standard library alone, and leaves that Python as it is: uv goes into our
cache folder (`pip install --target`, which an externally managed Python allows), everything else into .venv.
The syntax stays readable to old Pythons, so that they can say what is missing instead of failing to parse.
"""

import concurrent.futures
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
BOOTSTRAP = ROOT / "requirements-bootstrap.lock"
STAMP = VENV / "setup-stamp"
SECONDS = VENV / "setup-seconds"
OLDEST = (3, 11)
VENV_GIB = 3
EXIT_REFUSED = 2
BAD_CERTIFICATE = ("invalid peer certificate", "certificate verify failed", "unknownissuer")
NO_NETWORK = (
    "dns error",
    "failed to fetch",
    "error sending request",
    "connection refused",
    "network is unreachable",
    "name resolution",
    "name or service not known",
    "newconnectionerror",
    "could not find a version",  # what pip says after all its attempts to connect failed
    "timed out",
)


class Refusal(Exception):
    """One sentence for a person: what, why, and the next step."""


# What takes longest to compile of what the commands, the engine's plugins and the tests import: two lots of about equal
# length, one for each core.
IMPORTED = (
    (
        "headrace_components",
        "headrace_policies",
        *(
            "pulumi_aws." + part
            for part in ("autoscaling", "budgets", "cloudwatch", "costexplorer", "ec2", "ecr", "eks")
        ),
        *("pulumi_aws." + part for part in ("elasticache", "iam", "kms", "rds", "s3", "secretsmanager", "sns", "vpc")),
        *("pulumi_kubernetes." + part for part in ("apps.v1", "autoscaling.v2", "batch.v1", "core.v1", "meta.v1")),
        *("pulumi_kubernetes." + part for part in ("networking.v1", "policy.v1", "rbac.v1", "storage.v1")),
        "redis.asyncio",
        "asyncpg",
    ),
    (
        "polars",
        "scipy.optimize",
        "statsforecast.models",
        "matplotlib.pyplot",
        "rich.console",
        "aiohttp.web",
        "httpx",
        "boto3",
        "moto.server",
        "moto.iam.models",
        "moto.s3.responses",
        "cryptography.x509",
        "pytest",
        "hypothesis.stateful",
        "fugue",
        "pydantic.main",
        "anyio",
        "anyio._backends._asyncio",
        "numba.typed",
    ),
)


def cache_root():
    # type: () -> Path
    """As `headrace_sandbox.cache.root`, which can't be imported before there is an environment."""
    own = os.environ.get("HEADRACE_CACHE")
    if own:
        return Path(own).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().resolve() / "headrace"


def say(line):
    # type: (str) -> None
    print(line, file=sys.stderr, flush=True)


def run(argv, what):
    # type: (list[str], str) -> None
    """Run a step with its output kept; a failure becomes a refusal that says what it was."""
    done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)  # noqa: S603
    if done.returncode == 0:
        return
    shown = " ".join(done.stdout.split())
    if "no space left" in shown.lower():
        raise Refusal(f"{what}: the disk filled up; free some space and run make setup again.")
    if any(sign in shown.lower() for sign in BAD_CERTIFICATE):
        raise Refusal(
            f"{what}: the package index shows a certificate that this machine doesn't trust; set SSL_CERT_FILE to your "
            "organization's CA bundle and run make setup again."
        )
    if any(sign in shown.lower() for sign in NO_NETWORK):
        raise Refusal(
            f"{what}: no package index can be reached; connect to the network, or configure a mirror for pip and uv, "
            "and run make setup again."
        )
    raise Refusal(f"{what} failed: {shown[-600:]}")


def pinned_uv():
    # type: () -> str
    for line in BOOTSTRAP.read_text(encoding="utf-8").splitlines():
        if line.startswith("uv=="):
            return line.split("==")[1].split()[0]
    raise Refusal(f"{BOOTSTRAP.name}: it pins no uv; restore the file.")


def find_uv():
    # type: () -> str
    """uv from PATH, else ours in the cache, brought there by pip or by a throwaway venv's pip."""
    on_path = shutil.which("uv")
    if on_path:
        return on_path
    target = cache_root() / "uv" / pinned_uv()
    uv = target / "bin" / "uv"
    if uv.is_file():
        return str(uv)
    say(f"setup: bringing uv {target.name} into {target}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=str(target.parent)) as scratch:
        partial = Path(scratch) / "uv"
        run(
            [
                *pip(Path(scratch) / "venv"),
                *("install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"),
                *("--target", str(partial), "-r", str(BOOTSTRAP)),
            ],
            "installing uv",
        )
        with contextlib.suppress(OSError):  # another setup was first
            partial.rename(target)
    return str(uv)


def pip(scratch):
    # type: (Path) -> list[str]
    """A pip to run: this Python's own, else that of a venv made for the purpose."""
    have = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False)
    if have.returncode == 0:
        return [sys.executable, "-m", "pip"]
    made = subprocess.run([sys.executable, "-m", "venv", str(scratch)], capture_output=True, check=False)  # noqa: S603
    if made.returncode == 0:
        return [str(scratch / "bin" / "python"), "-m", "pip"]
    raise Refusal(
        f"{sys.executable} has neither pip nor venv, and uv is not on PATH; install one of them (on Debian and Ubuntu: "
        "python3-venv or python3-pip) and run make setup again."
    )


def wanted_stamp():
    # type: () -> str
    """What the environment was made from: when it is the same, there is nothing to do."""
    digest = hashlib.sha256(str(ROOT).encode())
    for file in (LOCK, ROOT / "pyproject.toml", Path(__file__)):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def up_to_date():
    # type: () -> bool
    commands = (VENV / "bin" / "python", VENV / "bin" / "headrace", VENV / "bin" / "pulumi")
    made = STAMP.is_file() and STAMP.read_text(encoding="utf-8") == wanted_stamp()
    return made and all(command.exists() for command in commands)


def make_environment():
    # type: () -> None
    free = shutil.disk_usage(str(ROOT)).free / 2**30
    if free < VENV_GIB and not VENV.exists():
        raise Refusal(
            f"{ROOT} has {free:.1f} GiB free, and the environment needs {VENV_GIB} GiB; free some space and run "
            "make setup again."
        )
    uv = find_uv()
    python = VENV / "bin" / "python"
    if not python.exists():  # absent, or a link to a Python that is gone
        say(f"setup: making .venv with {sys.executable}")
        run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(VENV)], "making .venv")
    say("setup: installing what requirements.lock pins")
    install = [uv, "pip", "install", "--quiet", "--python", str(python)]
    run([*install, "--require-hashes", "-r", str(LOCK)], "installing the locked requirements")
    # The project itself is built with the locked hatchling: no isolation, so nothing unpinned is downloaded for it.
    run([*install, "--no-deps", "--no-build-isolation", "-e", str(ROOT)], "installing the project itself")
    # Once, here: the tests' workers and the engine's plugins would each compile the same at their start.
    # An attribute of each is asked for, because the cloud SDKs import a service when it is first used.
    program = (
        "import importlib, sys; [getattr(importlib.import_module(name), 'anything', None) for name in sys.argv[1:]]"
    )
    with concurrent.futures.ThreadPoolExecutor() as lots:
        commands = ([str(python), "-c", program, *lot] for lot in IMPORTED)
        list(lots.map(lambda command: run(command, "compiling what is imported most"), commands))
    wrapper = VENV / "bin" / "pulumi"
    wrapper.write_text(f'#!/bin/sh\nexec "{python}" -m headrace_sandbox.wrapper "$@"\n', encoding="utf-8")
    wrapper.chmod(0o755)
    STAMP.write_text(wanted_stamp(), encoding="utf-8")


def main():
    # type: () -> int
    if sys.version_info < OLDEST:
        found = ".".join(map(str, sys.version_info[:3]))
        raise Refusal(
            f"Python {found} ({sys.executable}) is too old, this project needs 3.11 or newer; install one and run "
            "make setup PYTHON=/path/to/it."
        )
    # uv brings a list of authorities of its own; a company's mirror is signed by one that only the system knows.
    os.environ.setdefault("UV_SYSTEM_CERTS", "true")
    started = time.time()
    lock = cache_root() / f"setup-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:16]}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not up_to_date():
            make_environment()
        SECONDS.write_text(f"{time.time() - started:.1f}", encoding="utf-8")
    # The engine prints its own progress and its own refusals.
    done = subprocess.run([str(VENV / "bin" / "headrace"), "engine", "path"], stdout=subprocess.DEVNULL, check=False)  # noqa: S603
    return done.returncode


if __name__ == "__main__":
    try:
        code = main()
    except Refusal as refusal:
        say(f"setup: {refusal}")
        code = EXIT_REFUSED
    sys.exit(code)
