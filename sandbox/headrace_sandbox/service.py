"""What the supervisor needs to know of one process of the sandbox. Each part of the sandbox returns a list of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Kind(StrEnum):
    """How much of the real thing a part is."""

    REAL = "real"
    SIMULATED = "simulated"
    STAND_IN = "stand-in"


@dataclass(frozen=True, kw_only=True)
class SandboxContext:
    """Where a sandbox lives. `port(name)` gives the loopback port of a part: free when first asked for, then the same
    for the life of the sandbox, so that a restarted part is found where it was."""

    directory: Path
    port: Callable[[str], int]

    @property
    def logs(self) -> Path:
        """One log file per process."""
        return self.directory / "logs"

    @property
    def bin(self) -> Path:
        """Executables that stand first on PATH for the engine (the `aws` credential helper, provider plugins)."""
        return self.directory / "bin"


@dataclass(frozen=True, kw_only=True)
class Service:
    """One process: how to start it, when it is ready, what it is.

    `argv` never holds a secret (it is visible to every user of the machine); secrets go into files with mode 0600 or
    `env`. `ready` is polled from outside until it returns True or `ready_timeout_s` has passed. `urls` are added to the
    sandbox's endpoints. `after` names services that must be ready first.
    """

    name: str
    kind: Kind
    what: str
    argv: tuple[str, ...]
    ready: Callable[[], bool]
    ready_timeout_s: float = 60.0
    env: Mapping[str, str] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    stop_timeout_s: float = 10.0
