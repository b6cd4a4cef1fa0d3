"""The job plane through the vendor's SDK, the warm-up job's script, and the stand-in's refusals over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engine.serverless.conftest import ROOT, RunPod

pytestmark = pytest.mark.engine

ENDPOINT: dict[str, Any] = {
    "name": "jobs",
    "type": "QUEUE",
    "image": "x@sha256:0",
    "gpu": {"pools": ["ADA_24"]},
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
}


def environment(runpod: RunPod, folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "RUNPOD_ENDPOINT_BASE_URL": f"{runpod.url}/jobs/v2",
        "RUNPOD_REST_URL": runpod.rest_url,
        "RUNPOD_API_KEY": runpod.key,
        "HEADRACE_SANDBOX_DIR": str(folder / "none"),
    }


def test_a_warm_up_run_goes_through_the_vendors_sdk_and_leaves_a_warm_worker(runpod: RunPod, tmp_path: Path) -> None:
    id = runpod.api("POST", "/v2/serverless", json=ENDPOINT).json()["id"]
    done = subprocess.run(
        [str(Path(sys.executable).with_name("headrace")), "serverless", "warm", id, "--json"],
        env=environment(runpod, tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"echo": {"prompt": "ping", "max_tokens": 1}}
    health = runpod.api("GET", f"/jobs/v2/{id}/health").json()
    assert health["jobs"]["completed"] == 1
    assert health["workers"]["idle"] == 1
    workers = runpod.api("GET", f"/v2/serverless/{id}/workers").json()
    assert workers["summary"]["total"] == len(workers["workers"]) == 1
    assert workers["workers"][0]["gpuTypeId"] == "NVIDIA GeForce RTX 4090"


def test_a_warm_up_run_that_fails_is_one_sentence_without_the_key(runpod: RunPod, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("headrace")), "serverless", "warm", "absent"],
        env=environment(runpod, tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "did not run the job on absent" in done.stderr
    assert runpod.key not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_warm_up_job_raises_the_minimum_and_then_writes_nothing(runpod: RunPod, tmp_path: Path) -> None:
    id = runpod.api("POST", "/v2/serverless", json=ENDPOINT).json()["id"]
    script = ROOT / "components" / "headrace_components" / "runtime" / "warm_up.py"

    def run(schedule: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        variables = {**environment(runpod, tmp_path), "ENDPOINT_ID": id, "SCHEDULE": json.dumps(schedule)}
        return subprocess.run([sys.executable, str(script)], env=variables, capture_output=True, text=True, check=False)

    always = {"hours": list(range(168)), "minInstances": 2, "timeZone": "Europe/Berlin"}
    schedule = {"minInstances": 0, "leadTimeS": 900, "windows": [always]}
    done = run(schedule)
    assert done.returncode == 0, done.stderr
    assert runpod.objects("serverless")[0]["workers"]["min"] == 2
    runpod.forget()
    assert run(schedule).returncode == 0
    assert runpod.writes() == 0, "it compares before it changes anything"
    assert run({**schedule, "windows": []}).returncode == 0
    assert runpod.objects("serverless")[0]["workers"]["min"] == 0, "after the window the minimum falls back"
    runpod.fault("error", method="GET", path="/v2/serverless", times=1)
    failed = run(schedule)
    assert failed.returncode == 1
    assert runpod.key not in failed.stdout + failed.stderr
    assert len(failed.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [({**ENDPOINT, "workersMax": 3}, 422), ({**ENDPOINT, "workers": {"idleTimeout": 99999}}, 422), ([], 422)],
)
def test_the_stand_in_refuses_what_the_vendors_schema_refuses(runpod: RunPod, body: Any, status: int) -> None:
    answer = runpod.api("POST", "/v2/serverless", json=body)
    assert answer.status_code == status
    assert {"title", "status", "detail"} <= set(answer.json())


def test_the_stand_in_lets_nobody_in_without_the_key(runpod: RunPod) -> None:
    runpod_without = RunPod(url=runpod.url, key="wrong")
    assert runpod_without.api("GET", "/v2/serverless").status_code == 401
    assert runpod.api("DELETE", "/v2/serverless/absent").status_code == 404
