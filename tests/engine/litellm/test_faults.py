"""Faults around the router inside LiteLLM: its stores go away, its files change, it is killed; nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from headrace.audit.chain import Intact, verify
from headrace.audit.record import Entry, Kind, parse
from headrace.audit.sinks.postgres import read
from headrace.router.litellm import versions
from headrace_sandbox import litellm_environment
from headrace_sandbox.model_servers.behaviour import Behaviour
from headrace_sandbox.supervise_ports import free_port
from tests.contract.world import Engine
from tests.engine.router.world import (
    PATIENT,
    SECRET,
    ask,
    floor_at,
    idle,
    make_tables,
    model_server,
    open_folder,
    postgres_ready,
    redis_ready,
    start_postgres,
    start_redis,
    wait_for,
    write_files,
)

pytestmark = pytest.mark.engine
START_S = 300.0


@pytest.fixture(scope="module")
def environment() -> Iterator[Path]:
    """LiteLLM's environment, made now where it is not in the cache."""
    yield litellm_environment.make()


class Load:
    """Callers that ask without a pause while phases pass; every answer counts."""

    def __init__(self, session: aiohttp.ClientSession, engine: Engine) -> None:
        self._session = session
        self._engine = engine
        self._ending = False
        self._tasks: list[asyncio.Task[None]] = []
        self.statuses: list[int] = []

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._caller(number)) for number in range(6)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ending = True
        await asyncio.gather(*self._tasks)

    async def _caller(self, number: int) -> None:
        while not self._ending:
            answer = await ask(self._session, self._engine, tokens=3, stream=number % 2 == 0)
            self.statuses.append(answer.status)
            if answer.status != 200:
                await asyncio.sleep(0.05)

    async def more(self, count: int = 12, seconds: float = 60.0) -> list[int]:
        """The next answers."""
        start, deadline = len(self.statuses), time.monotonic() + seconds
        while len(self.statuses) < start + count:
            assert time.monotonic() < deadline, f"only {len(self.statuses) - start} answers in {seconds:g} s"
            await asyncio.sleep(0.02)
        return self.statuses[start:]


async def test_stores_that_go_away_a_reload_and_a_kill_under_load_lose_and_double_no_record(
    session: aiohttp.ClientSession, tmp_path: Path, environment: Path
) -> None:
    redis, postgres = free_port(), free_port()
    dsn = f"postgresql://router@127.0.0.1:{postgres}/postgres"
    engine = Engine(
        folder=tmp_path,
        kind="litellm",
        env={"HEADRACE_REDIS_URL": f"redis://127.0.0.1:{redis}/0", "HEADRACE_POSTGRES_DSN": dsn},
    )
    quick = Behaviour(servers=2, slots=8, token_s=0.002)
    async with model_server(quick) as (_, floor), model_server(quick) as (added, other):
        pools = {"floor": floor_at(floor, slotsPerInstance=8)}
        write_files(tmp_path, pools=pools, callerBreaker=PATIENT)
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(open_folder()) / "postgres"
            first = stack.enter_context(start_redis(redis, tmp_path / "redis"))
            database = stack.enter_context(start_postgres(postgres, folder))
            wait_for(redis_ready(redis), what="Redis", seconds=START_S)
            wait_for(postgres_ready(postgres), what="PostgreSQL", seconds=START_S)
            await make_tables(postgres)
            process = stack.enter_context(engine.start())
            wait_for(engine.ready, what=f"the router: {engine.log}", seconds=START_S)
            await asyncio.sleep(2.5)  # Redis started empty: for a moment nobody gets more than they hold

            async with Load(session, engine) as load:
                assert set(await load.more()) == {200}
                first.kill(signal.SIGKILL)
                assert set(await load.more()) == {200}, "without Redis it serves within its last shares"
                database.kill(signal.SIGQUIT)
                assert set(await load.more()) == {200}, "without its sink it serves on; the spool keeps the records"
                assert engine.ready()
                stack.enter_context(start_redis(redis, tmp_path / "redis"))
                again = stack.enter_context(start_postgres(postgres, folder))
                stack.callback(again.kill, signal.SIGINT)
                wait_for(postgres_ready(postgres), what="PostgreSQL", seconds=START_S)
                pools["new"] = floor_at(other, slotsPerInstance=8)
                write_files(tmp_path, pools=pools, callerBreaker=PATIENT)
                deadline = time.monotonic() + 30
                while not added.served:
                    assert time.monotonic() < deadline, "LiteLLM never learned of the pool that a reload brought"
                    assert set(await load.more(6)) == {200}, "a reload drops nothing"
                await load.more()
                process.kill(signal.SIGKILL)
                killed = len(load.statuses)
            answered = load.statuses[:killed].count(200)

            process = stack.enter_context(engine.start())
            wait_for(engine.ready, what=f"the router: {engine.log}", seconds=START_S)
            await asyncio.sleep(1.0)
            assert (await ask(session, engine)).status == 200
            state = await idle(session, engine)
            process.kill(signal.SIGTERM)
            assert process.child.returncode == 0
            ledger = await read(dsn, engine.name)
    assert isinstance(verify(engine.name, ledger), Intact), "the chain goes on over the kill"
    entries = [parse(one.record) for one in ledger]
    final = [one for one in entries if one.kind.final]
    ids = [one.request_id for one in final]
    assert len(ids) == len(set(ids)), "no request has two outcomes"
    assert {one.request_id for one in entries} == set(ids), "every reservation has an outcome, those of the kill too"
    # An outcome waits a moment for company on its way to the disk; one that the kill caught there is posted in full.
    served = [one for one in final if one.outcome == "ok" or one.kind is Kind.EXPIRE]
    assert len(served) >= answered + 1, f"{answered + 1} callers had whole answers, {len(served)} records say so"
    assert len(served) <= answered + 7, "only what was in flight at the kill may be recorded and not answered"
    spent = state["accounts"]["project/search/assistant"]["spentNano"]
    assert spent == _spent(entries), "the budget after the restart is what the ledger says"


def _spent(entries: list[Entry]) -> int:
    return sum(one.cost_nano for one in entries if one.kind.final and one.project == "assistant")


def test_a_compromised_release_is_refused_at_start_before_it_is_imported(environment: Path, tmp_path: Path) -> None:
    info = tmp_path / "litellm-1.107.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: litellm\nVersion: 1.107.0\n")
    trap = tmp_path / "litellm.py"
    trap.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    done = _started(environment, tmp_path, [str(tmp_path), str(litellm_environment.own_package())])
    assert done.returncode == 2, done.stderr
    assert "1.107.0" in done.stderr and "compromised" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "ran").exists(), "nothing of it was imported"


def _started(environment: Path, folder: Path, path: list[str]) -> subprocess.CompletedProcess[str]:
    (folder / "router.json").write_text("{}")
    (folder / "keys.json").write_text(json.dumps({"version": 1, "keys": []}))
    return subprocess.run(
        [
            *(str(environment / "bin" / "python"), "-m", "headrace.router.litellm", "--spool", str(folder / "spool")),
            *("--config", str(folder / "router.json"), "--keys", str(folder / "keys.json")),
        ],
        env={"PYTHONPATH": ":".join(path), "HEADRACE_HASH_SECRET": SECRET, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_environment_is_exactly_the_lock(environment: Path) -> None:
    lock = litellm_environment.lock_file().read_text(encoding="utf-8")
    assert versions.check(versions.site_packages_of(environment), lock=lock) == versions.TESTED


def test_a_litellm_that_runs_without_the_router_admits_nothing(environment: Path) -> None:
    program = (
        "import asyncio, fastapi\n"
        "from headrace.router.litellm import hooks\n"
        "for call in (hooks.authenticate(None, 'sk-x'),\n"
        "             hooks.hooks.async_pre_call_hook(None, None, {}, 'acompletion'),\n"
        "             hooks.hooks.async_filter_deployments('m', [{'model_info': {'id': 'm'}}], None)):\n"
        "    try:\n"
        "        print('admitted', asyncio.run(call))\n"
        "    except fastapi.HTTPException as error:\n"
        "        print(error.status_code)\n"
    )
    done = subprocess.run(
        [str(environment / "bin" / "python"), "-c", program],
        env={"PYTHONPATH": str(litellm_environment.own_package()), "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.split() == ["503", "503", "503"], done.stdout + done.stderr
