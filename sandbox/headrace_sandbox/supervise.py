"""Starts, adopts, shows and stops the processes of a sandbox.

The sandbox's folder is its whole memory (`processes.json`, `endpoints.json`, `ports.json`, `logs/`), so any later
command, also after the starter was killed half-way, knows what runs. Processes outlive the command that started them
and are ended only by recorded identity.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.errors import Refused, refuse
from headrace_sandbox import cache, checkout
from headrace_sandbox import supervise_process as processes
from headrace_sandbox.service import SandboxContext, Service
from headrace_sandbox.supervise_ports import Ports, answers, need_free, port_of, write_json
from headrace_sandbox.supervise_process import Record

_POLL_S: Final = 0.1
_PROGRESS_S: Final = 10.0
_LOG_LINES: Final = 12


@dataclass(frozen=True, kw_only=True)
class Status:
    """One row of `headrace sandbox status`. `state`: ready, not answering, or dead."""

    name: str
    kind: str
    what: str
    url: str
    pid: int
    memory_mib: float
    state: str
    log: str


def default_directory() -> Path:
    """`$HEADRACE_SANDBOX_DIR`, else `.headrace/sandbox` of the checkout."""
    own = os.environ.get("HEADRACE_SANDBOX_DIR")
    return Path(own).expanduser().resolve() if own else checkout.state_directory(checkout.root()) / "sandbox"


def open_context(directory: Path | None = None) -> SandboxContext:
    """The sandbox in `directory` (made if absent)."""
    folder = (directory or default_directory()).resolve()
    context = SandboxContext(directory=folder, port=Ports(folder))
    for made in (folder, context.logs, context.bin):
        made.mkdir(parents=True, exist_ok=True)
    return context


def endpoints(directory: Path) -> dict[str, str]:
    """The URLs of a sandbox by name; empty when it was never up."""
    file = directory / "endpoints.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def running(directory: Path) -> bool:
    """Whether any part of a sandbox runs."""
    return any(processes.alive(record) for record in processes.load(directory))


def status(directory: Path) -> list[Status]:
    """What was started and how it is now, in start order."""
    return [
        Status(
            name=record.name,
            kind=record.kind,
            what=record.what,
            url=record.url,
            pid=record.pid,
            memory_mib=round(processes.memory_mib(record), 1),
            state=_state(record),
            log=record.log,
        )
        for record in processes.load(directory)
    ]


def _state(record: Record) -> str:
    if not processes.alive(record):
        return "dead"
    ports = [port for url in record.urls.values() if (port := port_of(url)) is not None]
    return "ready" if all(answers(port) for port in ports) else "not answering"


def up(context: SandboxContext, services: Sequence[Service]) -> None:
    """Bring every service to readiness: adopt what still runs as described, start the rest, in dependency order.

    When one fails, those that this call started are stopped again and the refusal shows the failed one's last lines.
    """
    _check_graph(services)
    with cache.locked(context.directory / ".lock", what="start the sandbox"):
        _Start(context, services).run()
        known = {name: url for service in services for name, url in service.urls.items()}
        write_json(context.directory / "endpoints.json", known)


def down(directory: Path, *, purge: bool = False) -> list[str]:
    """Stop everything of a sandbox, dependents first; returns the names stopped. `purge` removes its folder as well."""
    if not directory.is_dir():
        return []
    with cache.locked(directory / ".lock", what="stop the sandbox"):
        stopped = _stop(processes.load(directory))
        if processes.stop_marked(_mark(directory, "")):
            stopped = stopped or ["unrecorded processes"]
        (directory / "processes.json").unlink(missing_ok=True)
        (directory / "endpoints.json").unlink(missing_ok=True)
        if purge:
            shutil.rmtree(directory)
    return stopped


def _stop(records: Sequence[Record]) -> list[str]:
    """In waves: first what nothing else still stands on, all of a wave at once."""
    left = {record.name: record for record in records}
    stopped = []
    while left:
        needed = {name for record in left.values() for name in record.after}
        wave = [record for name, record in left.items() if name not in needed] or list(left.values())
        with ThreadPoolExecutor(max_workers=len(wave)) as pool:
            running = list(pool.map(processes.stop, wave))
        stopped += [record.name for record, ran in zip(wave, running, strict=True) if ran]
        for record in wave:
            del left[record.name]
    return stopped


def _mark(directory: Path, name: str) -> str:
    return f"{directory}/{name}"


def _check_graph(services: Sequence[Service]) -> None:
    names = [service.name for service in services]
    if len(set(names)) != len(names):
        raise ValueError(f"two sandbox services share a name: {sorted(names)}")
    placed: set[str] = set()
    left = list(services)
    while left:
        ready = [service for service in left if set(service.after) <= placed]
        if not ready:
            raise ValueError(f"sandbox services wait for each other or for an unknown one: {[s.name for s in left]}")
        placed |= {service.name for service in ready}
        left = [service for service in left if service.name not in placed]


def _spec(service: Service) -> str:
    described = json.dumps([service.argv, sorted(service.env.items())])
    return hashlib.sha256(described.encode()).hexdigest()[:16]


class _Start:
    """One run of `up`: a thread per service, joined by an event per service; the first failure stops the others."""

    def __init__(self, context: SandboxContext, services: Sequence[Service]) -> None:
        self._context = context
        self._services = services
        self._ready = {service.name: threading.Event() for service in services}
        self._failed = threading.Event()
        self._guard = threading.Lock()
        self._records = {record.name: record for record in processes.load(context.directory)}
        self._started: list[Record] = []
        self._began = time.monotonic()

    def run(self) -> None:
        self._drop_outdated()
        with ThreadPoolExecutor(max_workers=max(1, len(self._services))) as pool:
            futures = [pool.submit(self._bring_up, service) for service in self._services]
            try:
                self._wait(lambda: all(future.done() for future in futures))
            except BaseException:
                self._failed.set()
                raise
            finally:
                errors = [error for future in futures if (error := future.exception()) is not None]
                if errors or self._failed.is_set():
                    self._undo()
        refusals = [error for error in errors if isinstance(error, Refused)]
        if len(refusals) < len(errors):
            raise next(error for error in errors if not isinstance(error, Refused))
        if refusals:
            raise Refused(*(problem for refusal in refusals for problem in refusal.problems))

    def _wait(self, done: Callable[[], bool]) -> None:
        said = time.monotonic()
        while not done():
            time.sleep(_POLL_S)
            if time.monotonic() - said >= _PROGRESS_S:
                said = time.monotonic()
                waiting = [name for name, event in self._ready.items() if not event.is_set()]
                cache.say(f"sandbox: waiting for {', '.join(waiting)} ({said - self._began:.0f} s)")

    def _drop_outdated(self) -> None:
        """Stop what is no longer described, or described otherwise; forget what is dead; adopt the rest."""
        wanted = {service.name: _spec(service) for service in self._services}
        outdated = [record for record in self._records.values() if wanted.get(record.name) != record.spec]
        # What stands on a part that goes must go as well: it holds connections to the old one.
        names = {record.name for record in outdated}
        while more := [r for r in self._records.values() if r.name not in names and names & set(r.after)]:
            outdated += more
            names |= {record.name for record in more}
        _stop(outdated)
        self._records = {
            name: record for name, record in self._records.items() if name not in names and processes.alive(record)
        }
        adopted = {record.pid for record in self._records.values()}
        if not adopted:
            processes.stop_marked(_mark(self._context.directory, ""))
        processes.save(self._context.directory, self._records.values())

    def _bring_up(self, service: Service) -> None:
        try:
            for needed in service.after:
                while not self._ready[needed].wait(_POLL_S):
                    if self._failed.is_set():
                        return
            began = time.monotonic()
            record = self._records.get(service.name)
            process = None
            if record is None:
                record, process = self._spawn(service)
            self._await_ready(service, record, process)
            if process is not None:
                cache.say(f"sandbox: {service.name} ready after {time.monotonic() - began:.1f} s ({service.kind})")
            self._ready[service.name].set()
        except BaseException:
            self._failed.set()
            raise

    def _spawn(self, service: Service) -> tuple[Record, subprocess.Popen[bytes]]:
        for url in service.urls.values():
            port = port_of(url)
            if port is not None:
                need_free(port, service=service.name)
        log = self._context.logs / f"{service.name}.log"
        with log.open("ab") as output, self._guard:
            process = subprocess.Popen(  # noqa: S603 - argv comes from our own parts
                service.argv,
                cwd=self._context.directory,
                env={**os.environ, **service.env, processes.MARK: _mark(self._context.directory, service.name)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            record = Record(
                name=service.name,
                pid=process.pid,
                start_time=processes.start_ticks(process.pid) or 0,
                boot_id=processes.boot_id(),
                kind=service.kind,
                what=service.what,
                url=next(iter(service.urls.values()), ""),
                log=str(log),
                after=service.after,
                urls=dict(service.urls),
                spec=_spec(service),
                stop_timeout_s=service.stop_timeout_s,
            )
            self._records[service.name] = record
            self._started.append(record)
            processes.save(self._context.directory, self._records.values())
        return record, process

    def _await_ready(self, service: Service, record: Record, process: subprocess.Popen[bytes] | None) -> None:
        deadline = time.monotonic() + service.ready_timeout_s
        while not self._failed.is_set():
            if (process is not None and process.poll() is not None) or not processes.alive(record):
                code = process.returncode if process is not None else None
                raise _failure(service, record, f"ended with code {code}" if code is not None else "ended")
            if service.ready():
                return
            if time.monotonic() >= deadline:
                raise _failure(service, record, f"was not ready within {service.ready_timeout_s:g} s")
            time.sleep(_POLL_S)

    def _undo(self) -> None:
        _stop(self._started)
        gone = {record.name for record in self._started}
        left = [record for name, record in self._records.items() if name not in gone]
        processes.save(self._context.directory, left)


def _failure(service: Service, record: Record, how: str) -> Refused:
    lines = Path(record.log).read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    shown = "\n    ".join(lines) or "(it printed nothing)"
    return refuse(
        f"sandbox part {service.name}",
        None,
        f"it {how}; its last lines are\n    {shown}\n   ",
        next_step=f"look into {record.log} and run the command again",
    )
