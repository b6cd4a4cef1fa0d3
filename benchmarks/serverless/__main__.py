"""python -m benchmarks.serverless [--endpoints 50] [--json FILE]: the plugin beside direct calls, and its start-up.

Both sides run against the RunPod stand-in in one process's life, on the same machine, one after the other: creating,
refreshing and deleting the same endpoints through the engine and the plugin, and with a bare HTTP client.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from headrace_sandbox import engine, environment, gobuild, supervise
from headrace_sandbox.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "docker.io/vllm/vllm-openai@sha256:" + "0" * 64
BODY: dict[str, Any] = {
    "type": "QUEUE",
    "image": IMAGE,
    "gpu": {"pools": ["ADA_24"]},
    "workers": {"min": 0, "max": 3},
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
    "timeout": 300000,
}


@contextmanager
def stand_in(key: str) -> Iterator[str]:
    """A fresh RunPod account; its URL."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace_sandbox.runpod", "--port", str(port)],
        env={**os.environ, "RUNPOD_API_KEY": key},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(100):
            try:
                httpx.get(f"{url}/_sandbox/health", timeout=1).raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def timed(work: Callable[[], object]) -> float:
    """Seconds of a call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def direct(url: str, key: str, count: int) -> dict[str, float]:
    """The same calls, one after the other, with a bare client."""
    with httpx.Client(base_url=f"{url}/v2", headers={"Authorization": f"Bearer {key}"}) as client:
        ids: list[str] = []

        def create() -> None:
            for number in range(count):
                answer = client.post("/serverless", json={**BODY, "name": f"direct-{number}"})
                ids.append(answer.raise_for_status().json()["id"])

        def read() -> None:
            for id in ids:
                client.get(f"/serverless/{id}").raise_for_status()

        def delete() -> None:
            for id in ids:
                client.delete(f"/serverless/{id}").raise_for_status()

        return {"create": timed(create), "refresh": timed(read), "delete": timed(delete)}


def through_engine(url: str, key: str, count: int, folder: Path) -> dict[str, float]:
    """Create, preview, refresh and delete through the engine."""
    context = supervise.open_context(folder / "sandbox")
    found = engine.find(ROOT)
    host = gobuild.build("pulumi-yaml")
    project = folder / "project"
    project.mkdir()
    (folder / "bin").mkdir()
    (folder / "bin" / "pulumi-language-yaml").symlink_to(host)
    program = {
        "name": "inference",
        "runtime": "yaml",
        "plugins": {"providers": [{"name": "headrace", "path": str(ROOT / "components")}]},
        "resources": {
            f"endpoint-{number}": {"type": "headrace:runpod:Endpoint", "properties": BODY} for number in range(count)
        },
    }
    (project / "Pulumi.yaml").write_text(json.dumps(program), encoding="utf-8")
    path = environment.engine_environment(context, found=found)["PATH"]
    stack = Stack(
        name="bench",
        project=project,
        context=context,
        engine=found,
        variables={
            "RUNPOD_REST_URL": f"{url}/v2",
            "RUNPOD_API_KEY": key,
            "PATH": f"{folder / 'bin'}{os.pathsep}{path}",
        },
    )
    stack.ensure()
    return {
        "create": timed(lambda: stack.up("--skip-preview", "--parallel", "16")),
        "no change": timed(lambda: stack.up("--skip-preview", "--expect-no-changes", "--parallel", "16")),
        "refresh": timed(lambda: stack.refresh("--skip-preview", "--parallel", "16")),
        "delete": timed(lambda: stack.destroy("--skip-preview", "--parallel", "16")),
    }


def start_up(runs: int = 5) -> dict[str, float]:
    """Seconds until a fresh process has imported the plugin, and what the SDKs would add (medians)."""

    def median(code: str) -> float:
        argv = [sys.executable, "-c", code]
        return statistics.median(timed(lambda: subprocess.run(argv, check=True)) for _ in range(runs))

    bare = median("pass")
    return {
        "plugin": median("import headrace_components.provider.main") - bare,
        "httpx": median("import httpx") - bare,
        "modal": median("import modal") - bare,
        "runpod": median("import runpod") - bare,
        "pulumi": median("import pulumi") - bare,
    }


def main() -> None:
    """Run, print, and write JSON if asked."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--endpoints", type=int, default=50)
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    key = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as folder, stand_in(key) as url:
        results = {
            "endpoints": chosen.endpoints,
            "start-up seconds": start_up(),
            "direct seconds": direct(url, key, chosen.endpoints),
            "engine seconds": through_engine(url, key, chosen.endpoints, Path(folder)),
        }
        results["calls"] = httpx.get(f"{url}/_sandbox/calls").json()
    print(json.dumps(results, indent=2))
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
