"""RunPod's resources through the real engine, from a YAML program, against the stand-in."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from typing import Any

import pytest

from tests.engine.serverless.conftest import MakeProgram, RunPod

pytestmark = pytest.mark.engine

IMAGE = "docker.io/vllm/vllm-openai@sha256:" + "0" * 64
OTHER_IMAGE = "docker.io/vllm/vllm-openai@sha256:" + "1" * 64


def endpoint(**more: Any) -> dict[str, Any]:
    """An endpoint as a program writes it."""
    return {
        "type": "headrace:runpod:Endpoint",
        "properties": {
            "type": "QUEUE",
            "image": IMAGE,
            "gpu": {"pools": ["ADA_24"]},
            "workers": {"max": 3},
            "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
            **more,
        },
    }


def test_an_endpoint_is_created_and_a_second_run_writes_nothing(runpod: RunPod, program: MakeProgram) -> None:
    made = program({"chat": endpoint(env={"A": "1", "B": "2"})}, {"url": "${chat.openaiBaseUrl}"})
    made.up()
    (live,) = runpod.objects("serverless")
    assert live["timeout"] == 300000, "the execution timeout is always sent"
    assert made.stack.outputs() == {"url": f"https://api.runpod.ai/v2/{live['id']}/openai/v1"}
    runpod.forget()
    made.set({"chat": endpoint(env={"B": "2", "A": "1"})}, {"url": "${chat.openaiBaseUrl}"})
    made.up("--expect-no-changes")
    made.up("--refresh", "--expect-no-changes")
    assert runpod.writes() == 0, runpod.calls()


CHANGES: dict[str, dict[str, Any]] = {
    "image": {"image": OTHER_IMAGE},
    "args": {"args": "--model x"},
    "disk": {"disk": 40},
    "env": {"env": {"A": "1"}},
    "ports": {"ports": ["8000/http"]},
    "gpu.pools": {"gpu": {"pools": ["ADA_24", "AMPERE_24"]}},
    "gpu.excludedTypes": {"gpu": {"pools": ["ADA_24"], "excludedTypes": ["NVIDIA L4"]}},
    "gpu.count": {"gpu": {"pools": ["ADA_24"], "count": 2}},
    "gpu.minCudaVersion": {"gpu": {"pools": ["ADA_24"], "minCudaVersion": "12.4"}},
    "gpu.allowedCudaVersions": {"gpu": {"pools": ["ADA_24"], "allowedCudaVersions": ["12.4"]}},
    "workers.min": {"workers": {"min": 1, "max": 3}},
    "workers.max": {"workers": {"max": 5}},
    "workers.idleTimeout": {"workers": {"max": 3, "idleTimeout": 99}},
    "scaling": {"scaling": {"type": "REQUEST_COUNT", "requestCount": 8}, "workers": {"max": 3}},
    "dataCenterIds": {"dataCenterIds": ["EU-RO-1"]},
    "timeout": {"timeout": 60000},
    "flashboot": {"flashboot": "FLASHBOOT"},
    "name": {"name": "chosen"},
}


def test_every_property_is_updated_in_place_with_one_write_and_taken_back_with_another(
    runpod: RunPod, program: MakeProgram
) -> None:
    made = program({name.replace(".", "-"): endpoint() for name in CHANGES})
    made.up()
    before = {one["name"].rsplit("-", 1)[0]: one for one in runpod.objects("serverless")}
    assert len(before) == len(CHANGES)
    for wanted in (
        {name.replace(".", "-"): endpoint(**change) for name, change in CHANGES.items()},
        {name.replace(".", "-"): endpoint() for name in CHANGES},
    ):
        runpod.forget()
        made.set(wanted)
        assert made.stack.changes().get("update") in (len(CHANGES), len(CHANGES) - 1), "disk can't be taken back"
        made.up()
        calls = runpod.calls()
        assert calls.get("POST /v2/serverless") is None, "nothing is replaced"
        assert calls["PATCH /v2/serverless/{id}"] == runpod.writes() <= len(CHANGES)
        assert made.stack.changes().keys() == {"same"}
    after = {one["id"]: one for one in runpod.objects("serverless")}
    for one in before.values():
        assert {**after[one["id"]], "disk": 0} == {**one, "disk": 0}, "taking a change back restores the endpoint"


def test_another_routing_model_makes_a_successor_before_the_old_one_goes(runpod: RunPod, program: MakeProgram) -> None:
    made = program({"chat": endpoint()})
    made.up()
    old = made.id("chat")
    balanced = endpoint(type="LOAD_BALANCER", scaling={"type": "REQUEST_COUNT", "requestCount": 8})
    made.set({"chat": balanced})
    shown = " ".join(made.stack.preview("--diff").stdout.split())
    assert "1 to replace" in shown
    assert 'type : "QUEUE" => "LOAD_BALANCER"' in shown
    made.up()
    (live,) = runpod.objects("serverless")
    assert live["id"] != old
    assert live["type"] == "LOAD_BALANCER"


def test_drift_in_the_vendors_console_is_shown_by_refresh_and_repaired_by_up(
    runpod: RunPod, program: MakeProgram
) -> None:
    made = program({"chat": endpoint()})
    made.up()
    id = made.id("chat")
    runpod.drift("serverless", id, {"workers": {"min": 2, "max": 9}, "env": {"ADDED": "x"}})
    shown = made.stack.preview("--refresh", "--diff").stdout
    for line in ("min : 0 => 2", "max : 3 => 9", "ADDED"):
        assert line in " ".join(shown.split()), shown
    made.up("--refresh")
    (live,) = runpod.objects("serverless")
    assert (live["workers"]["min"], live["workers"]["max"], live["env"]) == (0, 3, {})


def test_an_endpoint_deleted_in_the_console_is_made_anew_and_deleting_the_absent_is_success(
    runpod: RunPod, program: MakeProgram
) -> None:
    made = program({"chat": endpoint()})
    made.up()
    runpod.api("DELETE", f"/v2/serverless/{made.id('chat')}")
    made.up("--refresh")
    assert len(runpod.objects("serverless")) == 1
    runpod.api("DELETE", f"/v2/serverless/{made.id('chat')}")
    made.stack.destroy()
    assert made.stack.resources() == []


def test_an_existing_endpoint_is_imported_and_then_unchanged(runpod: RunPod, program: MakeProgram) -> None:
    body = {
        "name": "by-hand",
        "type": "QUEUE",
        "image": IMAGE,
        "gpu": {"pools": ["ADA_24"], "minCudaVersion": "12.4"},
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
        "workers": {"min": 1, "max": 2},
        "timeout": 60000,
        "env": {"TOKEN": "imported-secret-value"},
        "disk": 30,
    }
    id = runpod.api("POST", "/v2/serverless", json=body).json()["id"]
    same = {key: value for key, value in body.items() if key not in ("type",)}
    made = program({"chat": {**endpoint(**same), "options": {"import": id, "protect": False}}})
    runpod.forget()
    shown = made.up().stdout
    assert "import" in shown
    assert runpod.writes() == 0
    assert "imported-secret-value" not in json.dumps(made.stack.state()), "what may be secret is encrypted"
    made.set({"chat": endpoint(**same)})
    made.up("--expect-no-changes")


@pytest.mark.parametrize("fault", ["lost-reply", "malformed", "error"])
def test_a_create_whose_answer_is_lost_makes_one_endpoint(runpod: RunPod, program: MakeProgram, fault: str) -> None:
    runpod.fault(fault, method="POST", path="/v2/serverless", times=1)
    made = program({"chat": endpoint()})
    made.up()
    (live,) = runpod.objects("serverless")
    assert made.id("chat") == live["id"]


def test_a_crash_between_the_vendors_success_and_the_state_is_adopted(runpod: RunPod, program: MakeProgram) -> None:
    made = program({"chat": endpoint()})
    made.up()
    id = made.id("chat")
    state = made.stack.state()
    deployment = state["deployment"]
    deployment["resources"] = [one for one in deployment["resources"] if not one["urn"].endswith("::chat")]
    file = made.stack.project / "state.json"
    file.write_text(json.dumps(state), encoding="utf-8")
    made.stack.run("stack", "import", "--file", str(file))
    runpod.forget()
    made.set({"chat": endpoint(workers={"max": 4})})
    made.up()
    (live,) = runpod.objects("serverless")
    assert live["id"] == id == made.id("chat"), "never a second one"
    assert live["workers"]["max"] == 4, "and it is what the program says now"
    assert runpod.calls().get("POST /v2/serverless") is None


def test_a_run_killed_while_the_vendor_answers_leaves_one_endpoint_that_the_next_run_adopts(
    runpod: RunPod, program: MakeProgram
) -> None:
    made = program({"chat": endpoint()})
    runpod.fault("slow", method="POST", path="/v2/serverless", times=1, seconds=60)
    running = subprocess.Popen(
        made.stack.argv("up", "--yes", "--skip-preview"),
        cwd=made.stack.project,
        env=made.stack.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    give_up = time.monotonic() + 300
    while not runpod.objects("serverless") and time.monotonic() < give_up:
        time.sleep(0.2)
    (first,) = runpod.objects("serverless")
    running.kill()
    running.wait()
    made.stack.cancel()
    made.up()
    (live,) = runpod.objects("serverless")
    assert live["id"] == first["id"] == made.id("chat")
    assert made.stack.changes().keys() == {"same"}


def test_interrupting_a_run_stops_the_wait_for_a_vendor_that_throttles(runpod: RunPod, program: MakeProgram) -> None:
    made = program({"chat": endpoint()})
    runpod.fault("throttle", method="POST", path="/v2/serverless", times=1000, seconds=250)
    running = subprocess.Popen(
        made.stack.argv("up", "--yes", "--skip-preview"),
        cwd=made.stack.project,
        env=made.stack.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    give_up = time.monotonic() + 300
    while not runpod.calls().get("POST /v2/serverless") and time.monotonic() < give_up:
        time.sleep(0.2)
    interrupted = time.monotonic()
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=240)
    assert time.monotonic() - interrupted < 180, "the wait of four minutes was cut short"
    assert running.returncode != 0
    assert "asked to cancel" in said, said
    assert runpod.calls()["POST /v2/serverless"] == 1


def test_throttling_and_server_errors_are_waited_out(runpod: RunPod, program: MakeProgram) -> None:
    runpod.fault("throttle", method="POST", path="/v2/serverless", times=2, seconds=1)
    runpod.fault("error", method="GET", path="/v2/serverless", times=2)
    made = program({"chat": endpoint()})
    made.up()
    assert len(runpod.objects("serverless")) == 1
    assert runpod.calls()["POST /v2/serverless"] == 3


def test_giving_up_says_what_the_vendor_said_and_leaves_nothing_half_done(runpod: RunPod, program: MakeProgram) -> None:
    runpod.fault("error", method="*", path="/v2/serverless", times=1000)
    limited = {**endpoint(), "options": {"customTimeouts": {"create": "3s"}}}
    made = program({"chat": limited})
    done = made.up(check=False)
    assert done.returncode != 0
    assert "gave up on GET /serverless" in done.stdout + done.stderr
    assert "Internal Server Error; ordered by a test" in done.stdout + done.stderr


def test_bad_inputs_are_refused_at_preview_with_their_path(runpod: RunPod, program: MakeProgram) -> None:
    made = program(
        {
            "chat": endpoint(
                workers={"min": 5, "max": 1},
                gpu={"pools": ["A"], "minCudaVersion": "12.1", "allowedCudaVersions": ["12.4"]},
            )
        }
    )
    done = made.stack.preview(check=False)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert "workers.min" in said
    assert "more than workers.max (1)" in said
    assert "gpu.minCudaVersion" in said
    assert runpod.calls() == {}, "a preview asks the vendor nothing for a new resource"


def test_templates_volumes_and_registry_credentials_work_together(runpod: RunPod, program: MakeProgram) -> None:
    resources: dict[str, Any] = {
        "auth": {
            "type": "headrace:runpod:RegistryAuth",
            "properties": {"username": "robot", "password": "hunter2-hunter2"},
        },
        "base": {
            "type": "headrace:runpod:Template",
            "properties": {"image": IMAGE, "registry": "${auth.id}", "disk": 30, "env": {"BASE": "1"}},
        },
        "disk": {
            "type": "headrace:runpod:NetworkVolume",
            "properties": {"size": 20, "dataCenter": "EU-RO-1"},
        },
    }
    from_template = endpoint(templateId="${base.id}", networkVolumes=["${disk.id}"], registry="${auth.id}")
    del from_template["properties"]["image"]
    resources["chat"] = from_template
    made = program(resources)
    made.up()
    (live,) = runpod.objects("serverless")
    assert (live["image"], live["disk"], live["env"]) == (IMAGE, 30, {"BASE": "1"}), "the template was applied"
    made.up("--expect-no-changes")
    made.up("--refresh", "--expect-no-changes")
    resources["disk"]["properties"]["size"] = 30
    resources["base"]["properties"]["disk"] = 50
    made.set(resources)
    made.up()
    (volume,) = runpod.objects("network-volumes")
    assert volume["size"] == 30
    resources["disk"]["properties"]["size"] = 25
    made.set(resources)
    done = made.stack.preview(check=False)
    assert done.returncode != 0
    assert "never shrinks a volume" in " ".join((done.stdout + done.stderr).split())


def test_a_rotated_password_and_a_rotated_secret_reach_the_vendor(runpod: RunPod, program: MakeProgram) -> None:
    def resources(password: str, token: str) -> dict[str, Any]:
        return {
            "auth": {"type": "headrace:runpod:RegistryAuth", "properties": {"username": "robot", "password": password}},
            "chat": endpoint(env={"TOKEN": {"fn::secret": token}}),
        }

    made = program(resources("first-password", "first-token"))
    made.up()
    first = made.id("auth")
    made.set(resources("second-password", "second-token"))
    made.up()
    assert runpod.objects("serverless")[0]["env"] == {"TOKEN": "second-token"}
    assert len(runpod.objects("registries")) == 1
    assert made.id("auth") != first
    assert "second-token" not in json.dumps(made.stack.state())


def test_limits_of_an_account_are_a_data_source(runpod: RunPod, program: MakeProgram) -> None:
    made = program({"chat": endpoint()})
    made.up()
    made.set(
        {"chat": endpoint()},
        {"limits": {"fn::invoke": {"function": "headrace:index:getAccountLimits", "arguments": {"vendor": "runpod"}}}},
    )
    made.up()
    limits = made.stack.outputs()["limits"]
    assert limits["spendUsdPerHour"] == 80
    assert (limits["endpoints"], limits["maxWorkers"]) == (1, 3)
    assert limits["source"].startswith("https://")
