"""The provider under the real engine, against the real API server, scheduler and controllers."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pulumi
import pulumi_kubernetes
import pytest
from pulumi import automation as auto

pytestmark = pytest.mark.engine

# Untyped: matching dictionary literals with the SDK's nested argument types takes mypy minutes.
k8s: Any = pulumi_kubernetes

SECRET = "hunter2-is-not-to-be-seen"


def provider(cluster: Any, **options: Any) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(provider=k8s.Provider("cluster", kubeconfig=cluster.kubeconfig, **options))


def deployment(name: str, namespace: Any, opts: pulumi.ResourceOptions, **over: Any) -> Any:
    labels = {"app": over.pop("app", name)}
    annotations = over.pop("annotations", {})
    limits = {"cpu": "0.5", **({"nvidia.com/gpu": str(over.pop("gpus"))} if "gpus" in over else {})}
    return k8s.apps.v1.Deployment(
        name,
        metadata={"name": name, "namespace": namespace, "annotations": annotations},
        spec={
            "selector": {"match_labels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": "nginx:1", "resources": {"limits": limits}}]},
            },
            **over,
        },
        opts=opts,
    )


def changes(result: Any) -> dict[str, int]:
    """What a preview or an update did, without the resources that stayed."""
    found = result.change_summary if isinstance(result, auto.PreviewResult) else result.summary.resource_changes
    return {str(getattr(kind, "value", kind)): count for kind, count in (found or {}).items() if str(kind) != "same"}


def failure(run: Callable[[], Any]) -> str:
    with pytest.raises(auto.errors.CommandError) as caught:
        run()
    return str(caught.value)


def up_within(stack: Any, *, attempts: int) -> None:
    """Update, and again where the wait that the program itself sets was too short for the machine."""
    for left in reversed(range(attempts)):
        try:
            stack.up()
        except auto.errors.CommandError:
            if not left:
                raise
        else:
            return


def test_a_stack_lives_its_life_create_nothing_to_do_update_replace_destroy(cluster: Any, backend: Any) -> None:
    wanted: dict[str, Any] = {"replicas": 0, "app": "web"}

    def program() -> None:
        opts = provider(cluster)
        namespace = k8s.core.v1.Namespace("life", metadata={"name": "life"}, opts=opts)
        made = deployment("web", namespace.metadata.name, opts, **wanted)
        settings = k8s.core.v1.ConfigMap("settings", metadata={"namespace": "life"}, data={"a": "1"}, opts=opts)
        pulumi.export("uid", made.metadata.uid)
        pulumi.export("settings", settings.metadata.name)
        pulumi.export("strategy", made.spec.strategy.type)

    stack = backend.stack("life", program)
    try:
        assert changes(stack.preview()) == {"create": 5}
        first = stack.up()
        assert first.outputs["strategy"].value == "RollingUpdate", "outputs hold what the server filled in"
        assert first.outputs["settings"].value.startswith("settings-"), "an unnamed object is named after its resource"
        assert changes(stack.preview()) == {}, "nothing to do after an update"

        wanted["paused"] = True
        updated = stack.up()
        assert changes(updated) == {"update": 1}
        assert updated.outputs["uid"].value == first.outputs["uid"].value, "updated in place"

        wanted["app"] = "web2"
        replaced = stack.up()
        assert changes(replaced) == {"replace": 1}, "a selector can't change in place"
        assert replaced.outputs["uid"].value != first.outputs["uid"].value
        assert changes(stack.preview()) == {}
    finally:
        stack.destroy()
    assert cluster.call("GET", "/api/v1/namespaces/life") == {}, "destroy waits until the namespace is gone"


def test_drift_shows_after_a_refresh_and_the_next_update_repairs_it(cluster: Any, backend: Any) -> None:
    flags: dict[str, Any] = {}

    def program() -> None:
        opts = provider(cluster, **flags)
        namespace = k8s.core.v1.Namespace("drift", metadata={"name": "drift"}, opts=opts)
        metadata = {"name": "limits", "namespace": namespace.metadata.name, "labels": {"team": "a"}}
        k8s.core.v1.ResourceQuota("limits", metadata=metadata, spec={"hard": {"pods": "5", "cpu": "0.5"}}, opts=opts)
        k8s.core.v1.ServiceAccount(
            "gone",
            metadata={"name": "gone", "namespace": "drift"},
            opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[namespace])),
        )

    path = "/api/v1/namespaces/drift"
    stack = backend.stack("drift", program)
    try:
        stack.up()
        stack.refresh()
        assert changes(stack.preview()) == {}, "a refresh without drift changes nothing (0.5 is not 500m to a text)"
        cluster.call("PATCH", f"{path}/resourcequotas/limits", {"spec": {"hard": {"pods": "50"}}}, merge=True)
        cluster.call("PATCH", f"{path}/resourcequotas/limits", {"metadata": {"labels": {"x": "y"}}}, merge=True)
        cluster.call("DELETE", f"{path}/serviceaccounts/gone")
        stack.refresh()
        message = failure(stack.preview)
        assert "another manager owns fields of this object: .spec.hard.pods" in message
        flags["enable_patch_force"] = True
        assert changes(stack.up()) == {"update": 2, "create": 1}, "provider, quota; and the account that went"
        live = cluster.call("GET", f"{path}/resourcequotas/limits")
        assert live["spec"]["hard"]["pods"] == "5"
        assert live["metadata"]["labels"] == {"team": "a", "x": "y"}, "a label that others added is theirs"
        assert cluster.call("GET", f"{path}/serviceaccounts/gone") != {}
    finally:
        stack.destroy()


def test_an_object_that_others_made_is_imported_without_a_change(cluster: Any, backend: Any) -> None:
    labels = {"app": "old"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "nginx:1"}]}}
    cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": "adopt"}})
    body = {"metadata": {"name": "old"}, "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod}}
    made = cluster.call("POST", "/apis/apps/v1/namespaces/adopt/deployments", body)

    def program() -> None:
        opts = provider(cluster)
        known = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(import_="adopt/old"))
        k8s.apps.v1.Deployment(
            "old",
            metadata={"name": "old", "namespace": "adopt"},
            spec={
                "replicas": 0,
                "revision_history_limit": 10,  # a default, spelled out
                "selector": {"match_labels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "main", "image": "nginx:1"}]},
                },
            },
            opts=known,
        )
        k8s.core.v1.Namespace(
            "adopt",
            metadata={"name": "adopt"},
            opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(import_="adopt")),
        )

    stack = backend.stack("adopt", program)
    try:
        result = stack.up()
        assert changes(result) == {"import": 2, "create": 2}, "the stack and the provider are new, the objects are not"
        assert changes(stack.preview()) == {}
        live = cluster.call("GET", "/apis/apps/v1/namespaces/adopt/deployments/old")
        assert live["metadata"]["uid"] == made["metadata"]["uid"]
    finally:
        stack.destroy()


def test_a_preview_refuses_what_the_server_would_refuse_and_leaves_nothing(cluster: Any, backend: Any) -> None:
    cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": "dry"}})
    hard = {"spec": {"hard": {"count/configmaps": "0"}}, "metadata": {"name": "full"}}
    cluster.call("POST", "/api/v1/namespaces/dry/resourcequotas", hard)
    case: dict[str, Callable[[pulumi.ResourceOptions], Any]] = {}

    def program() -> None:
        case["make"](provider(cluster))

    stack = backend.stack("dry", program)
    for make, words in (
        (lambda opts: deployment("bad", "dry", opts, replicas=-1), "must be greater than or equal to 0"),
        (
            lambda opts: k8s.apiextensions.CustomResource(
                "typo",
                api_version="apps/v1",
                kind="Deployment",
                metadata={"name": "typo", "namespace": "dry"},
                spec={"replicaz": 3},
                opts=opts,
            ),
            ".spec.replicaz: field not declared in schema",
        ),
        (
            lambda opts: k8s.core.v1.ConfigMap("c", metadata={"namespace": "dry"}, data={"a": "b"}, opts=opts),
            "exceeded quota: full",
        ),
    ):
        case["make"] = make
        assert words in failure(stack.preview)
    assert cluster.call("GET", "/apis/apps/v1/namespaces/dry/deployments")["items"] == []
    cluster.call("DELETE", "/api/v1/namespaces/dry")


def test_pods_that_find_no_gpu_fail_with_the_schedulers_reason_and_resume_when_there_is_one(
    cluster: Any, backend: Any
) -> None:
    def program() -> None:
        opts = provider(cluster)
        namespace = k8s.core.v1.Namespace("gpu", metadata={"name": "gpu"}, opts=opts)
        wait = {"pulumi.com/timeoutSeconds": "15"}
        made = deployment("model", namespace.metadata.name, opts, gpus=2, annotations=wait)
        k8s.core.v1.Service(
            "model",
            metadata={"name": "model", "namespace": "gpu", "annotations": wait},
            spec={"selector": {"app": "model"}, "ports": [{"port": 80}]},
            opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[made])),
        )

    stack = backend.stack("gpu", program)
    cluster.gpu_node("gpu-node-small", 1)
    try:
        message = failure(stack.up)
        assert "Insufficient nvidia.com/gpu" in message, message
        first = cluster.call("GET", "/apis/apps/v1/namespaces/gpu/deployments/model")["metadata"]["uid"]
        cluster.gpu_node("gpu-node-large", 8)
        up_within(stack, attempts=6)
        live = cluster.call("GET", "/apis/apps/v1/namespaces/gpu/deployments/model")
        assert live["metadata"]["uid"] == first, "the deployment that was not ready is kept, not made anew"
        assert live["status"]["availableReplicas"] == 1
        assert changes(stack.preview()) == {}
    finally:
        stack.destroy()
        for name in ("gpu-node-small", "gpu-node-large"):
            cluster.call("DELETE", f"/api/v1/nodes/{name}")


def test_no_secret_is_in_plain_text_in_state_history_or_output(cluster: Any, backend: Any) -> None:
    wanted = {"value": SECRET}

    def program() -> None:
        opts = provider(cluster)
        namespace = k8s.core.v1.Namespace("hush", metadata={"name": "hush"}, opts=opts)
        text = pulumi.Output.secret(wanted["value"])
        where = {"namespace": namespace.metadata.name}
        k8s.core.v1.Secret("token", metadata={**where, "name": "token"}, string_data={"token": text}, opts=opts)
        k8s.core.v1.ConfigMap(
            "mixed", metadata={**where, "name": "mixed"}, data={"token": text, "open": "x"}, opts=opts
        )
        k8s.helm.v3.Release(
            "operator",
            chart="op",
            version="1",
            values={"token": text},
            namespace="hush",
            opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[namespace])),
        )

    stack = backend.stack("hush", program)
    shown: list[str] = []
    try:
        stack.preview(on_output=shown.append, diff=True)
        stack.up(on_output=shown.append, diff=True)
        stack.refresh(on_output=shown.append)
        wanted["value"] = SECRET + "-rotated"
        stack.up(on_output=shown.append, diff=True)
        for text in (SECRET, base64.b64encode(SECRET.encode()).decode()[:-4]):
            assert text not in backend.text()
            assert text not in "".join(shown)
        live = cluster.call("GET", "/api/v1/namespaces/hush/secrets/token")
        assert base64.b64decode(live["data"]["token"]).decode() == SECRET + "-rotated"
    finally:
        stack.destroy(on_output=shown.append)


def test_an_object_whose_creation_was_never_recorded_is_taken_up_again(cluster: Any, backend: Any) -> None:
    def program() -> None:
        opts = provider(cluster)
        k8s.core.v1.Namespace("crash", metadata={"name": "crash"}, opts=opts)

    stack = backend.stack("crash", program)
    try:
        before = stack.export_stack()
        stack.up()
        uid = cluster.call("GET", "/api/v1/namespaces/crash")["metadata"]["uid"]
        stack.import_stack(before)  # the state as it was: what an engine that died in mid-update leaves
        stack.up()
        assert cluster.call("GET", "/api/v1/namespaces/crash")["metadata"]["uid"] == uid
        assert changes(stack.preview()) == {}
    finally:
        stack.destroy()
    assert cluster.call("GET", "/api/v1/namespaces/crash") == {}


def test_an_object_of_someone_else_is_not_taken_over_silently(cluster: Any, backend: Any) -> None:
    cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": "taken"}})

    def program() -> None:
        k8s.core.v1.Namespace("taken", metadata={"name": "taken"}, opts=provider(cluster))

    stack = backend.stack("taken", program)
    try:
        assert "already exists" in failure(stack.up)
    finally:
        stack.destroy()
    assert cluster.call("GET", "/api/v1/namespaces/taken") != {}, "what isn't ours survives our destroy"
    cluster.call("DELETE", "/api/v1/namespaces/taken")


def test_a_custom_resource_follows_its_definition_in_one_update(cluster: Any, backend: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "x_kubernetes_preserve_unknown_fields": True}},
    }

    def program() -> None:
        opts = provider(cluster)
        version = {"name": "v1", "served": True, "storage": True, "schema": {"open_apiv3_schema": schema}}
        definition = k8s.apiextensions.v1.CustomResourceDefinition(
            "queues",
            metadata={"name": "queues.example.headrace.dev"},
            spec={
                "group": "example.headrace.dev",
                "scope": "Cluster",
                "names": {"plural": "queues", "singular": "queue", "kind": "Queue"},
                "versions": [version],
            },
            opts=opts,
        )
        k8s.apiextensions.CustomResource(
            "batch",
            api_version="example.headrace.dev/v1",
            kind="Queue",
            metadata={"name": "batch"},
            spec={"weight": 3, "flavors": ["a100"]},
            opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[definition])),
        )

    path = "/apis/example.headrace.dev/v1/queues/batch"
    stack = backend.stack("custom", program)
    try:
        assert changes(stack.preview()) == {"create": 4}, "before the definition exists"
        stack.up()
        assert cluster.call("GET", path)["spec"] == {"weight": 3, "flavors": ["a100"]}
        stack.refresh()
        assert changes(stack.preview()) == {}
    finally:
        stack.destroy()
    assert cluster.call("GET", path) == {}


def test_a_patch_changes_an_object_of_others_and_gives_its_fields_back(cluster: Any, backend: Any) -> None:
    cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": "shared", "labels": {"owner": "them"}}})

    def program() -> None:
        k8s.core.v1.NamespacePatch(
            "shared", metadata={"name": "shared", "labels": {"team": "us"}}, opts=provider(cluster)
        )

    stack = backend.stack("patch", program)
    stack.up()
    labels = cluster.call("GET", "/api/v1/namespaces/shared")["metadata"]["labels"]
    assert (labels["owner"], labels["team"]) == ("them", "us")
    assert changes(stack.preview()) == {}
    stack.destroy()
    labels = cluster.call("GET", "/api/v1/namespaces/shared")["metadata"]["labels"]
    assert "team" not in labels
    assert labels["owner"] == "them"
    cluster.call("DELETE", "/api/v1/namespaces/shared")


def test_a_helm_release_is_recorded_and_says_so(cluster: Any, backend: Any) -> None:
    wanted = {"version": "v25.3.0"}

    def program() -> None:
        opts = provider(cluster)
        release = k8s.helm.v3.Release(
            "operator",
            name="operator",
            chart="gpu-operator",
            values={"driver": {"enabled": False}},
            opts=opts,
            **wanted,
        )
        pulumi.export("status", release.status.status)
        pulumi.export("revision", release.status.revision)

    stack = backend.stack("helm", program)
    path = "/api/v1/namespaces/default/secrets/headrace.release.operator"
    try:
        first = stack.up()
        assert first.outputs["status"].value == "recorded (stand-in: charts are not rendered here)"
        wanted["version"] = "v25.4.0"
        second = stack.up()
        assert changes(second) == {"update": 1}
        assert second.outputs["revision"].value == 2
        assert cluster.call("GET", path)["metadata"]["annotations"]["headrace.sandbox/chart-version"] == "v25.4.0"
        assert changes(stack.preview()) == {}
    finally:
        stack.destroy()
    assert cluster.call("GET", path) == {}


def test_manifests_of_a_config_group_become_resources(cluster: Any, backend: Any) -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "from-yaml"}, "data": {"a": "b"}})

    def program() -> None:
        k8s.yaml.ConfigGroup(
            "group",
            yaml=[text],
            opts=pulumi.ResourceOptions(providers=[k8s.Provider("cluster", kubeconfig=cluster.kubeconfig)]),
        )

    stack = backend.stack("yaml", program)
    try:
        stack.up()
        assert cluster.call("GET", "/api/v1/namespaces/default/configmaps/from-yaml")["data"] == {"a": "b"}
        assert changes(stack.preview()) == {}
    finally:
        stack.destroy()
