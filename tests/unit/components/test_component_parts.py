"""The pure parts: tags, images, policy documents, node plans."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.catalog import load
from headrace.errors import Refused
from headrace.settings.dedicated import Capacity, CapacityType, NodeImage
from headrace_components import documents, inputs, nodes, repositories
from headrace_components.config import settings_of_stack
from headrace_components.documents import Account
from headrace_components.images import Registry, require_digest
from headrace_components.kube import properties
from headrace_components.kubeconfig import kubeconfig
from headrace_components.tags import COST_TAG_KEYS, Owner, cost_tags

DIGEST = "sha256:" + "a" * 64
REGISTRY = Registry(
    account_id="123456789012",
    region="eu-central-1",
    caches={"hub": "registry-1.docker.io", "quay": "quay.io"},
)
ACCOUNT = Account(id="123456789012", partition="aws")
ZONES = ("eu-central-1a", "eu-central-1b")


@pytest.mark.parametrize(
    ("image", "mapped"),
    [
        ("docker.io/vllm/vllm-openai", "hub/vllm/vllm-openai"),
        ("vllm/vllm-openai", "hub/vllm/vllm-openai"),
        ("redis", "hub/library/redis"),
        ("quay.io/org/app", "quay/org/app"),
        ("nvcr.io/nvidia/k8s-device-plugin", "mirror/nvcr.io/nvidia/k8s-device-plugin"),
    ],
)
def test_every_image_comes_from_the_accounts_registry_under_the_same_digest(image: str, mapped: str) -> None:
    host = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
    assert REGISTRY.mapped(f"{image}@{DIGEST}") == f"{host}/{mapped}@{DIGEST}"


def test_an_image_of_ecr_stays_where_it_is() -> None:
    image = f"999999999999.dkr.ecr.eu-central-1.amazonaws.com/app@{DIGEST}"
    assert REGISTRY.mapped(image) == image
    assert REGISTRY.mirror_repository(image) is None


def test_only_images_that_no_cache_serves_need_a_repository() -> None:
    images = [f"docker.io/vllm/vllm-openai@{DIGEST}", f"nvcr.io/nvidia/x@{DIGEST}", f"nvcr.io/nvidia/x@{DIGEST}"]
    assert repositories.mirror_repositories(REGISTRY, images) == ("mirror/nvcr.io/nvidia/x",)


def test_an_image_by_tag_is_refused_with_the_reason() -> None:
    with pytest.raises(Refused, match="a tag can be moved"):
        require_digest("vllm/vllm-openai:latest", "releases.x.image")


def test_a_tag_of_the_user_cannot_replace_a_cost_tag() -> None:
    with pytest.raises(Refused, match=r"tags\.headrace:environment"):
        cost_tags(Owner(organization="acme", environment="dev"), "network", {"headrace:environment": "prod"})


def test_shared_resources_say_that_they_are_shared() -> None:
    tags = cost_tags(Owner(organization="acme", environment="dev"), "network", {"team": "a"})
    assert set(COST_TAG_KEYS) <= set(tags)
    assert (tags["headrace:tenant"], tags["team"]) == ("dev/shared", "a")


def test_only_pods_of_the_cluster_can_take_a_pods_role() -> None:
    statement = json.loads(documents.pod_identity_trust(ACCOUNT, "eu-central-1", "acme-dev-gpu"))["Statement"][0]
    assert statement["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    assert statement["Condition"]["ArnEquals"] == {
        "aws:SourceArn": "arn:aws:eks:eu-central-1:123456789012:cluster/acme-dev-gpu"
    }


def test_named_roles_pass_the_bucket_policy_beside_the_endpoint() -> None:
    role = "arn:aws:iam::123456789012:role/publisher"
    text = documents.model_bucket_policy("arn:aws:s3:::m", "arn:aws:kms:k", "aws:SourceVpce", "vpce-1", [role])
    gate = next(one for one in json.loads(text)["Statement"] if one["Sid"] == "OnlyEndpointOrNamedRoles")
    assert gate["Condition"] == {
        "StringNotEquals": {"aws:SourceVpce": "vpce-1"},
        "ArnNotLike": {"aws:PrincipalArn": [role]},
    }, "both must hold for the refusal: neither through the endpoint nor a named role"
    assert "s3:PutBucketPolicy" not in gate["Action"], "the pipeline manages the bucket from outside of the network"


def test_policies_are_the_same_text_whatever_the_order_of_their_input() -> None:
    one = documents.cache_pull_policy(ACCOUNT, "eu-central-1", ["b", "a"])
    assert one == documents.cache_pull_policy(ACCOUNT, "eu-central-1", ["a", "b"])


def test_the_partition_comes_from_the_callers_arn() -> None:
    account = documents.account_from_caller("123456789012", "arn:aws-us-gov:iam::123456789012:user/x")
    assert account.root == "arn:aws-us-gov:iam::123456789012:root"


def test_a_kubeconfig_fetches_its_token_when_it_is_used() -> None:
    text = kubeconfig(cluster="c", endpoint="https://x", certificate_authority="Q0E=", region="eu-central-1")
    user = json.loads(text)["users"][0]["user"]["exec"]
    assert user["command"] == "aws"
    assert user["interactiveMode"] == "Never"


# --- nodes


def capacity(type_: CapacityType, zone: str | None = None) -> Capacity:
    reserved = None if type_ is CapacityType.ON_DEMAND else "cr-0123456789abcdef0"
    return Capacity(type=type_, reservation_id=reserved, zone=zone)


def test_a_reservation_puts_the_pool_into_its_zone() -> None:
    reserved = capacity(CapacityType.RESERVATION, "eu-central-1b")
    assert nodes.pool_zones("p", reserved, None, ZONES) == ("eu-central-1b",)


def test_a_reservation_with_other_zones_is_refused() -> None:
    block = capacity(CapacityType.CAPACITY_BLOCK, "eu-central-1b")
    with pytest.raises(Refused, match=r"must be \[eu-central-1b\] or left out, because the capacity-block cr-"):
        nodes.pool_zones("p", block, ["eu-central-1a", "eu-central-1b"], ZONES)


def test_a_block_in_a_zone_without_a_subnet_is_refused() -> None:
    with pytest.raises(Refused, match=r"the pool.s nodes need a private subnet there"):
        nodes.pool_zones("p", capacity(CapacityType.CAPACITY_BLOCK, "eu-central-1c"), None, ZONES)


def test_a_block_without_its_zone_is_refused() -> None:
    unplaced = Capacity.model_construct(type=CapacityType.CAPACITY_BLOCK, reservation_id="cr-0", zone=None)
    with pytest.raises(Refused, match="must name `reservationId` and its `zone`"):
        nodes.pool_zones("p", unplaced, None, ZONES)


@given(st.sampled_from(sorted(load.instance_types())))
def test_network_interfaces_are_one_per_efa_interface_and_the_first_carries_ip(name: str) -> None:
    instance = load.instance_types()[name]
    interfaces = nodes.efa_interfaces(instance)
    assert len(interfaces) == instance.efa_interfaces
    assert [one["interface_type"] for one in interfaces[:1]] == ["efa"][: len(interfaces)]
    assert all(one["device_index"] == (0 if one["network_card_index"] == 0 else 1) for one in interfaces)


def test_user_data_is_the_same_text_each_time() -> None:
    image = nodes.IMAGES[NodeImage.AL2023_NVIDIA]
    assert nodes.user_data(image, 900) == nodes.user_data(image, 900), "a random boundary would replace nodes"
    assert nodes.user_data(image, 0) is None
    assert nodes.user_data(nodes.IMAGES[NodeImage.BOTTLEROCKET_NVIDIA], 900) is None


def test_every_node_image_has_its_eks_name_and_volumes() -> None:
    assert set(nodes.IMAGES) == set(NodeImage)
    sizes = [one["ebs"]["volume_size"] for one in nodes.block_devices(nodes.IMAGES[NodeImage.BOTTLEROCKET_NVIDIA], 200)]
    assert sizes == [4, 200], "Bottlerocket keeps images on its second volume"


# --- reading


def test_manifests_become_arguments_with_python_names() -> None:
    assert properties({"roleRef": {"apiGroup": "x"}, "spec": {}}) == {"role_ref": {"apiGroup": "x"}, "spec": {}}


def test_configuration_is_read_whole_so_that_a_misspelt_key_is_seen() -> None:
    config = {
        "inference:region": "eu-central-1",
        "inference:network": '{"cidr": "10.0.0.0/16"}',
        "inference:netwrok": "{}",
        "aws:region": "us-east-1",
    }
    assert settings_of_stack(config) == {
        "region": "eu-central-1",
        "network": {"cidr": "10.0.0.0/16"},
        "netwrok": {},
    }


def test_a_plain_value_is_what_it_is() -> None:
    inputs.require_plain({"a": [1, {"b": None}]}, "x")
