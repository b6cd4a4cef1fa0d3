"""The component from a YAML program, secrets nowhere in plain text, and the plugin as a process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engine.serverless.conftest import ROOT, MakeProgram, Modal, Program, RunPod

pytestmark = pytest.mark.engine

RELEASE: dict[str, Any] = {
    "artifactUri": "s3://acme-models/llama/1",
    "artifactDigest": "sha256:" + "a" * 64,
    "image": "docker.io/vllm/vllm-openai@sha256:" + "0" * 64,
    "cudaVersion": "12.8",
    "minimumComputeCapability": "8.9",
    "weightsGib": 8.5,
    "kvCacheKibPerToken": 64,
    "maxContextTokens": 16384,
}
WORKLOAD = {
    "class": "latency-sensitive",
    "release": "llama",
    "dataClassification": "internal",
    "residency": ["EU"],
    "contextTokens": 8192,
}


def pool(provider: str, **more: Any) -> dict[str, Any]:
    """A pool as a YAML program writes it."""
    return {
        "type": "headrace:index:ServerlessEndpoint",
        "properties": {
            "place": {
                "organization": "acme",
                "environment": "test",
                "stage": "development",
                "region": "eu-central-1",
            },
            "provider": provider,
            "workload": "chat",
            "workloadSettings": WORKLOAD,
            "releaseSettings": RELEASE,
            "gpu": "L4",
            "minInstances": 0,
            "maxInstances": 3,
            "concurrencyPerInstance": 16,
            **more,
        },
    }


def test_one_yaml_program_uses_a_component_of_each_vendor_and_a_resource(
    runpod: RunPod, modal: Modal, program: MakeProgram
) -> None:
    made = program(
        {
            "overflow": pool("runpod", regions=["EU-RO-1"]),
            "nightly": pool("modal", regions=["eu-west"], ingressRegion="eu-west"),
            "volume": {"type": "headrace:modal:Volume", "properties": {}},
        },
        {"first": "${overflow.baseUrl}", "second": "${nightly.baseUrl}", "headers": "${overflow.requestHeaders}"},
        MODAL_PROXY_TOKEN_ID="wk-proxy-token-id",
        MODAL_PROXY_TOKEN_SECRET="ws-proxy-token-secret",
    )
    made.up()
    (live,) = runpod.objects("serverless")
    assert live["type"] == "LOAD_BALANCER"
    assert live["gpu"]["pools"] == ["AMPERE_24"]
    assert set(live["gpu"]["excludedTypes"]) == {"NVIDIA RTX A5000", "NVIDIA GeForce RTX 3090"}, "exactly the L4"
    assert live["gpu"]["minCudaVersion"] == "12.8"
    assert live["networkVolumes"] == [runpod.objects("network-volumes")[0]["id"]]
    outputs = made.stack.outputs(show_secrets=True)
    assert outputs["first"] == f"https://{live['id']}.api.runpod.ai/v1"
    assert outputs["second"].endswith(".modal.run/v1")
    assert outputs["headers"] == {"Authorization": f"Bearer {runpod.key}"}
    assert runpod.key not in json.dumps(made.stack.outputs()), "the way in is a secret"
    component = next(one for one in made.stack.resources() if one["type"] == "headrace:index:ServerlessEndpoint")
    assert component["inputs"]["facts"]["kind"] == "serverlessPool"
    runpod.forget()
    modal.forget()
    made.up("--expect-no-changes")
    assert (runpod.writes(), modal.writes()) == (0, 0)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            {"provider": "runpod", "regions": ["EU-RO-1"], "ingressRegion": "eu-west"},
            "RunPod has no ingress region to choose",
        ),
        ({"provider": "modal", "gpu": "RTX-4090"}, "is not sold by Modal"),
        ({"provider": "runpod", "regions": ["EU-RO-1"], "minInstances": 9}, "it must be at most maxInstances (3)"),
    ],
)
def test_what_a_vendor_cannot_express_is_refused_with_the_reason(
    runpod: RunPod, program: MakeProgram, wrong: dict[str, Any], sentence: str
) -> None:
    made = program({"overflow": pool(**wrong)})
    done = made.stack.preview(check=False)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert sentence in said
    assert "Traceback" not in said, said
    assert 'File "' not in said, said


def test_no_secret_is_in_plain_text_anywhere(
    runpod: RunPod, modal: Modal, program: MakeProgram, tmp_path: Path
) -> None:
    secrets = {
        "runpod key": runpod.key,
        "modal token": modal.token[1],
        "environment": "env-secret-9f3a71",
        "password": "password-secret-77aa",
        "modal secret": "modal-secret-51c2",
    }

    def resources(suffix: str, image: str = RELEASE["image"]) -> dict[str, Any]:
        chat = {
            "type": "QUEUE",
            "image": image,
            "gpu": {"pools": ["ADA_24"]},
            "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
            "env": {"TOKEN": {"fn::secret": secrets["environment"] + suffix}},
        }
        return {
            "chat": {"type": "headrace:runpod:Endpoint", "properties": chat},
            "auth": {
                "type": "headrace:runpod:RegistryAuth",
                "properties": {"username": "robot", "password": secrets["password"] + suffix},
            },
            "keys": {
                "type": "headrace:modal:Secret",
                "properties": {"values": {"KEY": secrets["modal secret"] + suffix}},
            },
        }

    made = program(resources(""))
    # The keys from configuration, encrypted, instead of the environment.
    for name, value in (("headrace:runpodApiKey", runpod.key), ("headrace:modalTokenSecret", modal.token[1])):
        made.stack.run("config", "set", "--secret", name, value)
    made.stack.variables.pop("RUNPOD_API_KEY")  # type: ignore[attr-defined] # a dict
    made.stack.variables.pop("MODAL_TOKEN_SECRET")  # type: ignore[attr-defined] # a dict
    said: list[str] = []

    def run(command: str, *arguments: str) -> None:
        done = made.stack.run(command, *arguments, check=False)
        said.append(done.stdout + done.stderr)

    # From level 4 on the engine itself logs every property that it sends and receives, whoever wrote the plugin.
    run("up", "--yes", "--diff", "--logtostderr", "-v=3")
    made.set(resources("-rotated"))
    run("preview", "--diff", "--json")
    run("preview", "--diff")
    runpod.fault("error", method="PATCH", path="/v2/", times=1)
    run("up", "--yes", "--diff")
    runpod.drift("serverless", runpod.objects("serverless")[0]["id"], {"env": {"TOKEN": secrets["environment"] + "-x"}})
    run("preview", "--refresh", "--diff")
    run("up", "--yes", "--refresh", "--diff")
    made.set(resources("-rotated", image="not-by-digest"))
    run("preview", "--diff")
    made.set(resources("-rotated", image="x@sha256:" + "2" * 64))
    runpod.fault("throttle", method="PATCH", path="/v2/", times=100, seconds=1000)
    run("up", "--yes", "--diff")
    said.append(json.dumps(made.stack.state()))
    made.set(resources("-rotated"))
    for file in (made.stack.context.directory.parent / "state").rglob("*"):
        if file.is_file():
            said.append(file.read_text(encoding="utf-8", errors="replace"))
    everything = "\n".join(said)
    assert len(everything) > 10_000, "the search must have something to search"
    for name, secret in secrets.items():
        place = everything.find(secret)
        assert place < 0, f"the {name} is in plain text: …{everything[max(0, place - 300) : place]}"


def test_the_plugin_starts_from_path_too(runpod: RunPod, program: MakeProgram, tmp_path: Path) -> None:
    """As where the wheel is installed: `pulumi-resource-headrace` on PATH, no path in Pulumi.yaml."""
    made = program(
        {"disk": {"type": "headrace:runpod:NetworkVolume", "properties": {"size": 10, "dataCenter": "EU-RO-1"}}}
    )
    script = tmp_path / "bin" / "pulumi-resource-headrace"
    script.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m headrace_components.provider.main "$@"\n', encoding="utf-8"
    )
    script.chmod(0o755)
    file = made.stack.project / "Pulumi.yaml"
    whole = json.loads(file.read_text(encoding="utf-8"))  # JSON is YAML
    del whole["plugins"]
    file.write_text(json.dumps(whole), encoding="utf-8")
    made.up()
    assert len(runpod.objects("network-volumes")) == 1


def test_another_repository_adds_the_package_by_path(program: MakeProgram) -> None:
    made: Program = program({})
    file = made.stack.project / "Pulumi.yaml"
    file.write_text("name: inference\nruntime: yaml\n", encoding="utf-8")
    done = subprocess.run(
        [str(made.stack.engine.path), "package", "get-schema", str(ROOT / "components")],
        cwd=made.stack.project,
        env=made.stack.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    schema = json.loads(done.stdout)
    assert {"headrace:runpod:Endpoint", "headrace:modal:App", "headrace:index:HybridPlatform"} <= set(
        schema["resources"]
    )
    added = subprocess.run(
        [str(made.stack.engine.path), "package", "add", str(ROOT / "components")],
        cwd=made.stack.project,
        env=made.stack.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert added.returncode == 0, added.stderr
    assert "headrace" in file.read_text(encoding="utf-8")


def test_a_plugin_whose_engine_dies_ends_by_itself() -> None:
    starter = (
        "import subprocess, sys; "
        "p = subprocess.Popen([sys.executable, sys.argv[1], '127.0.0.1:1'], stdout=subprocess.PIPE); "
        "print(p.pid, p.stdout.readline())"
    )
    done = subprocess.run(
        [sys.executable, "-c", starter, str(ROOT / "components")],
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    )
    pid = int(done.stdout.split()[0])
    for _ in range(600):
        if not Path(f"/proc/{pid}").exists() or _zombie(pid):
            return
        time.sleep(0.1)
    raise AssertionError(f"the plugin {pid} still runs although its engine is gone")


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True
