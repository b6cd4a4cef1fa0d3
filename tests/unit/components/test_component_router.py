"""The router, its data stores and its audit trail, as the engine would see them."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from typing import Any, cast

import pytest

from headrace.catalog.price import price_book
from headrace.errors import Refused
from headrace.router.config import from_json
from headrace.router.keys import load_keys
from headrace.rules.facts import AuditTrailFacts, DataStoresFacts, RouterFacts, facts_from_props
from headrace.rules.pods import ROUTER_TIER
from headrace.settings.load import load, validate
from headrace.settings.router import RouterSettings
from headrace_components import (
    HybridPlatform,
    Router,
    RouterArgs,
    nodes,
    router_manifests,
    router_names,
    router_network,
    router_plan,
    router_pods,
)
from headrace_components.place import PlaceArgs, read_place
from headrace_sandbox.router_keys import KEYS
from tests.unit.components.recording import ACCOUNT, PLACE, ZONES, Engine, record, stack_settings

SECRET_KEY = "4dabf18193072939515e22adb298388d"


def secret(value: Any) -> Any:
    """What the wire's secret marker holds."""
    if isinstance(value, dict) and SECRET_KEY in value:
        return value["value"]
    return value


def test_the_configuration_is_rendered_from_what_was_deployed(sandbox_stack: Engine) -> None:
    data = sandbox_stack.one("kubernetes:core/v1:ConfigMap", "router").inputs["data"]
    config = from_json(data[router_names.CONFIG_KEY])
    settings = load(stack_settings("sandbox"))
    assert set(config.pools) == {*settings.dedicated_pools, *settings.serverless_pools}
    assert config.pools["chat-floor"].url == "http://model-server.pool-chat-floor.svc.cluster.local:8000/v1"
    replicas = "http://model-server-replicas.pool-chat-floor.svc.cluster.local:8000/metrics"
    assert config.pools["chat-floor"].metrics_url == replicas, "the queue of each replica, not of a chosen one"
    service = sandbox_stack.one("kubernetes:core/v1:Service", "chat-floor-replicas").inputs
    assert (service["metadata"]["name"], service["spec"]["clusterIP"]) == ("model-server-replicas", "None")
    assert config.pools["chat-overflow"].url == "https://api.runpod.ai/v2/endpoint-1/openai/v1", "what RunPod answered"
    assert config.pools["digest-overflow"].credential_headers == {
        "Modal-Key": "UPSTREAM_DIGEST_OVERFLOW_MODAL_KEY",
        "Modal-Secret": "UPSTREAM_DIGEST_OVERFLOW_MODAL_SECRET",
    }
    assert config.pools["chat-floor"].slots == settings.dedicated_pools["chat-floor"].slots_per_replica * 4


def test_its_secrets_are_secret_and_reach_the_process_as_environment(sandbox_stack: Engine) -> None:
    given = sandbox_stack.one("kubernetes:core/v1:Secret", "router-environment").inputs["stringData"]
    assert SECRET_KEY in given or all(SECRET_KEY in value for value in given.values()), "never in plain text in state"
    values = secret(given)
    assert {
        "HEADRACE_HASH_SECRET",
        "HEADRACE_REDIS_URL",
        "HEADRACE_POSTGRES_DSN",
        "UPSTREAM_CHAT_OVERFLOW_AUTHORIZATION",
        "UPSTREAM_DIGEST_OVERFLOW_MODAL_KEY",
        "UPSTREAM_DIGEST_OVERFLOW_MODAL_SECRET",
    } <= set(values)
    container = replicas(sandbox_stack)["spec"]["template"]["spec"]["containers"][0]
    assert container["envFrom"] == [{"secretRef": {"name": router_names.ENVIRONMENT_SECRET}}]
    text = json.dumps(container)
    assert "rediss://" not in text, "a pod's specification is readable by many"
    assert "postgresql://" not in text


def test_its_data_stores_are_reached_with_their_own_credentials_over_tls(sandbox_stack: Engine) -> None:
    values = secret(sandbox_stack.one("kubernetes:core/v1:Secret", "router-environment").inputs["stringData"])
    assert values["HEADRACE_REDIS_URL"].startswith("rediss://:")
    assert values["HEADRACE_REDIS_URL"].endswith("@master.cache.internal:6379/0")
    dsn = values["HEADRACE_POSTGRES_DSN"]
    assert dsn.startswith("postgresql://headrace_router:")
    assert "@records.db.internal:5432/headrace?sslmode=verify-full" in dsn
    migration = secret(sandbox_stack.one("kubernetes:core/v1:Secret", "router-migration").inputs["stringData"])
    assert migration["HEADRACE_MIGRATE_DSN"] == dsn.replace(
        f"headrace_router:{migration['HEADRACE_ROLE_PASSWORD']}@", ""
    )
    assert migration["HEADRACE_ROLE_PASSWORD"] in dsn, "the migration gives the role the password that the router uses"


def replicas(engine: Engine) -> dict[str, Any]:
    found: dict[str, Any] = engine.one("kubernetes:apps/v1:StatefulSet", "router").inputs
    return found


def test_every_replica_keeps_its_journal_and_its_name(sandbox_stack: Engine) -> None:
    spec = replicas(sandbox_stack)["spec"]
    claim = spec["volumeClaimTemplates"][0]
    storage = sandbox_stack.one("kubernetes:storage.k8s.io/v1:StorageClass", "router").inputs
    assert claim["spec"]["storageClassName"] == storage["metadata"]["name"]
    assert storage["parameters"]["encrypted"] == "true"
    assert storage["parameters"]["kmsKeyId"].startswith("arn:aws:kms:"), "under our key"
    assert storage["volumeBindingMode"] == "WaitForFirstConsumer", "a volume is made in its replica's zone"
    mounts = {one["name"]: one["mountPath"] for one in spec["template"]["spec"]["containers"][0]["volumeMounts"]}
    arguments = spec["template"]["spec"]["containers"][0]["args"]
    assert f"--spool={mounts['journal']}/journal" in arguments
    assert "--replica=$(POD_NAME)" in arguments
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}


@pytest.mark.parametrize(("stack", "policy"), [("sandbox", "Delete"), ("prod-us", "Retain")])
def test_journals_outlive_the_stack_where_money_is_at_stake(stack: str, policy: str, request: Any) -> None:
    engine = request.getfixturevalue({"sandbox": "sandbox_stack", "prod-us": "production_stack"}[stack])
    assert engine.one("kubernetes:storage.k8s.io/v1:StorageClass").inputs["reclaimPolicy"] == policy


def test_pods_are_restricted_spread_and_drained(production_stack: Engine) -> None:
    spec = replicas(production_stack)["spec"]
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    zone = next(one for one in pod["topologySpreadConstraints"] if one["topologyKey"] == "topology.kubernetes.io/zone")
    assert zone["whenUnsatisfiable"] == "DoNotSchedule"
    settings = load(stack_settings("prod-us")).router
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > pause + settings.drain_timeout_s, "streams get their whole drain time"
    probes = {name: container[name]["httpGet"]["path"] for name in ("livenessProbe", "readinessProbe")}
    assert probes == {"livenessProbe": "/livez", "readinessProbe": "/readyz"}
    budget = production_stack.one("kubernetes:policy/v1:PodDisruptionBudget", "router").inputs["spec"]
    assert budget["maxUnavailable"] == 1
    scaler = production_stack.one("kubernetes:autoscaling/v2:HorizontalPodAutoscaler", "router").inputs["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 16)
    assert scaler["scaleTargetRef"]["kind"] == "StatefulSet"
    names = [metric["resource"]["name"] for metric in scaler["metrics"]]
    assert names == ["cpu"], "a metric that nobody serves would keep every replica for ever"


@pytest.mark.parametrize(
    ("engine", "command"),
    [("headrace", ["headrace", "router", "serve"]), ("litellm", ["python", "-m", "headrace.router.litellm"])],
)
def test_the_pods_run_the_engine_that_the_settings_name(engine: str, command: list[str]) -> None:
    raw = stack_settings("sandbox")
    settings = load({**raw, "router": {**raw["router"], "engine": engine}})
    plan = router_plan.plan_router("router", read_place(cast("PlaceArgs", PLACE)), settings, tuple(ZONES))
    (container,) = router_pods.stateful_set(plan, plan.image, "")["spec"]["template"]["spec"]["containers"]
    assert container["command"] == command


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        ("http://collector.monitoring:4318", 4318),
        ("http://otel.tracing.svc.cluster.local", 80),
        ("https://otlp.example.com", None),
    ],
)
def test_traces_go_where_the_settings_say_and_may_pass(endpoint: str, port: int | None) -> None:
    settings = load(
        {**stack_settings("sandbox"), "router": {**stack_settings("sandbox")["router"], "otlpEndpoint": endpoint}}
    )
    place = read_place(cast("PlaceArgs", PLACE))
    plan = router_plan.plan_router("router", place, settings, ("eu-central-1a", "eu-central-1b"))
    container = router_pods.stateful_set(plan, "image", "sum")["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": endpoint} in container["env"]
    opened = router_network.network_policies(plan, []).get("allow-traces")
    assert (opened is not None) == (port is not None), "an outside collector is behind HTTPS, which is open"
    assert ("monitoring" in plan.facts.egress_to) == (port is not None), "policies see it"
    if opened is not None:
        (rule,) = opened["spec"]["egress"]
        assert [one["port"] for one in rule["ports"]] == [port]
        assert rule["to"] == [{"namespaceSelector": {"matchLabels": {"headrace.dev/role": "monitoring"}}}]


def test_requests_in_flight_scale_the_replicas_where_the_settings_say_that_they_are_served() -> None:
    metrics = router_manifests.autoscaler(RouterSettings(in_flight_per_replica=250))["spec"]["metrics"]
    assert [metric["type"] for metric in metrics] == ["Resource", "Pods"], "CPU goes on counting beside them"
    assert metrics[1]["pods"]["target"] == {"type": "AverageValue", "averageValue": "250"}


def test_its_machines_take_nobody_else_and_hold_all_replicas(production_stack: Engine) -> None:
    group = production_stack.one("aws:eks/nodeGroup:NodeGroup", "router").inputs
    (taint,) = group["taints"]
    assert (taint["key"], taint["value"]) == ROUTER_TIER, "the rule on egress knows the router's machines by it"
    assert taint["effect"] == "NO_SCHEDULE"
    settings = load(stack_settings("prod-us")).router
    room = group["scalingConfig"]["minSize"] * (router_plan.vcpus(settings.instance_type) - router_plan.SYSTEM_CPUS)
    assert room >= settings.max_replicas
    assert group["scalingConfig"]["minSize"] >= 3, "one in each zone"


def test_other_machines_or_another_zone_make_a_new_group_before_the_old_one_goes(production_stack: Engine) -> None:
    groups = {one.name: one.inputs for one in production_stack.of("aws:eks/nodeGroup:NodeGroup")}
    zones = tuple(stack_settings("prod-us")["network"]["zones"])
    for group, base in (("router", "router"), ("gpu-system", "system")):
        (machine,) = groups[group]["instanceTypes"]
        assert groups[group]["nodeGroupName"] == nodes.replaceable_name(base, machine, zones), group
        others = {nodes.replaceable_name(base, "m7i.8xlarge", zones), nodes.replaceable_name(base, machine, zones[:2])}
        assert groups[group]["nodeGroupName"] not in others, "with the same name the old group has to go first"


@pytest.mark.parametrize(
    ("instance_type", "cpus"),
    [("m7i.large", 2), ("m7i.xlarge", 4), ("m7i.2xlarge", 8), ("c7g.16xlarge", 64), ("m7i-flex.8xlarge", 32)],
)
def test_vcpus_follow_from_the_size(instance_type: str, cpus: int) -> None:
    assert router_plan.vcpus(instance_type) == cpus


def test_its_network_policies_let_it_reach_its_pools_and_its_stores_and_public_https_only(
    sandbox_stack: Engine,
) -> None:
    policies = {
        one.inputs["metadata"]["name"]: one.inputs["spec"]
        for one in sandbox_stack.of("kubernetes:networking.k8s.io/v1:NetworkPolicy")
        if one.inputs["metadata"]["namespace"] == "router"
    }
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    peers = [peer for rule in policies["allow-pools"]["egress"] for peer in rule["to"]]
    spaces = {peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in peers}
    assert spaces == {"pool-chat-floor", "pool-digest-floor"}
    stores = policies["allow-data-stores"]["egress"][0]
    assert {port["port"] for port in stores["ports"]} == {6379, 5432}
    assert {peer["ipBlock"]["cidr"] for peer in stores["to"]} == {"10.10.240.0/24", "10.10.241.0/24"}, "intra subnets"
    https = policies["allow-https"]["egress"][0]
    assert {port["port"] for port in https["ports"]} == {443}
    anywhere = next(peer["ipBlock"] for peer in https["to"] if peer["ipBlock"]["cidr"] == "0.0.0.0/0")
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= set(anywhere["except"])


def test_the_load_balancer_is_internal_and_ends_tls_where_there_is_a_certificate(
    sandbox_stack: Engine, production_stack: Engine
) -> None:
    for engine, port in ((sandbox_stack, 80), (production_stack, 443)):
        service = engine.one("kubernetes:core/v1:Service", "router-balancer").inputs
        said = service["metadata"]["annotations"]
        prefix = "service.beta.kubernetes.io/aws-load-balancer"
        assert said[f"{prefix}-internal"] == "true"
        assert said[f"{prefix}-scheme"] == "internal"
        assert "-router-" in said[f"{prefix}-subnets"]
        assert [one["port"] for one in service["spec"]["ports"]] == [port]
        assert (f"{prefix}-ssl-cert" in said) == (port == 443)


def checksum_of(**changes: Any) -> str:
    """The checksum of a router alone, over no pool."""
    settings = stack_settings("dev")
    settings |= {"dedicatedPools": {}, "serverlessPools": {}, "router": {**settings["router"], **changes}}
    for tenant in settings["tenants"].values():
        for project in tenant["projects"].values():
            project["quota"]["gpus"] = 0
    args = {
        "place": PLACE,
        "settings": settings,
        "cluster_name": "c",
        "cluster_version": "1.36",
        "cluster_security_group_id": "sg-1",
        "node_role_arn": f"arn:aws:iam::{ACCOUNT}:role/node",
        "router_subnet_ids": dict.fromkeys(ZONES, "subnet-1"),
    }
    engine = record(lambda: Router("router", cast("RouterArgs", args)) and None)
    template = replicas(engine)["spec"]["template"]
    return str(template["metadata"]["annotations"][router_names.CHECKSUM])


def test_another_configuration_renews_the_replicas_and_another_key_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.token_urlsafe", lambda size: "r" * size)  # what ignore_changes does for real
    before = checksum_of()
    assert checksum_of(spill={"startAtPercent": 70}) != before
    assert checksum_of(spill={"startAhead": False}) != before
    assert checksum_of(apiKeys={}) == before, "keys are reloaded by the running process"


def test_the_sandboxs_keys_are_those_of_its_stack_file(sandbox_stack: Engine) -> None:
    text = sandbox_stack.one("kubernetes:core/v1:Secret", "router-keys").inputs["stringData"]
    config = from_json(sandbox_stack.one("kubernetes:core/v1:ConfigMap", "router").inputs["data"]["router.json"])
    callers = load_keys(secret(text)[router_names.KEYS_KEY], config)
    assert {caller.key_id: digest for digest, caller in callers.items()} == {
        name: hashlib.sha256(key.encode()).hexdigest() for name, key in KEYS.items()
    }


def test_prices_are_those_of_a_day_that_stands_still() -> None:
    book = price_book()
    assert router_plan.newest_day(book) <= date(2026, 12, 31)
    newest = max(row.valid_from for row in (*book.rows, *book.machines))
    assert router_plan.newest_day(book) == newest, "not of today: that moves nightly"


def test_without_an_image_there_is_no_router_and_no_store() -> None:
    settings = stack_settings("dev")
    settings["router"] = {key: value for key, value in settings["router"].items() if key != "image"}
    engine = record(lambda: HybridPlatform("platform", {"settings": settings}) and None)
    kinds = {one.type for one in engine.resources}
    assert not kinds & {"headrace:index:Router", "headrace:index:DataStores", "aws:rds/instance:Instance"}


@pytest.mark.parametrize("kept", ["dedicatedPools", "serverlessPools"])
def test_a_platform_of_one_half_has_a_router_of_one_half(kept: str) -> None:
    settings = stack_settings("sandbox")
    settings["dedicatedPools" if kept == "serverlessPools" else "serverlessPools"] = {}
    for tenant in settings["tenants"].values():
        for project in tenant["projects"].values():
            project["quota"] = {**project["quota"], "gpus": 0}
    engine = record(lambda: HybridPlatform("platform", {"settings": settings}) and None)
    config = from_json(engine.one("kubernetes:core/v1:ConfigMap", "router").inputs["data"]["router.json"])
    assert set(config.pools) == set(settings[kept])
    facts = facts_from_props(engine.one("headrace:index:Router").inputs["facts"])
    assert isinstance(facts, RouterFacts)
    assert facts.egress_to_internet is (kept == "serverlessPools")


# --- data stores and audit trail


def test_the_data_stores_are_encrypted_over_zones_and_closed(production_stack: Engine) -> None:
    cache = production_stack.one("aws:elasticache/replicationGroup:ReplicationGroup").inputs
    assert cache["transitEncryptionEnabled"] is True
    assert cache["atRestEncryptionEnabled"] is True
    assert (cache["automaticFailoverEnabled"], cache["multiAzEnabled"], cache["numCacheClusters"]) == (True, True, 3)
    assert SECRET_KEY in cache["authToken"], "a secret in the state"
    database = production_stack.one("aws:rds/instance:Instance").inputs
    assert database["storageEncrypted"] is True
    assert database["multiAz"] is True
    assert database["publiclyAccessible"] is False
    assert database["manageMasterUserPassword"] is True
    assert "password" not in database, "RDS makes the master's password and keeps it"
    assert database["deletionProtection"] is True
    assert (database["skipFinalSnapshot"], database["backupRetentionPeriod"]) == (False, 35)
    for kind in ("aws:elasticache/subnetGroup:SubnetGroup", "aws:rds/subnetGroup:SubnetGroup"):
        subnets = production_stack.one(kind).inputs["subnetIds"]
        assert all("-intra-" in subnet for subnet in subnets), "no subnet of theirs has a way out"
        assert len(subnets) == 3


def test_the_data_stores_admit_the_routers_machines_alone(sandbox_stack: Engine) -> None:
    rules = [
        one.inputs
        for one in sandbox_stack.of("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule")
        if one.name.startswith("data-stores-")
    ]
    assert {rule["fromPort"] for rule in rules} == {6379, 5432}
    assert {rule["referencedSecurityGroupId"] for rule in rules} == {"data-stores-clients-id"}
    template = sandbox_stack.one("aws:ec2/launchTemplate:LaunchTemplate", "router").inputs
    assert "data-stores-clients-id" in template["vpcSecurityGroupIds"]
    holders = [
        one.name
        for one in sandbox_stack.of("aws:ec2/launchTemplate:LaunchTemplate")
        if "data-stores-clients-id" in one.inputs.get("vpcSecurityGroupIds", [])
    ]
    assert holders == ["router"]


def test_only_the_migration_may_read_the_masters_login(sandbox_stack: Engine) -> None:
    policies = {one.name: one.inputs["policy"] for one in sandbox_stack.of("aws:iam/rolePolicy:RolePolicy")}
    readers = [name for name, text in policies.items() if "secretsmanager:GetSecretValue" in text]
    assert readers == ["router-migration"]
    statement = json.loads(policies["router-migration"])["Statement"][0]
    assert statement["Resource"].startswith("arn:aws:secretsmanager:")
    writer = json.loads(policies["router"])["Statement"]
    actions = {
        action for one in writer for action in (one["Action"] if isinstance(one["Action"], list) else [one["Action"]])
    }
    assert not actions & {"s3:DeleteObject", "s3:BypassGovernanceRetention", "s3:PutObjectLegalHold"}


def test_raising_the_credentials_version_makes_new_ones_and_migrates_again(changed_stack: Engine) -> None:
    versions = {one.name for one in changed_stack.of("aws:secretsmanager/secretVersion:SecretVersion")}
    assert versions == {"router-hash", "data-stores-cache-2", "data-stores-database-2"}, "the hash secret never changes"
    job = changed_stack.one("kubernetes:batch/v1:Job", "router-migration").inputs["metadata"]["name"]
    assert job.endswith("-2"), "another name is another run, which sets the new password"


def test_the_audit_trail_is_locked_for_as_long_as_the_settings_say(production_stack: Engine) -> None:
    lock = production_stack.one("aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration", "audit").inputs
    assert lock["rule"]["defaultRetention"] == {"mode": "COMPLIANCE", "days": 1095}
    assert production_stack.one("aws:kms/key:Key", "audit-key").inputs["enableKeyRotation"] is True
    facts = facts_from_props(production_stack.one("headrace:index:AuditTrail").inputs["facts"])
    assert isinstance(facts, AuditTrailFacts)
    assert (facts.object_lock_mode, facts.retention_days) == ("compliance", 1095)
    stores = facts_from_props(production_stack.one("headrace:index:DataStores").inputs["facts"])
    assert isinstance(stores, DataStoresFacts)
    assert stores.database_multi_zone


# --- settings


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"apiKeys": {"k": {"sha256": "0" * 64, "tenant": "nobody", "project": "x"}}}, "tenant"),
        ({"apiKeys": {"k": {"sha256": "0" * 64, "tenant": "search", "project": "nothing"}}}, "project"),
        ({"apiKeys": {"k": {"sha256": "abc", "tenant": "search", "project": "assistant"}}}, "sha256"),
        ({"minReplicas": 4, "maxReplicas": 3}, "minReplicas"),
        ({"instanceType": "m7i.huge"}, "instanceType"),
        ({"image": "ghcr.io/acme/headrace-router:latest"}, "image"),
    ],
)
def test_bad_router_settings_are_refused_with_a_sentence(change: dict[str, Any], sentence: str) -> None:
    settings = stack_settings("sandbox")
    settings["router"] = {**settings["router"], **change}
    verdict = validate(settings)
    assert any(sentence in problem.path for problem in verdict.problems), verdict.problems


@pytest.mark.parametrize(("path", "what"), [("tenants", "102 tenants with 103 projects"), ("router.apiKeys", "4 keys")])
def test_more_than_one_object_holds_is_refused_before_anything_is_made(
    path: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = stack_settings("sandbox")
    place = read_place(cast(PlaceArgs, PLACE))
    if path == "tenants":
        project = {"quota": {"gpus": 0, "cpuCores": 1, "memoryGib": 1}, "budgetUsdPerMonth": 1}
        settings["tenants"] |= {
            f"t{number}": {"budgetUsdPerMonth": 1, "projects": {"p": project}} for number in range(100)
        }
        at_most = 20_000
    else:
        settings["router"]["apiKeys"]["x" * 40] = {"sha256": "1" * 64, "tenant": "search", "project": "assistant"}
        monkeypatch.setattr(router_plan, "configuration", lambda *_: "{}")
        at_most = 800
    tree = load(settings)
    router_plan.plan_router("router", place, tree, tuple(ZONES))
    monkeypatch.setattr(router_plan, "OBJECT_BYTES", at_most)
    with pytest.raises(Refused) as refused:
        router_plan.plan_router("router", place, tree, tuple(ZONES))
    (problem,) = refused.value.problems
    assert (problem.path, problem.value) == (path, what)
    assert f"{at_most:,} is the most" in str(problem)


def test_the_same_key_twice_is_refused() -> None:
    settings = stack_settings("sandbox")
    one = {"sha256": "1" * 64, "tenant": "search", "project": "assistant"}
    settings["router"] = {**settings["router"], "apiKeys": {"a": one, "b": one}}
    with pytest.raises(Refused, match=r"router\.apiKeys\.b\.sha256"):
        load(settings)
