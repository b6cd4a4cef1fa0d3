"""HybridPlatform and its parts, as the engine sees them when a whole stack registers."""

from __future__ import annotations

import base64
import importlib
import inspect
import json
from typing import Any

import pulumi
import pytest
from pulumi.provider.experimental.component import ComponentProvider

import headrace_components
from headrace.catalog import load
from headrace.errors import Refused
from headrace.rules.facts import (
    ClusterFacts,
    DedicatedPoolFacts,
    ModelStoreFacts,
    PlatformFacts,
    SpendFacts,
    TenantSpaceFacts,
    facts_from_props,
)
from headrace.settings.checks.names import POOL_ENDS
from headrace.settings.checks.offers import cluster_problems
from headrace.settings.cluster import ClusterSettings
from headrace_components import COMPONENTS, HybridPlatform, devices
from headrace_components.cluster import ADDONS, plan_cluster
from headrace_components.tags import COST_TAG_KEYS
from tests.unit.components.recording import ACCOUNT, Engine, Recorded, record, stack_settings

NODE_GROUP = "aws:eks/nodeGroup:NodeGroup"
LAUNCH_TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"


def takes_tags(type_: str) -> bool:
    """Whether the SDK's class of an AWS type has the property `tags`."""
    package, class_ = type_.split(":")[1].split("/")[0], type_.split(":")[2]
    module = importlib.import_module(f"pulumi_aws.{package}")
    return "tags" in inspect.signature(getattr(module, class_)._internal_init).parameters


def test_every_aws_resource_that_can_be_tagged_carries_every_cost_tag(production_stack: Engine) -> None:
    tagged = 0
    for resource in production_stack.resources:
        if resource.type.startswith("aws:") and takes_tags(resource.type):
            missing = set(COST_TAG_KEYS) - set(resource.inputs.get("tags", {}))
            assert not missing, f"{resource.type} {resource.name} lacks {sorted(missing)}: no budget would see its cost"
            tagged += 1
    assert tagged > 50, "the walk must have met the stack's resources"


def test_machines_and_volumes_are_tagged_by_the_launch_template(production_stack: Engine) -> None:
    for template in production_stack.of(LAUNCH_TEMPLATE):
        tagged = {one["resourceType"]: one["tags"] for one in template.inputs["tagSpecifications"]}
        assert set(tagged) == {"instance", "volume", "network-interface"}
        assert all(set(COST_TAG_KEYS) <= set(tags) for tags in tagged.values())


def test_every_component_registers_facts_that_read_back(production_stack: Engine) -> None:
    components = [one for one in production_stack.resources if one.type.startswith("headrace:index:")]
    elsewhere = {"HourlyFloor"}  # test_component_hourly_floor
    assert {one.type.split(":")[-1] for one in components} == set(COMPONENTS) - elsewhere
    for component in components:
        facts = facts_from_props(component.inputs["facts"])
        assert facts_from_props(json.loads(json.dumps(facts.to_props()))) == facts, component.name


def facts_of(engine: Engine, component: str, name: str | None = None) -> Any:
    return facts_from_props(engine.one(f"headrace:index:{component}", name).inputs["facts"])


def test_platform_facts_are_the_sums_of_the_settings(production_stack: Engine) -> None:
    facts = facts_of(production_stack, "HybridPlatform")
    settings = stack_settings("prod-us")
    assert isinstance(facts, PlatformFacts)
    assert facts.dedicated_pools == ("agents-floor", "agents-launch", "chat-floor")
    assert facts.floor_gpus == 2 * 8 + 1 * 8 + 2 * 4, "p5.48xlarge has 8 GPUs, g6e.24xlarge has 4"
    assert facts.ceiling_gpus == 3 * 8 + 1 * 8 + 6 * 4
    assert facts.environment_budget_usd_per_month == settings["budgets"]["environmentUsdPerMonth"]
    assert facts.jurisdiction == "US"


# --- the cluster


def test_the_cluster_is_private_encrypted_logged_and_protected(production_stack: Engine) -> None:
    cluster = production_stack.one("aws:eks/cluster:Cluster").inputs
    assert cluster["vpcConfig"]["endpointPrivateAccess"] is True
    assert cluster["vpcConfig"]["endpointPublicAccess"] is False
    assert "publicAccessCidrs" not in cluster["vpcConfig"]
    assert cluster["encryptionConfig"]["resources"] == ["secrets"]
    assert sorted(cluster["enabledClusterLogTypes"]) == [
        "api",
        "audit",
        "authenticator",
        "controllerManager",
        "scheduler",
    ]
    assert cluster["deletionProtection"] is True
    assert cluster["accessConfig"] == {
        "authenticationMode": "API",
        "bootstrapClusterCreatorAdminPermissions": False,
    }
    facts = facts_of(production_stack, "GpuCluster")
    assert isinstance(facts, ClusterFacts)
    assert (facts.endpoint_public, facts.deletion_protection, facts.end_of_standard_support) == (
        False,
        True,
        "2027-08-02",
    )


def test_the_control_plane_stands_in_intra_subnets_and_nodes_in_private_ones(production_stack: Engine) -> None:
    cluster = production_stack.one("aws:eks/cluster:Cluster").inputs
    assert all("-intra-" in subnet for subnet in cluster["vpcConfig"]["subnetIds"])
    for group in production_stack.of(NODE_GROUP):
        # The router's machines alone stand where there is a way out.
        where = "-router-" if group.name == "router" else "-private-"
        assert all(where in subnet for subnet in group.inputs["subnetIds"]), group.name


def test_peered_networks_reach_the_private_api_endpoint_and_nobody_else(
    changed_stack: Engine, sandbox_stack: Engine
) -> None:
    (peered,) = stack_settings("dev")["network"]["peeredCidrs"]
    group = changed_stack.one("aws:ec2/securityGroup:SecurityGroup", "gpu-api")
    rules = [
        one.inputs
        for one in changed_stack.of("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule")
        if one.inputs["securityGroupId"] == f"{group.name}-id"
    ]
    assert [(one["cidrIpv4"], one["fromPort"], one["toPort"]) for one in rules] == [(peered, 443, 443)]
    cluster = changed_stack.one("aws:eks/cluster:Cluster")
    assert cluster.inputs["vpcConfig"]["securityGroupIds"] == ["gpu-api-id"], "EKS's own group admits only itself"
    alone = sandbox_stack.one("aws:eks/cluster:Cluster").inputs["vpcConfig"]
    assert "securityGroupIds" not in alone, "without peers there is nobody to admit"


def test_every_add_on_is_pinned(production_stack: Engine) -> None:
    addons = {one.inputs["addonName"]: one.inputs for one in production_stack.of("aws:eks/addon:Addon")}
    assert {"vpc-cni", "kube-proxy", "coredns", "eks-pod-identity-agent", "eks-node-monitoring-agent"} <= set(addons)
    assert all(one["addonVersion"].startswith("v") for one in addons.values())
    assert json.loads(addons["vpc-cni"]["configurationValues"])["enableNetworkPolicy"] == "true"


def test_the_kubeconfig_is_a_secret_and_holds_no_credential() -> None:
    made: list[HybridPlatform] = []
    record(lambda: made.append(HybridPlatform("platform", {"settings": stack_settings("dev")})))
    seen: list[tuple[bool, str | None]] = []

    async def look() -> None:
        output = made[0].kubeconfig
        seen.append((await output.is_secret(), await output.future()))

    pulumi.runtime.sync_await._sync_await(look())
    secret, text = seen[0]
    assert text is not None
    assert secret, "a kubeconfig is shown as [secret]"
    user = json.loads(text)["users"][0]["user"]
    assert list(user) == ["exec"], "no token and no client certificate"
    assert user["exec"]["args"][:2] == ["eks", "get-token"]


def test_each_principal_has_one_access_entry_with_all_its_groups(sandbox_stack: Engine) -> None:
    entries = sandbox_stack.of("aws:eks/accessEntry:AccessEntry")
    arns = [one.inputs["principalArn"] for one in entries]
    assert len(arns) == len(set(arns)), "EKS allows one entry per principal"
    deployer = next(one for one in entries if one.inputs["principalArn"].endswith("search-deployer"))
    assert deployer.inputs["kubernetesGroups"] == ["headrace:search:assistant:deployer"]
    policies = sandbox_stack.of("aws:eks/accessPolicyAssociation:AccessPolicyAssociation")
    admins = stack_settings("sandbox")["cluster"]["adminPrincipalArns"]
    assert sorted(one.inputs["principalArn"] for one in policies) == sorted(admins)


def test_a_cluster_that_nobody_could_administer_is_refused() -> None:
    settings = stack_settings("dev")
    settings["cluster"] = {**settings["cluster"], "adminPrincipalArns": []}
    with pytest.raises(Refused, match=r"cluster\.adminPrincipalArns"):
        record(lambda: HybridPlatform("platform", {"settings": settings}))


def test_a_cluster_by_itself_is_refused_in_the_words_of_the_settings_all_at_once() -> None:
    wanted = ClusterSettings(version="1.34", addon_versions={"coredns": "v1"})
    problems = tuple(cluster_problems(wanted))
    assert [one.path for one in problems] == ["cluster.adminPrincipalArns", "cluster.addonVersions"]
    with pytest.raises(Refused) as refused:
        plan_cluster("gpu", wanted)
    assert refused.value.problems == problems
    assert {row.name for row in load.eks_addons().values()} == set(ADDONS), "each add-on has a pinned version"


# --- dedicated pools


def test_the_names_that_belong_to_parts_of_a_pool_are_those_that_settings_refuse(sandbox_stack: Engine) -> None:
    """Two names of one type where one is the other with an end: a pool with such an end would have both."""
    ends: set[str] = set()
    for pool in stack_settings("sandbox")["dedicatedPools"]:
        by_type: dict[str, set[str]] = {}
        for one in sandbox_stack.resources:
            if one.name == pool or one.name.startswith(f"{pool}-"):
                by_type.setdefault(one.type, set()).add(one.name[len(pool) :])
        by_type.pop("aws:autoscaling/schedule:Schedule", None)  # named in the settings, which are checked for that
        for names in by_type.values():
            ends |= {long.removesuffix(short)[1:] for long in names for short in names - {long} if long.endswith(short)}
    assert ends == set(POOL_ENDS), "a resource of a pool got a name that another pool's may have"


def template(engine: Engine, name: str) -> dict[str, Any]:
    return engine.one(LAUNCH_TEMPLATE, name).inputs


def test_nodes_take_imdsv2_with_one_hop_and_encrypted_volumes(production_stack: Engine) -> None:
    for one in production_stack.of(LAUNCH_TEMPLATE):
        assert one.inputs["metadataOptions"]["httpTokens"] == "required"
        assert one.inputs["metadataOptions"]["httpPutResponseHopLimit"] == 1
        for device in one.inputs["blockDeviceMappings"]:
            assert device["ebs"]["encrypted"] == "true"
            assert (device["ebs"]["volumeType"], device["ebs"]["throughput"]) == ("gp3", 600)


def test_a_type_with_efa_gets_one_interface_per_network_card(production_stack: Engine) -> None:
    interfaces = template(production_stack, "agents-floor")["networkInterfaces"]
    assert [one["networkCardIndex"] for one in interfaces] == list(range(32)), "p5.48xlarge has 32 network cards"
    assert [one["interfaceType"] for one in interfaces] == ["efa", *["efa-only"] * 31]
    rules = [one for one in production_stack.resources if one.name.startswith("agents-floor-efa-")]
    assert all(rule.inputs["referencedSecurityGroupId"] == rule.inputs["securityGroupId"] for rule in rules), (
        "EFA traffic may pass within the group alone"
    )
    assert len(rules) == 2


def test_a_capacity_block_stands_in_its_zone_and_buys_from_the_block(production_stack: Engine) -> None:
    group = production_stack.one(NODE_GROUP, "agents-launch").inputs
    assert group["capacityType"] == "CAPACITY_BLOCK"
    assert group["subnetIds"] == ["network-private-b-id"], "EKS takes only the subnet of the block's zone"
    block = template(production_stack, "agents-launch")
    assert block["instanceMarketOptions"] == {"marketType": "capacity-block"}
    target = block["capacityReservationSpecification"]["capacityReservationTarget"]
    assert target == {"capacityReservationId": "cr-09be6f3d27a81c450"}


def test_a_reservation_is_targeted_and_stays_on_demand(production_stack: Engine) -> None:
    group = production_stack.one(NODE_GROUP, "agents-floor").inputs
    assert group["capacityType"] == "ON_DEMAND"
    assert group["subnetIds"] == ["network-private-a-id"]
    assert "instanceMarketOptions" not in template(production_stack, "agents-floor")


def test_scaling_bounds_are_floor_and_ceiling_and_schedules_move_them(production_stack: Engine) -> None:
    group = production_stack.one(NODE_GROUP, "chat-floor").inputs
    assert group["scalingConfig"] == {"minSize": 2, "desiredSize": 2, "maxSize": 6}
    workday = production_stack.one("aws:autoscaling/schedule:Schedule", "chat-floor-workday").inputs
    assert workday["autoscalingGroupName"] == "eks-group-asg"
    assert (workday["minSize"], workday["desiredCapacity"], workday["maxSize"]) == (4, 4, 6)
    assert (workday["recurrence"], workday["timeZone"]) == ("0 7 * * MON-FRI", "America/New_York")


def test_node_groups_are_pinned_repaired_labelled_and_tainted(production_stack: Engine) -> None:
    group = production_stack.one(NODE_GROUP, "chat-floor").inputs
    assert group["releaseVersion"] == "1.36.0-20260917"
    assert group["nodeRepairConfig"] == {"enabled": True}
    assert group["taints"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}]
    assert group["labels"]["headrace.dev/pool"] == "chat-floor"
    assert group["labels"]["nvidia.com/gpu.deploy.driver"] == "false", "the image has the driver; nobody adds another"


def test_nvme_disks_become_the_place_of_images_and_weights(production_stack: Engine) -> None:
    text = base64.b64decode(template(production_stack, "chat-floor")["userData"]).decode()
    assert "Content-Type: application/node.eks.aws" in text
    assert "strategy: RAID0" in text


def test_a_canary_is_run_by_the_pool_that_names_it_and_gets_its_share(changed_stack: Engine) -> None:
    settings = stack_settings("dev")
    ((name, overflow),) = settings["serverlessPools"].items()
    own = settings["workloads"][overflow["workload"]]["release"]
    commands = {one.name: one.inputs["command"] for one in changed_stack.of("headrace:modal:App")}
    assert "/models/next" in commands["canary"]
    assert f"/models/{own}" in commands[name]
    assert f"--served-model-name={overflow['workload']}" in commands["canary"], "callers name the workload"
    config = json.loads(changed_stack.one("kubernetes:core/v1:ConfigMap", "router").inputs["data"]["router.json"])
    assert config["pools"]["canary"]["release"] == "next"
    assert config["pools"]["canary"]["releaseDigest"] == f"sha256:{'a' * 64}"
    assert config["pools"][name]["release"] == own
    assert config["workloads"][overflow["workload"]]["canary"] == {"next": 5.0}


def test_the_model_server_runs_the_release_by_digest_from_our_registry(sandbox_stack: Engine) -> None:
    deployment = sandbox_stack.one("kubernetes:apps/v1:Deployment", "chat-floor").inputs["spec"]
    pod = deployment["template"]["spec"]
    host = f"{ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com"
    images = {one["image"] for one in (*pod["containers"], *pod["initContainers"])}
    assert images == {
        f"{host}/mirror/docker.io/vllm/vllm-openai@sha256:0b329605c036fe2ab04fa55c24905004b0afa9d1488c4b8e6e695a7a2a83d534"
    }
    assert deployment["replicas"] == 4, "one L4 per replica, four on a g6.12xlarge, one node in the floor"
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    server = pod["containers"][0]
    assert server["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(server)


def test_no_image_of_the_stack_comes_from_the_internet_or_by_tag(production_stack: Engine) -> None:
    host = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/"
    seen = 0
    for workload in production_stack.resources:
        if workload.type in ("kubernetes:apps/v1:Deployment", "kubernetes:apps/v1:DaemonSet"):
            pod = workload.inputs["spec"]["template"]["spec"]
            for container in (*pod["containers"], *pod.get("initContainers", [])):
                assert container["image"].startswith(host), (
                    f"{workload.name}: a GPU node can't reach {container['image']}"
                )
                assert "@sha256:" in container["image"]
                seen += 1
    assert seen >= 15


def test_images_that_no_cache_serves_have_a_repository_of_their_own(sandbox_stack: Engine) -> None:
    repositories = {one.inputs["name"] for one in sandbox_stack.of("aws:ecr/repository:Repository")}
    assert repositories == {
        "mirror/docker.io/library/python",
        "mirror/docker.io/vllm/vllm-openai",
        "mirror/ghcr.io/acme/headrace-router",
        "mirror/nvcr.io/nvidia/k8s-device-plugin",
        "mirror/nvcr.io/nvidia/k8s/dcgm-exporter",
    }
    plugin = sandbox_stack.one("kubernetes:apps/v1:DaemonSet", "chat-floor-device-plugin").inputs
    image = plugin["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image.endswith("mirror/" + devices.DEVICE_PLUGIN_IMAGE)


def test_pods_read_their_own_release_and_nothing_else(sandbox_stack: Engine) -> None:
    policy = json.loads(sandbox_stack.one("aws:iam/rolePolicy:RolePolicy", "chat-floor-reader").inputs["policy"])
    read, listing, key = policy["Statement"]
    prefix = "arn:aws:s3:::acme-sandbox-models/llama-3.1-8b-instruct-fp8/2026-10-02"
    assert read["Resource"] == [prefix, f"{prefix}/*"]
    assert "*" not in (*read["Action"], listing["Action"], *key["Action"])
    association = sandbox_stack.one("aws:eks/podIdentityAssociation:PodIdentityAssociation", "chat-floor-reader").inputs
    assert (association["namespace"], association["serviceAccount"]) == ("pool-chat-floor", "model-server")


def test_model_servers_pass_pod_security_restricted(sandbox_stack: Engine) -> None:
    namespace = sandbox_stack.one("kubernetes:core/v1:Namespace", "chat-floor").inputs["metadata"]["labels"]
    assert namespace["pod-security.kubernetes.io/enforce"] == "restricted"
    for kind, name in (("Deployment", "chat-floor"), ("DaemonSet", "chat-floor-pre-pull")):
        pod = sandbox_stack.one(f"kubernetes:apps/v1:{kind}", name).inputs["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in (*pod["containers"], *pod.get("initContainers", [])):
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert not any("hostPath" in volume for volume in pod.get("volumes", []))


def test_pool_facts_say_what_the_settings_and_the_catalogue_say(production_stack: Engine) -> None:
    facts = facts_of(production_stack, "DedicatedPool", "agents-launch")
    assert isinstance(facts, DedicatedPoolFacts)
    assert (facts.gpu, facts.gpus_per_node, facts.zones) == ("H100", 8, ("us-east-1b",))
    assert (facts.capacity_type, facts.reservation_id) == ("capacity-block", "cr-09be6f3d27a81c450")
    assert facts.drivers == ("580.159.03",)
    assert facts.driver_chosen_at_boot is True
    assert facts.release.artifact_digest.startswith("sha256:")
    assert facts.replicas == 2, "eight GPUs, four per replica"


def test_a_bottlerocket_pool_has_no_second_device_plugin(changed_stack: Engine) -> None:
    name = next(iter(stack_settings("dev")["dedicatedPools"]))
    daemons = changed_stack.of("kubernetes:apps/v1:DaemonSet")
    assert not [one for one in daemons if one.name == f"{name}-device-plugin"]
    assert changed_stack.one("kubernetes:apps/v1:DaemonSet", f"{name}-dcgm-exporter")
    assert changed_stack.one(NODE_GROUP, name).inputs["amiType"] == "BOTTLEROCKET_x86_64_NVIDIA"


# --- store, tenants, money


def test_the_store_is_locked_versioned_encrypted_and_closed(sandbox_stack: Engine) -> None:
    assert sandbox_stack.one("aws:s3/bucket:Bucket", "models").inputs["objectLockEnabled"] is True
    lock = sandbox_stack.one("aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration", "models").inputs
    assert lock["rule"]["defaultRetention"] == {"mode": "GOVERNANCE", "days": 30}
    policy = json.loads(sandbox_stack.one("aws:s3/bucketPolicy:BucketPolicy", "models").inputs["policy"])
    gate = next(one for one in policy["Statement"] if one["Sid"] == "OnlyEndpointOrNamedRoles")
    assert gate["Effect"] == "Deny"
    assert gate["Condition"]["StringNotEquals"] == {"aws:SourceVpce": "network-s3-id"}
    block = sandbox_stack.one("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", "models").inputs
    assert [value for key, value in block.items() if key != "bucket"] == [True] * 4
    for repository in sandbox_stack.of("aws:ecr/repository:Repository"):
        assert repository.inputs["imageTagMutability"] == "IMMUTABLE"
        assert repository.inputs["imageScanningConfiguration"] == {"scanOnPush": True}
    facts = facts_of(sandbox_stack, "ModelStore")
    assert isinstance(facts, ModelStoreFacts)
    assert facts.registries == (f"{ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com",)


def test_every_tenant_space_is_closed_until_opened(sandbox_stack: Engine) -> None:
    for space in ("search-assistant", "search-summaries", "support-answers"):
        quota = sandbox_stack.one("kubernetes:core/v1:ResourceQuota", space).inputs["spec"]["hard"]
        assert {"requests.nvidia.com/gpu", "limits.cpu", "limits.memory", "pods"} <= set(quota)
        deny = sandbox_stack.one("kubernetes:networking.k8s.io/v1:NetworkPolicy", f"{space}-default-deny").inputs
        assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        labels = sandbox_stack.one("kubernetes:core/v1:Namespace", space).inputs["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_no_role_of_a_tenant_has_a_wildcard(sandbox_stack: Engine) -> None:
    found = sandbox_stack.of("kubernetes:rbac.authorization.k8s.io/v1:Role")
    roles = [role for role in found if not role.inputs["metadata"]["namespace"].startswith("pool-")]
    assert len(roles) == 9, "three spaces, three roles"
    for role in roles:
        for rule in role.inputs["rules"]:
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"]), role.name
    facts = facts_of(sandbox_stack, "TenantSpace", "search-assistant")
    assert isinstance(facts, TenantSpaceFacts)
    assert facts.rbac_wildcards is False
    assert (facts.quota.gpus, facts.budget_usd_per_month) == (4, 6000.0)


def test_a_viewer_sees_no_secret_and_changes_nothing(sandbox_stack: Engine) -> None:
    role = sandbox_stack.one("kubernetes:rbac.authorization.k8s.io/v1:Role", "search-assistant-viewer").inputs
    assert not [rule for rule in role["rules"] if "secrets" in rule["resources"]]
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}


def test_environment_tenants_and_projects_each_have_a_budget_with_alerts(sandbox_stack: Engine) -> None:
    budgets = {one.name: one.inputs for one in sandbox_stack.of("aws:budgets/budget:Budget")}
    counted = {name: one["costFilters"][0]["values"][0] for name, one in budgets.items()}
    assert counted == {
        "spend-environment": "user:headrace:environment$sandbox",
        "spend-tenant-search": "user:headrace:tenant$sandbox/search",
        "spend-tenant-support": "user:headrace:tenant$sandbox/support",
        "spend-project-search-assistant": "user:headrace:project$sandbox/search/assistant",
        "spend-project-search-summaries": "user:headrace:project$sandbox/search/summaries",
        "spend-project-support-answers": "user:headrace:project$sandbox/support/answers",
    }
    for one in budgets.values():
        kinds = [(note["notificationType"], note["threshold"]) for note in one["notifications"]]
        assert kinds == [("ACTUAL", 50.0), ("ACTUAL", 80.0), ("ACTUAL", 100.0), ("FORECASTED", 100.0)]
        assert one["tags"]["headrace:environment"] == "sandbox"
    assert budgets["spend-environment"]["limitAmount"] == "15000"
    facts = facts_of(sandbox_stack, "SpendGuard")
    assert isinstance(facts, SpendFacts)
    assert len(facts.budgets) == 6


def test_a_budget_counts_exactly_the_tags_that_resources_carry(sandbox_stack: Engine) -> None:
    written = {
        f"user:{key}${value}"
        for one in sandbox_stack.resources
        for key, value in one.inputs.get("tags", {}).items()
        if one.type.startswith("aws:")
    }
    for budget in sandbox_stack.of("aws:budgets/budget:Budget"):
        assert budget.inputs["costFilters"][0]["values"][0] in written, "nothing carries its tag"


def test_an_alert_webhook_stays_secret(changed_stack: Engine) -> None:
    subscription = changed_stack.one("aws:sns/topicSubscription:TopicSubscription", "spend-webhook").inputs
    assert subscription["endpoint"] == pulumi.runtime.rpc._special_secret_sig or "T0K3N" in str(
        subscription["endpoint"]
    )
    # The router's replicas tell it of budgets as well.
    environment = changed_stack.one("kubernetes:core/v1:Secret", "router-environment").inputs["stringData"]
    assert pulumi.runtime.rpc._special_sig_key in environment, "a secret in the state"
    holders = ("spend-webhook", "router-environment")
    others: list[Recorded] = [one for one in changed_stack.resources if one.name not in holders]
    assert not [one.name for one in others if "T0K3N" in json.dumps(one.inputs, default=str)]


# --- the package as other languages see it


def test_every_component_can_be_served_to_other_languages() -> None:
    classes = [getattr(headrace_components, name) for name in COMPONENTS]
    schema = json.loads(ComponentProvider(classes, "headrace").schema or "")
    resources = {token.split(":")[-1]: one for token, one in schema["resources"].items()}
    assert set(resources) == {one.__name__ for one in classes}
    for name, one in resources.items():
        assert one["description"], f"{name} needs a description"
        for key, property_ in (*one["inputProperties"].items(), *one["properties"].items()):
            assert property_["description"], f"{name}.{key} needs a description"
