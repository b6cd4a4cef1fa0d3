"""EKS through boto3: what is asked for is kept, what AWS refuses is refused, all can be changed and removed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.engine.aws_gateway.conftest import REGION, Cloud, settle

pytestmark = pytest.mark.engine
Role = Callable[[str], str]


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_a_cluster_keeps_every_property_it_was_given(cloud: Cloud, network: dict[str, Any], role: Role) -> None:
    eks, key = cloud.client("eks"), cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    eks.create_cluster(
        name="kept",
        roleArn=role("kept-cluster"),
        version="1.35",
        resourcesVpcConfig={
            "subnetIds": network["subnets"],
            "endpointPublicAccess": False,
            "endpointPrivateAccess": True,
        },
        accessConfig={"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False},
        upgradePolicy={"supportType": "STANDARD"},
        zonalShiftConfig={"enabled": True},
        deletionProtection=True,
        encryptionConfig=[{"resources": ["secrets"], "provider": {"keyArn": key}}],
        logging={"clusterLogging": [{"types": ["api", "audit"], "enabled": True}]},
        tags={"tenant": "a"},
    )
    first = eks.describe_cluster(name="kept")["cluster"]
    assert first["status"] == "CREATING", "a cluster isn't active at once"
    assert "endpoint" not in first, "a cluster that is being created has no endpoint yet"
    settle(lambda: eks.describe_cluster(name="kept")["cluster"]["status"], "ACTIVE")
    shown = eks.describe_cluster(name="kept")["cluster"]
    assert shown["accessConfig"] == {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False}
    assert shown["upgradePolicy"] == {"supportType": "STANDARD"}
    assert shown["zonalShiftConfig"] == {"enabled": True}
    assert shown["deletionProtection"] is True
    assert shown["encryptionConfig"] == [{"resources": ["secrets"], "provider": {"keyArn": key}}]
    assert shown["logging"]["clusterLogging"][0] == {"types": ["api", "audit"], "enabled": True}
    assert shown["resourcesVpcConfig"]["vpcId"] == network["vpc"]
    assert shown["endpoint"].startswith("https://") and shown["certificateAuthority"]["data"]

    with pytest.raises(ClientError) as protected:
        eks.delete_cluster(name="kept")
    assert code(protected) == "InvalidRequestException", "deletion protection refuses the deletion"
    update = eks.update_cluster_config(name="kept", deletionProtection=False)["update"]
    assert update["status"] == "InProgress"
    settle(lambda: eks.describe_update(name="kept", updateId=update["id"])["update"]["status"], "Successful")
    with pytest.raises(ClientError, match="No changes needed"):
        eks.update_cluster_config(name="kept", deletionProtection=False)
    with pytest.raises(ClientError, match="Only one type of update"):
        eks.update_cluster_config(name="kept", deletionProtection=True, upgradePolicy={"supportType": "EXTENDED"})
    eks.update_cluster_version(name="kept", version="1.36")
    settle(lambda: eks.describe_cluster(name="kept")["cluster"]["status"], "ACTIVE")
    assert eks.describe_cluster(name="kept")["cluster"]["version"] == "1.36"
    with pytest.raises(ClientError, match="minor version"):
        eks.update_cluster_version(name="kept", version="1.34")
    eks.delete_cluster(name="kept")
    with pytest.raises(ClientError) as gone:
        settle(lambda: eks.describe_cluster(name="kept")["cluster"]["status"], "never", seconds=5)
    assert code(gone) == "ResourceNotFoundException", "a deleted cluster goes, after a while"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": "1.99"}, "unsupported Kubernetes version"),
        ({"roleArn": "arn:aws:iam::123456789012:role/nobody"}, "could not be assumed"),
        (
            {"resourcesVpcConfig": {"subnetIds": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]}},
            "does not exist",
        ),
        (
            {
                "encryptionConfig": [
                    {"resources": ["secrets"], "provider": {"keyArn": "arn:aws:kms:eu-central-1:123456789012:key/no"}}
                ]
            },
            "KMS key",
        ),
    ],
)
def test_a_cluster_that_names_what_does_not_exist_is_refused(
    cloud: Cloud, network: dict[str, Any], cluster: str, changes: dict[str, Any], message: str
) -> None:
    good = {
        "name": "bad",
        "roleArn": "arn:aws:iam::123456789012:role/shared-cluster",
        "resourcesVpcConfig": {"subnetIds": network["subnets"]},
    }
    with pytest.raises(ClientError, match=message) as error:
        cloud.client("eks").create_cluster(**{**good, **changes})
    assert code(error) == "InvalidParameterException"
    assert "bad" not in cloud.client("eks").list_clusters()["clusters"], "nothing half-done"


def test_a_control_plane_needs_subnets_in_two_zones(cloud: Cloud, network: dict[str, Any], cluster: str) -> None:
    with pytest.raises(ClientError, match="two different AZs"):
        cloud.client("eks").create_cluster(
            name="one-zone",
            roleArn="arn:aws:iam::123456789012:role/shared-cluster",
            resourcesVpcConfig={"subnetIds": network["subnets"][:1]},
        )


def test_a_node_group_keeps_its_properties_and_has_a_scaling_group(
    cloud: Cloud, network: dict[str, Any], cluster: str, role: Role
) -> None:
    eks, scaling = cloud.client("eks"), cloud.client("autoscaling")
    eks.create_nodegroup(
        clusterName=cluster,
        nodegroupName="floor",
        subnets=network["subnets"],
        nodeRole=role("floor-node"),
        instanceTypes=["p5.48xlarge"],
        amiType="AL2023_x86_64_NVIDIA",
        scalingConfig={"minSize": 1, "maxSize": 4, "desiredSize": 3},
        nodeRepairConfig={"enabled": True},
        updateConfig={"maxUnavailablePercentage": 50},
        labels={"pool": "floor"},
        taints=[{"key": "nvidia.com/gpu", "value": "true", "effect": "NO_SCHEDULE"}],
    )

    def read() -> dict[str, Any]:
        found: dict[str, Any] = eks.describe_nodegroup(clusterName=cluster, nodegroupName="floor")["nodegroup"]
        return found

    settle(lambda: str(read()["status"]), "ACTIVE")
    group = read()
    assert group["nodeRepairConfig"] == {"enabled": True}
    assert group["updateConfig"] == {"maxUnavailablePercentage": 50}, (
        "the default maxUnavailable gives way to a percentage"
    )
    assert "arn:aws:iam::123456789012:role/floor-node" in eks.list_access_entries(clusterName=cluster)["accessEntries"]

    name = group["resources"]["autoScalingGroups"][0]["name"]
    behind = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0]
    assert (behind["MinSize"], behind["DesiredCapacity"], behind["MaxSize"], len(behind["Instances"])) == (1, 3, 4, 3)
    assert {i["AvailabilityZone"] for i in behind["Instances"]} == {f"{REGION}{z}" for z in "abc"}, (
        "spread over the zones"
    )

    eks.update_nodegroup_config(
        clusterName=cluster,
        nodegroupName="floor",
        scalingConfig={"desiredSize": 4},
        labels={"addOrUpdateLabels": {"tier": "gold"}, "removeLabels": ["pool"]},
        taints={"removeTaints": [{"key": "nvidia.com/gpu", "value": "true", "effect": "NO_SCHEDULE"}]},
    )
    settle(lambda: str(read()["status"]), "ACTIVE")
    group = read()
    assert (group["labels"], group["taints"], group["scalingConfig"]["desiredSize"]) == ({"tier": "gold"}, [], 4)

    scaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=2)
    assert read()["scalingConfig"]["desiredSize"] == 2, "who scales the group behind EKS's back is seen by EKS"

    scaling.put_scheduled_update_group_action(
        AutoScalingGroupName=name,
        ScheduledActionName="night",
        Recurrence="0 20 * * *",
        TimeZone="Europe/Berlin",
        MinSize=0,
        DesiredCapacity=0,
    )
    action = scaling.describe_scheduled_actions(AutoScalingGroupName=name)["ScheduledUpdateGroupActions"][0]
    assert (action["Recurrence"], action["TimeZone"], action["MinSize"]) == ("0 20 * * *", "Europe/Berlin", 0)
    with pytest.raises(ClientError, match="recurrence"):
        scaling.put_scheduled_update_group_action(
            AutoScalingGroupName=name, ScheduledActionName="x", Recurrence="nightly", MinSize=0
        )

    with pytest.raises(ClientError) as busy:
        eks.delete_cluster(name=cluster)
    assert code(busy) == "ResourceInUseException", "a cluster with node groups stays"
    with pytest.raises(ClientError) as held:
        cloud.client("ec2").delete_subnet(SubnetId=network["subnets"][0])
    assert code(held) == "DependencyViolation", "a subnet in use stays"
    eks.delete_nodegroup(clusterName=cluster, nodegroupName="floor")
    with pytest.raises(ClientError) as gone:
        settle(lambda: str(read()["status"]), "never", seconds=5)
    assert code(gone) == "ResourceNotFoundException"
    assert scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"] == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"instanceTypes": ["p9.48xlarge"]}, "do not exist"),
        ({"subnets": ["subnet-0123456789abcdef0"]}, "does not exist"),
        ({"scalingConfig": {"minSize": 3, "maxSize": 2, "desiredSize": 3}}, "can't be greater than maximum"),
        ({"amiType": "AL2_x86_64_GPU"}, "1.32 or earlier"),
        ({"capacityType": "CAPACITY_BLOCK"}, "launch template"),
        ({"launchTemplate": {"name": "nope"}}, "was not found"),
        ({"nodeRole": "arn:aws:iam::123456789012:role/nobody"}, "could not be assumed"),
    ],
)
def test_a_node_group_that_cannot_work_is_refused(
    cloud: Cloud, network: dict[str, Any], cluster: str, changes: dict[str, Any], message: str
) -> None:
    good = {
        "clusterName": cluster,
        "nodegroupName": "bad",
        "subnets": network["subnets"],
        "nodeRole": "arn:aws:iam::123456789012:role/shared-cluster",
        "instanceTypes": ["g6e.12xlarge"],
    }
    with pytest.raises(ClientError, match=message) as error:
        cloud.client("eks").create_nodegroup(**{**good, **changes})
    assert code(error) == "InvalidParameterException"


def test_a_capacity_block_group_lives_only_in_the_zone_of_its_block(cloud: Cloud, cluster: str, role: Role) -> None:
    region = "us-east-1"
    ec2, eks = cloud.client("ec2", region=region), cloud.client("eks", region=region)
    vpc = ec2.create_vpc(CidrBlock="10.50.0.0/16")["Vpc"]["VpcId"]
    offer = ec2.describe_capacity_block_offerings(
        InstanceType="p5.48xlarge", InstanceCount=2, CapacityDurationHours=48
    )["CapacityBlockOfferings"][0]
    zones = [
        offer["AvailabilityZone"],
        *[f"{region}{z}" for z in "abcd" if f"{region}{z}" != offer["AvailabilityZone"]][:1],
    ]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.50.{i}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for i, zone in enumerate(zones)
    ]
    block = ec2.purchase_capacity_block(
        CapacityBlockOfferingId=offer["CapacityBlockOfferingId"], InstancePlatform="Linux/UNIX"
    )
    reservation = block["CapacityReservation"]["CapacityReservationId"]
    with pytest.raises(ClientError, match="can't be cancelled"):
        ec2.cancel_capacity_reservation(CapacityReservationId=reservation)
    template = ec2.create_launch_template(
        LaunchTemplateName="block",
        LaunchTemplateData={
            "InstanceType": "p5.48xlarge",
            "InstanceMarketOptions": {"MarketType": "capacity-block"},
            "CapacityReservationSpecification": {"CapacityReservationTarget": {"CapacityReservationId": reservation}},
            "NetworkInterfaces": [{"DeviceIndex": 0, "NetworkCardIndex": 0, "InterfaceType": "efa"}],
        },
    )["LaunchTemplate"]["LaunchTemplateId"]
    data = ec2.describe_launch_template_versions(LaunchTemplateId=template)["LaunchTemplateVersions"][0][
        "LaunchTemplateData"
    ]
    assert data["InstanceMarketOptions"]["MarketType"] == "capacity-block", "kept, though moto drops it"
    assert data["NetworkInterfaces"][0]["InterfaceType"] == "efa"

    eks.create_cluster(name="blocks", roleArn=role("blocks-cluster"), resourcesVpcConfig={"subnetIds": subnets})
    settle(lambda: eks.describe_cluster(name="blocks")["cluster"]["status"], "ACTIVE")
    group = {
        "clusterName": "blocks",
        "nodegroupName": "block",
        "nodeRole": "arn:aws:iam::123456789012:role/blocks-cluster",
        "launchTemplate": {"id": template, "version": "1"},
        "capacityType": "CAPACITY_BLOCK",
    }
    with pytest.raises(ClientError, match="Availability Zone of the capacity block"):
        eks.create_nodegroup(**group, subnets=subnets)
    made = eks.create_nodegroup(**group, subnets=subnets[:1])["nodegroup"]
    assert made["capacityType"] == "CAPACITY_BLOCK" and made["launchTemplate"]["version"] == "1"


def test_addons_access_entries_and_pod_identities_live_and_die(cloud: Cloud, cluster: str, role: Role) -> None:
    eks, app = cloud.client("eks"), role("app")
    eks.create_addon(
        clusterName=cluster,
        addonName="vpc-cni",
        podIdentityAssociations=[{"serviceAccount": "aws-node", "roleArn": app}],
    )
    settle(lambda: eks.describe_addon(clusterName=cluster, addonName="vpc-cni")["addon"]["status"], "ACTIVE")
    owned = eks.list_pod_identity_associations(clusterName=cluster, serviceAccount="aws-node")["associations"]
    assert owned[0]["ownerArn"].endswith(
        eks.describe_addon(clusterName=cluster, addonName="vpc-cni")["addon"]["addonArn"]
    )
    eks.update_addon(clusterName=cluster, addonName="vpc-cni", configurationValues='{"enableNetworkPolicy":"true"}')
    assert (
        eks.describe_addon(clusterName=cluster, addonName="vpc-cni")["addon"]["configurationValues"]
        == '{"enableNetworkPolicy":"true"}'
    )
    for bad in ({"addonName": "no-such-addon"}, {"addonName": "coredns", "addonVersion": "latest"}):
        with pytest.raises(ClientError) as refused:
            eks.create_addon(clusterName=cluster, **bad)
        assert code(refused) == "InvalidParameterException"

    eks.create_access_entry(clusterName=cluster, principalArn=app, kubernetesGroups=["viewers"], tags={"a": "b"})
    with pytest.raises(ClientError) as twice:
        eks.create_access_entry(clusterName=cluster, principalArn=app)
    assert code(twice) == "ResourceInUseException"
    with pytest.raises(ClientError, match="reserved prefix"):
        eks.create_access_entry(clusterName=cluster, principalArn=app + "2", kubernetesGroups=["system:masters"])
    policy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"
    eks.associate_access_policy(
        clusterName=cluster, principalArn=app, policyArn=policy, accessScope={"type": "namespace", "namespaces": ["x"]}
    )
    found = eks.list_associated_access_policies(clusterName=cluster, principalArn=app)["associatedAccessPolicies"]
    assert found[0]["accessScope"] == {"type": "namespace", "namespaces": ["x"]}
    with pytest.raises(ClientError, match="does not exist"):
        eks.associate_access_policy(
            clusterName=cluster, principalArn=app, policyArn=policy + "2", accessScope={"type": "cluster"}
        )
    arn = eks.describe_access_entry(clusterName=cluster, principalArn=app)["accessEntry"]["accessEntryArn"]
    eks.tag_resource(resourceArn=arn, tags={"c": "d"})
    eks.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert eks.list_tags_for_resource(resourceArn=arn)["tags"] == {"c": "d"}

    made = eks.create_pod_identity_association(
        clusterName=cluster, namespace="models", serviceAccount="server", roleArn=app
    )["association"]
    with pytest.raises(ClientError) as same:
        eks.create_pod_identity_association(
            clusterName=cluster, namespace="models", serviceAccount="server", roleArn=app
        )
    assert code(same) == "ResourceInUseException"
    eks.delete_pod_identity_association(clusterName=cluster, associationId=made["associationId"])
    eks.delete_access_entry(clusterName=cluster, principalArn=app)
    eks.delete_addon(clusterName=cluster, addonName="vpc-cni")
    assert eks.list_pod_identity_associations(clusterName=cluster)["associations"] == [], (
        "an add-on takes its associations along"
    )
    with pytest.raises(ClientError) as gone:
        eks.describe_access_entry(clusterName=cluster, principalArn=app)
    assert code(gone) == "ResourceNotFoundException"


def test_an_operation_outside_the_sandbox_is_refused_by_name(cloud: Cloud, cluster: str) -> None:
    with pytest.raises(ClientError, match="does not support eks ListInsights") as error:
        cloud.client("eks").list_insights(clusterName=cluster)
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    with pytest.raises(ClientError, match="does not support savingsplans DescribeSavingsPlans"):
        cloud.client("savingsplans").describe_savings_plans()
