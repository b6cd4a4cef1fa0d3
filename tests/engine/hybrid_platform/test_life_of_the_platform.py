"""The life of the stack `sandbox`, in order: it comes up, changes, is damaged, repaired, and goes without a trace."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headrace.router.config import from_json
from headrace_components.router_names import CHECKSUM
from headrace_sandbox import environment
from headrace_sandbox.kubernetes_provider.client import Client
from tests.engine.hybrid_platform import inventory
from tests.engine.hybrid_platform.live import NODE_GROUP, Live, poll

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]
CLUSTER = "acme-sandbox-gpu"


def named(steps: dict[str, tuple[str, list[str]]], kind: str, name: str) -> tuple[str, list[str]]:
    found = [step for urn, step in steps.items() if urn.endswith(f"{kind}::{name}")]
    assert len(found) == 1, f"one step for {kind} {name}: {steps}"
    return found[0]


def test_it_comes_up_and_a_second_preview_finds_nothing_to_change(deployed: Live) -> None:
    assert set(deployed.stack.changes()) == {"same"}, "the same settings twice are one deployment"
    assert deployed.strangers() == set(), "what was made for the stack is in its state"
    assert deployed.missing() == set(), "what the state has is in the account"


def test_the_nodes_of_each_pool_carry_what_its_instance_type_has(deployed: Live) -> None:
    poll(lambda: len(inventory.nodes(deployed.cluster, "chat-floor")) == 1, seconds=180)
    node = inventory.nodes(deployed.cluster, "chat-floor")[0]
    assert node["metadata"]["labels"]["node.kubernetes.io/instance-type"] == "g6.12xlarge"
    assert node["status"]["capacity"]["nvidia.com/gpu"] == "4"
    assert any(taint["key"] == "nvidia.com/gpu" for taint in node["spec"]["taints"])


def test_no_secret_is_in_plain_text_anywhere(deployed: Live, up_text: str, webhook: str) -> None:
    """State, history, backups, logs, what commands print, and every file beside the sandbox but those that are private
    to keep one: the passphrase, the operator's session, keys of the cluster, what the cloud itself keeps."""
    base = deployed.context.directory.parent
    kept = environment.engine_environment(deployed.context, found=deployed.stack.engine)
    passphrase = (base / "passphrase").read_text(encoding="utf-8")
    values = {
        "alert address": webhook,
        "passphrase": passphrase,
        "session token": kept["AWS_SESSION_TOKEN"],
        "secret key": kept["AWS_SECRET_ACCESS_KEY"],
    }
    vault = deployed.aws("secretsmanager")
    for role in ("router/hash", "data-stores/cache", "data-stores/database"):
        values[role] = vault.get_secret_value(SecretId=f"headrace/acme-sandbox/{role}")["SecretString"]
    environ = router_environment(deployed)
    assert values["data-stores/cache"] in environ["HEADRACE_REDIS_URL"], "the secrets that are looked for are the real"
    assert values["data-stores/database"] in environ["HEADRACE_POSTGRES_DSN"]
    assert values["router/hash"] == environ["HEADRACE_HASH_SECRET"]
    printed = [
        deployed.stack.run("preview", "--json"),
        deployed.stack.run("stack", "--show-urns"),
        deployed.stack.run("stack", "output", "--json"),
        deployed.stack.run("stack", "export"),
    ]
    shown = {" ".join(done.args[1:3]): done.stdout + done.stderr for done in printed} | {"up --diff": up_text}
    assert deployed.stack.outputs()["kubeconfig"] == "[secret]", "the kubeconfig is shown to those who ask for it"
    assert CLUSTER in deployed.stack.outputs(show_secrets=True)["kubeconfig"]
    for name, value in values.items():
        for command, text in shown.items():
            assert value not in text, f"{name} is printed by {command}"
        found = [str(path) for path in files_of(base, deployed.stack.project) if value.encode() in path.read_bytes()]
        assert found == [], f"{name} is in plain text in {found}"


def router_environment(live: Live) -> dict[str, str]:
    """The router's secret environment, as the cluster holds it."""
    secret = live.cluster.request("GET", "/api/v1/namespaces/router/secrets/router-environment")
    return {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}


def files_of(*folders: Path) -> Iterator[Path]:
    """Files that others than their owner may read, and every file of the engine whoever may read it."""
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                within = [path, *path.parents][: len(path.relative_to(folder).parts)]
                private = any(one.stat().st_mode & 0o077 == 0 for one in within)
                of_engine = any(part in {"state", "pulumi-home", "config", "logs"} for part in path.parts)
                if of_engine or not private:
                    yield path


def router(live: Live) -> dict[str, Any]:
    found: dict[str, Any] = live.cluster.request("GET", "/apis/apps/v1/namespaces/router/statefulsets/router")
    return found


def test_the_router_runs_on_the_configuration_of_the_deployed_pools(deployed: Live) -> None:
    data = deployed.cluster.request("GET", "/api/v1/namespaces/router/configmaps/router-config")["data"]
    config = from_json(data["router.json"])
    outputs = deployed.stack.outputs()
    for pool, url in outputs["pools"].items():
        assert config.pools[pool].url == f"{url}/v1"
    for pool, url in outputs["serverlessPools"].items():
        assert config.pools[pool].url == url, "the address that the vendor gave"
        assert set(config.pools[pool].credential_headers.values()) <= set(router_environment(deployed))
    assert outputs["router"]["policyVersion"] == config.policy_version
    assert outputs["router"]["loadBalancer"].endswith(".amazonaws.com")
    pods = deployed.cluster.list("/api/v1/namespaces/router/pods", labelSelector="app.kubernetes.io/name=router")
    nodes = {pod["spec"]["nodeName"] for pod in pods}
    zones = {
        node["metadata"]["labels"]["topology.kubernetes.io/zone"]
        for node in deployed.cluster.list("/api/v1/nodes", labelSelector="headrace.dev/tier=router")
        if node["metadata"]["name"] in nodes
    }
    assert len(zones) == 2, "a replica in each zone"
    claims = deployed.cluster.list("/api/v1/namespaces/router/persistentvolumeclaims")
    assert {claim["metadata"]["name"] for claim in claims} == {"journal-router-0", "journal-router-1"}
    assert {claim["status"]["phase"] for claim in claims} == {"Bound"}


@dataclass(frozen=True, kw_only=True)
class Changed:
    """What was planned for two changes that don't touch each other, and the router before them."""

    steps: dict[str, tuple[str, list[str]]]
    router: dict[str, Any]


@pytest.fixture(scope="module")
def changed(deployed: Live) -> Changed:
    """One update of the stack: a pool grows, and the router gets a replica more and another configuration."""
    before = router(deployed)

    def change(config: dict[str, Any]) -> None:
        config["inference:dedicatedPools"]["chat-floor"].update(floorNodes=2, ceilingNodes=3)
        config["inference:router"].update(minReplicas=3, spill={"startAtPercent": 70}, journalGib=6)

    deployed.configure(change)
    steps = deployed.steps()
    deployed.stack.up("--skip-preview")
    return Changed(steps=steps, router=before)


def test_a_pool_grows_in_place_and_its_nodes_follow(deployed: Live, changed: Changed) -> None:
    assert named(changed.steps, NODE_GROUP, "chat-floor") == ("update", []), "a node group is resized, not replaced"
    assert {operation for operation, _ in changed.steps.values()} == {"update"}, changed.steps
    group = deployed.aws("eks").describe_nodegroup(clusterName=CLUSTER, nodegroupName="chat-floor")["nodegroup"]
    assert (group["scalingConfig"]["minSize"], group["scalingConfig"]["maxSize"]) == (2, 3)
    poll(lambda: len(inventory.nodes(deployed.cluster, "chat-floor")) == 2, seconds=180)


def test_the_router_scales_in_place_and_another_configuration_renews_its_replicas(
    deployed: Live, changed: Changed
) -> None:
    kinds = {urn.split("::")[2].rsplit("$", 1)[-1].split(":")[-1] for urn in changed.steps}
    assert kinds >= {"ConfigMap", "StatefulSet", "HorizontalPodAutoscaler"}, kinds
    after = router(deployed)
    checksums = [one["spec"]["template"]["metadata"]["annotations"][CHECKSUM] for one in (changed.router, after)]
    assert checksums[0] != checksums[1], "another configuration is another pod template, which renews the pods"
    assert after["metadata"]["uid"] == changed.router["metadata"]["uid"], "larger journals must not stop all replicas"
    poll(lambda: router(deployed)["status"].get("readyReplicas") == 3, seconds=180)
    assert set(deployed.stack.changes()) == {"same"}, "what the autoscaler did is no drift"


def test_another_instance_type_replaces_the_node_group_and_says_why(deployed: Live) -> None:
    def exchange(config: dict[str, Any]) -> None:
        config["inference:dedicatedPools"]["digest-floor"]["instanceType"] = "g6e.xlarge"

    with deployed.tried(exchange):
        steps = deployed.steps()
    operation, reasons = named(steps, NODE_GROUP, "digest-floor")
    assert operation in {"replace", "create-replacement", "delete-replaced"}, steps
    assert "instanceTypes" in reasons, "the plan names what can't be changed in place"
    assert not [urn for urn, (does, _) in steps.items() if "replace" in does and urn.endswith("::chat-floor")], steps


def test_what_was_deleted_behind_its_back_is_found_by_refresh_and_made_again_by_up(deployed: Live) -> None:
    namespace = "/api/v1/namespaces/search-assistant-sandbox"
    inventory.delete(deployed.cluster, f"{namespace}/resourcequotas/quota")
    deployed.aws("logs").delete_log_group(logGroupName=f"/aws/eks/{CLUSTER}/cluster")
    deployed.aws("eks").delete_nodegroup(clusterName=CLUSTER, nodegroupName="digest-floor")
    poll(lambda: "digest-floor" not in groups(deployed), seconds=180)
    poll(lambda: not inventory.nodes(deployed.cluster, "digest-floor"), seconds=180)

    shown = deployed.stack.refresh().stdout
    lost = {NODE_GROUP, "aws:cloudwatch/logGroup:LogGroup", "kubernetes:core/v1:ResourceQuota"}
    assert "digest-floor" in shown
    assert not any(r["type"] == NODE_GROUP and r["id"] == f"{CLUSTER}:digest-floor" for r in deployed.stack.resources())
    steps = deployed.steps()
    made = {urn.split("::")[2].rsplit("$", 1)[-1] for urn, (operation, _) in steps.items() if operation == "create"}
    assert lost <= made, f"refresh noticed all three: {sorted(made)}"
    deployed.stack.up("--skip-preview")
    assert "digest-floor" in groups(deployed)
    assert quota(deployed.cluster, namespace)["spec"]["hard"]["requests.nvidia.com/gpu"] == "4"
    assert set(deployed.stack.changes()) == {"same"}
    assert deployed.strangers() == set()


def groups(live: Live) -> list[str]:
    found: list[str] = live.aws("eks").list_nodegroups(clusterName=CLUSTER)["nodegroups"]
    return found


def quota(client: Client, namespace: str) -> dict[str, Any]:
    found: dict[str, Any] = client.request("GET", f"{namespace}/resourcequotas/quota")
    return found


def test_destroy_leaves_nothing(deployed: Live) -> None:
    deployed.stack.destroy()
    assert [r for r in deployed.stack.resources() if r["type"] != "pulumi:pulumi:Stack"] == []
    nothing_left(deployed)


def test_an_engine_killed_in_mid_up_leaves_no_orphan_and_the_next_up_completes(live: Live) -> None:
    """Killed three times: while the network is made, while the account's rest is, and while the cluster is filled."""
    state = live.context.directory.parent / "state"
    for more in (20, 60, 60):  # of about 310
        live.up_killed_after(created=more)
        assert live.strangers() == set(), f"killed after {more} more: what the state doesn't know was taken away again"
        assert list(state.rglob("*.attrs")) == [], "nothing is written that a kill could leave half-written"
    live.stack.up()
    assert set(live.stack.changes()) == {"same"}
    assert live.strangers() == set()
    assert live.missing() == set()
    live.stack.destroy()
    nothing_left(live)


def nothing_left(live: Live) -> None:
    try:
        poll(lambda: not live.leftovers(), seconds=180)
    except AssertionError:
        assert sorted(live.leftovers()) == [], "destroy leaves nothing, in the account or in the cluster"
