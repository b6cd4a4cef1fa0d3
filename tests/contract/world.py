"""The world of the contract: one configuration for all vectors, their model-server stand-ins, and both engines."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from aiohttp import web

from headrace.router.keys import digest
from headrace.router.types import NANO
from headrace_sandbox.model_servers.application import ModelServer
from headrace_sandbox.model_servers.behaviour import Behaviour
from headrace_sandbox.supervise_ports import free_port
from tests.engine.router.world import SECRET, Process, Replica, process
from tests.unit.router.worlds import document, overflow, pool

ENGINES: Final = ("headrace", "litellm")
_POOLS: Final = ("floor", "burst", "canary_pool")
_BEHAVIOUR: Final = ("servers", "slots", "token_s", "cold_start_s", "idle_timeout_s")


@dataclass(frozen=True, kw_only=True)
class Vector:
    """One case of vectors.yaml. `slug` names its tenant, key and workload, and begins the names of its pools."""

    slug: str
    name: str
    world: Mapping[str, Any]
    steps: tuple[Mapping[str, Any], ...]
    records: tuple[Mapping[str, Any], ...]
    differs: Mapping[str, str] = field(default_factory=dict)
    same: tuple[str, ...] = ()
    spent: Any = None
    written_nowhere: str = ""

    @property
    def key(self) -> str:
        """Its API key."""
        return f"hr_{self.slug}_" + "k" * 43


def filled(value: Any, slug: str) -> Any:
    """`{w}` becomes the vector's slug, `{key}` its key."""
    if isinstance(value, str):
        return value.replace("{w}", slug).replace("{key}", f"hr_{slug}_" + "k" * 43)
    if isinstance(value, dict):
        return {filled(name, slug): filled(item, slug) for name, item in value.items()}
    return [filled(item, slug) for item in value] if isinstance(value, list) else value


def vectors() -> list[Vector]:
    """All of them, in the file's order."""
    listed = yaml.safe_load(Path(__file__).with_name("vectors.yaml").read_text(encoding="utf-8"))
    return [_vector(f"v{number:02}", one) for number, one in enumerate(listed)]


def _vector(slug: str, one: Mapping[str, Any]) -> Vector:
    found: dict[str, Any] = {
        name: tuple(item) if isinstance(item, list) else item for name, item in filled(dict(one), slug).items()
    }
    return Vector(slug=slug, **found)


class Standin(ModelServer):
    """A model server that remembers what it was sent, and can find fault with it."""

    def __init__(self, behaviour: Behaviour, *, served: str) -> None:
        super().__init__(behaviour, model=served)
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.mode = ""

    def application(self) -> web.Application:
        app = super().application()
        app.middlewares.append(self._remember)
        return app

    @web.middleware
    async def _remember(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.method == "POST":
            self.bodies.append(await request.json())
            self.paths.append(request.path)
            if self.mode == "bad-request":
                return web.json_response({"error": {"message": "the model server's own words"}}, status=400)
            if self.mode == "odd":
                return web.json_response({"object": "odd", "choices": 5})
        answer: web.StreamResponse = await handler(request)
        return answer


def name_of(vector: Vector, kind: str) -> str:
    """A pool's name."""
    return f"{vector.slug}-{'canary' if kind == 'canary_pool' else kind}"


@dataclass(kw_only=True)
class World:
    """Configuration and addresses of all vectors."""

    folder: Path
    vectors: list[Vector]
    ports: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for vector in self.vectors:
            for kind in _POOLS:
                if kind in vector.world:
                    self.ports[name_of(vector, kind)] = free_port()
        (self.folder / "router.json").write_text(json.dumps(self._document()))
        (self.folder / "keys.json").write_text(json.dumps({"version": 1, "keys": self._keys()}))

    def _keys(self) -> list[dict[str, Any]]:
        return [
            {
                "id": one.slug,
                "sha256": digest(one.key),
                "tenant": one.slug,
                "project": "main",
                **one.world.get("key", {}),
            }
            for one in self.vectors
        ]

    def _document(self) -> dict[str, Any]:
        return document(
            environment="contract",
            priceVersion="contract/0",
            pools={
                name_of(one, kind): self._pool(one, kind)
                for one in self.vectors
                for kind in _POOLS
                if kind in one.world
            },
            workloads={
                one.slug: {
                    "workloadClass": "latency-sensitive",
                    "release": "r1",
                    "allowedJurisdictions": ["EU"],
                    "timeToFirstTokenS": 1.0,
                    "contextTokens": 4096,
                    **one.world.get("workload", {}),
                }
                for one in self.vectors
            },
            tenants={
                one.slug: {
                    "limits": one.world.get("tenant", {}),
                    "projects": {"main": {"budgetNanoUsd": 100 * NANO, **one.world.get("project", {})}},
                }
                for one in self.vectors
            },
            spill={
                "startAt": 0.85,
                "stopAt": 0.65,
                "minimumStayS": 0,
                "maxWaitS": 0.05,
                "signalMaxAgeS": 5,
                "patienceS": 1.5,
                "batchPatienceS": 1.5,
            },
            callerBreaker={"repeats": 20, "retries": 1000, "abandoned": 1000},
            retryBudget=1.0,
            maxRequestBytes=65536,
        )

    def _pool(self, vector: Vector, kind: str) -> dict[str, Any]:
        wanted = vector.world[kind]
        behaviour = self.behaviour(vector, kind)
        made = overflow if kind == "burst" else pool
        return made(
            **{
                "workload": vector.slug,
                "release": "r2" if kind == "canary_pool" else "r1",
                "url": f"http://127.0.0.1:{self.ports[name_of(vector, kind)]}/v1",
                "servedModel": wanted.get("served", "chat"),
                "instances": behaviour.servers,
                "slotsPerInstance": behaviour.slots,
                **wanted.get("config", {}),
            }
        )

    def behaviour(self, vector: Vector, kind: str) -> Behaviour:
        """How a stand-in spends time."""
        given = {name: value for name, value in vector.world[kind].items() if name in _BEHAVIOUR}
        fast = {"servers": 2, "slots": 4, "token_s": 0.004, "idle_timeout_s": 60.0}
        return Behaviour(**{**fast, **({"cold_start_s": 0.05} if kind == "burst" else {}), **given})

    @contextlib.asynccontextmanager
    async def standins(self, vector: Vector) -> AsyncIterator[dict[str, Standin]]:
        """The vector's model servers, by kind of pool; one that is absent is not started."""
        async with contextlib.AsyncExitStack() as stack:
            found = {}
            for kind in _POOLS:
                if kind not in vector.world or vector.world[kind].get("absent"):
                    continue
                server = Standin(self.behaviour(vector, kind), served=vector.world[kind].get("served", "chat"))
                runner = web.AppRunner(
                    server.application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1
                )
                await runner.setup()
                stack.push_async_callback(runner.cleanup)
                await web.TCPSite(runner, "127.0.0.1", self.ports[name_of(vector, kind)]).start()
                found["canary" if kind == "canary_pool" else kind] = server
            yield found


@dataclass
class Engine(Replica):
    """A replica of either engine."""

    kind: str = "headrace"
    more: tuple[str, ...] = ()

    def start(self) -> contextlib.AbstractContextManager[Process]:
        serve = ("router", "serve") if self.kind == "headrace" else ("router", "litellm", "serve")
        return process(
            [
                *(str(Path(sys.executable).parent / "headrace"), *serve),
                *("--config", str(self.folder / "router.json"), "--keys", str(self.folder / "keys.json")),
                *("--spool", str(self.spool), "--port", str(self.port), "--admin-port", str(self.admin)),
                *("--replica", self.name),
                *self.more,
            ],
            self.log,
            {"HEADRACE_HASH_SECRET": SECRET, **self.env},
        )
