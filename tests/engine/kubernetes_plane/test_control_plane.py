"""The API server is a real one: it schedules, denies, limits, refuses, records and remembers."""

from __future__ import annotations

import json
import socket
import ssl

import httpx
import psutil
import pytest

from headrace_sandbox import supervise
from headrace_sandbox.aws.services import services as aws_services
from headrace_sandbox.kubernetes import probes
from headrace_sandbox.kubernetes.kube import KubeError
from headrace_sandbox.kubernetes.services import services

from .objects import Object, pod
from .plane import Plane, eventually

pytestmark = pytest.mark.engine


def test_every_part_is_up_says_what_it_is_and_listens_on_loopback_only(plane: Plane) -> None:
    shown = {row.name: row for row in supervise.status(plane.context.directory)}
    assert {name: row.kind for name, row in shown.items() if name not in ("aws", "moto")} == {
        "etcd": "real",
        "kube-apiserver": "real",
        "kube-controller-manager": "real",
        "kube-scheduler": "real",
        "kwok": "simulated",
        "eks-authenticator": "stand-in",
        "eks-nodes": "simulated",
    }
    assert all(row.state == "ready" for row in shown.values())
    for row in shown.values():
        listening = [c for c in psutil.Process(row.pid).net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert all(connection.laddr.ip == "127.0.0.1" for connection in listening), f"{row.name}: {listening}"
    version = plane.kube.get("/version")
    assert version is not None
    assert version["gitVersion"] == "v1.36.3"


def test_rbac_denies_what_no_role_allows(plane: Plane) -> None:
    path = plane.namespace("rbac")
    asked = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": "jane",
            "groups": ["deployers"],
            "resourceAttributes": {"namespace": "rbac", "verb": "create", "group": "apps", "resource": "deployments"},
        },
    }
    reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    assert plane.kube.create(reviews, asked)["status"]["allowed"] is False
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "deployers"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "deployers"}],
    }
    plane.kube.create(f"{path.replace('/api/v1', '/apis/rbac.authorization.k8s.io/v1')}/rolebindings", binding)
    eventually(lambda: plane.kube.create(reviews, asked)["status"]["allowed"], "the binding to count")
    asked["spec"]["resourceAttributes"]["namespace"] = "default"  # type: ignore[index] # a literal of mixed depth
    assert plane.kube.create(reviews, asked)["status"]["allowed"] is False, "a binding ends at its namespace"


def test_a_quota_refuses_the_gpu_too_many(plane: Plane) -> None:
    path = plane.namespace("quota")
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "gpus"},
        "spec": {"hard": {"requests.nvidia.com/gpu": "2"}},
    }
    plane.kube.create(f"{path}/resourcequotas", quota)
    eventually(
        lambda: (plane.kube.get(f"{path}/resourcequotas/gpus") or {})["status"].get("hard"), "the quota to be counted"
    )
    plane.kube.create(f"{path}/pods", pod("first", gpus=2))
    with pytest.raises(KubeError, match=r"exceeded quota: gpus, requested: requests.nvidia.com/gpu=1") as refused:
        plane.kube.create(f"{path}/pods", pod("second", gpus=1))
    assert refused.value.status == 403
    plane.kube.delete(f"{path}/pods/first", grace_s=0)  # or it takes GPUs of the nodes that other tests bring


def test_a_limit_range_gives_defaults_and_bounds(plane: Plane) -> None:
    path = plane.namespace("limits")
    limits = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "containers"},
        "spec": {"limits": [{"type": "Container", "default": {"cpu": "2"}, "max": {"cpu": "4"}}]},
    }
    plane.kube.create(f"{path}/limitranges", limits)
    made = plane.kube.create(f"{path}/pods", pod("default"))
    assert made["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "2"
    with pytest.raises(KubeError, match="maximum cpu usage per Container is 4"):
        plane.kube.create(f"{path}/pods", pod("large", resources={"limits": {"cpu": "5"}}))


def test_pod_security_refuses_a_privileged_pod_in_a_restricted_namespace(plane: Plane) -> None:
    path = plane.namespace("restricted", **{"pod-security.kubernetes.io/enforce": "restricted"})
    with pytest.raises(KubeError, match=r'violates PodSecurity "restricted:latest": privileged'):
        plane.kube.create(f"{path}/pods", pod("root", securityContext={"privileged": True}))
    open_path = plane.namespace("privileged", **{"pod-security.kubernetes.io/enforce": "privileged"})
    plane.kube.create(f"{open_path}/pods", pod("root", securityContext={"privileged": True}))


def audit(plane: Plane, **fields: str) -> list[Object]:
    """Audit events of a resource."""
    lines = plane.at.audit_log.read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines if line.endswith("}")]
    return [event for event in events if fields.items() <= (event.get("objectRef") or {}).items()]


def test_the_audit_log_has_the_write_and_not_the_secret(plane: Plane) -> None:
    path = plane.namespace("audited")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"k": "hunter2-audited"}}
    plane.kube.create(f"{path}/secrets", secret)
    found = eventually(lambda: audit(plane, resource="secrets", namespace="audited", name="key"), "the audit event")
    assert found[0]["verb"] == "create"
    assert found[0]["user"]["username"] == "headrace:sandbox-admin"
    assert "hunter2-audited" not in plane.at.audit_log.read_text(encoding="utf-8")


def test_secrets_lie_encrypted_in_etcd(plane: Plane) -> None:
    path = plane.namespace("sealed")
    plain = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plain"}, "data": {"k": "seen-in-etcd"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"k": "hunter2-sealed"}}
    plane.kube.create(f"{path}/configmaps", plain)
    plane.kube.create(f"{path}/secrets", secret)

    def on_disk(text: bytes) -> bool:
        return any(text in file.read_bytes() for file in plane.at.etcd_data.rglob("*") if file.is_file())

    eventually(lambda: on_disk(b"seen-in-etcd"), "a plain object on disk (the search works)")
    assert not on_disk(b"hunter2-sealed"), "a secret's value lies in plain text in etcd's files"


def test_anonymous_requests_reach_the_health_pages_only(plane: Plane) -> None:
    assert probes.https(plane.at.api, "/livez", ca=plane.at.pki / "ca.crt")()
    trust = ssl.create_default_context(cafile=str(plane.at.pki / "ca.crt"))
    answer = httpx.get(f"{plane.at.api_url}/version", verify=trust, trust_env=False)
    assert answer.status_code == 401


def test_a_restart_finds_the_cluster_as_it_was(plane: Plane) -> None:
    plane.namespace("durable")
    before = plane.kube.get("/api/v1/namespaces/durable")
    assert before is not None
    supervise.down(plane.context.directory)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", plane.at.api)) != 0, "down means down"
    supervise.up(plane.context, [*services(plane.context), *aws_services(plane.context)])
    after = plane.kube.get("/api/v1/namespaces/durable")
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


def test_a_killed_api_server_comes_back_with_everything(plane: Plane) -> None:
    plane.namespace("survivor")
    (row,) = [row for row in supervise.status(plane.context.directory) if row.name == "kube-apiserver"]
    psutil.Process(row.pid).kill()
    with pytest.raises(KubeError, match="can't be reached"):
        eventually(lambda: plane.kube.get("/readyz") is None, "the API server to be gone")
    supervise.up(plane.context, [*services(plane.context), *aws_services(plane.context)])
    assert plane.kube.get("/api/v1/namespaces/survivor") is not None
    plane.namespace("made-after")  # needs the controller manager, which lost its server and found it again
