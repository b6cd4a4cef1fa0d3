"""What changes in place, and what needs a new object."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.protocol.values import UNKNOWN, Props, Secret
from headrace_sandbox.kubernetes_provider import comparing, kinds, naming
from headrace_sandbox.kubernetes_provider.cluster import field_path, without_foreign
from headrace_sandbox.kubernetes_provider.kinds import Gvk
from headrace_sandbox.plugin import paths
from headrace_sandbox.plugin.provider import Autonaming, CheckRequest, PropertyFailures

DEPLOYMENT = Gvk(group="apps", version="v1", kind="Deployment")
URN = "urn:pulumi:dev::inference::kubernetes:core/v1:ConfigMap::settings"


def replaced(gvk: Gvk, old: Props, new: Props, **options: Any) -> set[str]:
    changes = comparing.changes_of(gvk, old, new, **options)
    return {paths.show(path) for path, change in changes.items() if change.replace}


@pytest.mark.parametrize(
    ("group", "kind", "field", "replace"),
    [
        ("apps", "Deployment", "spec.selector.matchLabels.app", True),
        ("apps", "Deployment", "spec.replicas", False),
        ("apps", "Deployment", "spec.template.spec.containers[0].image", False),
        ("apps", "StatefulSet", "spec.serviceName", True),
        ("apps", "StatefulSet", "spec.replicas", False),
        ("batch", "Job", "spec.template.spec.containers[0].image", True),
        ("batch", "Job", "spec.ttlSecondsAfterFinished", False),
        ("", "Service", "spec.clusterIP", True),
        ("", "Service", "spec.ports[0].port", False),
        ("", "ConfigMap", "data.key", True),
        ("", "ConfigMap", "metadata.labels.a", False),
        ("", "Secret", "stringData.key", True),
        ("", "Pod", "spec.containers[0].image", True),
        ("", "Pod", "spec.tolerations[0].key", False),
        ("", "Pod", "metadata.labels.a", False),
        ("", "PersistentVolumeClaim", "spec.resources.requests.storage", True),
        ("", "Namespace", "metadata.name", True),
        ("", "Namespace", "metadata.labels.a", False),
        ("rbac.authorization.k8s.io", "RoleBinding", "roleRef.name", True),
        ("rbac.authorization.k8s.io", "RoleBinding", "subjects[0].name", False),
        ("storage.k8s.io", "StorageClass", "parameters.type", True),
        ("acme.io", "Widget", "spec.size", False),
        ("acme.io", "Widget", "metadata.namespace", True),
    ],
)
def test_immutable_fields_replace_and_others_do_not(group: str, kind: str, field: str, replace: bool) -> None:
    gvk = Gvk(group=group, version="v1", kind=kind)
    assert kinds.needs_replacement(gvk, paths.parse(field)) is replace


def test_data_changes_in_place_where_the_provider_was_told_so_unless_the_object_is_immutable() -> None:
    gvk = Gvk(group="", version="v1", kind="ConfigMap")
    mutable = frozenset({"ConfigMap"})
    assert replaced(gvk, {"data": {"a": "1"}}, {"data": {"a": "2"}}, mutable=mutable) == set()
    frozen = {"immutable": True, "data": {"a": "2"}}
    assert replaced(gvk, {"immutable": True, "data": {"a": "1"}}, frozen, mutable=mutable) == {"data.a"}


def test_a_patch_resource_changes_everything_but_its_identity_in_place() -> None:
    gvk = Gvk(group="apps", version="v1", kind="Deployment", patch=True)
    assert replaced(gvk, {"spec": {"selector": {"a": "b"}}}, {"spec": {"selector": {"a": "c"}}}) == set()
    assert replaced(gvk, {"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}) == {"metadata.name"}


def test_quantities_nulls_secret_wrappers_and_the_inherited_namespace_are_no_changes() -> None:
    old = {"metadata": {"name": "w", "namespace": "default"}, "spec": {"limits": {"cpu": "500m"}, "x": None}}
    new = {"metadata": {"name": "w"}, "spec": {"limits": {"cpu": Secret("0.5")}}}
    assert comparing.changes_of(DEPLOYMENT, old, new, inherited="default") == {}


def test_an_unknown_field_is_a_change_and_an_unknown_immutable_one_a_replacement() -> None:
    old = {"spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}}}
    new = {"spec": {"replicas": UNKNOWN, "selector": {"matchLabels": {"a": UNKNOWN}}}}
    changes = comparing.changes_of(DEPLOYMENT, old, new)
    assert len(changes) == 2
    assert replaced(DEPLOYMENT, old, new) == {"spec.selector.matchLabels.a"}


def test_only_a_given_name_in_the_same_namespace_must_be_deleted_first() -> None:
    live = {"metadata": {"name": "w", "namespace": "a"}}
    assert comparing.same_place({"metadata": {"name": "w", "namespace": "a"}}, live)
    assert not comparing.same_place({"metadata": {"name": "v", "namespace": "a"}}, live)
    assert not comparing.same_place({"metadata": {"name": "w", "namespace": "b"}}, live)
    auto = {"metadata": {"name": "w", "namespace": "a", "annotations": {"pulumi.com/autonamed": "true"}}}
    assert not comparing.same_place(auto, live)
    assert not comparing.same_place({"metadata": {"name": UNKNOWN}}, live)


def test_every_type_token_of_the_sdk_names_its_group_version_and_kind() -> None:
    spec = importlib.util.find_spec("pulumi_kubernetes")  # not imported: that takes seconds
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    seen = 0
    for file in folder.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        tokens = re.findall(r"super\(\w+, __self__\)\.__init__\(\s*'(kubernetes:[^']+)'", text)
        api_version = re.search(r"__dict__\[\"api_version\"\] = '([^']+)'", text)
        kind_name = re.search(r"__dict__\[\"kind\"\] = '([^']+)'", text)
        if not tokens or not api_version or not kind_name or tokens[0].startswith("kubernetes:meta/"):
            continue  # meta/v1 Status is an answer of the API, not a resource
        gvk = kinds.from_token(tokens[0], {"kind": kind_name[1]})
        assert (gvk.api_version, gvk.kind) == (api_version[1], kind_name[1]), tokens[0]
        assert gvk.patch == (tokens[0].endswith("Patch") and not kind_name[1].endswith("Patch")), tokens[0]
        seen += 1
    assert seen > 200, f"the walk reached only {seen} types of the SDK"


def request(inputs: Props, **options: Any) -> CheckRequest:
    return CheckRequest(urn=URN, name="settings", type="kubernetes:core/v1:ConfigMap", inputs=inputs, **options)


def test_an_unnamed_object_gets_a_name_that_its_seed_decides_and_keeps_it() -> None:
    first = naming.assign(request({}, seed=b"s"), {})
    assert re.fullmatch(r"settings-[0-9a-f]{8}", first["metadata"]["name"])
    assert naming.assign(request({}, seed=b"s"), {}) == first
    assert naming.assign(request({}, seed=b"other", old_inputs=first), {}) == first, "a named resource keeps its name"
    assert naming.assign(request({}, seed=b"other"), {}) != first, "a replacement gets a new one"


def test_a_given_or_unknown_name_stays() -> None:
    for name in ("mine", UNKNOWN):
        inputs = {"metadata": {"name": name}}
        assert naming.assign(request(inputs), inputs) == inputs


def test_naming_configuration_is_followed() -> None:
    proposed = Autonaming(proposed_name="corp-settings", mode="enforce")
    assert naming.assign(request({}, autonaming=proposed), {})["metadata"]["name"] == "corp-settings"
    with pytest.raises(PropertyFailures, match="disabled"):
        naming.assign(request({}, autonaming=Autonaming(proposed_name="", mode="disable")), {})
    with pytest.raises(PropertyFailures, match="generateName"):
        naming.assign(request({}), {"metadata": {"generateName": "x-"}})


def test_fields_that_the_program_ignores_and_another_manager_owns_are_not_applied() -> None:
    fields = yaml.safe_load("{'f:spec': {'f:replicas': {}}}")
    live = {"metadata": {"managedFields": [{"manager": "hpa", "operation": "Update", "fieldsV1": fields}]}}
    body = {"spec": {"replicas": 3, "paused": False}}
    assert without_foreign(body, live, ("spec.replicas",), "ours") == {"spec": {"paused": False}}
    assert without_foreign(body, live, (), "ours") == body
    assert without_foreign(body, live, ("spec.paused",), "ours") == body, "nobody else owns it"
    assert without_foreign(body, live, ("spec.replicas",), "hpa") == body, "we own it ourselves"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("spec.template.spec.containers[0].image", ("spec", "template", "spec", "containers", 0, "image")),
        ("metadata.annotations", ("metadata", "annotations")),
        ("<nil>", ()),
    ],
)
def test_the_servers_field_notation_becomes_a_path(text: str, path: paths.Path) -> None:
    assert field_path(text) == path
