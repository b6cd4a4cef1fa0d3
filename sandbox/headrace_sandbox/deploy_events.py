"""What the engine reports while it works, read from its event stream.

The stream also carries debug messages with whole property bags, so it never touches a disk: the engine writes into a
named pipe and only what is counted or shown here is kept.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

# `--event-log` is one of the flags that the engine hides unless this is set.
VARIABLES: Final = {"PULUMI_DEBUG_COMMANDS": "true"}
_UNCHANGED: Final = frozenset({"same", "read"})
_SHOWN_SEVERITIES: Final = frozenset({"error", "warning"})


@dataclass(frozen=True)
class Finding:
    """One report of a policy. The same one comes at preview and at update: equal records count once."""

    policy: str
    level: str
    urn: str
    message: str


@dataclass
class Progress:
    """A run so far. `operations` is what became of each resource (URN -> operation), `doing` what is under way."""

    preview: bool = True
    planned: int = 0
    operations: dict[str, str] = field(default_factory=dict)
    doing: dict[str, float] = field(default_factory=dict)
    findings: set[Finding] = field(default_factory=set)
    messages: list[str] = field(default_factory=list)
    changes: dict[str, int] = field(default_factory=dict)

    def observe(self, event: Mapping[str, Any], *, now: float) -> None:
        """Take in one engine event (`apitype.EngineEvent` as JSON)."""
        if "preludeEvent" in event:
            self.operations.clear()
            self.doing.clear()
        elif (step := event.get("resourcePreEvent")) is not None:
            if (step["metadata"].get("new") or step["metadata"].get("old") or {}).get("custom"):
                self.doing[step["metadata"]["urn"]] = now  # a component only waits for its children
        elif (step := event.get("resOutputsEvent")) is not None:
            self.doing.pop(step["metadata"]["urn"], None)
            self.operations[step["metadata"]["urn"]] = step["metadata"]["op"]
        elif (step := event.get("resOpFailedEvent")) is not None:
            self.doing.pop(step["metadata"]["urn"], None)
            self.operations[step["metadata"]["urn"]] = "failed"
        elif (told := event.get("diagnosticEvent")) is not None:
            self._diagnostic(told)
        elif (found := event.get("policyEvent")) is not None:
            self.findings.add(
                Finding(
                    f"{found['policyPackName']}/{found['policyName']}",
                    str(found["enforcementLevel"]),
                    str(found.get("resourceUrn", "")),
                    str(found["message"]).strip(),
                )
            )
        elif (summary := event.get("summaryEvent")) is not None:
            self._summary(summary)

    def _diagnostic(self, told: Mapping[str, Any]) -> None:
        message = str(told["message"]).strip()
        if told.get("severity") in _SHOWN_SEVERITIES and message and not told.get("ephemeral"):
            where = name_of(str(told.get("urn", "")))
            line = f"{told['severity']}: {where + ': ' if where else ''}{message}"
            if line not in self.messages:
                self.messages.append(line)

    def _summary(self, summary: Mapping[str, Any]) -> None:
        self.changes = {str(op): int(count) for op, count in (summary.get("resourceChanges") or {}).items()}
        self.preview = bool(summary.get("isPreview"))
        if self.preview:
            self.planned = sum(self.changes.values())

    def changed(self) -> int:
        """How many resources the last finished run changed, or a preview would change."""
        return sum(count for op, count in self.changes.items() if op not in _UNCHANGED)

    def count(self, level: str) -> int:
        """Findings of one enforcement level."""
        return sum(finding.level == level for finding in self.findings)

    def line(self, *, now: float) -> str:
        """One line for a person who waits."""
        of = f" of {self.planned}" if self.planned else ""
        longest = sorted(self.doing, key=self.doing.__getitem__)[:2]
        names = "; ".join(f"{name_of(urn)} ({now - self.doing[urn]:.0f} s)" for urn in longest)
        return f"{len(self.operations)}{of} resources done" + (f"; under way: {names}" if names else "")


def name_of(urn: str) -> str:
    """`aws:eks/cluster:Cluster gpu` of a URN: its own type and name, without its ancestors' types."""
    parts = urn.split("::")
    return f"{parts[2].rsplit('$', 1)[-1]} {'::'.join(parts[3:])}" if len(parts) >= 4 else urn


def run(
    argv: list[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    output: Path,
    report: Callable[[str], None],
    every_s: float = 5.0,
) -> tuple[int, Progress]:
    """Run an engine command; its exit code and what happened. Its own text goes to `output`, progress to `report`."""
    progress = Progress()
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder, output.open("ab") as log:
        pipe = Path(folder) / "events"
        os.mkfifo(pipe, 0o600)
        with _reader(pipe, progress):
            process = subprocess.Popen(  # noqa: S603 - our own argv
                [*argv, "--event-log", str(pipe)],
                cwd=cwd,
                env={**environment, **VARIABLES},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                while True:
                    try:
                        code = process.wait(timeout=every_s)
                        break
                    except subprocess.TimeoutExpired:
                        report(progress.line(now=time.monotonic()))
            except BaseException:
                process.terminate()
                process.wait()
                raise
    return code, progress


@contextmanager
def _reader(pipe: Path, progress: Progress) -> Iterator[None]:
    """Feed `progress` from the pipe while the block runs. Opened for both ends, so that the engine may close and open
    its end between preview and update without our seeing an end of file."""
    descriptor = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    done = threading.Event()

    def read() -> None:
        rest = b""
        while True:
            ready, _, _ = select.select([descriptor], [], [], 0.2)
            if ready:
                *lines, rest = (rest + os.read(descriptor, 1 << 20)).split(b"\n")
                for line in lines:
                    progress.observe(json.loads(line), now=time.monotonic())
            elif done.is_set():
                return

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        os.close(descriptor)
