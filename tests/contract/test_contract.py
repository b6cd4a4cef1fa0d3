"""One contract for both engines: our own server, and the LiteLLM proxy with the plug-in."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import aiohttp
import pytest

from headrace.audit.chain import Intact, Link, verify
from headrace.audit.record import Entry, parse
from headrace.audit.segments import read_links
from headrace.audit.sinks.postgres import read
from headrace_sandbox.supervise_ports import free_port
from tests.contract.runner import Run
from tests.contract.world import ENGINES, Engine, Vector, World, vectors
from tests.engine.router.world import (
    Process,
    make_tables,
    open_folder,
    postgres_ready,
    redis_ready,
    start_postgres,
    start_redis,
    wait_for,
)

pytestmark = pytest.mark.engine
VECTORS = vectors()


@dataclass(frozen=True)
class Running:
    """Both engines, ready, over one configuration; shares of limits in Redis, the ledger in PostgreSQL."""

    world: World
    engines: dict[str, Engine]
    processes: dict[str, Process]
    dsn: str


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("contract")
    world = World(folder=folder, vectors=VECTORS)
    redis, postgres = free_port(), free_port()
    dsn = f"postgresql://router@127.0.0.1:{postgres}/postgres"
    with ExitStack() as stack:
        stack.enter_context(start_redis(redis, folder / "redis"))
        database = stack.enter_context(start_postgres(postgres, stack.enter_context(open_folder()) / "postgres"))
        stack.callback(database.kill, signal.SIGINT)
        engines = {
            # Each in a database of its own: they are not replicas of each other.
            kind: Engine(
                folder=folder,
                name=kind,
                kind=kind,
                env={"HEADRACE_REDIS_URL": f"redis://127.0.0.1:{redis}/{number}", "HEADRACE_POSTGRES_DSN": dsn},
            )
            for number, kind in enumerate(ENGINES)
        }
        wait_for(redis_ready(redis), what="Redis", seconds=180)
        wait_for(postgres_ready(postgres), what="PostgreSQL", seconds=180)
        processes = {kind: stack.enter_context(engine.start()) for kind, engine in engines.items()}
        with ThreadPoolExecutor(1) as elsewhere:
            elsewhere.submit(lambda: asyncio.run(make_tables(postgres))).result()
        for kind, engine in engines.items():
            wait_for(engine.ready, what=f"{kind}: {engine.log}", seconds=300)
        time.sleep(2.5)  # Redis started empty: for a moment nobody gets more than they hold
        yield Running(world, engines, processes, dsn)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True), timeout=aiohttp.ClientTimeout(total=60)
    ) as opened:
        yield opened


def entries(engine: Engine) -> list[Entry]:
    """What the journal holds now; the writer may be in the middle of a line."""
    return [parse(one.record) for one in read_links(engine.spool, engine.name) if isinstance(one, Link)]


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name.replace(" ", "-"))
async def test_the_contract_holds(vector: Vector, kind: str, running: Running, session: aiohttp.ClientSession) -> None:
    if kind in vector.differs:
        pytest.skip(f"{kind}: {vector.differs[kind]}")
    engine = running.engines[kind]
    async with running.world.standins(vector) as standins:
        run = Run(vector, engine, standins, session)
        await run.steps()
        await run.settled()
        deadline = time.monotonic() + 60
        while len([one for one in entries(engine) if one.tenant == vector.slug and one.kind.final]) < run.expected():
            assert time.monotonic() < deadline, f"records are missing; there are {entries(engine)[-8:]}"
            await asyncio.sleep(0.05)
        run.records(entries(engine))
        for name, standin in standins.items():
            slots = standin.servers.behaviour.slots * standin.servers.behaviour.servers
            assert standin.servers.most_running <= slots, f"{name} held more than its slots"
        if vector.written_nowhere:
            _nowhere(vector.written_nowhere, engine)


def _nowhere(text: str, engine: Engine) -> None:
    for path in [
        engine.log,
        *(path for path in engine.folder.rglob("*") if path.is_file() and engine.name in str(path)),
    ]:
        assert text.encode() not in path.read_bytes(), f"{path} holds a prompt"


@pytest.mark.parametrize("kind", ENGINES)
async def test_the_ledger_in_postgres_is_the_journal_and_each_request_has_one_outcome(
    kind: str, running: Running
) -> None:
    engine, process = running.engines[kind], running.processes[kind]
    process.kill(signal.SIGTERM)
    assert process.child.returncode == 0, engine.log.read_text()[-2000:]
    journal = [one for one in read_links(engine.spool, engine.name) if isinstance(one, Link)]
    ledger = await read(running.dsn, engine.name)
    assert isinstance(verify(engine.name, ledger), Intact), "the chain in the database is whole"
    assert [one.hash for one in ledger] == [one.hash for one in journal], "the database holds what the journal holds"
    final = [parse(one.record).request_id for one in ledger if parse(one.record).kind.final]
    assert len(final) == len(set(final)), "exactly one final record for each request"
    opened = {parse(one.record).request_id for one in ledger}
    assert opened == set(final), "every reservation has an outcome"
