"""Modal's resources through the real engine and the real SDK, from a YAML program, against the stand-in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.engine.serverless.conftest import MakeProgram, Modal

pytestmark = pytest.mark.engine

IMAGE = "docker.io/vllm/vllm-openai@sha256:" + "0" * 64


def app(**more: Any) -> dict[str, Any]:
    """An app as a program writes it."""
    return {
        "type": "headrace:modal:App",
        "properties": {
            "image": IMAGE,
            "command": ["vllm", "serve", "/models/x"],
            "gpu": "L40S",
            "gpuFallbacks": ["H100!"],
            "maxContainers": 4,
            "regions": ["eu-west", "eu-north"],
            "routingRegion": "eu-west",
            **more,
        },
    }


def test_an_app_is_deployed_without_user_code_and_a_second_run_writes_nothing(
    modal: Modal, program: MakeProgram
) -> None:
    made = program(
        {
            "weights": {"type": "headrace:modal:Volume", "properties": {}},
            "keys": {"type": "headrace:modal:Secret", "properties": {"values": {"HF_TOKEN": "hf_hidden_value"}}},
            "chat": app(volumes={"/models": "${weights.name}"}, secrets=["${keys.name}"]),
        },
        {"url": "${chat.openaiBaseUrl}"},
    )
    made.up()
    assert made.stack.outputs()["url"] == f"https://sandbox--{made.id('chat')}-serve.modal.run/v1"
    modal.forget()
    made.up("--expect-no-changes")
    made.up("--refresh", "--expect-no-changes")
    assert modal.writes() == 0, modal.calls()
    assert "hf_hidden_value" not in json.dumps(made.stack.state())


def test_scaling_changes_without_a_deployment_and_a_deployment_asserts_the_scaling_again(
    modal: Modal, program: MakeProgram
) -> None:
    made = program({"chat": app()})
    made.up()
    modal.forget()
    made.set({"chat": app(minContainers=2, maxContainers=6, bufferContainers=1, scaledownWindow=120)})
    made.up()
    calls = modal.calls()
    assert calls.get("AppPublish") is None, "no deployment, so no container restarts"
    assert calls["FunctionUpdateSchedulingParams"] == 1
    modal.forget()
    made.set({"chat": app(minContainers=2, maxContainers=6, bufferContainers=1, scaledownWindow=120, timeout=900)})
    made.up()
    calls = modal.calls()
    assert calls["AppPublish"] == 1
    assert calls["FunctionUpdateSchedulingParams"] == 1, "a deployment wipes overrides, so they are set again"
    made.up("--refresh", "--expect-no-changes")


CHANGES: dict[str, dict[str, Any]] = {
    "image": {"image": "docker.io/vllm/vllm-openai@sha256:" + "1" * 64},
    "command": {"command": ["vllm", "serve", "/models/y"]},
    "gpu": {"gpu": "H200"},
    "gpu-count": {"gpuCount": 2},
    "fallbacks": {"gpuFallbacks": ["H200", "H100!"]},
    "target": {"targetConcurrency": 8},
    "regions": {"regions": ["eu-west"]},
    "env": {"env": {"A": "1"}},
    "auth": {"proxyAuth": False},
    "timeout": {"timeout": 30},
    "startup": {"startupTimeout": 60},
    "preemptible": {"nonpreemptible": True},
    "warm-up": {"warmUp": [{"hours": [8, 9], "minInstances": 2, "timeZone": "Europe/Berlin"}], "warmUpLeadTime": 600},
}


def test_every_other_property_is_one_deployment_in_place(modal: Modal, program: MakeProgram) -> None:
    made = program({name: app() for name in CHANGES})
    made.up()
    ids = {name: made.id(name) for name in CHANGES}
    modal.forget()
    made.set({name: app(**change) for name, change in CHANGES.items()})
    assert made.stack.changes() == {"same": 1, "update": len(CHANGES)}
    made.up()
    assert modal.calls()["AppPublish"] == len(CHANGES)
    assert {name: made.id(name) for name in CHANGES} == ids
    made.up("--refresh", "--expect-no-changes")


def test_another_routing_region_is_another_app(modal: Modal, program: MakeProgram) -> None:
    made = program({"chat": app()})
    made.up()
    old = made.id("chat")
    made.set({"chat": app(routingRegion="us-east")})
    made.up()
    assert made.id("chat") != old
    assert modal.calls()["AppStop"] == 1


def test_scaling_set_in_the_console_is_drift_and_is_repaired(modal: Modal, program: MakeProgram) -> None:
    made = program({"chat": app()})
    made.up()
    modal.drift(made.id("chat"), min_containers=3)
    shown = " ".join(made.stack.preview("--refresh", "--diff").stdout.split())
    assert "minContainers : 0 => 3" in shown or "minContainers: 0 => 3" in shown, shown
    made.up("--refresh")
    modal.forget()
    made.up("--refresh", "--expect-no-changes")


def test_an_app_stopped_in_the_console_is_deployed_again(modal: Modal, program: MakeProgram) -> None:
    made = program({"chat": app()})
    made.up()
    state = made.stack.state()
    made.stack.destroy()
    file = made.stack.project / "state.json"
    file.write_text(json.dumps(state), encoding="utf-8")
    made.stack.run("stack", "import", "--file", str(file))
    made.up("--refresh")
    assert modal.calls()["AppPublish"] == 2


def test_a_crash_after_the_deployment_is_adopted(modal: Modal, program: MakeProgram) -> None:
    made = program({"chat": app()})
    made.up()
    app_id = made.resource("chat")["outputs"]["appId"]
    state = made.stack.state()
    resources = state["deployment"]["resources"]
    state["deployment"]["resources"] = [one for one in resources if not one["urn"].endswith("::chat")]
    file = made.stack.project / "state.json"
    file.write_text(json.dumps(state), encoding="utf-8")
    made.stack.run("stack", "import", "--file", str(file))
    made.up()
    assert made.resource("chat")["outputs"]["appId"] == app_id, "the same app, deployed again"


def test_a_failure_after_the_deployment_is_kept_as_partly_made_and_finished_next_time(
    modal: Modal, program: MakeProgram
) -> None:
    modal.fault("FunctionUpdateSchedulingParams", "INVALID_ARGUMENT")
    made = program({"chat": app()})
    failed = made.up(check=False)
    assert failed.returncode != 0
    assert "would not set the autoscaler" in failed.stdout + failed.stderr
    assert made.resource("chat")["initErrors"], "the engine knows of the app"
    made.up()
    assert made.stack.changes().keys() == {"same"}


def test_a_secret_rotates_in_place_and_is_never_shown(modal: Modal, program: MakeProgram) -> None:
    made = program({"keys": {"type": "headrace:modal:Secret", "properties": {"values": {"KEY": "first-secret"}}}})
    made.up()
    secret_id = made.resource("keys")["outputs"]["secretId"]
    modal.forget()
    made.set({"keys": {"type": "headrace:modal:Secret", "properties": {"values": {"KEY": "second-secret"}}}})
    shown = made.up("--diff").stdout
    assert "second-secret" not in shown
    assert made.resource("keys")["outputs"]["secretId"] == secret_id, "deployed apps keep their reference"
    assert modal.calls()["SecretUpdate"] == 1


def test_an_app_is_imported_by_its_name_and_then_unchanged(modal: Modal, program: MakeProgram) -> None:
    chat = app(name="team-chat")
    made = program({"chat": chat})
    made.up()
    made.stack.run("state", "delete", made.resource("chat")["urn"], "--yes")
    modal.forget()
    made.set({"chat": {**chat, "options": {"import": "team-chat"}}})
    assert "1 imported" in " ".join(made.up().stdout.split())
    made.set({"chat": chat})
    made.up("--expect-no-changes")
    made.up("--refresh", "--expect-no-changes")
    assert modal.writes() == 0, modal.calls()


def test_a_wrong_token_is_told_without_the_token(modal: Modal, program: MakeProgram) -> None:
    made = program({"chat": app()})
    made.stack.variables.update({"MODAL_TOKEN_SECRET": "as-wrong-token-secret"})  # type: ignore[attr-defined] # a dict
    done = made.up(check=False)
    assert done.returncode != 0
    assert "Token ID or secret is wrong" in done.stdout + done.stderr
    assert "as-wrong-token-secret" not in done.stdout + done.stderr
