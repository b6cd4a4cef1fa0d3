"""What the router's image runs, with what the image has and nothing else: its pinned packages, our library alone."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import aiohttp
import asyncpg  # type: ignore[import-untyped] # asyncpg 0.32 ships no py.typed
import boto3
import pytest

from headrace.settings.load import load
from headrace_components import router_names, router_plan, router_pods
from headrace_components.place import PlaceArgs, read_place
from headrace_sandbox import cache, wheels
from headrace_sandbox.model_servers.behaviour import Behaviour
from headrace_sandbox.supervise_ports import free_port
from tests.engine.router.world import (
    SECRET,
    Replica,
    ask,
    floor_at,
    model_server,
    postgres_ready,
    process,
    redis_ready,
    start_postgres,
    start_redis,
    state_of,
    until,
    wait_for,
    write_files,
)
from tests.unit.components.recording import PLACE, ZONES, stack_settings

pytestmark = pytest.mark.engine

ROOT = Path(__file__).resolve().parents[3]
IMAGE = ROOT / "images" / "router"
PASSWORD = "forty-eight-random-bytes"


def packages() -> Path:
    """The image's packages with every file's hash checked, installed once per pins and Python; refused offline."""
    pins = IMAGE / "requirements.txt"
    digest = hashlib.sha256(f"{sys.version_info[:2]} {sys.platform}\n".encode() + pins.read_bytes()).hexdigest()
    found = cache.root() / "router-image" / digest[:16]
    wheels.install(pins, found, what="the packages of the router's image")
    subprocess.run([sys.executable, "-m", "compileall", "-q", found], check=False)
    return found


def variables() -> dict[str, str]:
    """`ENV` of the image's last stage but for PATH, which needs its folders."""
    (line,) = re.findall(r"^ENV PATH=\S+ (.+)$", (IMAGE / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    return dict(pair.split("=", 1) for pair in line.split())


@dataclass
class Image:
    """How the image's command is run here. `scratch` stands for the pod's /tmp."""

    folder: Path
    packages: Path

    @property
    def writes(self) -> Path:
        return self.folder / "writes"

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    def argv(self, *arguments: str) -> list[str]:
        """No `site`: what the tests' own environment has stays out."""
        return [sys.executable, "-S", str(Path(__file__).with_name("watched.py")), str(IMAGE / "headrace"), *arguments]

    def environment(self, **more: str) -> dict[str, str]:
        path = os.pathsep.join(map(str, (self.folder / "library", self.packages)))
        here = {"PYTHONPATH": path, "HOME": str(self.scratch), "TMPDIR": str(self.scratch), "WRITES": str(self.writes)}
        return {**variables(), "PATH": os.environ["PATH"], **here, **more}

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*arguments),
            env=self.environment(**more),
            cwd=self.scratch,
            capture_output=True,
            text=True,
            check=False,
        )

    def written(self) -> set[str]:
        """What was written, or tried, outside the pod's mounts."""
        mounted = (str(self.scratch), str(self.folder / "journal"), "/dev/null")
        return {path for path in self.writes.read_text().splitlines() if not path.startswith(mounted)}


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """The library by a link to it, so nothing beside it in the checkout gets in."""
    made = Image(tmp_path, packages())
    made.scratch.mkdir()
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "headrace").symlink_to(ROOT / "headrace", target_is_directory=True)
    metadata = [sys.executable, str(IMAGE / "metadata.py"), str(ROOT / "pyproject.toml"), str(tmp_path / "library")]
    subprocess.run(metadata, check=True)
    return made


@pytest.fixture
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Redis, PostgreSQL, and a stand-in for Secrets Manager with the master's login."""
    folder = tmp_path_factory.mktemp("stores")
    redis, postgres, aws = (free_port() for _ in range(3))
    moto = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(aws)]
    given = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "eu-central-1"}
    with (
        process(moto, folder / "moto.log"),
        start_postgres(postgres, folder / "pg"),
        start_redis(redis, folder / "redis"),
    ):
        wait_for(postgres_ready(postgres), what="PostgreSQL")
        wait_for(redis_ready(redis), what="Redis")
        wait_for(lambda: b"Running on" in (folder / "moto.log").read_bytes(), what="moto")
        client = boto3.client(
            "secretsmanager",
            endpoint_url=f"http://127.0.0.1:{aws}",
            region_name="eu-central-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        login = json.dumps({"username": "postgres", "password": "unused where the server trusts loopback"})
        yield {
            **given,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{aws}",
            "redis": f"redis://127.0.0.1:{redis}/0",
            "postgres": f"postgresql://headrace_router:{PASSWORD}@127.0.0.1:{postgres}/postgres",
            "login": client.create_secret(Name="rds!db-1", SecretString=login)["ARN"],
        }


@contextlib.contextmanager
def started(argv: list[str], log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A program with this environment and nothing of ours, ended by its own pid."""
    with log.open("ab") as output, subprocess.Popen(argv, stdout=output, stderr=output, env=environment) as child:
        try:
            yield child
        finally:
            child.kill()


def ended(child: subprocess.Popen[bytes], log: Path) -> int:
    """The exit code; where it doesn't end, the failure says where each thread is."""
    try:
        return child.wait(120)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGABRT)
        child.wait(60)
        raise AssertionError(f"it did not end: {log.read_text()}") from None


async def held(session: aiohttp.ClientSession, replica: Replica) -> None:
    """Until a request is in flight."""
    deadline = time.monotonic() + 60
    while not any(pool["inFlight"] for pool in (await state_of(session, replica))["pools"].values()):
        assert time.monotonic() < deadline, "no request came"
        await asyncio.sleep(0.01)


def serving(image: Image, replica: Replica) -> list[str]:
    """The pod's own command and arguments, with this machine's folders and ports for the pod's."""
    plan = router_plan.plan_router(
        "router", read_place(cast("PlaceArgs", PLACE)), load(stack_settings("sandbox")), tuple(ZONES)
    )
    pod = router_pods.stateful_set(plan, plan.image, "")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    here = {
        "/etc/headrace/config": str(replica.folder),
        "/etc/headrace/keys": str(replica.folder),
        "/var/lib/headrace": str(image.folder),
        "--host=0.0.0.0": "--host=127.0.0.1",
        f"--port={router_names.API_PORT}": f"--port={replica.port}",
        f"--admin-port={router_names.ADMIN_PORT}": f"--admin-port={replica.admin}",
        "$(POD_NAME)": replica.name,
    }
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {"/etc/headrace/config", "/etc/headrace/keys", "/var/lib/headrace", "/tmp"}, "all that is mounted"
    program, *command = container["command"]
    assert program == "headrace"
    arguments = [*command, *container["args"]]
    for theirs, ours in here.items():
        arguments = [argument.replace(theirs, ours) for argument in arguments]
    return image.argv(*arguments)


async def test_it_migrates_serves_drains_and_writes_nowhere_but_where_the_pod_mounts_a_volume(
    image: Image, stores: dict[str, str], session: aiohttp.ClientSession
) -> None:
    aws = {name: value for name, value in stores.items() if name.startswith("AWS_")}
    migrating = {**aws, **router_plan.migration_environment(stores["postgres"])}
    done = await asyncio.to_thread(image.run, "audit", "migrate", f"--master-login={stores['login']}", **migrating)
    assert done.returncode == 0, done.stderr

    replica = Replica(image.folder)
    given = {
        "HEADRACE_HASH_SECRET": SECRET,
        "HEADRACE_REDIS_URL": stores["redis"],
        "HEADRACE_POSTGRES_DSN": stores["postgres"],
    }
    async with model_server(Behaviour(servers=2, slots=4, token_s=0.02)) as (_, port):
        write_files(image.folder, pools={"floor": floor_at(port)})
        with started(serving(image, replica), replica.log, image.environment(**given)) as router:
            await until(replica.ready, what="the router")
            plain, streamed = await asyncio.gather(
                ask(session, replica, text="one answer"), ask(session, replica, text="and a stream", stream=True)
            )
            assert plain.complete and streamed.complete, (plain, streamed)
            async with session.get(replica.admin_url("/metrics")) as response:
                shown = await response.text()
            assert f"{router_names.IN_FLIGHT_METRIC}{{" in shown, "what the autoscaler may follow has that name"
            running = asyncio.create_task(ask(session, replica, text="a long one", tokens=100, stream=True))
            await held(session, replica)
            router.send_signal(signal.SIGTERM)
            last = await running
            code = await asyncio.to_thread(ended, router, replica.log)
    assert last.complete, f"a stream is given its drain time: {last}"
    assert code == 0, replica.log.read_text()
    assert str(replica.folder / "journal") in image.writes.read_text(), "guard: the journal's files are seen"
    assert image.written() == set(), "the root is read-only"
    connection = await asyncpg.connect(stores["postgres"])
    requests = await connection.fetchval("SELECT count(DISTINCT request_id) FROM headrace.entries")
    await connection.close()
    assert requests == 3, "all records reached the database as the role that the migration made"


def write_end(pipe: Path, reader: subprocess.Popen[bytes]) -> int:
    """The pipe's other end, once the reader has opened its own: from then on it waits for what is never written."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            assert error.errno == errno.ENXIO, error
        assert reader.poll() is None, "it ended before it read its configuration"
        assert time.monotonic() < deadline, "it never read its configuration"
        time.sleep(0.02)


def test_a_sigterm_before_it_serves_ends_it(image: Image) -> None:
    """The first process of a container has no default for the signal, so the program needs an answer of its own: a
    start that reads a long journal would else be killed at the end of the grace period."""
    write_files(image.folder)
    config = image.folder / "router.json"
    config.unlink()
    os.mkfifo(config)
    environment = image.environment(HEADRACE_HASH_SECRET=SECRET)
    with started(serving(image, Replica(image.folder)), image.folder / "log", environment) as router:
        kept = write_end(config, router)
        router.send_signal(signal.SIGTERM)
        code = router.wait(60)
        os.close(kept)
    assert code == 128 + signal.SIGTERM, "by its own exit, not by the signal's default"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--version",), 0, "headrace, version "),
        (("--help",), 0, "Serve, check and explain the router."),
        (("router", "serve", "--help"), 0, "--replica"),
        (("up",), 2, "headrace: headrace_sandbox: this command needs it, and it is not installed here; "),
    ],
)
def test_each_command_works_or_says_what_the_image_lacks(
    image: Image, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = image.run(*arguments)
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done
    assert "Traceback" not in done.stderr
