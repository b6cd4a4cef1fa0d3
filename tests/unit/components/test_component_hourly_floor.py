"""A floor that follows its traffic: the job, its rights and its place."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from headrace.errors import Refused
from headrace.rules.facts import HourlyFloorFacts, facts_from_props
from headrace.settings.load import load
from headrace_components import HourlyFloor, HourlyFloorArgs, HybridPlatform, router_names
from headrace_components.router_plan import ranges
from tests.unit.components.recording import PLACE, Engine, record, stack_settings
from tests.unit.components.test_component_router import secret

POOL = "chat-floor"


@pytest.fixture(scope="module")
def following() -> Engine:
    """The stack `sandbox`, the floor of its chat following the traffic."""
    settings = stack_settings("sandbox")
    pools = settings["dedicatedPools"]
    settings["dedicatedPools"] = {**pools, POOL: {**pools[POOL], "hourlyFloor": {"leadTimeS": 900}, "ceilingNodes": 3}}
    return record(lambda: HybridPlatform("platform", {"settings": settings}) and None)


def job(engine: Engine) -> dict[str, Any]:
    found: dict[str, Any] = engine.one("kubernetes:batch/v1:CronJob", f"floor-{POOL}").inputs
    return found


def pod(engine: Engine) -> dict[str, Any]:
    found: dict[str, Any] = job(engine)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return found


def test_it_runs_its_lead_time_before_the_hour_and_never_twice_at_once(following: Engine) -> None:
    spec = job(following)["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("41 * * * *", "Etc/UTC"), (
        "15 minutes in steps of ten, a minute later"
    )
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] < 3600


def test_it_runs_the_routers_image_with_the_stacks_bounds(following: Engine) -> None:
    container = pod(following)["containers"][0]
    router = following.one("kubernetes:apps/v1:StatefulSet", "router").inputs["spec"]["template"]["spec"]
    assert container["image"] == router["containers"][0]["image"]
    assert container["command"] == ["headrace", "plan", "hourly"]
    assert {"--floor-nodes=1", "--ceiling-nodes=3", "--replicas-per-node=4", "--lead-time-s=900"} <= set(
        container["args"]
    )
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert environment["SCALING_GROUP"] == "eks-group-asg"
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    assert f"--config={mounts['config']}/{router_names.CONFIG_KEY}" in container["args"]
    assert pod(following)["volumes"][0]["configMap"]["name"] == router_names.CONFIG_MAP, "the router's own prices"


def test_its_pod_is_restricted_and_stands_where_the_ledger_can_be_reached(following: Engine) -> None:
    spec = pod(following)
    assert job(following)["metadata"]["namespace"] == router_names.NAMESPACE
    assert spec["nodeSelector"] == router_names.TIER
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False, "it has no business with the Kubernetes API"
    security = spec["containers"][0]["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}


def test_its_role_may_size_one_group_and_is_nobody_elses(following: Engine) -> None:
    name = f"floor-{POOL}"
    statements = json.loads(following.one("aws:iam/rolePolicy:RolePolicy", name).inputs["policy"])["Statement"]
    rights = {one["Action"]: one["Resource"] for one in statements}
    assert rights.keys() == {"autoscaling:SetDesiredCapacity", "autoscaling:DescribeAutoScalingGroups"}
    assert rights["autoscaling:SetDesiredCapacity"].endswith(":autoScalingGroup:*:autoScalingGroupName/eks-group-asg")
    identity = following.one("aws:eks/podIdentityAssociation:PodIdentityAssociation", name).inputs
    assert (identity["namespace"], identity["serviceAccount"]) == (router_names.NAMESPACE, name)
    assert pod(following)["serviceAccountName"] == name


def test_its_credential_is_a_role_of_its_own_that_the_migration_makes(following: Engine) -> None:
    given = following.one("kubernetes:core/v1:Secret", f"floor-{POOL}").inputs["stringData"]
    dsn = secret(secret(given)["HEADRACE_FLOOR_DSN"])
    assert dsn.startswith("postgresql://headrace_floor:")
    assert "sslmode=verify-full" in dsn
    migration = secret(following.one("kubernetes:core/v1:Secret", "router-migration").inputs["stringData"])
    assert migration["HEADRACE_FLOOR_PASSWORD"] in dsn
    assert migration["HEADRACE_FLOOR_PASSWORD"] != migration["HEADRACE_ROLE_PASSWORD"]
    made = following.one("kubernetes:batch/v1:Job", "router-migration").inputs
    assert "--floor-role=headrace_floor" in made["spec"]["template"]["spec"]["containers"][0]["args"]
    assert made["metadata"]["name"].endswith("-floor"), "a floor that begins to follow migrates again"


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a pod selector takes pods of these labels."""
    wanted = selector.get("matchLabels", {})
    others = selector.get("matchExpressions", [])
    assert all(one["operator"] == "NotIn" for one in others), "guard: no other operator is used"
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        labels.get(one["key"]) not in one["values"] for one in others
    )


def test_it_may_talk_to_the_ledger_and_to_awss_endpoints_alone(following: Engine) -> None:
    labels = job(following)["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    policies = [
        one.inputs["spec"]
        for one in following.of("kubernetes:networking.k8s.io/v1:NetworkPolicy")
        if one.inputs["metadata"]["namespace"] == router_names.NAMESPACE
        and selects(one.inputs["spec"]["podSelector"], labels)
    ]
    open_to = {
        (peer["ipBlock"]["cidr"], port["port"])
        for spec in policies
        for rule in spec.get("egress", [])
        for peer in rule.get("to", [])
        if "ipBlock" in peer
        for port in rule["ports"]
    }
    stores = ranges(load(stack_settings("sandbox")))[1]
    assert open_to == {
        ("169.254.170.23/32", 80),
        *((cidr, port) for cidr in stores for port in (router_names.POSTGRES_PORT, router_names.HTTPS)),
    }, "neither the cache nor the internet, which the router beside it may reach"
    assert all(not spec.get("ingress") for spec in policies), "and nobody talks to it"


def test_a_deployment_leaves_the_nodes_as_they_are_and_the_router_knows_the_most(following: Engine) -> None:
    group = following.one("aws:eks/nodeGroup:NodeGroup", POOL).inputs["scalingConfig"]
    assert (group["minSize"], group["maxSize"]) == (1, 3)
    data = following.one("kubernetes:core/v1:ConfigMap", "router").inputs["data"]
    assert json.loads(data[router_names.CONFIG_KEY])["pools"][POOL]["instances"] == 12, "three nodes of four"


def test_its_facts_say_what_it_is(following: Engine) -> None:
    facts = facts_from_props(following.one("headrace:index:HourlyFloor").inputs["facts"])
    assert isinstance(facts, HourlyFloorFacts)
    assert (facts.pool, facts.workload, facts.floor_nodes, facts.ceiling_nodes) == (POOL, "chat", 1, 3)
    assert not facts.runs_as_root


def test_without_such_a_floor_there_is_none_of_it(sandbox_stack: Engine) -> None:
    assert sandbox_stack.of("headrace:index:HourlyFloor") == []
    migration = secret(sandbox_stack.one("kubernetes:core/v1:Secret", "router-migration").inputs["stringData"])
    assert "HEADRACE_FLOOR_PASSWORD" not in migration


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"floor_nodes": 4}, "must not exceed ceilingNodes"), ({"image": "ghcr.io/acme/router:latest"}, "by digest")],
)
def test_what_can_not_be_is_refused(change: dict[str, Any], sentence: str) -> None:
    args = {
        "place": PLACE,
        "pool": POOL,
        "workload": "chat",
        "floor_nodes": 1,
        "ceiling_nodes": 3,
        "replicas_per_node": 1,
        "image": "ghcr.io/acme/router@sha256:" + "a" * 64,
        "cluster_name": "gpu",
        "scaling_group_name": "eks-group-asg",
        "postgres_dsn": "postgresql://floor@db/headrace",
        "store_cidrs": ["10.0.0.0/16"],
        **change,
    }
    with pytest.raises(Refused, match=sentence):
        record(lambda: HourlyFloor("floor", cast("HourlyFloorArgs", args)) and None)
