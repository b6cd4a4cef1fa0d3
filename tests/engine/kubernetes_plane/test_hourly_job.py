"""The hourly floor's job against a real API server: it is taken as it is rendered, and its pod is admitted."""

from __future__ import annotations

from typing import Any

import pytest

from headrace_components import hourly_floor_manifests as manifests
from headrace_components import router_manifests, router_names

from .plane import Plane, eventually

pytestmark = pytest.mark.engine

JOB = manifests.FloorJob(
    pool="chat-floor",
    workload="chat",
    image="registry.example/headrace-router@sha256:" + "a" * 64,
    floor_nodes=1,
    ceiling_nodes=7,
    replicas_per_node=4,
    lead_time_s=600,
    store_cidrs=("10.0.16.0/24", "10.0.17.0/24"),
)


def test_the_job_is_taken_as_rendered_and_its_pod_is_admitted(plane: Plane) -> None:
    core = plane.namespace(router_names.NAMESPACE, **router_manifests.namespace()["metadata"]["labels"])
    batch, networking = (core.replace("/api/v1", f"/apis/{group}/v1") for group in ("batch", "networking.k8s.io"))

    def create(path: str, version: str, kind: str, manifest: dict[str, Any]) -> dict[str, Any]:
        body = {"apiVersion": version, "kind": kind, **manifest}
        made: dict[str, Any] = plane.kube.create(path, body, fieldValidation="Strict")
        return made

    create(f"{core}/serviceaccounts", "v1", "ServiceAccount", manifests.service_account(JOB))
    create(f"{core}/secrets", "v1", "Secret", manifests.secret(JOB, "postgresql://headrace_floor@db/headrace"))
    policy = manifests.network_policy(JOB)
    create(f"{networking}/networkpolicies", "networking.k8s.io/v1", "NetworkPolicy", policy)
    made = create(f"{batch}/cronjobs", "batch/v1", "CronJob", manifests.cron_job(JOB, "eks-chat-floor-1", "eu-west-1"))
    assert (made["spec"]["schedule"], made["spec"]["timeZone"]) == ("51 * * * *", "Etc/UTC")
    # What `kubectl create job --from=cronjob/…` sends.
    now = {
        "metadata": {"name": "now", "namespace": router_names.NAMESPACE},
        "spec": made["spec"]["jobTemplate"]["spec"],
    }
    create(f"{batch}/jobs", "batch/v1", "Job", now)

    def pods() -> list[dict[str, Any]]:
        return list(plane.kube.items(f"{core}/pods", labelSelector="app.kubernetes.io/name=hourly-floor"))

    eventually(pods, "Pod Security's level `restricted` lets the pod in")
    (pod,) = pods()
    assert pod["spec"]["serviceAccountName"] == JOB.name
    mounted = [one["name"] for one in pod["spec"]["volumes"]]
    assert sorted(mounted) == ["config", "scratch"], "no token of the Kubernetes API is mounted"
    assert plane.kube.delete(f"{batch}/cronjobs/{JOB.name}"), "or it would run beside the tests that follow"
