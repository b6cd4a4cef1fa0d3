"""Operations that no larger story needs: each called once, on what it is for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.engine.aws_gateway.conftest import Cloud, settle

pytestmark = pytest.mark.engine


def test_listings_and_catalogues_of_eks(cloud: Cloud, cluster: str) -> None:
    eks = cloud.client("eks")
    assert cluster in eks.list_clusters()["clusters"]
    names = {addon["addonName"] for addon in eks.describe_addon_versions(kubernetesVersion="1.36")["addons"]}
    assert {"vpc-cni", "coredns", "kube-proxy", "eks-pod-identity-agent"} <= names
    assert [v["clusterVersion"] for v in eks.describe_cluster_versions(defaultOnly=True)["clusterVersions"]] == ["1.36"]
    assert len(eks.list_access_policies()["accessPolicies"]) > 10
    first = eks.describe_cluster_versions(maxResults=2)
    rest = eks.describe_cluster_versions(nextToken=first["nextToken"])
    assert len(first["clusterVersions"]) == 2 and rest["clusterVersions"], "listings have pages"


def test_encryption_is_associated_once(cloud: Cloud, network: dict[str, Any], role: Callable[[str], str]) -> None:
    eks, key = cloud.client("eks"), cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    eks.create_cluster(
        name="plain", roleArn=role("plain-cluster"), resourcesVpcConfig={"subnetIds": network["subnets"]}
    )
    settle(lambda: str(eks.describe_cluster(name="plain")["cluster"]["status"]), "ACTIVE")
    config = [{"resources": ["secrets"], "provider": {"keyArn": key}}]
    update = eks.associate_encryption_config(clusterName="plain", encryptionConfig=config)["update"]["id"]
    assert update in eks.list_updates(name="plain")["updateIds"]
    settle(lambda: str(eks.describe_cluster(name="plain")["cluster"]["status"]), "ACTIVE")
    with pytest.raises(ClientError, match="already enabled"):
        eks.associate_encryption_config(clusterName="plain", encryptionConfig=config)


def test_versions_of_a_node_group_and_tags_of_its_scaling_group(
    cloud: Cloud, network: dict[str, Any], cluster: str, role: Callable[[str], str]
) -> None:
    eks, scaling, ec2 = cloud.client("eks"), cloud.client("autoscaling"), cloud.client("ec2")
    data = {"MetadataOptions": {"HttpTokens": "required"}}
    template = ec2.create_launch_template(LaunchTemplateName="system", LaunchTemplateData=data)["LaunchTemplate"][
        "LaunchTemplateId"
    ]
    eks.create_nodegroup(
        clusterName=cluster,
        nodegroupName="system",
        subnets=network["subnets"],
        nodeRole=role("system-node"),
        version="1.35",
        launchTemplate={"id": template, "version": "1"},
    )

    def read() -> dict[str, Any]:
        found: dict[str, Any] = eks.describe_nodegroup(clusterName=cluster, nodegroupName="system")["nodegroup"]
        return found

    settle(lambda: str(read()["status"]), "ACTIVE")
    assert eks.list_nodegroups(clusterName=cluster)["nodegroups"] == ["system"]
    ec2.create_launch_template_version(LaunchTemplateId=template, LaunchTemplateData={"EbsOptimized": True})
    eks.update_nodegroup_version(
        clusterName=cluster, nodegroupName="system", version="1.36", launchTemplate={"id": template, "version": "2"}
    )
    settle(lambda: str(read()["status"]), "ACTIVE")
    assert (read()["version"], read()["launchTemplate"]["version"]) == ("1.36", "2")
    with pytest.raises(ClientError, match="not valid for kubernetes version"):
        eks.update_nodegroup_version(clusterName=cluster, nodegroupName="system", releaseVersion="1.20.0-20200101")

    name = read()["resources"]["autoScalingGroups"][0]["name"]
    scaling.update_auto_scaling_group(AutoScalingGroupName=name, MaxSize=5)
    assert read()["scalingConfig"]["maxSize"] == 5
    tag = {
        "ResourceId": name,
        "ResourceType": "auto-scaling-group",
        "Key": "tenant",
        "Value": "a",
        "PropagateAtLaunch": True,
    }
    scaling.create_or_update_tags(Tags=[tag])
    assert scaling.describe_tags(Filters=[{"Name": "key", "Values": ["tenant"]}])["Tags"] == [tag]
    scaling.delete_tags(Tags=[{"ResourceId": name, "ResourceType": "auto-scaling-group", "Key": "tenant"}])
    scaling.put_scheduled_update_group_action(
        AutoScalingGroupName=name, ScheduledActionName="x", Recurrence="0 6 * * 1-5", MinSize=1
    )
    scaling.delete_scheduled_action(AutoScalingGroupName=name, ScheduledActionName="x")
    assert scaling.describe_scheduled_actions(AutoScalingGroupName=name)["ScheduledUpdateGroupActions"] == []
    with pytest.raises(ClientError, match="does not support autoscaling CreateAutoScalingGroup"):
        scaling.create_auto_scaling_group(
            AutoScalingGroupName="own", MinSize=0, MaxSize=1, AvailabilityZones=["eu-central-1a"]
        )
    with pytest.raises(ClientError, match="does not support autoscaling DeleteAutoScalingGroup"):
        scaling.delete_auto_scaling_group(AutoScalingGroupName=name)
    eks.delete_nodegroup(clusterName=cluster, nodegroupName="system")


def test_entries_associations_and_addons_can_be_changed(cloud: Cloud, cluster: str, role: Callable[[str], str]) -> None:
    eks, who, other = cloud.client("eks"), role("small-app"), role("small-other")
    eks.create_access_entry(clusterName=cluster, principalArn=who)
    assert eks.update_access_entry(clusterName=cluster, principalArn=who, kubernetesGroups=["ops"])["accessEntry"][
        "kubernetesGroups"
    ] == ["ops"]
    policy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSAdminViewPolicy"
    eks.associate_access_policy(
        clusterName=cluster, principalArn=who, policyArn=policy, accessScope={"type": "cluster"}
    )
    assert eks.list_access_entries(clusterName=cluster, associatedPolicyArn=policy)["accessEntries"] == [who]
    eks.disassociate_access_policy(clusterName=cluster, principalArn=who, policyArn=policy)
    assert eks.list_associated_access_policies(clusterName=cluster, principalArn=who)["associatedAccessPolicies"] == []
    made = eks.create_pod_identity_association(clusterName=cluster, namespace="n", serviceAccount="s", roleArn=who)[
        "association"
    ]["associationId"]
    eks.update_pod_identity_association(clusterName=cluster, associationId=made, roleArn=other)
    assert (
        eks.describe_pod_identity_association(clusterName=cluster, associationId=made)["association"]["roleArn"]
        == other
    )
    eks.create_addon(clusterName=cluster, addonName="coredns")
    assert eks.list_addons(clusterName=cluster)["addons"] == ["coredns"]


def test_an_endpoint_keeps_its_address_type(cloud: Cloud, network: dict[str, Any]) -> None:
    ec2 = cloud.client("ec2")
    made = ec2.create_vpc_endpoint(
        VpcId=network["vpc"],
        VpcEndpointType="Interface",
        ServiceName="com.amazonaws.eu-central-1.sts",
        SubnetIds=network["subnets"][:1],
        IpAddressType="ipv4",
    )["VpcEndpoint"]["VpcEndpointId"]
    ec2.modify_vpc_endpoint(VpcEndpointId=made, DnsOptions={"DnsRecordIpType": "ipv4"})
    shown = ec2.describe_vpc_endpoints(VpcEndpointIds=[made])["VpcEndpoints"][0]
    assert (shown["IpAddressType"], shown["DnsOptions"]["DnsRecordIpType"]) == ("ipv4", "ipv4")
    ec2.delete_vpc_endpoints(VpcEndpointIds=[made])


def test_a_rule_between_groups_keeps_its_description(cloud: Cloud, network: dict[str, Any]) -> None:
    ec2 = cloud.client("ec2")
    vpc = ec2.describe_subnets(SubnetIds=network["subnets"][:1])["Subnets"][0]["VpcId"]
    group = ec2.create_security_group(GroupName="rules", Description="rules", VpcId=vpc)["GroupId"]
    pair = {"GroupId": group, "Description": "within the group"}
    rule = ec2.authorize_security_group_ingress(
        GroupId=group, IpPermissions=[{"IpProtocol": "-1", "UserIdGroupPairs": [pair]}]
    )["SecurityGroupRules"][0]["SecurityGroupRuleId"]

    def description() -> str:
        found = ec2.describe_security_group_rules(SecurityGroupRuleIds=[rule])["SecurityGroupRules"][0]
        return str(found.get("Description"))

    assert description() == "within the group", "moto drops it, the gateway keeps it"
    out = ec2.authorize_security_group_egress(
        GroupId=group, IpPermissions=[{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "UserIdGroupPairs": [pair]}]
    )["SecurityGroupRules"][0]["SecurityGroupRuleId"]
    leaving = ec2.describe_security_group_rules(SecurityGroupRuleIds=[out])["SecurityGroupRules"][0]
    assert leaving["IsEgress"] and leaving["Description"] == "within the group"
    changed = {
        "IpProtocol": "-1",
        "FromPort": -1,
        "ToPort": -1,
        "ReferencedGroupId": group,
        "Description": "among peers",
    }
    ec2.modify_security_group_rules(
        GroupId=group, SecurityGroupRules=[{"SecurityGroupRuleId": rule, "SecurityGroupRule": changed}]
    )
    assert description() == "among peers", "a changed description shows"


def test_a_nat_gateway_takes_its_interface_with_it_and_frees_its_address(cloud: Cloud, network: dict[str, Any]) -> None:
    ec2, subnet = cloud.client("ec2"), network["subnets"][0]

    def interfaces() -> set[str]:
        found = ec2.describe_network_interfaces(Filters=[{"Name": "subnet-id", "Values": [subnet]}])
        return {interface["NetworkInterfaceId"] for interface in found["NetworkInterfaces"]}

    before = interfaces()
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    gateway = ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address)["NatGateway"]["NatGatewayId"]
    assert len(interfaces() - before) == 1, "a NAT gateway stands in its subnet with an interface of its own"
    ec2.delete_nat_gateway(NatGatewayId=gateway)
    assert interfaces() == before
    successor = ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address)["NatGateway"]
    assert successor["NatGatewayAddresses"][0]["AllocationId"] == address, "the next one takes the same address"
