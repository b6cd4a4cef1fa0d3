"""What the router tells others: budget alerts to a webhook, checkpoints to a locked bucket, spans to a collector."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import boto3
import pytest
from aiohttp import web
from moto.server import ThreadedMotoServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from headrace.audit import checkpoints
from headrace.audit.checkpoints import BucketStore
from headrace.router.alerts import Webhook
from headrace.router.types import NANO
from headrace_sandbox.model_servers.behaviour import Behaviour
from headrace_sandbox.supervise_ports import free_port
from tests.engine.router.world import (
    PATIENT,
    SECRET,
    Replica,
    ask,
    floor_at,
    idle,
    model_server,
    until,
    wait_for,
    write_files,
)

pytestmark = pytest.mark.engine

FAST = Behaviour(servers=2, slots=4, token_s=0.002)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as opened:
        yield opened


class Receiver:
    """An address that takes POSTs, after refusing some of them."""

    def __init__(self, answers: list[int]) -> None:
        self.answers = answers
        self.bodies: list[bytes] = []
        self.port = free_port()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.bodies.append(await request.read())
        return web.Response(status=self.answers.pop(0) if self.answers else 200)

    async def __aenter__(self) -> Receiver:
        self._runner = web.ServerRunner(web.Server(self.handle))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=secret"


async def test_a_budget_that_passes_a_threshold_is_told_and_no_request_waits_for_it(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with model_server(FAST) as (_, port), Receiver([503]) as receiver:
        write_files(
            tmp_path,
            pools={"floor": floor_at(port, nanoUsdPerInstanceSecond=8_000_000, executionTimeoutS=1)},
            tenants={
                "search": {"limits": {}, "projects": {"assistant": {"budgetNanoUsd": NANO // 50}}},
                "support": {"limits": {}, "projects": {"answers": {}}},
            },
            alertThresholds=[0.001],
            callerBreaker=PATIENT,
        )
        replica = Replica(folder=tmp_path, env={"HEADRACE_ALERT_WEBHOOK": receiver.url})
        with replica.start() as process:
            wait_for(replica.ready, what="the router")
            for _ in range(6):
                assert (await ask(session, replica, tokens=8)).status == 200
            await until(lambda: len(receiver.bodies) >= 2)
            told = [json.loads(body) for body in receiver.bodies]
            assert told[0] == told[1], "refused once, so it came again as it was"
            assert told[0]["scope"] == "project/search/assistant"
            assert told[0]["id"].endswith("/project/search/assistant/0.001")
            assert told[0]["spentNano"] >= told[0]["limitNano"] * 0.001
            process.kill(signal.SIGTERM)
        assert "token=secret" not in replica.log.read_text(), "an address may hold a secret"


async def test_a_webhook_that_never_answers_loses_alerts_and_nothing_else() -> None:
    lost: list[int] = []
    hook = Webhook(f"http://127.0.0.1:{free_port()}/", lost=lambda: lost.append(1), first_pause_s=0.0001)
    task = asyncio.create_task(hook.run())
    began = time.monotonic()
    for number in range(150):
        hook.tell({"id": number})
    assert time.monotonic() - began < 5.0, "nobody waits for an answer"
    assert len(lost) == 50, "the queue is bounded"
    await until(lambda: len(lost) == 150)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(scope="module")
def s3() -> Iterator[int]:
    """A stand-in for S3."""
    port = free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    yield port
    server.stop()


async def test_checkpoints_lie_in_the_bucket_under_a_lock(
    session: aiohttp.ClientSession, tmp_path: Path, s3: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",  # of a stand-in
        "AWS_DEFAULT_REGION": "eu-central-1",
        "HEADRACE_AUDIT_BUCKET": "acme-test-audit",
    }
    for name, value in env.items():
        monkeypatch.setenv(name, value)

    def bucket() -> Any:
        client = boto3.client("s3")
        client.create_bucket(
            Bucket="acme-test-audit",
            ObjectLockEnabledForBucket=True,
            CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
        )
        return client

    client = await asyncio.to_thread(bucket)
    async with model_server(FAST) as (_, port):
        write_files(tmp_path, pools={"floor": floor_at(port)}, audit={"checkpointIntervalS": 0.3, "retentionDays": 30})
        replica = Replica(folder=tmp_path, env=env)
        with replica.start() as process:
            wait_for(replica.ready, what="the router")
            assert (await ask(session, replica)).status == 200
            await asyncio.sleep(1.0)
            assert (await ask(session, replica, text="another")).status == 200
            await idle(session, replica)
            process.child.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.child.wait, 30) == 0
    key = checkpoints.key_of(SECRET.encode())
    known = await asyncio.to_thread(checkpoints.read, BucketStore("acme-test-audit"), "router-0", key)
    assert [one.size for one in known][-1] == 4, "two requests of two entries, the last checkpoint at the stop"
    assert len(known) >= 2
    name = f"checkpoints/router-0/{4:016d}.json"
    head = await asyncio.to_thread(client.head_object, Bucket="acme-test-audit", Key=name)
    assert head["ObjectLockMode"] == "COMPLIANCE"
    assert head["ObjectLockRetainUntilDate"] > datetime.now(tz=UTC) + timedelta(days=29)


async def test_a_request_has_a_span_and_its_call_upstream_a_child(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with model_server(FAST) as (floor, port), Receiver([]) as receiver:
        write_files(tmp_path, pools={"floor": floor_at(port)})
        replica = Replica(folder=tmp_path, env={"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}"})
        trace = "0af7651916cd43dd8448eb211c80319c"
        with replica.start() as process:
            wait_for(replica.ready, what="the router")
            answer = await ask(session, replica, headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
            assert answer.status == 200
            await asyncio.to_thread(process.kill, signal.SIGTERM)
        sent: list[Any] = []
        for body in receiver.bodies:
            request = ExportTraceServiceRequest()
            request.ParseFromString(body)
            sent += [span for one in request.resource_spans for scope in one.scope_spans for span in scope.spans]
        spans = {span.name: span for span in sent}
        assert set(spans) == {"router chat.completions", "pool floor"}
        outer, inner = spans["router chat.completions"], spans["pool floor"]
        assert {span.trace_id.hex() for span in sent} == {trace}, "the caller's own trace"
        assert outer.parent_span_id.hex() == "b7ad6b7169203331"
        assert inner.parent_span_id == outer.span_id
        seen = {name.lower(): value for name, value in floor.seen[-1].items()}
        assert seen["traceparent"].split("-")[2] == inner.span_id.hex(), "and the model server goes on from the call"
        assert "hello" not in str(sent), "no attribute holds a prompt"
