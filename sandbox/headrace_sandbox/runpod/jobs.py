"""The job plane: health, jobs and workers. A job runs at once on a worker that stays for the endpoint's idle
timeout."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from headrace_sandbox.runpod.rules import Json, Problem

# Which card a pool gives first (names as in the catalogue's table of RunPod's pools).
_GPU_OF_POOL = {
    "AMPERE_16": "NVIDIA RTX A4000",
    "AMPERE_24": "NVIDIA L4",
    "ADA_24": "NVIDIA GeForce RTX 4090",
    "ADA_48_PRO": "NVIDIA L40S",
    "AMPERE_80": "NVIDIA A100-SXM4-80GB",
    "ADA_80_PRO": "NVIDIA H100 80GB HBM3",
    "HOPPER_141": "NVIDIA H200",
}


@dataclass
class Jobs:
    """Jobs of all endpoints."""

    jobs: dict[str, dict[str, Json]] = field(default_factory=dict)
    warm_until: dict[str, float] = field(default_factory=dict)

    def run(self, endpoint: Json, body: Json) -> Json:
        """A new job. An endpoint without workers leaves it in the queue."""
        if "input" not in body:
            raise Problem(400, "Bad Request", "input is required")
        id = secrets.token_hex(8)
        done = endpoint["workers"]["max"] > 0
        job: Json = {"id": id, "status": "COMPLETED" if done else "IN_QUEUE"}
        if done:
            job |= {"output": {"echo": body["input"]}, "delayTime": 40, "executionTime": 12}
            self.warm_until[endpoint["id"]] = time.monotonic() + endpoint["workers"].get("idleTimeout", 5)
        self.jobs.setdefault(endpoint["id"], {})[id] = job
        return job

    def count(self, endpoint: Json) -> int:
        """Workers that run now."""
        warm = 1 if self.warm_until.get(endpoint["id"], 0.0) > time.monotonic() else 0
        return int(min(max(endpoint["workers"]["min"], warm), endpoint["workers"]["max"]))

    def health(self, endpoint: Json) -> Json:
        """Counts of jobs and workers, as the job plane shows them."""
        states = [job["status"] for job in self.jobs.get(endpoint["id"], {}).values()]
        return {
            "jobs": {
                "completed": states.count("COMPLETED"),
                "failed": 0,
                "inProgress": 0,
                "inQueue": states.count("IN_QUEUE"),
                "retried": 0,
            },
            "workers": {
                "initializing": 0,
                "ready": self.count(endpoint),
                "running": 0,
                "throttled": 0,
                "unhealthy": 0,
                "idle": self.count(endpoint),
            },
        }

    def workers(self, endpoint: Json) -> Json:
        """The control plane's list of workers."""
        count = self.count(endpoint)
        gpu = endpoint["gpu"]
        places = endpoint["dataCenterIds"] or ["US-KS-2"]
        made = [
            {
                "id": f"{endpoint['id']}-{index}",
                "status": "IDLE",
                "isStale": False,
                "version": endpoint["_version"],
                "gpuCount": gpu["count"],
                "image": endpoint["image"],
                "gpuTypeId": _GPU_OF_POOL.get(gpu["pools"][0], gpu["pools"][0]),
                "dataCenterId": places[index % len(places)],
            }
            for index in range(count)
        ]
        summary = {"running": 0, "idle": count, "initializing": 0, "throttled": 0, "unhealthy": 0, "total": count}
        return {"workers": made, "summary": summary, "endpointVersion": endpoint["_version"]}


def add_routes(app: web.Application, jobs: Jobs, endpoint: Callable[[str], Json]) -> None:
    """The paths that the vendor's SDK calls under RUNPOD_ENDPOINT_BASE_URL."""

    def found(request: web.Request) -> Json:
        return endpoint(request.match_info["id"])

    async def health(request: web.Request) -> web.Response:
        return web.json_response(jobs.health(found(request)))

    async def run(request: web.Request) -> web.Response:
        body: Any = await request.json()
        return web.json_response(jobs.run(found(request), body))

    async def status(request: web.Request) -> web.Response:
        job = jobs.jobs.get(found(request)["id"], {}).get(request.match_info["job"])
        if job is None:
            raise Problem(404, "Not Found", "job not found")
        return web.json_response(job)

    async def purge(request: web.Request) -> web.Response:
        mine = jobs.jobs.get(found(request)["id"], {})
        waiting = [id for id, job in mine.items() if job["status"] == "IN_QUEUE"]
        for id in waiting:
            del mine[id]
        return web.json_response({"removed": len(waiting), "status": "completed"})

    app.router.add_get("/jobs/v2/{id}/health", health)
    app.router.add_post("/jobs/v2/{id}/run", run)
    app.router.add_post("/jobs/v2/{id}/runsync", run)
    app.router.add_get("/jobs/v2/{id}/status/{job}", status)
    app.router.add_post("/jobs/v2/{id}/purge-queue", purge)
