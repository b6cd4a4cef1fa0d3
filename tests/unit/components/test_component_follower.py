"""What keeps a pool's model servers as many as its nodes."""

from __future__ import annotations

from typing import Any

import pytest

from headrace_components import follower, serving
from headrace_components.runtime.follow_nodes import Cluster, follow
from tests.unit.components.recording import Engine

FOLLOWER = f"digest-floor-{follower.NAME}"


class Calls(Cluster):
    """A cluster with so many nodes and a Deployment that asks for so many replicas."""

    def __init__(self, nodes: int, replicas: int) -> None:
        self.nodes, self.replicas = nodes, replicas
        self.set: list[int] = []

    def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        if path.startswith("/api/v1/nodes?"):
            assert "labelSelector=headrace.dev%2Fpool%3Dfloor" in path, "nodes of other pools don't count"
            return {"items": [{}] * self.nodes}
        assert path == "/scale"
        if method == "PATCH":
            self.set.append(body["spec"]["replicas"])
        # An API server leaves a zero out.
        return {"spec": {"replicas": self.replicas} if self.replicas else {}}


@pytest.mark.parametrize(
    ("nodes", "before", "per_node", "changes"),
    [(2, 8, 4, []), (3, 8, 4, [12]), (0, 8, 4, [0]), (1, 0, 2, [2]), (0, 0, 2, [])],
)
def test_the_number_is_compared_and_set_only_where_it_differs(
    nodes: int, before: int, per_node: int, changes: list[int]
) -> None:
    cluster = Calls(nodes, before)
    assert follow(cluster, "headrace.dev/pool=floor", "/scale", per_node) == (before, nodes * per_node)
    assert cluster.set == changes


def test_a_pool_whose_nodes_change_has_a_follower_and_another_has_none(sandbox_stack: Engine) -> None:
    made = sandbox_stack.one("kubernetes:apps/v1:Deployment", FOLLOWER).inputs["spec"]
    assert made["replicas"] == 1
    (container,) = made["template"]["spec"]["containers"]
    assert ".dkr.ecr." in container["image"], "nodes without a way out pull from the account's registry"
    assert "@sha256:" in container["image"]
    told = {one["name"]: one["value"] for one in container["env"]}
    assert told["NAMESPACE"] == serving.pool_namespace("digest-floor")
    assert told["POOL_SELECTOR"] == "headrace.dev/pool=digest-floor"
    assert told["REPLICAS_PER_NODE"] == "1"
    names = {one.name for one in sandbox_stack.of("kubernetes:apps/v1:Deployment")}
    assert f"chat-floor-{follower.NAME}" not in names, "its nodes don't change"


def test_its_pod_reaches_only_https_and_may_scale_one_deployment(sandbox_stack: Engine) -> None:
    policy = sandbox_stack.one("kubernetes:networking.k8s.io/v1:NetworkPolicy", FOLLOWER).inputs["spec"]
    labels = sandbox_stack.one("kubernetes:apps/v1:Deployment", FOLLOWER).inputs["spec"]["template"]["metadata"]
    assert policy["podSelector"]["matchLabels"].items() <= labels["labels"].items()
    assert policy["egress"] == [{"ports": [{"protocol": "TCP", "port": 443}]}]
    (rule,) = sandbox_stack.one("kubernetes:rbac.authorization.k8s.io/v1:Role", FOLLOWER).inputs["rules"]
    assert rule["resourceNames"] == [serving.DEPLOYMENT]
    assert rule["resources"] == ["deployments/scale"]
