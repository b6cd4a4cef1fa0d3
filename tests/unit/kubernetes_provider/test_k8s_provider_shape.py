"""Objects, states and refreshed inputs."""

from __future__ import annotations

import base64
import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headrace.protocol.values import UNKNOWN, Props, Secret, has_secret, reveal
from headrace_sandbox.kubernetes_provider import shape

URN = "urn:pulumi:dev::inference::kubernetes:apps/v1:Deployment::web"

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "a", "labels": {"app": "x"}},
    "spec": {
        "containers": [
            {"name": "main", "image": "m:1", "resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}}},
        ],
        "nodeSelector": {},
    },
}
LIVE_POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "a", "uid": "1", "labels": {"app": "x", "added": "by-others"}},
    "spec": {
        "containers": [
            {"name": "injected", "image": "sidecar:9"},
            {
                "name": "main",
                "image": "m:1",
                "imagePullPolicy": "IfNotPresent",
                "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}},
            },
        ],
        "dnsPolicy": "ClusterFirst",
    },
    "status": {"phase": "Running"},
}


def test_a_refresh_without_drift_gives_back_the_inputs_as_they_were_spelled() -> None:
    assert shape.align(POD, LIVE_POD) == POD, "defaults, injected containers and foreign labels are not ours"


def test_a_refresh_shows_what_others_changed_and_took_away() -> None:
    live = copy.deepcopy(LIVE_POD)
    live["spec"]["containers"][1]["image"] = "m:2"
    del live["metadata"]["labels"]["app"]
    aligned = shape.align(POD, live)
    assert aligned["spec"]["containers"][0]["image"] == "m:2"
    assert aligned["metadata"]["labels"] == {}


def test_a_removed_container_is_missing_from_the_refreshed_inputs() -> None:
    live = copy.deepcopy(LIVE_POD)
    live["spec"]["containers"].pop()
    assert shape.align(POD, live)["spec"]["containers"] == []


documents = st.recursive(
    st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcde"), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["spec", "data", "rules"]), documents, max_size=3))
def test_aligning_with_an_object_that_equals_the_inputs_changes_nothing(inputs: Props) -> None:
    assert shape.align(inputs, copy.deepcopy(inputs)) == inputs


def test_string_data_is_read_back_from_data_and_stays_secret() -> None:
    inputs = {"apiVersion": "v1", "kind": "Secret", "stringData": Secret({"k": "old", "gone": "x"})}
    live = {"apiVersion": "v1", "kind": "Secret", "data": {"k": base64.b64encode(b"new").decode()}}
    aligned = shape.align(inputs, live)
    assert isinstance(aligned["stringData"], Secret)
    assert reveal(aligned)["stringData"] == {"k": "new"}


def test_the_data_of_a_secret_is_secret_in_every_copy_of_the_state() -> None:
    live = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "aHVudGVyMg=="}}
    state = shape.to_state(
        live, {"kind": "Secret", "stringData": {"k": "hunter2"}}, manager="m", initial_api_version="v1"
    )
    assert isinstance(state["data"], Secret)
    assert isinstance(state[shape.INPUTS]["stringData"], Secret)
    assert not has_secret(state["metadata"])


def test_an_object_to_apply_has_no_secrets_nulls_status_or_read_only_metadata() -> None:
    inputs = {
        "kind": "ConfigMap",
        "metadata": {"name": "c", "uid": "x", "resourceVersion": "1", "labels": None},
        "data": {"k": Secret("v"), "n": None},
        "status": {"a": 1},
    }
    assert shape.to_object(inputs) == {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "v"}}


def test_schema_extensions_are_dashed_for_the_api_and_underscored_for_programs() -> None:
    inputs = {"schema": {"x_kubernetes_preserve_unknown_fields": True}}
    live = shape.to_object(inputs)
    assert live == {"schema": {"x-kubernetes-preserve-unknown-fields": True}}
    state = shape.to_state(live, inputs, manager="m", initial_api_version="v1")
    assert state["schema"] == {"x_kubernetes_preserve_unknown_fields": True}


def test_a_preview_leaves_unknown_what_the_server_will_invent_and_shows_no_status() -> None:
    live = {
        "kind": "Service",
        "metadata": {"name": "s", "uid": "dry-run", "creationTimestamp": "now"},
        "spec": {"clusterIP": "10.0.0.9", "type": "ClusterIP"},
        "status": {"loadBalancer": {}},
    }
    state = shape.preview_state(live, {"kind": "Service"}, manager="m", initial_api_version="v1")
    assert state["metadata"]["uid"] is UNKNOWN
    assert state["spec"] == {"clusterIP": UNKNOWN, "type": "ClusterIP"}
    assert "status" not in state
    given_ip = {"kind": "Service", "spec": {"clusterIP": "10.0.0.9"}}
    kept = shape.preview_state(live, given_ip, manager="m", initial_api_version="v1")
    assert kept["spec"]["clusterIP"] == "10.0.0.9"


def test_the_field_manager_belongs_to_the_urn_so_that_a_crashed_create_is_recognised() -> None:
    manager = shape.manager_for(URN)
    assert manager == shape.manager_for(URN)
    assert manager != shape.manager_for(URN + "2")
    live = {"metadata": {"managedFields": [{"manager": manager, "operation": "Apply"}]}}
    assert shape.is_managed_by(live, manager)
    assert not shape.is_managed_by(
        {"metadata": {"managedFields": [{"manager": manager, "operation": "Update"}]}}, manager
    )


def test_the_field_manager_of_the_state_is_kept_and_an_annotation_wins() -> None:
    state = {shape.FIELD_MANAGER: "pulumi-kubernetes-official"}
    assert shape.manager_of(URN, {}, state) == "pulumi-kubernetes-official"
    named = {"metadata": {"annotations": {shape.PATCH_MANAGER: "ops"}}}
    assert shape.manager_of(URN, named, state) == "ops"


def test_ids_are_namespace_slash_name_or_the_name_alone() -> None:
    assert shape.join_id({"metadata": {"name": "n", "namespace": "a"}}) == "a/n"
    assert shape.join_id({"metadata": {"name": "n"}}) == "n"
    assert shape.split_id("a/n") == ("a", "n")
    assert shape.split_id("n") == (None, "n")


def test_only_an_object_of_nothing_but_a_name_is_marked_with_its_creator() -> None:
    bare = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}
    assert shape.marked(bare, "m")["metadata"]["annotations"] == {shape.CREATOR: "m"}
    for full in ({**bare, "spec": {}}, {**bare, "metadata": {"name": "a", "labels": {"x": "y"}}}):
        assert shape.marked(full, "m") == full
