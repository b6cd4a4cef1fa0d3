"""`python -m headrace_sandbox.traffic --speed S --epoch E --hosts FILE -- ARGUMENT…`: the installed command `headrace`
with those arguments, as it is, on the sandbox's clock and with the sandbox's map of hosts."""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import entry_points
from pathlib import Path

from headrace_sandbox.traffic.clock import Clock, install, read_hosts


def main() -> None:
    """Become the command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--speed", type=float, required=True, help="seconds that pass in one second")
    parser.add_argument("--epoch", type=float, required=True, help="moment (seconds since 1970) at which both agree")
    parser.add_argument("--hosts", type=Path, required=True, help="JSON: address of the deployment -> address here")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="after --: what to run")
    given = parser.parse_args()
    install(Clock(speed=given.speed, epoch=given.epoch), read_hosts(given.hosts))
    (command,) = entry_points(group="console_scripts", name="headrace")
    sys.argv = ["headrace", *(given.arguments[1:] if given.arguments[:1] == ["--"] else given.arguments)]
    command.load()()


if __name__ == "__main__":
    main()
