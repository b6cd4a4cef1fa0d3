"""A real control plane and the real engine, with our provider as `pulumi-resource-kubernetes`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pulumi import automation as auto

from headrace_sandbox import engine, supervise
from headrace_sandbox.kubernetes.layout import layout
from headrace_sandbox.kubernetes.services import services
from headrace_sandbox.kubernetes_provider import kubeconfig
from headrace_sandbox.kubernetes_provider.client import ApiError, Client

PROJECT = "inference"
_NEEDS_AWS = ("eks-nodes",)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The control plane: an administrator's kubeconfig, and a client for what others do behind the engine's back."""

    kubeconfig: str
    client: Client

    def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, merge: bool = False
    ) -> dict[str, Any]:
        """One request as an administrator; {} where there is nothing (404)."""
        content = "application/merge-patch+json" if merge else "application/json"
        try:
            return self.client.request(method, path, body=body, content=content)
        except ApiError as refusal:
            if refusal.code == 404:
                return {}
            raise

    def gpu_node(self, name: str, gpus: int) -> None:
        """A node that KWOK plays, with GPUs."""
        annotations = {"kwok.x-k8s.io/node": "fake"}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "annotations": annotations}}
        self.call("POST", "/api/v1/nodes", node)
        room = {"cpu": "96", "memory": "1Ti", "pods": "110", "nvidia.com/gpu": str(gpus)}
        self.call(
            "PATCH", f"/api/v1/nodes/{name}/status", {"status": {"capacity": room, "allocatable": room}}, merge=True
        )


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("plane")
    context = supervise.open_context(directory)
    supervise.up(context, [service for service in services(context) if service.name not in _NEEDS_AWS])
    try:
        text = layout(context).kubeconfig.read_text(encoding="utf-8")
        loaded, folder = kubeconfig.load(text)
        yield Cluster(kubeconfig=text, client=Client(kubeconfig.select(loaded, folder)))
    finally:
        supervise.down(directory, purge=True)


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A state folder of its own, and stacks in it."""

    folder: Path

    def stack(self, name: str, program: Callable[[], None]) -> auto.Stack:
        """A stack that runs `program`."""
        return auto.create_or_select_stack(name, PROJECT, program)

    def text(self) -> str:
        """Everything that lies on the disk: state, history and backups."""
        files = [file for file in self.folder.rglob("*") if file.is_file()]
        return "\n".join(file.read_text(encoding="utf-8", errors="replace") for file in files)


@pytest.fixture(scope="session")
def plugin_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What goes first on PATH: our provider, and the engine."""
    folder = tmp_path_factory.mktemp("plugins")
    script = folder / "pulumi-resource-kubernetes"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m headrace_sandbox.kubernetes_provider "$@"\n')
    script.chmod(0o755)
    found = engine.find()
    return f"{folder}:{found.path.parent}"


@pytest.fixture
def backend(plugin_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backend:
    folder = tmp_path / "state"
    folder.mkdir()
    monkeypatch.setenv("PATH", plugin_path, prepend=":")  # of this test alone: elsewhere it would change what is run
    for name, value in {
        "PULUMI_BACKEND_URL": f"file://{folder}",
        "PULUMI_CONFIG_PASSPHRASE": "a test's passphrase",
        "PULUMI_HOME": str(tmp_path / "home"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }.items():
        monkeypatch.setenv(name, value)
    return Backend(folder=folder)
