"""The program that keeps model servers as many as nodes: the real script, with the rights that the component gives it,
against a real API server."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from headrace_components import devices, follower, serving

from .objects import deployment
from .plane import Plane, eventually

pytestmark = pytest.mark.engine

POOL = "followed"
OTHER = "another"
SPACE = serving.pool_namespace(POOL)
RBAC = "/apis/rbac.authorization.k8s.io/v1"
SCALE = f"/apis/apps/v1/namespaces/{SPACE}/deployments/{serving.DEPLOYMENT}/scale"


def node(plane: Plane, number: int, pool: str = POOL) -> str:
    """A node of the pool; returns its path."""
    name = f"{pool}-{number}"
    plane.kube.create(
        "/api/v1/nodes",
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {devices.POOL_LABEL: pool}},
            "spec": {"unschedulable": True},
        },
    )
    return f"/api/v1/nodes/{name}"


@pytest.fixture(scope="module")
def account(plane: Plane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that a pod of the follower would see: its token, and the API server's certificate."""
    path = plane.namespace(SPACE)
    rbac = f"{RBAC}/namespaces/{SPACE}"
    plane.kube.create(f"{path}/serviceaccounts", follower.service_account(POOL))
    for where, kind, manifest in (
        (f"{rbac}/roles", "Role", follower.role(POOL)),
        (f"{rbac}/rolebindings", "RoleBinding", follower.role_binding(POOL)),
        (f"{RBAC}/clusterroles", "ClusterRole", follower.cluster_role(POOL)),
        (f"{RBAC}/clusterrolebindings", "ClusterRoleBinding", follower.cluster_role_binding(POOL)),
    ):
        plane.kube.create(where, {"apiVersion": RBAC.removeprefix("/apis/"), "kind": kind, **manifest})
    plane.kube.create(path.replace("/api/v1", "/apis/apps/v1") + "/deployments", deployment(serving.DEPLOYMENT, 1))
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    made = plane.kube.create(f"{path}/serviceaccounts/{follower.NAME}/token", request)
    folder = tmp_path_factory.mktemp("account")
    (folder / "token").write_text(made["status"]["token"], encoding="ascii")
    shutil.copy(plane.at.pki / "ca.crt", folder)
    yield folder
    plane.kube.delete(SCALE.removesuffix("/scale"))
    for one in plane.kube.items("/api/v1/nodes", labelSelector=f"{devices.POOL_LABEL} in ({POOL}, {OTHER})"):
        plane.kube.delete(f"/api/v1/nodes/{one['metadata']['name']}")


@pytest.fixture
def running(plane: Plane, account: Path) -> Iterator[subprocess.Popen[str]]:
    """The script as its pod runs it."""
    (container,) = follower.deployment(POOL, "image", "script", 4)["spec"]["template"]["spec"]["containers"]
    told = {one["name"]: one["value"] for one in container["env"]}
    script = Path(follower.__file__).parent / "runtime" / "follow_nodes.py"
    with subprocess.Popen(
        [sys.executable, "-I", str(script)],
        env={
            "PATH": os.environ["PATH"],
            **told,
            "EVERY_S": "0.2",
            "KUBERNETES_URL": plane.at.api_url,
            "ACCOUNT_DIRECTORY": str(account),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield process
        process.terminate()


def test_model_servers_follow_the_nodes_whoever_changed_them(plane: Plane, running: subprocess.Popen[str]) -> None:
    def asked() -> int:
        scale: Any = plane.kube.get(SCALE)
        return int(scale["spec"].get("replicas", 0))

    node(plane, 1, pool=OTHER)
    eventually(lambda: asked() == 0, "no node, no model server")
    first, _ = node(plane, 1), node(plane, 2)
    eventually(lambda: asked() == 8, "four model servers for each node")
    plane.kube.merge(SCALE, {"spec": {"replicas": 3}})
    eventually(lambda: asked() == 8, "a change by hand is put right")
    plane.kube.delete(first)
    eventually(lambda: asked() == 4, "those of a node that is gone go")
    assert running.poll() is None


def test_it_may_count_nodes_and_scale_one_deployment_and_nothing_else(plane: Plane, account: Path) -> None:
    own = f"/apis/apps/v1/namespaces/{SPACE}/deployments"
    headers = {
        "Authorization": f"Bearer {(account / 'token').read_text(encoding='ascii')}",
        "Content-Type": "application/merge-patch+json",
    }
    trust = ssl.create_default_context(cafile=str(account / "ca.crt"))
    with httpx.Client(base_url=plane.at.api_url, verify=trust, headers=headers, trust_env=False) as client:
        assert client.get("/api/v1/nodes").status_code == httpx.codes.OK
        for method, path in (
            ("GET", own),
            ("PATCH", f"{own}/{serving.DEPLOYMENT}"),
            ("PATCH", f"{own}/other/scale"),
            ("DELETE", f"{own}/{serving.DEPLOYMENT}"),
            ("GET", f"/api/v1/namespaces/{SPACE}/secrets"),
            ("PATCH", "/api/v1/nodes/another-1"),
        ):
            answer = client.request(method, path, json={} if method == "PATCH" else None)
            assert answer.status_code == httpx.codes.FORBIDDEN, f"{method} {path}: {answer.status_code}"
