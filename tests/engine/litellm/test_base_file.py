"""A team's own configuration under the real LiteLLM proxy: its callbacks and guardrails run, and ours decides."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from headrace.audit.chain import Link
from headrace.audit.record import Entry, Kind, parse
from headrace.audit.segments import read_links
from headrace_sandbox import litellm_environment
from headrace_sandbox.model_servers.behaviour import Behaviour
from headrace_sandbox.supervise_ports import free_port
from tests.contract.world import Engine, Standin
from tests.engine.router.world import PATIENT, Answer, ask, floor_at, idle, wait_for, write_files

pytestmark = pytest.mark.engine
START_S = 300.0
BASE = """\
general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
litellm_settings:
  callbacks: [team.masker, team.logger]
model_list:
  - model_name: chat   # vLLM, until the router came
    litellm_params: {{model: openai/chat, api_base: "http://vllm.invalid/v1"}}
  - model_name: judge
    litellm_params: {{model: openai/judge, api_base: "http://127.0.0.1:{judge}/v1", api_key: os.environ/JUDGE_KEY}}
guardrails:
  - guardrail_name: judge
    litellm_params: {{guardrail: {judge_class}, mode: pre_call, default_on: true}}
  - guardrail_name: watcher
    litellm_params: {{guardrail: team.Watcher, mode: during_call, default_on: true}}
"""


@contextlib.asynccontextmanager
async def standin(port: int, served: str) -> AsyncIterator[Standin]:
    """A model server that remembers what it was sent."""
    server = Standin(Behaviour(servers=1, slots=4, token_s=0.02), served=served)
    runner = web.AppRunner(server.application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield server
    finally:
        await runner.cleanup()


@dataclass
class Team:
    """A folder with the team's files, and a replica inside LiteLLM that takes them."""

    folder: Path
    engine: Engine
    floor: int
    judge: int

    @property
    def notes(self) -> str:
        """What its callbacks wrote."""
        return (self.folder / "notes.txt").read_text()

    def entries(self) -> list[Entry]:
        """Final records of the journal."""
        links = read_links(self.engine.spool, self.engine.name)
        found = [parse(one.record) for one in links if isinstance(one, Link)]
        return [one for one in found if one.kind.final]


@pytest.fixture
def team(tmp_path: Path) -> Team:
    litellm_environment.make()
    floor, judge = free_port(), free_port()
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    shutil.copy(Path(__file__).with_name("team.py"), theirs / "team.py")
    (tmp_path / "notes.txt").write_text("")
    write_files(tmp_path, pools={"floor": floor_at(floor, instances=1, slotsPerInstance=4)}, callerBreaker=PATIENT)
    engine = Engine(
        folder=tmp_path,
        kind="litellm",
        env={"TEAM_NOTES": str(tmp_path / "notes.txt"), "JUDGE_KEY": "sk-of-the-judge"},
        more=("--base", str(theirs / "config.yaml"), "--keep-model", "judge"),
    )
    return Team(tmp_path, engine, floor, judge)


def write_base(team: Team, *, judge_class: str = "team.Judge") -> None:
    text = BASE.format(judge=team.judge, judge_class=judge_class)
    (team.folder / "theirs" / "config.yaml").write_text(text)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as opened:
        yield opened


async def test_a_teams_callbacks_and_guardrails_run_and_the_router_decides(
    session: aiohttp.ClientSession, team: Team
) -> None:
    write_base(team)
    async with standin(team.floor, "chat") as floor, standin(team.judge, "judge") as judge:
        with team.engine.start() as process:
            # In a thread: the judge must answer meanwhile.
            await asyncio.to_thread(wait_for, team.engine.ready, what=f"the router: {team.engine.log}", seconds=START_S)
            assert floor.bodies == [], "the rehearsal reaches no model server"
            judged = len(judge.bodies)

            async def asked(text: str, **more: Any) -> Answer:
                return await ask(session, team.engine, text=text, **more)

            for stream in (False, True):
                answer = await asked(f"my card is 4111-1111 {stream}", stream=stream)
                assert answer.status == 200 and answer.complete and answer.headers["X-Headrace-Pool"] == "floor"
                assert floor.bodies[-1]["messages"][-1]["content"] == f"my card is [card] {stream}"
            assert "masker sees chat of search/assistant" in team.notes, "it sees what the caller asked for"
            assert team.notes.count("judge said") >= 2 and len(judge.bodies) == judged + 2
            assert "sk-of-the-judge" in str(judge.seen) and "sk-of-the-judge" not in str(floor.seen)

            calls = len(floor.bodies)
            for text, status in {"forbidden things": 403, "harmful things": 400}.items():
                answer = await asked(text)
                assert (answer.status, answer.code) == (status, "invalid_request")
                assert b"things" not in answer.body, "LiteLLM's words may hold anybody's text"
            assert len(floor.bodies) == calls, "what a callback or guardrail rejects reaches no model server"

            answer = await asked("send me elsewhere")
            assert answer.status == 200 and answer.headers["X-Headrace-Pool"] == "floor"
            assert floor.bodies[-1]["messages"][-1]["content"] == "send me elsewhere", "no callback chooses a pool"
            answer = await ask(session, team.engine, text="hello", model="judge")
            assert (answer.status, answer.code) == (404, "model_not_found"), "callers reach no kept model"
            answer = await asked("steal a slot")
            assert answer.status >= 400 and "stolen" not in str(floor.bodies), "a slot is never taken without a request"

            answer = await asked("beside the call", tokens=200)
            assert (answer.status, answer.code) == (400, "invalid_request")
            deadline = time.monotonic() + 10
            while floor.servers.running:
                assert time.monotonic() < deadline, "the call of a rejected request goes on without a slot"
                await asyncio.sleep(0.02)

            found = await idle(session, team.engine)
            assert found["accounts"]["project/search/assistant"]["reservedNano"] == 0
            deadline = time.monotonic() + 20
            while team.notes.count("logger sees") < 3:
                assert time.monotonic() < deadline, f"a callback after a success runs in a queue: {team.notes}"
                await asyncio.sleep(0.05)
            await asyncio.to_thread(process.kill, 15)
            assert process.child.returncode == 0, team.engine.log.read_text()[-2000:]
    logged = [line for line in team.notes.splitlines() if line.startswith("logger sees")]
    assert all("redacted-by-litellm" in line and "water" not in line for line in logged), "LiteLLM takes answers out"
    final = team.entries()
    rejected = sorted((one.status, one.kind, one.cost_nano) for one in final if one.pool == "")
    assert rejected[:2] == [(400, Kind.REFUSE, 0), (403, Kind.REFUSE, 0)], "guardrails run before a slot is taken"
    assert len({one.request_id for one in final}) == len(final) == 7, "each request with a workload, exactly once"
    assert "Traceback" not in team.engine.log.read_text()


async def test_a_proxy_that_would_run_without_a_guardrail_does_not_start(team: Team) -> None:
    write_base(team, judge_class="no_such_vendor")
    async with standin(team.judge, "judge"):
        with team.engine.start() as process:
            assert process.child.wait(timeout=START_S) == 2
    said = team.engine.log.read_text()
    assert "would run without this guardrail" in said, said
    assert not any(line.startswith("Traceback") for line in said.splitlines()), "one sentence"


def test_a_base_that_breaks_a_promise_ends_the_start_with_all_that_is_wrong(team: Team) -> None:
    theirs = team.folder / "theirs" / "config.yaml"
    theirs.write_text("litellm_settings: {cache: true}\nrouter_settings: {fallbacks: [{chat: [judge]}]}\n")
    with team.engine.start() as process:
        assert process.child.wait(timeout=START_S) == 2
    said = team.engine.log.read_text()
    assert "litellm_settings.cache is True" in said and "router_settings.fallbacks" in said, said
    assert "Traceback" not in said
