"""Inputs for objects that Pulumi didn't make: what a person would have written."""

from __future__ import annotations

from typing import Any

from headrace.protocol.values import Secret
from headrace_sandbox.kubernetes_provider import importing

KUBECTL_FIELDS = {
    "f:spec": {
        "f:replicas": {},
        "f:strategy": {"f:type": {}},
        "f:revisionHistoryLimit": {},
        "f:selector": {},
        "f:template": {
            "f:spec": {
                "f:containers": {
                    'k:{"name":"main"}': {".": {}, "f:name": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:ports": {}}
                },
                "f:restartPolicy": {},
                "f:dnsPolicy": {},
            }
        },
    }
}


def deployment(*entries: dict[str, Any]) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": "nginx:1",
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"containerPort": 80}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "web",
            "namespace": "a",
            "uid": "1",
            "resourceVersion": "7",
            "labels": {"team": "x"},
            "annotations": {"deployment.kubernetes.io/revision": "1"},
            "managedFields": list(entries),
        },
        "spec": {
            "replicas": 2,
            "revisionHistoryLimit": 10,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"spec": {"containers": [container], "restartPolicy": "Always", "dnsPolicy": "ClusterFirst"}},
        },
        "status": {"replicas": 2},
    }


EXPECTED = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "a", "labels": {"team": "x"}},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"spec": {"containers": [{"name": "main", "image": "nginx:1", "ports": [{"containerPort": 80}]}]}},
    },
}


def test_defaults_server_fields_and_status_are_left_out_of_an_object_created_by_other_tools() -> None:
    live = deployment({"manager": "kubectl-create", "operation": "Update", "fieldsV1": KUBECTL_FIELDS})
    assert importing.inputs_of(live) == EXPECTED


def test_only_applied_fields_count_where_an_object_was_applied() -> None:
    applied: dict[str, Any] = {"f:spec": {"f:replicas": {}, "f:strategy": {"f:type": {}}}}
    live = deployment({"manager": "argo", "operation": "Apply", "fieldsV1": applied})
    assert importing.inputs_of(live)["spec"] == {"replicas": 2, "strategy": {"type": "RollingUpdate"}}, (
        "an applied default was written on purpose"
    )


def test_what_controllers_own_is_no_input() -> None:
    person: dict[str, Any] = {"f:spec": {"f:selector": {}}}
    cluster: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
    live = deployment(
        {"manager": "ops", "operation": "Apply", "fieldsV1": person},
        {"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": cluster},
        {"manager": "hpa", "operation": "Update", "subresource": "scale", "fieldsV1": cluster},
    )
    assert importing.inputs_of(live)["spec"] == {"selector": {"matchLabels": {"a": "b"}}}


def test_an_imported_secret_is_secret() -> None:
    live = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "type": "Opaque", "data": {"k": "dg=="}}
    inputs = importing.inputs_of(live)
    assert inputs["data"] == Secret({"k": "dg=="})
    assert "type" not in inputs, "Opaque is the default"


def test_allotted_addresses_are_no_inputs_of_a_service() -> None:
    live = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s", "namespace": "a"},
        "spec": {
            "clusterIP": "10.0.0.7",
            "clusterIPs": ["10.0.0.7"],
            "type": "ClusterIP",
            "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}],
            "selector": {"a": "b"},
        },
    }
    assert importing.inputs_of(live)["spec"] == {"ports": [{"port": 80}], "selector": {"a": "b"}}


def test_a_namespace_without_anything_of_its_own_is_its_name() -> None:
    live = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }
    assert importing.inputs_of(live) == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}
