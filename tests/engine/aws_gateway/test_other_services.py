"""Everything but EKS: capacity, network guards, ECR, budgets, cost anomalies, quotas, images, S3 object lock, IAM."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from headrace_sandbox.aws.identity import ACCOUNT_ID
from tests.engine.aws_gateway.conftest import REGION, Cloud, settle

pytestmark = pytest.mark.engine


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_a_capacity_reservation_is_made_changed_tagged_and_cancelled(cloud: Cloud) -> None:
    ec2 = cloud.client("ec2")
    asked = {
        "InstanceType": "g6e.12xlarge",
        "InstancePlatform": "Linux/UNIX",
        "InstanceCount": 2,
        "AvailabilityZone": f"{REGION}a",
        "ClientToken": "once",
    }
    tags = [{"ResourceType": "capacity-reservation", "Tags": [{"Key": "a", "Value": "b"}]}]
    made = ec2.create_capacity_reservation(**asked, TagSpecifications=tags)["CapacityReservation"][
        "CapacityReservationId"
    ]
    assert ec2.create_capacity_reservation(**asked)["CapacityReservation"]["CapacityReservationId"] == made, (
        "the client token makes a retry harmless"
    )
    ec2.modify_capacity_reservation(CapacityReservationId=made, InstanceCount=3)
    ec2.create_tags(Resources=[made], Tags=[{"Key": "c", "Value": "d"}])
    ec2.delete_tags(Resources=[made], Tags=[{"Key": "a"}])
    shown = ec2.describe_capacity_reservations(Filters=[{"Name": "tag:c", "Values": ["d"]}])["CapacityReservations"][0]
    assert (shown["TotalInstanceCount"], shown["State"], shown["Tags"]) == (3, "active", [{"Key": "c", "Value": "d"}])
    found = ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [made]}])["Tags"]
    assert found == [{"Key": "c", "Value": "d", "ResourceId": made, "ResourceType": "capacity-reservation"}]
    ec2.cancel_capacity_reservation(CapacityReservationId=made)
    assert (
        ec2.describe_capacity_reservations(CapacityReservationIds=[made])["CapacityReservations"][0]["State"]
        == "cancelled"
    )
    with pytest.raises(ClientError) as zone:
        ec2.create_capacity_reservation(**{**asked, "AvailabilityZone": "eu-central-1z", "ClientToken": "other"})
    assert code(zone) == "InvalidParameterValue"
    with pytest.raises(ClientError) as unknown:
        ec2.describe_capacity_reservations(CapacityReservationIds=["cr-0123456789abcdef0"])
    assert code(unknown) == "InvalidCapacityReservationId.NotFound"


def test_capacity_blocks_are_sold_in_whole_days_of_the_families_that_have_them(cloud: Cloud) -> None:
    ec2 = cloud.client("ec2", region="us-east-1")
    for bad in ({"CapacityDurationHours": 25}, {"InstanceCount": 3}, {"InstanceType": "g6e.12xlarge"}):
        with pytest.raises(ClientError) as error:
            ec2.describe_capacity_block_offerings(
                **{"InstanceType": "p5.48xlarge", "InstanceCount": 1, "CapacityDurationHours": 24, **bad}
            )
        assert code(error) == "InvalidParameterValue"
    offer = ec2.describe_capacity_block_offerings(
        InstanceType="p5.48xlarge", InstanceCount=1, CapacityDurationHours=24
    )["CapacityBlockOfferings"][0]
    bought = ec2.purchase_capacity_block(
        CapacityBlockOfferingId=offer["CapacityBlockOfferingId"], InstancePlatform="Linux/UNIX"
    )
    reservation = bought["CapacityReservation"]["CapacityReservationId"]
    settle(
        lambda: str(
            ec2.describe_capacity_reservations(CapacityReservationIds=[reservation])["CapacityReservations"][0]["State"]
        ),
        "scheduled",
    )
    block = ec2.describe_capacity_blocks(CapacityBlockIds=[bought["CapacityBlocks"][0]["CapacityBlockId"]])[
        "CapacityBlocks"
    ][0]
    assert block["CapacityReservationIds"] == [reservation]


def test_placement_groups_and_the_default_key_of_ebs(cloud: Cloud) -> None:
    ec2 = cloud.client("ec2")
    ec2.create_placement_group(GroupName="pg", Strategy="cluster")
    assert ec2.describe_placement_groups(GroupNames=["pg"])["PlacementGroups"][0]["State"] == "available"
    ec2.delete_placement_group(GroupName="pg")
    with pytest.raises(ClientError) as gone:
        ec2.describe_placement_groups(GroupNames=["pg"])
    assert code(gone) == "InvalidPlacementGroup.Unknown"
    key = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    assert ec2.get_ebs_default_kms_key_id()["KmsKeyId"] == "alias/aws/ebs"
    ec2.modify_ebs_default_kms_key_id(KmsKeyId=key)
    assert ec2.get_ebs_default_kms_key_id()["KmsKeyId"] == key
    assert ec2.reset_ebs_default_kms_key_id()["KmsKeyId"] == "alias/aws/ebs"


def test_what_is_in_use_cannot_be_deleted(cloud: Cloud) -> None:
    ec2 = cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.60.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.60.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="used", Description="d", VpcId=vpc)["GroupId"]
    for cidr, expected in (("10.60.0.0/25", "InvalidSubnet.Conflict"), ("10.61.0.0/24", "InvalidSubnet.Range")):
        with pytest.raises(ClientError) as bad:
            ec2.create_subnet(VpcId=vpc, CidrBlock=cidr)
        assert code(bad) == expected
    with pytest.raises(ClientError) as service:
        ec2.create_vpc_endpoint(VpcId=vpc, VpcEndpointType="Interface", ServiceName=f"com.amazonaws.{REGION}.nonsense")
    assert code(service) == "InvalidServiceName"
    endpoint = ec2.create_vpc_endpoint(
        VpcId=vpc,
        VpcEndpointType="Interface",
        ServiceName=f"com.amazonaws.{REGION}.ecr.api",
        SubnetIds=[subnet],
        SecurityGroupIds=[group],
    )["VpcEndpoint"]["VpcEndpointId"]
    for operation, target in (
        ("delete_security_group", {"GroupId": group}),
        ("delete_subnet", {"SubnetId": subnet}),
        ("delete_vpc", {"VpcId": vpc}),
    ):
        with pytest.raises(ClientError) as held:
            getattr(ec2, operation)(**target)
        assert code(held) == "DependencyViolation"
    ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint])
    ec2.delete_security_group(GroupId=group)
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc)


def test_properties_that_moto_drops_come_back(cloud: Cloud, network: dict[str, Any]) -> None:
    kms, ec2 = cloud.client("kms"), cloud.client("ec2")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.enable_key_rotation(KeyId=key, RotationPeriodInDays=180)
    assert kms.get_key_rotation_status(KeyId=key)["RotationPeriodInDays"] == 180
    ec2.modify_subnet_attribute(SubnetId=network["subnets"][0], PrivateDnsHostnameTypeOnLaunch="resource-name")
    shown = ec2.describe_subnets(SubnetIds=[network["subnets"][0]])["Subnets"][0]
    assert shown["PrivateDnsNameOptionsOnLaunch"]["HostnameType"] == "resource-name"


def _manifest(letter: str) -> str:
    config = {
        "mediaType": "application/vnd.docker.container.image.v1+json",
        "size": 1,
        "digest": f"sha256:{letter * 64}",
    }
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": config,
            "layers": [],
        }
    )


def test_an_immutable_tag_stays_with_its_digest(cloud: Cloud) -> None:
    ecr = cloud.client("ecr")
    ecr.create_repository(repositoryName="models/x", imageTagMutability="IMMUTABLE")
    image = ecr.put_image(repositoryName="models/x", imageManifest=_manifest("a"), imageTag="v1")["image"]
    assert image["imageId"]["imageDigest"] == "sha256:" + hashlib.sha256(_manifest("a").encode()).hexdigest()
    with pytest.raises(ClientError) as moved:
        ecr.put_image(repositoryName="models/x", imageManifest=_manifest("b"), imageTag="v1")
    assert code(moved) == "ImageTagAlreadyExistsException"


def test_pull_through_rules_and_creation_templates(cloud: Cloud) -> None:
    ecr = cloud.client("ecr")
    with pytest.raises(ClientError, match="needs a credential"):
        ecr.create_pull_through_cache_rule(ecrRepositoryPrefix="docker-hub", upstreamRegistryUrl="registry-1.docker.io")
    secrets = cloud.client("secretsmanager")
    secret = secrets.create_secret(Name="ecr-pullthroughcache/hub", SecretString="{}")["ARN"]
    ecr.create_pull_through_cache_rule(
        ecrRepositoryPrefix="docker-hub", upstreamRegistryUrl="registry-1.docker.io", credentialArn=secret
    )
    rule = ecr.describe_pull_through_cache_rules(ecrRepositoryPrefixes=["docker-hub"])["pullThroughCacheRules"][0]
    assert (rule["upstreamRegistryUrl"], rule["credentialArn"], rule["upstreamRegistry"]) == (
        "registry-1.docker.io",
        secret,
        "docker-hub",
    )
    other = secrets.create_secret(Name="ecr-pullthroughcache/hub2", SecretString="{}")["ARN"]
    assert (
        ecr.update_pull_through_cache_rule(ecrRepositoryPrefix="docker-hub", credentialArn=other)["credentialArn"]
        == other
    )
    with pytest.raises(ClientError) as twice:
        ecr.create_pull_through_cache_rule(ecrRepositoryPrefix="docker-hub", upstreamRegistryUrl="quay.io")
    assert code(twice) == "PullThroughCacheRuleAlreadyExistsException"
    ecr.delete_pull_through_cache_rule(ecrRepositoryPrefix="docker-hub")
    with pytest.raises(ClientError) as gone:
        ecr.describe_pull_through_cache_rules(ecrRepositoryPrefixes=["docker-hub"])
    assert code(gone) == "PullThroughCacheRuleNotFoundException"

    ecr.create_repository_creation_template(
        prefix="docker-hub", appliedFor=["PULL_THROUGH_CACHE"], imageTagMutability="IMMUTABLE"
    )
    ecr.update_repository_creation_template(prefix="docker-hub", description="mirrors")
    template = ecr.describe_repository_creation_templates(prefixes=["docker-hub"])["repositoryCreationTemplates"][0]
    assert (template["description"], template["imageTagMutability"]) == ("mirrors", "IMMUTABLE")
    with pytest.raises(ClientError, match="needs a role"):
        ecr.create_repository_creation_template(
            prefix="k", appliedFor=["PULL_THROUGH_CACHE"], encryptionConfiguration={"encryptionType": "KMS"}
        )
    ecr.delete_repository_creation_template(prefix="docker-hub")
    assert ecr.describe_repository_creation_templates(prefixes=["docker-hub"])["repositoryCreationTemplates"] == []


def test_a_budget_with_notifications_subscribers_actions_and_tags(cloud: Cloud) -> None:
    budgets = cloud.client("budgets")
    at = {"AccountId": ACCOUNT_ID, "BudgetName": "tenant-a"}
    limit = {
        "BudgetName": "tenant-a",
        "BudgetType": "COST",
        "TimeUnit": "MONTHLY",
        "BudgetLimit": {"Amount": "100", "Unit": "USD"},
    }
    notice = {
        "NotificationType": "ACTUAL",
        "ComparisonOperator": "GREATER_THAN",
        "Threshold": 80,
        "ThresholdType": "PERCENTAGE",
    }
    topic = {"SubscriptionType": "SNS", "Address": f"arn:aws:sns:{REGION}:{ACCOUNT_ID}:alerts"}
    email = {"SubscriptionType": "EMAIL", "Address": "a@example.com"}
    budgets.create_budget(
        AccountId=ACCOUNT_ID,
        Budget=limit,
        ResourceTags=[{"Key": "a", "Value": "b"}],
        NotificationsWithSubscribers=[{"Notification": notice, "Subscribers": [topic]}],
    )
    with pytest.raises(ClientError) as twice:
        budgets.create_budget(AccountId=ACCOUNT_ID, Budget=limit)
    assert code(twice) == "DuplicateRecordException"
    budgets.update_budget(AccountId=ACCOUNT_ID, NewBudget={**limit, "BudgetLimit": {"Amount": "200", "Unit": "USD"}})
    shown = budgets.describe_budget(**at)["Budget"]
    assert shown["BudgetLimit"] == {"Amount": "200", "Unit": "USD"} and shown["CostTypes"]["IncludeTax"] is True
    assert [b["BudgetName"] for b in budgets.describe_budgets(AccountId=ACCOUNT_ID)["Budgets"]] == ["tenant-a"]

    budgets.create_subscriber(**at, Notification=notice, Subscriber=email)
    budgets.update_subscriber(
        **at, Notification=notice, OldSubscriber=email, NewSubscriber={**email, "Address": "b@example.com"}
    )
    assert len(budgets.describe_subscribers_for_notification(**at, Notification=notice)["Subscribers"]) == 2
    budgets.delete_subscriber(**at, Notification=notice, Subscriber={**email, "Address": "b@example.com"})
    budgets.create_notification(**at, Notification={**notice, "Threshold": 90}, Subscribers=[email])
    budgets.update_notification(
        **at, OldNotification={**notice, "Threshold": 90}, NewNotification={**notice, "Threshold": 95}
    )
    assert [n["Threshold"] for n in budgets.describe_notifications_for_budget(**at)["Notifications"]] == [80, 95]
    budgets.delete_notification(**at, Notification={**notice, "Threshold": 95})

    action = budgets.create_budget_action(
        **at,
        NotificationType="ACTUAL",
        ActionType="APPLY_IAM_POLICY",
        ApprovalModel="MANUAL",
        Subscribers=[email],
        ActionThreshold={"ActionThresholdValue": 100, "ActionThresholdType": "PERCENTAGE"},
        Definition={"IamActionDefinition": {"PolicyArn": "arn:aws:iam::aws:policy/AWSDenyAll", "Roles": ["x"]}},
        ExecutionRoleArn=f"arn:aws:iam::{ACCOUNT_ID}:role/budget",
    )["ActionId"]
    budgets.update_budget_action(**at, ActionId=action, ApprovalModel="AUTOMATIC")
    assert budgets.describe_budget_action(**at, ActionId=action)["Action"]["ApprovalModel"] == "AUTOMATIC"
    assert len(budgets.describe_budget_actions_for_budget(**at)["Actions"]) == 1
    budgets.delete_budget_action(**at, ActionId=action)
    arn = f"arn:aws:budgets::{ACCOUNT_ID}:budget/tenant-a"
    budgets.tag_resource(ResourceARN=arn, ResourceTags=[{"Key": "c", "Value": "d"}])
    budgets.untag_resource(ResourceARN=arn, ResourceTagKeys=["a"])
    assert budgets.list_tags_for_resource(ResourceARN=arn)["ResourceTags"] == [{"Key": "c", "Value": "d"}]
    budgets.delete_budget(**at)
    with pytest.raises(ClientError) as gone:
        budgets.describe_budget(**at)
    assert code(gone) == "NotFoundException"


def test_anomaly_monitors_subscriptions_and_cost_allocation_tags(cloud: Cloud) -> None:
    ce = cloud.client("ce")
    dimensional = {"MonitorName": "services", "MonitorType": "DIMENSIONAL", "MonitorDimension": "SERVICE"}
    monitor = ce.create_anomaly_monitor(AnomalyMonitor=dimensional, ResourceTags=[{"Key": "a", "Value": "b"}])[
        "MonitorArn"
    ]
    with pytest.raises(ClientError) as twice:
        ce.create_anomaly_monitor(AnomalyMonitor=dimensional)
    assert code(twice) == "LimitExceededException", "an account has one monitor of services"
    ce.update_anomaly_monitor(MonitorArn=monitor, MonitorName="all services")
    assert ce.get_anomaly_monitors(MonitorArnList=[monitor])["AnomalyMonitors"][0]["MonitorName"] == "all services"
    above = {
        "Dimensions": {
            "Key": "ANOMALY_TOTAL_IMPACT_ABSOLUTE",
            "MatchOptions": ["GREATER_THAN_OR_EQUAL"],
            "Values": ["100"],
        }
    }
    asked = {"SubscriptionName": "s", "MonitorArnList": [monitor], "Frequency": "DAILY", "ThresholdExpression": above}
    with pytest.raises(ClientError, match="email"):
        ce.create_anomaly_subscription(
            AnomalySubscription={
                **asked,
                "Subscribers": [{"Type": "SNS", "Address": f"arn:aws:sns:{REGION}:{ACCOUNT_ID}:x"}],
            }
        )
    made = ce.create_anomaly_subscription(
        AnomalySubscription={**asked, "Subscribers": [{"Type": "EMAIL", "Address": "a@example.com"}]}
    )["SubscriptionArn"]
    ce.update_anomaly_subscription(SubscriptionArn=made, Frequency="WEEKLY")
    assert ce.get_anomaly_subscriptions(MonitorArn=monitor)["AnomalySubscriptions"][0]["Frequency"] == "WEEKLY"
    ce.tag_resource(ResourceArn=monitor, ResourceTags=[{"Key": "c", "Value": "d"}])
    ce.untag_resource(ResourceArn=monitor, ResourceTagKeys=["a"])
    assert ce.list_tags_for_resource(ResourceArn=monitor)["ResourceTags"] == [{"Key": "c", "Value": "d"}]
    ce.delete_anomaly_subscription(SubscriptionArn=made)
    ce.delete_anomaly_monitor(MonitorArn=monitor)
    with pytest.raises(ClientError) as gone:
        ce.get_anomaly_monitors(MonitorArnList=[monitor])
    assert code(gone) == "UnknownMonitorException"
    ce.update_cost_allocation_tags_status(CostAllocationTagsStatus=[{"TagKey": "tenant", "Status": "Active"}])
    assert [t["TagKey"] for t in ce.list_cost_allocation_tags(Status="Active")["CostAllocationTags"]] == ["tenant"]


def test_gpu_quotas_have_their_real_codes_and_are_not_raised_by_asking(cloud: Cloud) -> None:
    quotas = cloud.client("service-quotas")
    at = {"ServiceCode": "ec2", "QuotaCode": "L-417A185B"}
    assert quotas.get_service_quota(**at)["Quota"]["QuotaName"] == "Running On-Demand P instances"
    request = quotas.request_service_quota_increase(**at, DesiredValue=192)["RequestedQuota"]
    assert request["Status"] == "PENDING"
    with pytest.raises(ClientError) as twice:
        quotas.request_service_quota_increase(**at, DesiredValue=384)
    assert code(twice) == "ResourceAlreadyExistsException"
    assert quotas.get_requested_service_quota_change(RequestId=request["Id"])["RequestedQuota"]["DesiredValue"] == 192
    assert len(quotas.list_requested_service_quota_change_history_by_quota(**at)["RequestedQuotas"]) == 1
    assert len(quotas.list_requested_service_quota_change_history(ServiceCode="ec2")["RequestedQuotas"]) == 1
    assert (
        quotas.get_service_quota(**at)["Quota"]["Value"] == quotas.get_aws_default_service_quota(**at)["Quota"]["Value"]
    )
    assert len(quotas.list_service_quotas(ServiceCode="ec2")["Quotas"]) == len(
        quotas.list_aws_default_service_quotas(ServiceCode="ec2")["Quotas"]
    )
    with pytest.raises(ClientError) as unknown:
        quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-00000000")
    assert code(unknown) == "NoSuchResourceException"


def test_image_parameters_of_eks_exist_and_others_do_not(cloud: Cloud) -> None:
    ssm = cloud.client("ssm")
    name = "/aws/service/eks/optimized-ami/1.36/amazon-linux-2023/x86_64/nvidia/recommended/image_id"
    image = ssm.get_parameter(Name=name)["Parameter"]["Value"]
    assert image.startswith("ami-0") and len(image) == 21
    ssm.put_parameter(Name="/mine", Value="x", Type="String")
    answer = ssm.get_parameters(Names=[name, "/mine", "/nope"])
    assert {p["Name"] for p in answer["Parameters"]} == {name, "/mine"} and answer["InvalidParameters"] == ["/nope"]
    with pytest.raises(ClientError) as unknown:
        ssm.get_parameter(Name=name.replace("1.36", "1.99"))
    assert code(unknown) == "ParameterNotFound"


def test_object_lock_in_compliance_mode_denies_the_deletion_of_a_version(cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(
        Bucket="locked-models",
        ObjectLockEnabledForBucket=True,
        CreateBucketConfiguration={"LocationConstraint": REGION},
    )
    s3.put_object_lock_configuration(
        Bucket="locked-models",
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}},
        },
    )
    version = s3.put_object(Bucket="locked-models", Key="a/b c+d", Body=b"weights")["VersionId"]
    assert s3.get_object(Bucket="locked-models", Key="a/b c+d")["Body"].read() == b"weights"
    with pytest.raises(ClientError) as denied:
        s3.delete_object(Bucket="locked-models", Key="a/b c+d", VersionId=version)
    assert code(denied) == "AccessDenied"


def test_a_trust_policy_that_is_not_a_policy_is_refused(cloud: Cloud) -> None:
    for text in ("{nope", "[]", '{"Version":"2012-10-17","Statement":[{"Effect":"Maybe"}]}'):
        with pytest.raises(ClientError) as error:
            cloud.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=text)
        assert code(error) == "MalformedPolicyDocument"


def test_log_groups_keep_events_for_a_period_that_exists(cloud: Cloud) -> None:
    logs = cloud.client("logs")
    logs.create_log_group(logGroupName="/g")
    with pytest.raises(ClientError) as error:
        logs.put_retention_policy(logGroupName="/g", retentionInDays=31)
    assert code(error) == "InvalidParameterException"
    logs.put_retention_policy(logGroupName="/g", retentionInDays=30)
