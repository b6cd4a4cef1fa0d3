"""The hourly floor for real: eight days of the router's own records in PostgreSQL, and the node group of a cloud in a
box. Demand is checked against the requests themselves, added up another way."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped] # asyncpg 0.32 ships no py.typed
import numpy as np
import pytest

from headrace.audit.chain import GENESIS, Link, link
from headrace.audit.record import Entry, Kind, canonical
from headrace.audit.sinks.migrate import Login, migrate
from headrace.audit.sinks.postgres import PostgresSink
from headrace.errors import Refused
from headrace.planner.arrays import BIN_S, Floats
from headrace.planner.hourly import History, Reason, choose
from headrace.planner.hourly_clock import hour_of
from headrace.planner.hourly_fleet import ScalingGroup
from headrace.planner.hourly_run import Bounds, Outcome, fleet_of, pool_of, run, tariff_of
from headrace.planner.hourly_store import Store
from headrace.router.config import RouterConfig, from_json
from headrace_sandbox.supervise_ports import free_port
from tests.engine.aws_gateway.conftest import REGION, TRUST, Cloud, make_network, settle
from tests.engine.router.world import Process, open_folder, postgres_ready, start_postgres, wait_for
from tests.unit.router.worlds import document, overflow, pool

pytestmark = [pytest.mark.engine, pytest.mark.enable_socket]
MASTER = Login(user="postgres", password="unused where the server trusts loopback")
SLOTS, LASTING_S, DAYS = 8, 300.0, 8


@functools.cache
def bounds() -> Bounds:
    """A lead time by which the present hour began at most ten minutes ago: it doesn't end while the tests run."""
    minute = datetime.now(tz=UTC).minute // 10 * 10
    return Bounds(
        pool="floor", floor_nodes=1, ceiling_nodes=9, replicas_per_node=1, lead_time_s=(60 - minute) % 60 * 60
    )


@functools.cache
def this_hour() -> datetime:
    return hour_of(datetime.now(tz=UTC), bounds().lead_time_s)


@functools.cache
def past() -> list[tuple[float, float]]:
    """Eight days of requests, those that begin in the last minutes still in flight."""
    end = this_hour().timestamp()
    return requests(end - DAYS * 86400 - 900, end, level=4.0, seed=1)


def requests(first_s: float, last_s: float, *, level: float, seed: int) -> list[tuple[float, float]]:
    """Begin and end of requests whose number in flight is a daily wave around `level` replicas, least at this hour."""
    rng = np.random.default_rng(seed)
    minutes = np.arange(first_s, last_s, 60.0)
    wave = level * SLOTS * (1 - 0.5 * np.cos((minutes - this_hour().timestamp()) / 86400 * 2 * np.pi))
    found: list[tuple[float, float]] = []
    for minute, mean in zip(minutes, wave, strict=True):
        count = rng.poisson(mean * 60.0 / LASTING_S)
        starts = minute + np.sort(rng.uniform(0, 60, count))
        lasting = rng.uniform(0.5, 1.5, count) * LASTING_S
        found += [(round(start, 6), round(start + held, 6)) for start, held in zip(starts, lasting, strict=True)]
    return found


def entries(spans: list[tuple[float, float]], *, until_s: float, name: str, since_s: float = 0.0) -> list[Entry]:
    """What the router writes of them by `until_s`: a reservation, and an outcome once it has ended. A tenth waited for
    a place, which holds no server; the reservations of what has long ended are left out, as they change nothing."""
    found = []
    for number, (start, end) in enumerate(spans):
        shared: dict[str, Any] = {
            "request_id": f"{name}{number}",
            "period": "2026-11",
            "environment": "test",
            "tenant": "search",
            "project": "assistant",
            "workload": "chat",
        }
        if start < until_s and end > until_s - 7200:
            found.append(Entry(kind=Kind.RESERVE, at_us=round(start * 1e6), reserved_nano=9, **shared))
        if since_s <= end <= until_s:
            wait_us = 2_000_000 if number % 10 == 0 else 0
            held_us = round((end - start) * 1e6)
            shared |= {"latency_us": held_us + wait_us, "wait_us": wait_us, "cost_nano": 7, "status": 200}
            found.append(Entry(kind=Kind.POST, at_us=round(end * 1e6), tokens_in=100, tokens_out=50, **shared))
    return sorted(found, key=lambda one: one.at_us)


def added(spans: list[tuple[float, float]], first_s: int, last_s: int) -> Floats:
    """Mean requests in flight every ten seconds, one request after the other."""
    busy = np.zeros((last_s - first_s) // BIN_S)
    for start, end in spans:
        low, high = max(start, first_s) - first_s, min(end, last_s) - first_s
        if high <= low:
            continue
        first, last = int(low // BIN_S), min(int(high // BIN_S), len(busy) - 1)
        for at in range(first, last + 1):
            busy[at] += (min(high, (at + 1) * BIN_S) - max(low, at * BIN_S)) / BIN_S
    return busy


@dataclass
class Ledger:
    """A PostgreSQL with the ledger, written by the router's own sink."""

    port: int
    process: Process
    written: int = 0
    head: bytes = GENESIS

    def dsn(self, user: str = "headrace_floor") -> str:
        return f"postgresql://{user}:a-password-that-no-log-may-hold@127.0.0.1:{self.port}/postgres"

    async def write(self, made: list[Entry]) -> None:
        sink = PostgresSink(self.dsn("headrace_router"))
        for at in range(0, len(made), 5000):
            links: list[Link] = []
            for one in made[at : at + 5000]:
                links.append(link("router-0", self.written, self.head, canonical(one)))
                self.head, self.written = links[-1].hash, self.written + 1
            await sink.write(links)
        await sink.close()

    async def fetch(self, statement: str, *values: object) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.dsn("postgres"))
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()


@pytest.fixture(scope="module")
def ledger() -> Iterator[Ledger]:
    port = free_port()
    with open_folder() as folder, start_postgres(port, folder) as running:
        wait_for(postgres_ready(port), what="PostgreSQL")
        made = Ledger(port, running)

        async def fill() -> None:
            await migrate(
                f"postgresql://127.0.0.1:{port}/postgres",
                MASTER,
                role="headrace_router",
                password="router",
                floor_role=("headrace_floor", "floor"),
            )
            await made.write(entries(past(), until_s=this_hour().timestamp(), name="past-"))

        with ThreadPoolExecutor(1) as elsewhere:  # a fixture may run inside a test's event loop
            elsewhere.submit(lambda: asyncio.run(fill())).result()
        yield made
        running.kill(signal.SIGINT)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    running = Cloud(tmp_path_factory.mktemp("aws-floor"))
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def group(cloud: Cloud) -> str:
    """The Auto Scaling group behind a node group of one to nine nodes."""
    network, iam, eks = make_network(cloud, 77), cloud.client("iam"), cloud.client("eks")
    arn = iam.create_role(RoleName="floor", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    eks.create_cluster(name="floor", roleArn=arn, resourcesVpcConfig={"subnetIds": network["subnets"]})
    settle(lambda: str(eks.describe_cluster(name="floor")["cluster"]["status"]), "ACTIVE")
    eks.create_nodegroup(
        clusterName="floor",
        nodegroupName="chat",
        nodeRole=arn,
        subnets=network["subnets"],
        scalingConfig={"minSize": 1, "maxSize": 9, "desiredSize": 1},
    )

    def read() -> dict[str, Any]:
        found: dict[str, Any] = eks.describe_nodegroup(clusterName="floor", nodegroupName="chat")["nodegroup"]
        return found

    settle(lambda: str(read()["status"]), "ACTIVE")
    return str(read()["resources"]["autoScalingGroups"][0]["name"])


@pytest.fixture
def aws(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    given = {"AWS_ENDPOINT_URL": cloud.url, "AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "test"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return given


def desired(cloud: Cloud, group: str) -> int:
    found = cloud.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[group])
    return int(found["AutoScalingGroups"][0]["DesiredCapacity"])


def config() -> RouterConfig:
    return from_json(json.dumps(wire()))


def wire() -> dict[str, Any]:
    floor = pool(slotsPerInstance=SLOTS, instances=9)
    return document(pools={"floor": floor, "burst": overflow(slotsPerInstance=SLOTS, instances=20)})


async def decide(ledger: Ledger, group: str, *, now: datetime, dry: bool = False) -> Outcome:
    return await run(config(), bounds(), ledger.dsn(), ScalingGroup(group, REGION), now=now, dry=dry)


async def test_demand_is_what_the_requests_held(ledger: Ledger) -> None:
    store = await Store.open(ledger.dsn())
    history = await store.history("chat", this_hour(), keep=False)
    store.close()
    assert history.end_s == this_hour().timestamp()
    expected = added(past(), history.origin_s, history.end_s)
    assert np.abs(history.in_flight - expected).max() < 1e-6, "waits out, and what is in flight still at the end in"
    begun = sum(history.origin_s <= start < history.end_s for start, _ in past())
    assert history.arrivals.sum() == begun
    assert (await ledger.fetch("SELECT count(*) FROM headrace.demand_windows"))[0][0] == 0, "nothing was to be kept"


async def test_the_program_moves_the_nodes_once_an_hour(
    ledger: Ledger, cloud: Cloud, group: str, aws: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "router.json").write_text(json.dumps(wire()))
    command = [
        *(str(Path(sys.executable).parent / "headrace"), "plan", "hourly", "--json", "--pool", "floor"),
        *("--config", str(tmp_path / "router.json"), "--group", group, "--floor-nodes", "1", "--ceiling-nodes", "9"),
        *("--lead-time-s", str(bounds().lead_time_s)),
    ]

    def headrace(*more: str) -> dict[str, Any]:
        done = subprocess.run(
            [*command, *more],
            capture_output=True,
            text=True,
            env={**os.environ, **aws, "HEADRACE_FLOOR_DSN": ledger.dsn()},
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    end = int(this_hour().timestamp())
    history = History(
        origin_s=end - DAYS * 86400,
        arrivals=np.full(DAYS * 144, 99.0),
        in_flight=added(past(), end - DAYS * 86400, end),
        heard=np.ones(DAYS * 144, dtype=np.bool_),
    )
    floor, burst = pool_of(config(), "floor")
    expected = choose(history, tariff_of(floor, burst), fleet_of(config(), bounds()))
    tried = headrace("--dry-run")
    shown = subprocess.run(
        [*command[:3], *command[4:], "--dry-run"],
        capture_output=True,
        text=True,
        env={**os.environ, **aws, "HEADRACE_FLOOR_DSN": ledger.dsn()},
    ).stdout
    assert len(shown.splitlines()) == 1
    assert f"would go from 1 to {tried['nodes']} nodes" in shown
    assert desired(cloud, group) == 1, "a dry run changes nothing"
    assert await ledger.fetch("SELECT * FROM headrace.floor_decisions") == []
    made = headrace()
    assert made["nodes"] == tried["nodes"] == expected.nodes > 1, "what the requests themselves say"
    assert (made["before"], made["reason"], made["repeated"]) == (1, Reason.TRAFFIC.value, False)
    assert desired(cloud, group) == expected.nodes
    again = headrace()
    assert (again["nodes"], again["repeated"]) == (made["nodes"], True), "the same hour, the same answer"
    logged = json.loads(
        subprocess.run(
            [*command, "--log", "5"],
            capture_output=True,
            text=True,
            env={**os.environ, "HEADRACE_FLOOR_DSN": ledger.dsn()},
        ).stdout
    )
    assert [(row["nodes"], row["nodes_before"]) for row in logged] == [(expected.nodes, 1)]
    assert logged[0]["applied_at"] is not None


async def test_a_later_hour_reads_only_what_is_new_and_a_silent_ledger_moves_nothing(
    ledger: Ledger, cloud: Cloud, group: str, aws: dict[str, str]
) -> None:
    await decide(ledger, group, now=this_hour())
    before = desired(cloud, group)
    later = this_hour() + timedelta(hours=1)
    with pytest.raises(Refused, match="60 minutes"):
        await decide(ledger, group, now=later)
    assert desired(cloud, group) == before, "an old ledger is no reason to send nodes away"
    # The finished windows are kept: of the old entries none is needed any more.
    await ledger.fetch("DELETE FROM headrace.entries WHERE at < $1", this_hour() - timedelta(hours=2))
    begun = this_hour().timestamp()
    new = requests(begun, later.timestamp(), level=12.0, seed=2)
    ended_later = [span for span in past() if span[1] > begun]
    await ledger.write(
        [
            one
            for one in entries(past(), until_s=later.timestamp(), name="past-", since_s=begun)
            if one.kind is Kind.POST
        ]
    )
    await ledger.write(entries(new, until_s=later.timestamp(), name="new-"))
    store = await Store.open(ledger.dsn())
    history = await store.history("chat", later, keep=False)
    store.close()
    bins = 7200 // BIN_S
    held = added([*new, *past()], int(begun) - 3600, int(later.timestamp()))
    assert np.abs(history.in_flight[-bins:] - held).max() < 1e-6, f"{len(ended_later)} requests went over the hour"
    assert history.hours >= DAYS * 24
    outcome = await decide(ledger, group, now=later)
    assert outcome.nodes > before, "a busier hour holds more"
    assert desired(cloud, group) == outcome.nodes
    assert outcome.before == before


async def test_the_role_sees_no_entry_and_writes_no_history_anew(ledger: Ledger) -> None:
    connection = await asyncpg.connect(ledger.dsn())
    for statement in (
        "SELECT body FROM headrace.entries LIMIT 1",
        "SELECT tenant FROM headrace.requests LIMIT 1",
        "INSERT INTO headrace.entries DEFAULT VALUES",
        "UPDATE headrace.floor_decisions SET nodes = 9",
        "DELETE FROM headrace.floor_decisions",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()


async def test_bounds_that_are_not_the_stacks_and_a_group_that_is_gone_are_refused(
    ledger: Ledger, cloud: Cloud, group: str, aws: dict[str, str]
) -> None:
    scaling = cloud.client("autoscaling")
    held = desired(cloud, group)
    later = this_hour() + timedelta(hours=1)
    await decide(ledger, group, now=later)
    held = desired(cloud, group)
    with pytest.raises(Refused, match="no Auto Scaling group"):
        await decide(ledger, "eks-none", now=later)
    scaling.update_auto_scaling_group(AutoScalingGroupName=group, MinSize=1, MaxSize=1, DesiredCapacity=1)
    with pytest.raises(Refused, match="1 to 1 nodes"):
        await decide(ledger, group, now=later)
    scaling.update_auto_scaling_group(AutoScalingGroupName=group, MinSize=1, MaxSize=9)
    assert (await decide(ledger, group, now=later)).before == 1
    assert desired(cloud, group) == held, "the next run in the hour makes it what was decided"


def test_without_the_database_the_program_says_one_sentence(
    ledger: Ledger, cloud: Cloud, group: str, aws: dict[str, str], tmp_path: Path
) -> None:
    """The last test: it ends the database."""
    held = desired(cloud, group)
    ledger.process.kill(signal.SIGINT)
    (tmp_path / "router.json").write_text(json.dumps(wire()))
    done = subprocess.run(
        [
            *(str(Path(sys.executable).parent / "headrace"), "plan", "hourly", "--pool", "floor", "--group", group),
            *("--config", str(tmp_path / "router.json"), "--floor-nodes", "1", "--ceiling-nodes", "9"),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, **aws, "HEADRACE_FLOOR_DSN": ledger.dsn()},
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "fleet stays as it is" in done.stderr
    assert "a-password-that-no-log-may-hold" not in done.stderr + done.stdout
    assert desired(cloud, group) == held
