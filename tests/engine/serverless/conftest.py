"""The stand-ins for both vendors, and YAML stacks that deploy into them through the plugin."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_socket

from headrace_sandbox import gobuild
from headrace_sandbox.runpod import schema
from headrace_sandbox.stack import Stack
from headrace_sandbox.supervise_ports import free_port

ROOT = Path(__file__).resolve().parents[3]
WRITES = ("POST", "PATCH", "DELETE", "PUT")


def wait_for(url: str, process: subprocess.Popen[bytes], limit_s: float = 180.0) -> None:
    give_up = time.monotonic() + limit_s
    while time.monotonic() < give_up:
        assert process.poll() is None, "the stand-in ended while it was starting"
        try:
            if httpx.get(url, timeout=2).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise AssertionError(f"{url} did not answer in {limit_s} s")


@dataclass
class RunPod:
    """The RunPod stand-in, with a key that occurs nowhere else."""

    url: str
    key: str

    @property
    def rest_url(self) -> str:
        return f"{self.url}/v2"

    def api(self, method: str, path: str, **more: Any) -> httpx.Response:
        return httpx.request(
            method, f"{self.url}{path}", headers={"Authorization": f"Bearer {self.key}"}, timeout=10, **more
        )

    def objects(self, kind: str) -> list[dict[str, Any]]:
        return list(next(iter(self.api("GET", f"/v2/{kind}").json().values())))

    def calls(self) -> dict[str, int]:
        return {str(name): int(count) for name, count in httpx.get(f"{self.url}/_sandbox/calls").json().items()}

    def writes(self) -> int:
        return sum(count for name, count in self.calls().items() if name.startswith(WRITES))

    def forget(self) -> None:
        httpx.delete(f"{self.url}/_sandbox/calls")

    def fault(self, fault: str, **more: Any) -> None:
        httpx.post(f"{self.url}/_sandbox/faults", json={"fault": fault, **more}).raise_for_status()

    def drift(self, kind: str, id: str, change: Mapping[str, Any]) -> None:
        httpx.patch(f"{self.url}/_sandbox/objects/{kind}/{id}", json=change).raise_for_status()


@dataclass
class Modal:
    """The Modal stand-in."""

    url: str
    control: str
    token: tuple[str, str]

    def calls(self) -> dict[str, int]:
        return dict(httpx.get(f"{self.control}/_sandbox/calls").json()["calls"])

    def writes(self) -> int:
        return int(httpx.get(f"{self.control}/_sandbox/calls").json()["writes"])

    def forget(self) -> None:
        httpx.delete(f"{self.control}/_sandbox/calls")

    def fault(self, call: str, status: str, times: int = 1) -> None:
        body = {"call": call, "status": status, "times": times}
        httpx.post(f"{self.control}/_sandbox/faults", json=body).raise_for_status()

    def drift(self, app: str, **change: int) -> None:
        httpx.patch(f"{self.control}/_sandbox/apps/{app}", json=change).raise_for_status()


@pytest.fixture(scope="session")
def vendor_schema() -> None:
    """RunPod's published schemas in the cache, fetched if need be."""
    pytest_socket.enable_socket()
    try:
        schema.ensure()
    except schema.Unavailable as why:
        pytest.skip(f"the vendor's schemas can't be had here: {why}")


@pytest.fixture
def runpod(vendor_schema: None, tmp_path: Path) -> Iterator[RunPod]:
    """A fresh account."""
    port, key = free_port(), f"rpa_{secrets.token_hex(16)}"
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace_sandbox.runpod", "--port", str(port)],
        env={**os.environ, "RUNPOD_API_KEY": key},
    )
    wait_for(f"http://127.0.0.1:{port}/_sandbox/health", process)
    yield RunPod(url=f"http://127.0.0.1:{port}", key=key)
    process.terminate()
    process.wait(60)


@pytest.fixture
def modal() -> Iterator[Modal]:
    """A fresh workspace."""
    port, control = free_port(), free_port()
    token = f"ak-{secrets.token_hex(8)}", f"as-{secrets.token_hex(16)}"
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace_sandbox.modal", "--port", str(port), "--control-port", str(control)],
        env={**os.environ, "MODAL_TOKEN_ID": token[0], "MODAL_TOKEN_SECRET": token[1]},
    )
    wait_for(f"http://127.0.0.1:{control}/_sandbox/health", process)
    yield Modal(url=f"http://127.0.0.1:{port}", control=f"http://127.0.0.1:{control}", token=token)
    process.terminate()
    process.wait(60)


@dataclass
class Program:
    """A YAML program in a stack of its own. `set` replaces its resources for the next run."""

    stack: Stack

    def set(self, resources: Mapping[str, Any], outputs: Mapping[str, Any] | None = None) -> None:
        text = json.dumps(
            {
                "name": "inference",
                "runtime": "yaml",
                "plugins": {"providers": [{"name": "headrace", "path": str(ROOT / "components")}]},
                "resources": dict(resources),
                "outputs": dict(outputs or {}),
            }
        )
        (self.stack.project / "Pulumi.yaml").write_text(text, encoding="utf-8")

    def up(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Update without a preview of its own, which would double the time; tests preview where that is the point."""
        return self.stack.up("--skip-preview", *arguments, check=check)

    def resource(self, name: str) -> dict[str, Any]:
        return next(one for one in self.stack.resources() if one["urn"].endswith(f"::{name}"))

    def id(self, name: str) -> str:
        return str(self.resource(name)["id"])


MakeProgram = Callable[..., Program]


@pytest.fixture
def program(stack: Callable[..., Stack], request: pytest.FixtureRequest, tmp_path: Path) -> MakeProgram:
    """Make a YAML program; the vendors' stand-ins that the test asked for are in its environment."""
    host = gobuild.build("pulumi-yaml")

    def make(resources: Mapping[str, Any], outputs: Mapping[str, Any] | None = None, **variables: str) -> Program:
        environment = dict(variables)
        if "runpod" in request.fixturenames:
            account: RunPod = request.getfixturevalue("runpod")
            environment |= {"RUNPOD_REST_URL": account.rest_url, "RUNPOD_API_KEY": account.key}
        if "modal" in request.fixturenames:
            workspace: Modal = request.getfixturevalue("modal")
            environment |= {
                "MODAL_SERVER_URL": workspace.url,
                "MODAL_TOKEN_ID": workspace.token[0],
                "MODAL_TOKEN_SECRET": workspace.token[1],
                "MODAL_CONFIG_PATH": str(tmp_path / "modal.toml"),
            }
        made = stack({"Pulumi.yaml": "name: inference\nruntime: yaml\n"}, variables=environment)
        search = made.environment()["PATH"]
        environment["PATH"] = f"{_beside(host, tmp_path)}{os.pathsep}{search}"
        made.variables.update(environment)  # type: ignore[attr-defined] # the dict just given
        program = Program(made)
        program.set(resources, outputs)
        return program

    return make


def _beside(host: Path, folder: Path) -> Path:
    place = folder / "bin"
    place.mkdir(exist_ok=True)
    shutil.copy2(host, place / "pulumi-language-yaml")
    return place
