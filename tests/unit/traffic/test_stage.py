"""The stage of a replay: a faster clock, a map of hosts, model servers that stop where the replay says."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from pathlib import Path

import pytest

from headrace_sandbox.model_servers import fleet
from headrace_sandbox.model_servers.application import _wanted
from headrace_sandbox.model_servers.behaviour import Behaviour, Servers
from headrace_sandbox.service import SandboxContext
from headrace_sandbox.traffic import services
from headrace_sandbox.traffic.clock import Clock, loop_class
from tests.unit.router.worlds import document, overflow, pool


def test_platform_time_equals_the_walls_at_the_epoch_and_runs_faster_from_there() -> None:
    clock = Clock(speed=10.0, epoch=1000.0)
    assert clock.at(1000.0) == 1000.0
    assert clock.at(1003.0) == 1030.0


def test_a_loops_timers_run_at_its_speed() -> None:
    loop = loop_class(500.0, {})()

    async def nap() -> float:
        before = asyncio.get_running_loop().time()
        await asyncio.sleep(50.0)
        return asyncio.get_running_loop().time() - before

    began = time.monotonic()
    try:
        slept = loop.run_until_complete(nap())
    finally:
        loop.close()
    assert slept >= 49.0, "by its own clock it slept fifty seconds"
    assert 0.09 <= time.monotonic() - began < 25.0, "by the wall's a tenth of one"


def test_a_name_outside_the_map_is_unknown_and_one_inside_leads_to_its_port() -> None:
    loop = loop_class(1.0, {"model-server.pool:8000": "127.0.0.1:4321"})()
    try:
        found = loop.run_until_complete(loop.getaddrinfo("model-server.pool", 8000, type=socket.SOCK_STREAM))
        assert found[0][4] == ("127.0.0.1", 4321)
        with pytest.raises(socket.gaierror, match=r"api\.runpod\.ai:443 is not in the sandbox's map"):
            loop.run_until_complete(loop.getaddrinfo("api.runpod.ai", 443))
    finally:
        loop.close()


def test_the_configuration_reaches_the_router_byte_for_byte_and_hosts_are_said_in_one_file(tmp_path: Path) -> None:
    free = iter(range(40_000, 40_100))
    known: dict[str, int] = {}
    context = SandboxContext(directory=tmp_path, port=lambda name: known.setdefault(name, next(free)))
    config = document(
        pools={
            "floor": pool(url="http://model-server.pool-floor.svc:8000/v1"),
            "burst": overflow(url="https://abc.api.runpod.ai/v1", credentialEnv="RUNPOD_API_KEY"),
            "spare": overflow(url="https://abc.api.runpod.ai/other/v1"),
        }
    )
    text = json.dumps(config) + "  \n"
    site = services.plan(
        context,
        config,
        text,
        key_file="{}",
        behaviours={name: Behaviour() for name in config["pools"]},
        clock=Clock(speed=10.0, epoch=5.0),
        environment={"RUNPOD_API_KEY": "k", "HEADRACE_POSTGRES_DSN": "postgresql://x"},
        replicas=2,
    )
    assert (tmp_path / "traffic" / "router.json").read_text() == text
    assert set(site.hosts) == {"model-server.pool-floor.svc:8000", "abc.api.runpod.ai:443"}
    assert json.loads((tmp_path / "traffic" / "hosts.json").read_text()) == site.hosts
    described = fleet.read(tmp_path / "traffic" / "fleet.json")
    shared = [one for one in described.pools if one.name in ("burst", "spare")]
    assert len({one.port for one in shared}) == 1, "one address, one port"
    assert sorted(one.prefix for one in shared) == ["", "/other"]
    assert all(one.tls for one in shared)
    routers = [one for one in site.services if one.name.startswith(services.ROUTER)]
    assert [one.name for one in routers] == [at.name for at in site.routers] == ["router-0", "router-1"]
    for router in routers:
        assert not any("postgresql" in part or part == "k" for part in router.argv), "argv is seen by every user"
    spools = {one.argv[one.argv.index("--spool") + 1] for one in routers}
    ports = {part for one in routers for part in one.argv if part.isdigit() and len(part) == 5}
    assert len(spools) == 2, "each replica has a journal of its own"
    assert len(ports) == 4, "and ports of its own"
    assert (tmp_path / "traffic" / "keys.json").stat().st_mode & 0o077 == 0


def test_a_replay_says_how_long_an_answer_is_and_max_tokens_still_bounds_it() -> None:
    assert _wanted({"metadata": {"answer_tokens": "12"}}) == 12
    assert _wanted({"metadata": {"answer_tokens": "-1"}}) is None
    assert _wanted({"metadata": "x"}) is None
    assert _wanted({}) is None


async def test_what_an_idle_instance_will_still_cost_is_known_before_it_stops() -> None:
    now = 100.0
    cold = Behaviour(servers=3, slots=1, cold_start_s=0.0, idle_timeout_s=60, speed=10.0)
    servers = Servers(cold, lambda: now)
    async with servers.slot(1):
        now += 2.0
        assert servers.committed_s == 0, "an instance at work is billed for its work"
        assert servers.live == 1
    assert (servers.billed_s, servers.committed_s) == (20.0, 60.0)
    now += 1.0
    assert servers.live == 1
    assert (servers.billed_s, servers.committed_s) == (30.0, 50.0), "what was billed and what will be add up the same"
    now += 100.0
    assert servers.live == 0
    assert servers.committed_s == 0
    assert servers.billed_s == pytest.approx(80.0)


async def test_replicas_of_a_floor_share_the_work_evenly() -> None:
    servers = Servers(Behaviour(servers=2, slots=4), time.monotonic)
    async with servers.slot(1), servers.slot(1):
        assert [one.running for one in servers._instances] == [1, 1]
