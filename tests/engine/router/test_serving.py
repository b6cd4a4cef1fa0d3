"""The router as a process: the API, streams, limits, spill, faults of pools, reload and drain."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import socket
import time
from pathlib import Path

import aiohttp
import psutil
import pytest
from yarl import URL

from headrace.audit.chain import Intact, Link, verify
from headrace.audit.ledger import fold
from headrace.audit.record import Entry, Kind, parse
from headrace.audit.segments import read_links
from headrace.router.types import NANO
from headrace_sandbox.model_servers.behaviour import Behaviour
from tests.engine.router.world import (
    KEYS,
    PATIENT,
    Replica,
    ask,
    burst_at,
    floor_at,
    idle,
    model_server,
    state_of,
    until,
    wait_for,
    write_files,
)

pytestmark = pytest.mark.engine

FAST = Behaviour(servers=2, slots=4, token_s=0.005)
BURST = Behaviour(servers=3, slots=4, token_s=0.005, cold_start_s=0.2, idle_timeout_s=30)


def entries(replica: Replica) -> list[Entry]:
    """The journal of a router, verified."""
    links = list(read_links(replica.spool, replica.name))
    assert all(isinstance(item, Link) for item in links)
    assert isinstance(verify(replica.name, [item for item in links if isinstance(item, Link)]), Intact)
    return [parse(item.record) for item in links if isinstance(item, Link)]


def outcomes(replica: Replica) -> dict[str, list[Entry]]:
    """Final entries by request."""
    found: dict[str, list[Entry]] = {}
    for entry in entries(replica):
        if entry.kind.final:
            found.setdefault(entry.request_id, []).append(entry)
    return found


async def test_the_api_of_openai_is_served_and_every_request_is_recorded_once(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with model_server(FAST) as (floor, port):
        write_files(tmp_path, pools={"floor": floor_at(port)})
        replica = Replica(folder=tmp_path)
        with replica.start() as process:
            wait_for(replica.ready, what="the router")
            whole = await ask(session, replica)
            assert (whole.status, whole.headers["X-Headrace-Pool"]) == (200, "floor"), whole
            stream = await ask(session, replica, stream=True, tokens=6)
            assert stream.complete
            assert b'"choices": []' not in stream.body, "the usage event that only the router asked for stays inside"
            asked = await ask(session, replica, stream=True, stream_options={"include_usage": True})
            assert b'"usage"' in asked.body
            async with session.get(
                replica.url("/v1/models"), headers={"Authorization": f"Bearer {KEYS['search']}"}
            ) as models:
                assert [model["id"] for model in (await models.json())["data"]] == ["chat", "digest"]
            for name, status in (("chat", 200), ("none", 404), ("", 404), ("chat/x", 404), ("ch%61t", 404)):
                async with session.get(
                    URL(replica.url(f"/v1/models/{name}"), encoded=True),
                    headers={"Authorization": f"Bearer {KEYS['search']}"},
                ) as model:
                    told = await model.json()
                    assert (model.status, told.get("id", "")) == (status, "chat" if status == 200 else ""), name
            for path, body in (
                ("/v1/completions", {"model": "chat", "prompt": "once", "max_tokens": 3}),
                ("/v1/embeddings", {"model": "chat", "input": ["a", "b"]}),
                ("/v1/embeddings", {"model": "chat", "input": [[5, 6], [7]], "stream": True}),
            ):
                async with session.post(
                    replica.url(path), json=body, headers={"Authorization": f"Bearer {KEYS['search']}"}
                ) as response:
                    assert response.status == 200, await response.text()
            sent = floor.seen[-1]
            assert KEYS["search"] not in json.dumps(sent), "a caller's key never goes upstream"
            async with session.get(replica.admin_url("/metrics")) as metrics:
                text = await metrics.text()
            assert 'headrace_requests_total{pool="floor",status="200",tenant="search",workload="chat"} 6.0' in text
            process.kill(signal.SIGTERM)
        found = outcomes(replica)
        assert len(found) == 6
        assert all(len(same) == 1 for same in found.values()), "exactly one record for each request"
        streamed = [entry for same in found.values() for entry in same if entry.tokens_out == 6]
        assert streamed[0].tokens_exact
        assert streamed[0].cost_nano > 0
        assert streamed[0].prompt_hash
        assert "hello" not in json.dumps([str(entry) for entry in entries(replica)]), "hashes of prompts, not prompts"
        assert "hello" not in replica.log.read_text()


async def test_what_exceeds_the_floor_spills_and_the_floor_never_holds_more_than_its_slots(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    # Slow enough that all have arrived before the first one leaves its slot.
    slow = Behaviour(servers=2, slots=4, token_s=0.1)
    async with model_server(slow) as (floor, port), model_server(BURST) as (burst, other):
        write_files(
            tmp_path,
            pools={
                "floor": floor_at(port, expectedServiceS=20),
                "burst": burst_at(other, coldStartS=0.3),
            },
            callerBreaker=PATIENT,
        )
        replica = Replica(folder=tmp_path)
        with replica.start():
            wait_for(replica.ready, what="the router")
            answers = await asyncio.gather(*(ask(session, replica, stream=True, tokens=30) for _ in range(20)))
            assert [answer.status for answer in answers] == [200] * 20
            assert floor.servers.most_running == 8, "every slot of the floor, held to the end of the stream"
            assert burst.served == 12
            assert burst.servers.cold_starts == 3
            found = await idle(session, replica)
            assert found["accounts"]["environment"]["reservedNano"] == 0
            async with session.get(replica.admin_url("/metrics")) as metrics:
                text = await metrics.text()
            assert 'headrace_spills_total{pool="burst",reason="spill-full",workload="chat"} 12.0' in text


@pytest.mark.parametrize("fault", ["refuse", "error", "garbage", "html", "too-many"])
async def test_a_faulty_floor_is_answered_from_the_overflow(
    session: aiohttp.ClientSession, tmp_path: Path, fault: str
) -> None:
    async with model_server(FAST) as (floor, port), model_server(BURST) as (_, other):
        write_files(
            tmp_path, pools={"floor": floor_at(port), "burst": burst_at(other, minInstances=1)}, callerBreaker=PATIENT
        )
        replica = Replica(folder=tmp_path)
        with replica.start():
            wait_for(replica.ready, what="the router")
            floor.fault.mode = fault
            answers = [await ask(session, replica, stream=index % 2 == 0) for index in range(20)]
            good = sum(answer.complete for answer in answers)
            assert good >= 18, [answer.status for answer in answers]
            assert all(answer.complete or answer.status in (429, 502) for answer in answers)
            tried = len(floor.seen)
            assert tried <= 8, "the breaker opens, or the pause after 429 holds"
            floor.fault.mode = "off"
            await asyncio.sleep(5.3)
            back = [await ask(session, replica) for _ in range(3)]
            assert {answer.headers.get("X-Headrace-Pool") for answer in back} == {"floor"}, "it returns by itself"


async def test_a_floor_that_dies_or_hangs_is_left(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    async with model_server(BURST) as (_, other), model_server(FAST) as (hanging, third):
        dead = socket.socket()
        dead.bind(("127.0.0.1", 0))  # bound and never listening: connections are refused
        write_files(
            tmp_path,
            pools={
                "dead": floor_at(dead.getsockname()[1]),
                "hung": floor_at(third, firstByteTimeoutS=0.5),
                "burst": burst_at(other, minInstances=1),
            },
            callerBreaker=PATIENT,
            breaker={"failuresInARow": 1, "openS": 60},
        )
        hanging.fault.mode = "hang"
        replica = Replica(folder=tmp_path)
        with replica.start():
            wait_for(replica.ready, what="the router")
            answers = [await ask(session, replica, stream=True) for _ in range(16)]
            assert all(answer.complete for answer in answers), [answer.body for answer in answers]
            found = await state_of(session, replica)
            assert found["pools"]["dead"]["circuit"] == "open"
            assert found["pools"]["hung"]["circuit"] == "open"
        dead.close()


@pytest.mark.parametrize("fault", ["cut", "stall", "reset"])
async def test_a_stream_that_breaks_ends_visibly_and_is_recorded(
    session: aiohttp.ClientSession, tmp_path: Path, fault: str
) -> None:
    async with model_server(FAST) as (floor, port):
        write_files(tmp_path, pools={"floor": floor_at(port, stallTimeoutS=0.5)}, callerBreaker=PATIENT)
        replica = Replica(folder=tmp_path)
        with replica.start() as process:
            wait_for(replica.ready, what="the router")
            floor.fault.mode = fault
            answers = [await ask(session, replica, stream=True, tokens=10) for _ in range(3)]
            for answer in answers:
                assert answer.status == 200
                assert b"[DONE]" not in answer.body
                assert b"upstream_failed" in answer.body or answer.error, "nobody can take half an answer for a whole"
            found = await idle(session, replica)
            assert found["accounts"]["environment"]["reservedNano"] == 0
            process.kill(signal.SIGTERM)
        assert {entry.outcome for same in outcomes(replica).values() for entry in same} <= {
            "stream-cut",
            "stream-stalled",
            "stream-broke",
        }


async def test_a_caller_that_goes_away_cancels_the_call_upstream(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    slow = Behaviour(servers=1, slots=4, token_s=0.05)
    async with model_server(slow) as (floor, port):
        write_files(tmp_path, pools={"floor": floor_at(port)}, callerBreaker=PATIENT)
        replica = Replica(folder=tmp_path)
        with replica.start() as process:
            wait_for(replica.ready, what="the router")
            tasks = [asyncio.create_task(ask(session, replica, stream=True, tokens=400)) for _ in range(4)]
            await until(lambda: floor.servers.running == 4)
            await asyncio.sleep(0.5)  # something is generated
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            found = await idle(session, replica)
            assert found["accounts"]["environment"]["reservedNano"] == 0
            await until(lambda: not floor.servers.running, what="the model server to generate for nobody no longer")
            process.kill(signal.SIGTERM)
        ended = [entry for same in outcomes(replica).values() for entry in same]
        assert [entry.outcome for entry in ended] == ["cancelled"] * 4
        assert all(entry.cost_nano > 0 for entry in ended), "what was generated is paid"


async def test_a_hard_budget_is_never_overshot_by_concurrent_requests(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    limit = NANO // 100  # a hundredth of a dollar
    async with model_server(FAST) as (_, port):
        write_files(
            tmp_path,
            pools={"floor": floor_at(port, nanoUsdPerInstanceSecond=8_000_000, executionTimeoutS=1)},
            tenants={
                "search": {"limits": {}, "projects": {"assistant": {"budgetNanoUsd": limit}}},
                "support": {"limits": {}, "projects": {"answers": {}}},
            },
            callerBreaker=PATIENT,
        )
        replica = Replica(folder=tmp_path)
        with replica.start() as process:
            wait_for(replica.ready, what="the router")
            answers = await asyncio.gather(*(ask(session, replica, tokens=2) for _ in range(60)))
            codes = {answer.code for answer in answers if answer.status != 200}
            assert codes == {"budget_exceeded"}
            assert sum(answer.status == 200 for answer in answers) > 1
            other = await ask(session, replica, key="support")
            assert other.status == 200, "another project has its own money"
            found = await idle(session, replica)
            spent = found["accounts"]["project/search/assistant"]["spentNano"]
            assert 0 < spent <= limit
            process.kill(signal.SIGTERM)
        ledger = fold(entries(replica))
        period = entries(replica)[0].period
        assert ledger.balance(period, "project/search/assistant").spent == spent, "journal and router agree"


async def test_loops_are_stopped_and_told_so(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    async with model_server(FAST) as (floor, port):
        write_files(tmp_path, pools={"floor": floor_at(port)}, callerBreaker={"repeats": 5, "openS": 2})
        replica = Replica(folder=tmp_path)
        with replica.start():
            wait_for(replica.ready, what="the router")
            answers = [await ask(session, replica, text=f"step {step}: go on") for step in range(9)]
            assert [answer.status for answer in answers] == [200] * 5 + [429] * 4
            assert answers[-1].code == "caller_stopped"
            assert int(answers[-1].headers["Retry-After"]) >= 1
            assert len(floor.seen) == 5
            other = await ask(session, replica, text="step 1: go on", key="support")
            assert other.status == 200, "the breaker is the caller's own"


async def test_reload_under_load_drops_no_stream_and_a_bad_file_changes_nothing(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with model_server(FAST) as (_, port), model_server(FAST) as (_, second):
        over = {"callerBreaker": PATIENT}
        write_files(tmp_path, pools={"floor": floor_at(port)}, **over)
        replica = Replica(folder=tmp_path)
        with replica.start() as process:
            wait_for(replica.ready, what="the router")
            before = (await state_of(session, replica))["policyVersion"]
            running = [asyncio.create_task(ask(session, replica, stream=True, tokens=200)) for _ in range(6)]
            await asyncio.sleep(0.3)
            (tmp_path / "router.json").write_text("{not json")
            process.child.send_signal(signal.SIGHUP)
            await asyncio.sleep(0.3)
            assert (await state_of(session, replica))["policyVersion"] == before
            write_files(tmp_path, pools={"next": floor_at(second)}, **over)
            deadline = time.monotonic() + 60
            while (await state_of(session, replica))["policyVersion"] == before:
                assert time.monotonic() < deadline, "the changed file was not noticed"
                await asyncio.sleep(0.05)
            new = await ask(session, replica)
            assert new.headers["X-Headrace-Pool"] == "next"
            answers = await asyncio.gather(*running)
            assert all(answer.complete for answer in answers), "streams of the old configuration go on to their end"
            found = await idle(session, replica)
            assert found["accounts"]["environment"]["reservedNano"] == 0


async def test_a_stopping_router_finishes_its_streams(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    async with model_server(Behaviour(servers=1, slots=4, token_s=0.02)) as (floor, port):
        write_files(tmp_path, pools={"floor": floor_at(port)})
        replica = Replica(folder=tmp_path)
        with replica.start() as process:
            wait_for(replica.ready, what="the router")
            running = [asyncio.create_task(ask(session, replica, stream=True, tokens=150)) for _ in range(4)]
            await until(lambda: floor.servers.running == 4)
            process.child.send_signal(signal.SIGTERM)
            await until(lambda: not replica.ready(), what="readiness to end")
            assert not any(task.done() for task in running), "not ready while it drains"
            answers = await asyncio.gather(*running)
            assert all(answer.complete for answer in answers)
            assert process.child.wait(timeout=120) == 0
        assert len(outcomes(replica)) == 4


async def test_a_router_killed_under_load_loses_and_doubles_no_record(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with model_server(FAST) as (floor, port):
        write_files(tmp_path, pools={"floor": floor_at(port)}, callerBreaker=PATIENT)
        replica = Replica(folder=tmp_path)
        answered: list[str] = []

        async def caller(number: int) -> None:
            while True:
                answer = await ask(session, replica, text=f"{number}", tokens=3, stream=number % 2 == 0)
                if answer.status != 200:
                    return
                answered.append(answer.headers["X-Request-Id"])

        for _ in range(3):
            with replica.start() as process:
                wait_for(replica.ready, what="the router")
                callers = [asyncio.create_task(caller(number)) for number in range(12)]
                await asyncio.sleep(1.5)
                process.kill(signal.SIGKILL)
                await asyncio.gather(*callers)
        with replica.start() as process:
            wait_for(replica.ready, what="the router")
            found = await idle(session, replica)
            process.kill(signal.SIGTERM)
        recorded = entries(replica)
        reserved = {entry.request_id for entry in recorded if entry.kind is Kind.RESERVE}
        final = outcomes(replica)
        assert len(answered) > 50
        assert set(answered) <= final.keys(), "whoever got an answer has a record"
        assert all(len(same) == 1 for same in final.values()), "none is doubled"
        assert reserved <= final.keys(), "what the crash left open was posted"
        crashed = [same[0] for same in final.values() if same[0].kind is Kind.EXPIRE]
        assert crashed, "the kill must have hit requests in flight"
        assert all(entry.cost_nano == entry.reserved_nano for entry in crashed), "in full: a crash hides no spending"
        assert floor.served + len(crashed) >= len(answered)
        period = recorded[0].period
        assert found["accounts"]["environment"]["spentNano"] == fold(recorded).balance(period, "environment").spent


TRICKS = [
    ("GET", "/v1/models/../../admin"),
    ("POST", "/v1/chat/completions/../../../_sandbox/state"),
    ("POST", "/v1//chat/completions"),
    ("POST", "/v1/chat%2fcompletions"),
    ("POST", "http://127.0.0.1:1/v1/chat/completions"),
    ("GET", "/metrics"),
    ("GET", "/state"),
    ("POST", "/_sandbox/fault"),
    ("DELETE", "/v1/models"),
    ("CONNECT", "127.0.0.1:22"),
]


async def test_paths_and_headers_reach_nothing_but_the_api(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    async with model_server(FAST) as (floor, port):
        write_files(tmp_path, pools={"floor": floor_at(port)}, callerBreaker=PATIENT)
        replica = Replica(folder=tmp_path)
        with replica.start():
            wait_for(replica.ready, what="the router")
            for method, path in TRICKS:
                answer = await raw(
                    replica,
                    f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEYS['search']}\r\n"
                    "Content-Length: 2\r\nConnection: close\r\n\r\n{}".encode(),
                )
                status = int(answer.split(b" ", 2)[1]) if answer else 0
                assert status in (0, 400, 404, 405), (method, path, answer[:100])
            assert not floor.seen
            sneaky = {
                "X-Headrace-Pool": "other",
                "X-Forwarded-Host": "evil.example",
                "X-Tenant": "support",
                "Host": "support.internal",
                "X-Headrace-Feature": "a\tb",
                "Cookie": "session=1",
                "Proxy-Authorization": "Basic x",
            }
            served = await ask(session, replica, headers=sneaky)
            assert served.status == 200
            arrived = {name.lower() for name in floor.seen[-1]}
            assert arrived <= {"host", "content-type", "content-length", "traceparent", "connection"}, arrived
            assert (await ask(session, replica, headers={"Authorization": "Bearer nobody"})).status == 401


async def raw(replica: Replica, data: bytes, *, wait: float = 3.0) -> bytes:
    """Bytes as they are; what came back until the end or `wait` seconds."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", replica.port)
    except OSError:
        return b""
    found = b""
    try:
        writer.write(data)
        async with asyncio.timeout(wait):
            while chunk := await reader.read(65536):
                found += chunk
    except (OSError, TimeoutError):
        pass
    finally:
        writer.close()
    return found


def malformed(random_: random.Random) -> bytes:
    """A request that is wrong in some way."""
    head = f"Host: x\r\nAuthorization: Bearer {KEYS['support']}\r\nConnection: close\r\n"
    deep = b"[" * random_.randint(1, 100_000)
    bodies = [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        deep,
        b'{"model":"chat","messages":"x"}',
        b'{"model":{},"messages":[{}]}',
        b'{"model":"chat","messages":[1]}',
        b'{"model":"chat","messages":[{"content":' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}]}",
        b'{"model":"chat","messages":[{"role":"user","content":"x"}],"max_tokens":-1}',
        b'{"model":"chat","messages":[{"role":"user","content":"x"}],"max_tokens":1e400}',
        b'{"model":"chat","messages":[{"role":"user","content":"x"}],"max_tokens":99999999999999999999}',
        b'{"model":"chat","messages":[{"role":"user","content":"x"}],"n":true}',
        b'{"model":"chat","messages":[{"role":"user","content":"x"}],"stream":"yes"}',
        b'{"model":"\\ud800","messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"model":"chat","messages":[{"role":"user","content":"x"}],"user":[[]],"stream_options":3,"best_of":"x"}',
        bytes(random_.randrange(256) for _ in range(random_.randint(0, 2000))),
    ]
    body = random_.choice(bodies)
    path = random_.choice(
        ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models", "/\x00", "/" * 9000]
    )
    start = f"POST {path} HTTP/1.1\r\n{head}".encode()
    match random_.randrange(8):
        case 0:
            return start + b"Content-Length: -5\r\n\r\n" + body
        case 1:
            return start + b"Content-Length: 99999999999\r\n\r\n" + body[:100]
        case 2:
            return start + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + body[:100]
        case 3:
            return start + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"
        case 4:
            return start + b"X: " + b"a" * random_.randint(1, 20_000) + b"\r\n\r\n"
        case 5:
            return bytes(random_.randrange(256) for _ in range(random_.randint(1, 500)))
        case 6:
            return start + b"X-Headrace-Class: \xc3\x28\r\nX-Headrace-Residency: MARS\r\nContent-Length: 2\r\n\r\n{}"
    return start + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


async def test_ten_thousand_malformed_requests_give_no_500_and_no_leak(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with model_server(FAST) as (_, port):
        write_files(tmp_path, pools={"floor": floor_at(port)}, callerBreaker=PATIENT, maxRequestBytes=65536)
        replica = Replica(folder=tmp_path)
        with replica.start() as process:
            wait_for(replica.ready, what="the router")
            await ask(session, replica)
            random_ = random.Random(20261121)  # noqa: S311 - test data
            gate = asyncio.Semaphore(128)
            statuses: dict[int, int] = {}

            async def one(data: bytes) -> None:
                async with gate:
                    answer = await raw(replica, data, wait=0.5)
                status = int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0
                statuses[status] = statuses.get(status, 0) + 1

            slow = [asyncio.create_task(drip(replica)) for _ in range(50)]
            await asyncio.gather(*(one(malformed(random_)) for _ in range(1000)))
            early = psutil.Process(process.child.pid).memory_info().rss
            for _ in range(9):
                await asyncio.gather(*(one(malformed(random_)) for _ in range(1000)))
            for task in slow:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
            late = psutil.Process(process.child.pid).memory_info().rss
            assert not any(status >= 500 for status in statuses), statuses
            assert sum(statuses.values()) == 10_000
            assert late - early < 32 << 20, f"{(late - early) >> 20} MiB more after 9,000 further requests"
            assert (await ask(session, replica)).status == 200
            found = await idle(session, replica)
            assert found["accounts"]["environment"]["reservedNano"] == 0
            assert "Traceback" not in replica.log.read_text()


async def drip(replica: Replica) -> None:
    """A caller that sends a byte now and then."""
    _, writer = await asyncio.open_connection("127.0.0.1", replica.port)
    try:
        for byte in b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 2000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.2)
    finally:
        writer.close()


async def test_a_router_killed_while_it_starts_an_instance_ahead_has_its_cost_after_the_restart(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    slow = Behaviour(servers=2, slots=4, token_s=0.05)
    cold = Behaviour(servers=3, slots=4, token_s=0.01, cold_start_s=120)
    async with model_server(slow) as (_, port), model_server(cold) as (burst, other):
        write_files(
            tmp_path,
            pools={"floor": floor_at(port, expectedServiceS=20), "burst": burst_at(other, coldStartS=120)},
            callerBreaker=PATIENT,
        )
        replica = Replica(folder=tmp_path)
        with replica.start() as process:
            wait_for(replica.ready, what="the router")
            callers = [asyncio.create_task(ask(session, replica, stream=True, tokens=2000)) for _ in range(7)]
            deadline = time.monotonic() + 30
            while not burst.seen:  # the start's own request has reached the overflow, which takes its time
                assert time.monotonic() < deadline, "seven of eight slots are taken: an instance must start"
                await asyncio.sleep(0.02)
            process.kill(signal.SIGKILL)
            await asyncio.gather(*callers)
        with replica.start() as process:
            wait_for(replica.ready, what="the router")
            found = await idle(session, replica)
            process.kill(signal.SIGTERM)
    recorded = entries(replica)
    own = [entry for entry in recorded if not entry.tenant]
    assert [entry.kind for entry in own] == [Kind.RESERVE, Kind.OVERHEAD], "one start, settled once"
    assert own[1].outcome == "crashed"
    assert own[1].cost_nano == own[0].reserved_nano > 0, "in full: nobody knows how long the instance ran"
    ledger = fold(recorded)
    spent = ledger.balance(own[0].period, "environment").spent
    assert found["accounts"]["environment"] == {"spentNano": spent, "reservedNano": 0, "parallel": 0}
    crashed = [entry for entry in recorded if entry.kind is Kind.EXPIRE]
    assert spent == own[1].cost_nano + sum(entry.cost_nano for entry in crashed)
    assert len(crashed) == 7, "a start is no request of a caller"
