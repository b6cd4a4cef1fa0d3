"""When a kind counts as ready, and the reason that is given while it isn't."""

from __future__ import annotations

from typing import Any

import pytest

from headrace_sandbox.kubernetes_provider import readiness
from headrace_sandbox.kubernetes_provider.client import Kind
from headrace_sandbox.kubernetes_provider.readiness import Related
from headrace_sandbox.kubernetes_provider.waiting import is_skipped, limit_s

NONE = Related()
NO_GPU = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."


def pending_pod(name: str = "web-1", message: str = NO_GPU) -> dict[str, Any]:
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"metadata": {"name": name}, "status": {"phase": "Pending", "conditions": [scheduled]}}


def deployment(*, replicas: int | None = 2, generation: int = 3, **status: Any) -> dict[str, Any]:
    spec = {} if replicas is None else {"replicas": replicas}
    return {"metadata": {"generation": generation}, "spec": spec, "status": status}


def test_a_deployment_is_ready_when_all_replicas_are_new_and_available() -> None:
    done = deployment(observedGeneration=3, replicas=2, updatedReplicas=2, availableReplicas=2)
    assert readiness.deployment(done, NONE).ready


@pytest.mark.parametrize(
    "status",
    [
        {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2},
        {"observedGeneration": 3, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 2},
        {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 2},
        {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1},
        {},
    ],
    ids=["old generation observed", "an old replica left", "not all updated", "not all available", "no status yet"],
)
def test_a_deployment_under_way_is_not_ready(status: dict[str, Any]) -> None:
    verdict = readiness.deployment(deployment(**status), NONE)
    assert not verdict.ready
    assert not verdict.failed


def test_a_deployment_of_no_replicas_is_ready_at_once_and_one_without_a_number_wants_one() -> None:
    assert readiness.deployment(deployment(replicas=0, observedGeneration=3), NONE).ready
    assert not readiness.deployment(deployment(replicas=None, observedGeneration=3), NONE).ready


def test_the_schedulers_own_words_are_the_reason() -> None:
    verdict = readiness.deployment(deployment(observedGeneration=3), Related(pods=[pending_pod()]))
    assert verdict.reasons == (f"pod web-1 is not scheduled: {NO_GPU}",)
    assert verdict.waiting_for == "0 of 2 replicas available, 0 updated"


def test_a_quota_that_stops_the_replica_set_is_the_reason() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpus"}
    verdict = readiness.deployment(deployment(observedGeneration=3, conditions=[failure]), NONE)
    assert verdict.reasons == ("exceeded quota: gpus",)


def test_a_missed_progress_deadline_ends_the_wait() -> None:
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too late"}
    verdict = readiness.deployment(deployment(observedGeneration=3, conditions=[late]), NONE)
    assert verdict.failed
    assert "too late" in verdict.reasons


def test_many_pods_with_one_trouble_are_told_in_few_lines() -> None:
    pods = [pending_pod(f"web-{n}") for n in range(40)]
    reasons = readiness.pod_reasons(pods)
    assert len(reasons) == 4
    assert reasons[-1] == "and 37 more of the same kind"


def test_a_container_that_cannot_start_is_named_with_its_image_trouble() -> None:
    status = {"name": "main", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    pod = {"metadata": {"name": "p"}, "status": {"phase": "Pending", "containerStatuses": [status]}}
    assert readiness.pod_reasons([pod]) == ("pod p, container main: ImagePullBackOff: no such image",)


def test_a_job_is_ready_when_complete_and_failed_when_the_controller_says_so() -> None:
    def job(*conditions: dict[str, Any], **spec: Any) -> dict[str, Any]:
        return {"metadata": {}, "spec": spec, "status": {"conditions": list(conditions)}}

    assert readiness.job(job({"type": "Complete", "status": "True"}), NONE).ready
    failed = readiness.job(job({"type": "Failed", "status": "True", "message": "BackoffLimitExceeded"}), NONE)
    assert failed.failed
    assert failed.reasons == ("BackoffLimitExceeded",)
    assert readiness.job(job(suspend=True), NONE).ready
    assert not readiness.job(job(), NONE).ready


def service(status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "s"}, "spec": spec, "status": status or {}}


READY_SLICE = {"endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}]}
UNREADY_SLICE = {"endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": False}}]}


@pytest.mark.parametrize(
    "spec",
    [
        {"type": "ClusterIP", "clusterIP": "None", "selector": {"a": "b"}},
        {"type": "ClusterIP", "clusterIP": "10.0.0.1"},
        {"type": "ExternalName", "externalName": "example.org"},
    ],
    ids=["headless", "without selector", "external name"],
)
def test_services_without_endpoints_of_their_own_are_not_waited_for(spec: dict[str, Any]) -> None:
    assert readiness.service(service(**spec), NONE).ready


def test_a_service_needs_a_ready_endpoint() -> None:
    waiting = readiness.service(service(selector={"a": "b"}), Related(slices=[UNREADY_SLICE]))
    assert not waiting.ready
    assert "not ready" in waiting.reasons[0]
    assert readiness.service(service(selector={"a": "b"}), Related(slices=[READY_SLICE])).ready


def test_a_load_balancer_also_needs_an_address() -> None:
    spec: dict[str, Any] = {"type": "LoadBalancer", "selector": {"a": "b"}}
    related = Related(slices=[READY_SLICE])
    assert not readiness.service(service(**spec), related).ready
    addressed = service({"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}, **spec)
    assert readiness.service(addressed, related).ready


def test_a_claim_is_ready_when_bound_or_when_its_class_waits_for_a_pod() -> None:
    pending = {"metadata": {}, "spec": {}, "status": {"phase": "Pending"}}
    assert not readiness.volume_claim(pending, NONE).ready
    late = Related(storage_class={"volumeBindingMode": "WaitForFirstConsumer"})
    assert readiness.volume_claim(pending, late).ready
    assert readiness.volume_claim({**pending, "status": {"phase": "Bound"}}, NONE).ready


def test_a_stateful_set_waits_for_its_newest_revision_above_the_partition() -> None:
    def stateful(updated: int, **strategy: Any) -> dict[str, Any]:
        status = {"observedGeneration": 1, "readyReplicas": 3, "updatedReplicas": updated}
        spec = {"replicas": 3, "updateStrategy": strategy}
        return {"metadata": {"generation": 1}, "spec": spec, "status": status}

    assert not readiness.stateful_set(stateful(2), NONE).ready
    assert readiness.stateful_set(stateful(3), NONE).ready
    assert readiness.stateful_set(stateful(1, rollingUpdate={"partition": 2}), NONE).ready
    assert readiness.stateful_set(stateful(0, type="OnDelete"), NONE).ready


def test_a_daemon_set_without_a_node_to_run_on_is_ready() -> None:
    empty = {"metadata": {"generation": 1}, "spec": {}, "status": {"observedGeneration": 1}}
    assert readiness.daemon_set(empty, NONE).ready
    status = {"observedGeneration": 1, "desiredNumberScheduled": 2, "numberReady": 1, "updatedNumberScheduled": 2}
    assert not readiness.daemon_set({**empty, "status": status}, NONE).ready


def test_a_failed_pod_ends_the_wait_and_a_finished_one_is_fine() -> None:
    failed = readiness.pod({"metadata": {"name": "p"}, "status": {"phase": "Failed", "message": "evicted"}}, NONE)
    assert failed.failed
    assert "evicted" in failed.reasons
    assert readiness.pod({"metadata": {"name": "p"}, "status": {"phase": "Succeeded"}}, NONE).ready


@pytest.mark.parametrize(
    ("expression", "ready"),
    [
        ("condition=Ready", True),
        ("condition=Ready=False", False),
        ("condition=Synced", False),
        ("jsonpath={.status.phase}=Running", True),
        ("jsonpath={.status.phase}=Done", False),
        ("jsonpath={.status.phase}", True),
        ("jsonpath={.status.absent}", False),
    ],
)
def test_wait_for_reads_conditions_and_plain_fields(expression: str, ready: bool) -> None:
    obj = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    assert readiness.wait_for(expression, obj).ready is ready


def annotated(**annotations: str) -> dict[str, Any]:
    return {"metadata": {"annotations": {f"pulumi.com/{key}": value for key, value in annotations.items()}}}


def test_the_annotation_beats_the_custom_timeout_which_beats_the_default() -> None:
    kind = Kind(group="apps", version="v1", kind="Deployment", plural="deployments", namespaced=True)
    assert limit_s(kind, annotated(timeoutSeconds="30"), 60.0) == 30
    assert limit_s(kind, {"metadata": {}}, 60.0) == 60
    assert limit_s(kind, {"metadata": {}}, None) == 600
    assert is_skipped(annotated(skipAwait="true"))
    assert not is_skipped({"metadata": {}})
