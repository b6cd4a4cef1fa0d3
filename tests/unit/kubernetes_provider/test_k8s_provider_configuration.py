"""The provider's configuration: kubeconfigs, logins, flags; manifests and recorded releases."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from headrace.protocol.values import UNKNOWN, Props
from headrace_sandbox.kubernetes_provider import helm, kubeconfig, settings, yaml_decode
from headrace_sandbox.plugin.provider import CheckRequest, DiffRequest, InvokeRequest, ProviderError

URN = "urn:pulumi:dev::inference::pulumi:providers:kubernetes::k"
HERE = Path("/")


def config(server: str = "https://127.0.0.1:1", user: dict[str, Any] | None = None) -> str:
    return json.dumps(
        {
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": user or {"token": "s3cr3t"}}],
            "contexts": [
                {"name": "one", "context": {"cluster": "c", "user": "u"}},
                {"name": "two", "context": {"cluster": "c", "user": "u", "namespace": "team"}},
            ],
            "current-context": "one",
        }
    )


def target(text: str, **options: Any) -> kubeconfig.Target:
    loaded, folder = kubeconfig.load(text)
    return kubeconfig.select(loaded, folder, **options)


def test_the_current_context_is_taken_unless_another_is_named() -> None:
    assert target(config()).namespace == "default"
    assert target(config(), context="two").namespace == "team"


def test_a_path_and_yaml_work_as_contents_do(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("apiVersion: v1\nclusters: [{name: c, cluster: {server: 'https://h'}}]\ncurrent-context: x\n")
    with file.open("a") as handle:
        handle.write("contexts: [{name: x, context: {cluster: c}}]\n")
    assert target(str(file)).cluster.server == "https://h"
    assert target(file.read_text()).cluster.server == "https://h"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{}", "names no cluster"),
        ("{unbalanced: [", "neither valid JSON nor valid YAML"),
        ("/nowhere/config", "cannot be read"),
    ],
)
def test_an_unusable_kubeconfig_is_refused_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ProviderError, match=sentence):
        kubeconfig.load(text)
    failures = settings.check({"kubeconfig": text})
    assert [failure.path for failure in failures] == ["kubeconfig"]


def test_an_unknown_context_is_named_with_those_that_exist() -> None:
    with pytest.raises(ProviderError, match=r"no context 'prod'; it has \['one', 'two'\]"):
        target(config(), context="prod")


def exec_user(script: str) -> dict[str, Any]:
    return {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "args": ["-c", script]}
    }


def test_an_exec_credential_is_run_once_and_kept_until_it_runs_out(tmp_path: Path) -> None:
    count = tmp_path / "runs"
    script = f"""
import json, os, pathlib
file = pathlib.Path({str(count)!r}); file.write_text(file.read_text() + "x" if file.exists() else "x")
assert json.loads(os.environ["KUBERNETES_EXEC_INFO"])["kind"] == "ExecCredential"
expires = "2999-01-01T00:00:00Z" if len(file.read_text()) > 1 else "2001-01-01T00:00:00Z"
print(json.dumps({{"status": {{"token": "t" + file.read_text(), "expirationTimestamp": expires}}}}))
"""
    credentials = kubeconfig.Credentials(target(config(user=exec_user(script))))
    assert credentials.login().authorization == "Bearer tx"
    assert credentials.login().authorization == "Bearer txx", "the first one had run out"
    assert credentials.login().authorization == "Bearer txx", "the second is good for long"
    assert credentials.login(renew=True).authorization == "Bearer txxx", "a 401 asks for a new one"


def test_a_failing_or_missing_exec_command_is_one_sentence() -> None:
    broken = exec_user("import sys; print('first', file=sys.stderr); sys.exit('no such profile')")
    with pytest.raises(ProviderError, match=r"could not log in \(exit code 1\): no such profile"):
        kubeconfig.Credentials(target(config(user=broken))).login()
    missing = {"exec": {"command": "no-such-helper"}}
    with pytest.raises(ProviderError, match="not on PATH"):
        kubeconfig.Credentials(target(config(user=missing))).login()


def test_a_misspelt_or_unsupported_property_of_the_provider_is_refused() -> None:
    paths = [failure.path for failure in settings.check({"kubeconfg": "x", "enableServerSideApply": "false"})]
    assert paths == ["kubeconfg", "enableServerSideApply"]
    assert [failure.path for failure in settings.check({"renderYamlToDirectory": "out"})] == ["renderYamlToDirectory"]


def diff(old: Props, new: Props) -> set[str]:
    request = DiffRequest(urn=URN, name="k", type="t", id="1", old_inputs=old, old_state=old, inputs=new)
    return {str(path[0]) for path, change in settings.compare(request).items() if change.replace}


def test_another_cluster_replaces_and_another_login_to_the_same_cluster_does_not() -> None:
    old = {"kubeconfig": config()}
    assert diff(old, {"kubeconfig": config(user={"token": "rotated"})}) == set()
    assert diff(old, {"kubeconfig": config(server="https://other")}) == {"kubeconfig"}
    assert diff(old, {"kubeconfig": UNKNOWN}) == {"kubeconfig"}
    assert diff(old, {**old, "namespace": "team"}) == set()


def test_a_cluster_identifier_decides_where_it_is_given() -> None:
    old = {"kubeconfig": config(), "clusterIdentifier": "prod"}
    moved = {"kubeconfig": config(server="https://renamed"), "clusterIdentifier": "prod"}
    assert diff(old, moved) == set()
    assert diff(old, {**moved, "clusterIdentifier": "other"}) == {"kubeconfig", "clusterIdentifier"}


def decode(text: Any, **args: Any) -> Any:
    return yaml_decode.decode(InvokeRequest(token="kubernetes:yaml:decode", args={"text": text, **args}, preview=False))


def test_manifests_are_decoded_document_by_document_with_lists_unfolded() -> None:
    text = """
kind: List
items: [{kind: A, metadata: {name: x}}]
---
---
kind: B
since: 2026-01-02
"""
    objects = decode(text, defaultNamespace="team").result["result"]
    assert [item["kind"] for item in objects] == ["A", "B"]
    assert [item["metadata"]["namespace"] for item in objects] == ["team", "team"]
    assert objects[1]["since"] == "2026-01-02"


@pytest.mark.parametrize("text", ["a: [", "just text", UNKNOWN, None])
def test_a_bad_manifest_is_a_failure_of_its_text(text: Any) -> None:
    assert [failure.path for failure in decode(text).failures] == ["text"]


def test_a_release_needs_a_chart_and_gets_a_name() -> None:
    token = "kubernetes:helm.sh/v3:Release"
    request = CheckRequest(urn=URN, name="gpu-operator", type=token, inputs={}, seed=b"s")
    assert [failure.path for failure in helm.check(request, {}).failures] == ["chart"]
    assert str(helm.check(request, {"chart": "c"}).inputs["name"]).startswith("gpu-operator-")
    assert helm.check(request, {"chart": "c", "name": "mine"}).inputs["name"] == "mine"
