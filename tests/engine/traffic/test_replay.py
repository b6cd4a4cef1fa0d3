"""A short replay through a real router process, with real Redis and PostgreSQL: everybody counts the same."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from headrace.catalog.price import price_book
from headrace.cli import up_traffic
from headrace.router.config import to_json
from headrace.router.render import Deployed, render
from headrace.settings.load import from_stack_file
from headrace.settings.tree import Settings
from headrace.traffic import ledger
from headrace_sandbox import supervise
from headrace_sandbox import supervise_process as processes
from headrace_sandbox.postgres import services as postgres
from headrace_sandbox.redis import services as redis
from headrace_sandbox.service import SandboxContext, Service
from headrace_sandbox.traffic import services
from headrace_sandbox.traffic.deployed import DeployedRouter
from tests.engine.router.world import open_folder

pytestmark = pytest.mark.engine

ROOT = Path(__file__).resolve().parents[3]
STACK = ROOT / "stacks" / "Pulumi.sandbox.yaml"
SERVING = "svc.cluster.local:8000"


def deployed() -> tuple[DeployedRouter, Settings]:
    """What the stack would put into the cluster, with addresses as they are there."""
    settings = from_stack_file(STACK)
    found = {
        name: Deployed(
            url=f"http://model-server.pool-{name}.{SERVING}/v1",
            metrics_url=f"http://model-server.pool-{name}.{SERVING}/metrics",
        )
        for name in settings.dedicated_pools
    }
    found |= {name: Deployed(url=f"https://{name}.api.example/v1") for name in settings.serverless_pools}
    config = render(settings, found, prices=price_book(None), day=date(2026, 11, 22))
    # The digest pool's schedules allow for two model servers, and this is daytime.
    servers = {"chat-floor": 4, "digest-floor": 1}
    router = DeployedRouter(
        config=to_json(config), keys='{"version": 1, "keys": []}', environment={}, model_servers=servers, replicas=2
    )
    return router, settings


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[SandboxContext, list[Service]]]:
    monkeypatch.delenv("HEADRACE_DATA", raising=False)  # the generated day alone, whatever real traces there are
    with open_folder() as folder:
        context = supervise.open_context(folder / "sandbox")
        standing = [*redis.services(context), *postgres.services(context)]
        supervise.up(context, standing)
        try:
            yield context, standing
        finally:
            supervise.down(context.directory)


def test_a_replay_is_counted_the_same_by_everybody_and_leaves_nothing_running(
    stage: tuple[SandboxContext, list[Service]], tmp_path: Path
) -> None:
    context, standing = stage
    router, settings = deployed()
    page = tmp_path / "traffic.html"
    done = up_traffic.run(
        context, standing, router, settings, root=tmp_path, known_keys={}, page=page, speed=8.0, day_s=72.0
    )
    (figures,) = done.figures
    assert done.mismatches == [], "callers, ledger, metrics, budgets and model servers count the same"
    assert figures.failed == 0
    assert figures.served > 200
    assert figures.served + figures.abandoned + sum(figures.refusals.values()) == figures.requests
    assert {"chat-floor", "digest-floor"} <= {one.name for one in figures.pools if one.requests}
    floors = {one.name: one.instances for one in figures.pools if one.kind == "dedicated"}
    assert floors == router.model_servers, "as many as serve, not as many as schedules allow for"
    assert figures.usd > 0
    assert (context.directory / "traffic" / "router.json").read_text() == router.config, "not a byte was changed"
    assert page.read_text().startswith("<!doctype html>")
    assert json.dumps(done.document()), "what up.json holds is plain JSON"
    names = {record.name for record in processes.load(context.directory) if processes.alive(record)}
    assert names == {"redis", "postgres"}, "router and model servers have stopped"
    dsn = supervise.endpoints(context.directory)["postgres"]
    rows = asyncio.run(ledger.rows(dsn, since={"router-0": 0, "router-1": 0}, expected=figures.requests, patience_s=0))
    took = [sum(row.writer == name for row in rows) for name in ("router-0", "router-1")]
    assert abs(took[0] - took[1]) <= 1 + len(done.policy.pools), "callers take the replicas in turn"
    assert [one.requests for one in figures.replicas] == took
    assert len({row.request_id for row in rows}) == len(rows) == figures.requests, "one outcome each"
    scopes = {scope: limits.budget_nano_usd for scope, limits in done.policy.limits_by_scope.items()}
    for tenant in {row.tenant for row in rows}:
        spent = sum(row.cost_nano for row in rows if row.tenant == tenant)
        assert spent <= (scopes[f"tenant/{tenant}"] or 0), "no budget is exceeded"


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.engine.traffic.test_replay import deployed
from headrace.cli import up_traffic
from headrace_sandbox import supervise
from headrace_sandbox.postgres import services as postgres
from headrace_sandbox.redis import services as redis
context = supervise.open_context(Path({folder!r}))
standing = [*redis.services(context), *postgres.services(context)]
router, settings = deployed()
up_traffic.run(context, standing, router, settings, root=Path({folder!r}), known_keys={{}},
               page=Path({folder!r}) / "traffic.html", speed=4.0, day_s=400.0)
"""


def test_a_replay_that_is_killed_leaves_nothing_that_down_does_not_stop(
    stage: tuple[SandboxContext, list[Service]],
) -> None:
    context, _ = stage
    code = KILLED.format(root=str(ROOT), folder=str(context.directory))
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        deadline = time.monotonic() + 300
        while f"{services.ROUTER}-1" not in supervise.endpoints(context.directory):
            assert child.poll() is None, "the replay ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1.0)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=30)
    stopped = supervise.down(context.directory)
    assert {"router-0", "router-1", "model-servers"} <= set(stopped)
    assert processes.marked(f"{context.directory}/") == [], "nothing of it runs"
