"""Every type of the table through its whole life against the sandbox's AWS: create, second preview, refresh, import,
a change of tags, delete."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from headrace_sandbox.aws_provider.table import TYPES
from headrace_sandbox.plugin import provider as api
from tests.engine.aws_provider.driver import Driver, Made

pytestmark = pytest.mark.engine

# Types whose deletion only forgets them, with the official provider too (or goes back to a state that AWS always has).
STAYS = {
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
    "aws:ec2/capacityBlockReservation:CapacityBlockReservation",
    "aws:ec2/vpcEndpointPolicy:VpcEndpointPolicy",
    "aws:costexplorer/costAllocationTag:CostAllocationTag",
    "aws:ecr/registryScanningConfiguration:RegistryScanningConfiguration",
    "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration",
    "aws:s3/bucketVersioning:BucketVersioning",
    "aws:savingsplans/savingsPlan:SavingsPlan",
    "aws:secretsmanager/secretVersion:SecretVersion",
    "aws:servicequotas/serviceQuota:ServiceQuota",
    "aws:sns/topicPolicy:TopicPolicy",
}


def policy(action: str, resource: str) -> str:
    root = {"AWS": "arn:aws:iam::123456789012:root"}
    statement = {"Effect": "Allow", "Principal": root, "Action": action, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def trust(service: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": [service]}, "Action": ["sts:AssumeRole"]}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class Life:
    """Makes resources and holds each to the rules that all share."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.met: set[str] = set()

    def __call__(
        self, kind: str, name: str, inputs: Mapping[str, Any], *, identity: Callable[[Made], str] | None = None
    ) -> Made:
        service, _, short = kind.partition(".")
        token = next(t for t in TYPES if t.startswith(f"aws:{service}/") and t.endswith(f":{short}"))
        spec = TYPES[token]
        wanted = dict(inputs)
        if spec.tags is not None:
            wanted.setdefault("tags", {"owner": "test"})
        made = self.driver.create(token, name, wanted)
        self.met.add(token)
        assert made.changes(wanted) == {}, f"{token}: a second preview changes something"
        assert made.refresh(), f"{token}: it exists"
        assert made.changes(wanted) == {}, f"{token}: a refresh finds drift where there is none"
        found = made.imported(identity(made) if identity else None)
        assert found.id == made.id
        steering = spec.local | spec.write_only
        drift = {k: v for k, v in found.changes(wanted).items() if k.partition(".")[0] not in steering}
        assert drift == {}, f"{token}: an import finds what the program says"
        if spec.tags is not None:
            made.update({**wanted, "tags": {"owner": "other", "more": "1"}})
            assert made.refresh()
            assert made["tags"] == {"owner": "other", "more": "1"}, f"{token}: tags change in place"
            assert made["tagsAll"] == {"owner": "other", "more": "1", "stack": "test"}
        return made

    def end(self) -> None:
        """Deletes everything, last first; nothing may be left, and a second delete is no error."""
        while self.driver.made:
            made = self.driver.made.pop()
            made.delete()
            if made.token not in STAYS:
                assert not made.refresh(), f"{made.token}: it is gone"
                made.delete()


@pytest.fixture
def life(driver: Driver) -> Life:
    return Life(driver)


def test_network_types_live_their_whole_life(life: Life) -> None:
    vpc = life("ec2.Vpc", "v", {"cidrBlock": "10.0.0.0/16", "enableDnsHostnames": True})
    life("ec2.DefaultSecurityGroup", "closed", {"vpcId": vpc.id})
    subnets = [
        life(
            "ec2.Subnet", f"s{i}", {"vpcId": vpc.id, "cidrBlock": f"10.0.{i}.0/24", "availabilityZone": f"us-east-1{z}"}
        )
        for i, z in ((1, "a"), (2, "b"))
    ]
    gateway = life("ec2.InternetGateway", "g", {"vpcId": vpc.id})
    address = life("ec2.Eip", "e", {"domain": "vpc"})
    nat = life("ec2.NatGateway", "n", {"allocationId": address.id, "subnetId": subnets[0].id})
    table = life("ec2.RouteTable", "t", {"vpcId": vpc.id})
    life("ec2.RouteTable", "i", {"vpcId": vpc.id, "routes": [{"cidrBlock": "0.0.0.0/0", "gatewayId": gateway.id}]})
    life(
        "ec2.Route",
        "r",
        {"routeTableId": table.id, "destinationCidrBlock": "0.0.0.0/0", "natGatewayId": nat.id},
        identity=lambda _: f"{table.id}_0.0.0.0/0",
    )
    life(
        "ec2.RouteTableAssociation",
        "a",
        {"routeTableId": table.id, "subnetId": subnets[1].id},
        identity=lambda _: f"{subnets[1].id}/{table.id}",
    )
    group = life("ec2.SecurityGroup", "plain", {"vpcId": vpc.id, "description": "x"})
    rules = [{"protocol": "tcp", "fromPort": 443, "toPort": 443, "cidrBlocks": ["10.0.0.0/8"]}]
    other = life("ec2.SecurityGroup", "inline", {"vpcId": vpc.id, "ingress": rules})
    port = {"ipProtocol": "tcp", "fromPort": 443, "toPort": 443}
    life("vpc.SecurityGroupIngressRule", "in", {"securityGroupId": group.id, "cidrIpv4": "10.0.0.0/16", **port})
    everything = {"securityGroupId": group.id, "ipProtocol": "-1", "referencedSecurityGroupId": other.id}
    life("vpc.SecurityGroupEgressRule", "out", everything)
    endpoint = {"vpcId": vpc.id, "serviceName": "com.amazonaws.us-east-1.ecr.api", "vpcEndpointType": "Interface"}
    where = {"subnetIds": [s.id for s in subnets], "securityGroupIds": [group.id], "privateDnsEnabled": True}
    life("ec2.VpcEndpoint", "interface", {**endpoint, **where})
    s3 = life(
        "ec2.VpcEndpoint",
        "gateway",
        {"vpcId": vpc.id, "serviceName": "com.amazonaws.us-east-1.s3", "routeTableIds": [table.id]},
    )
    everyone = json.dumps({"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]})
    life("ec2.VpcEndpointPolicy", "p", {"vpcEndpointId": s3.id, "policy": everyone})
    logs = life("cloudwatch.LogGroup", "l", {"retentionInDays": 30})
    role = life("iam.Role", "flow", {"assumeRolePolicy": trust("vpc-flow-logs.amazonaws.com")})
    life(
        "ec2.FlowLog",
        "f",
        {"vpcId": vpc.id, "trafficType": "ALL", "logDestination": logs["arn"], "iamRoleArn": role["arn"]},
    )
    life("ec2.PlacementGroup", "near", {"strategy": "cluster"})
    kind = {"instanceType": "p5.48xlarge", "instancePlatform": "Linux/UNIX", "availabilityZone": "us-east-1a"}
    life("ec2.CapacityReservation", "r", {**kind, "instanceCount": 1})
    life.end()


def test_cluster_types_live_their_whole_life(life: Life) -> None:
    vpc = life("ec2.Vpc", "v", {"cidrBlock": "10.1.0.0/16"})
    subnets = [
        life(
            "ec2.Subnet", f"s{i}", {"vpcId": vpc.id, "cidrBlock": f"10.1.{i}.0/24", "availabilityZone": f"us-east-1{z}"}
        )
        for i, z in ((1, "a"), (2, "b"))
    ]
    where = [s.id for s in subnets]
    role = life("iam.Role", "cluster", {"assumeRolePolicy": trust("eks.amazonaws.com"), "description": "d"})
    nodes = life("iam.Role", "nodes", {"assumeRolePolicy": trust("ec2.amazonaws.com")})
    person = life(
        "iam.Role", "person", {"assumeRolePolicy": policy("sts:AssumeRole", "*").replace(', "Resource": "*"', "")}
    )
    inline = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}})
    life("iam.RolePolicy", "inline", {"role": role.id, "policy": inline})
    life("iam.Policy", "managed", {"policy": inline})
    managed = "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"
    life("iam.RolePolicyAttachment", "a", {"role": role.id, "policyArn": managed})
    life("iam.InstanceProfile", "p", {"role": nodes.id})
    key = life("kms.Key", "k", {"description": "k", "enableKeyRotation": True, "deletionWindowInDays": 7})
    life("kms.Alias", "alias", {"name": "alias/life", "targetKeyId": key["keyId"]})
    cluster = life(
        "eks.Cluster",
        "c",
        {
            "roleArn": role["arn"],
            "vpcConfig": {"subnetIds": where, "endpointPrivateAccess": True, "endpointPublicAccess": False},
            "accessConfig": {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False},
            "encryptionConfig": {"provider": {"keyArn": key["arn"]}, "resources": ["secrets"]},
            "enabledClusterLogTypes": ["api", "audit"],
            "deletionProtection": False,
            "upgradePolicy": {"supportType": "STANDARD"},
            "zonalShiftConfig": {"enabled": True},
            "kubernetesNetworkConfig": {"ipFamily": "ipv4", "serviceIpv4Cidr": "172.20.0.0/16"},
        },
    )
    template = life(
        "ec2.LaunchTemplate",
        "t",
        {
            "blockDeviceMappings": [
                {"deviceName": "/dev/xvda", "ebs": {"volumeSize": 200, "volumeType": "gp3", "encrypted": "true"}}
            ],
            "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
            "monitoring": {"enabled": True},
            "tagSpecifications": [{"resourceType": "instance", "tags": {"Name": "gpu"}}],
            "userData": "aGVsbG8=",
        },
    )
    group = life(
        "eks.NodeGroup",
        "g",
        {
            "clusterName": cluster.id,
            "nodeRoleArn": nodes["arn"],
            "subnetIds": where,
            "instanceTypes": ["g6e.xlarge"],
            "amiType": "AL2023_x86_64_NVIDIA",
            "scalingConfig": {"minSize": 1, "desiredSize": 1, "maxSize": 3},
            "nodeRepairConfig": {"enabled": True},
            "labels": {"a": "b"},
            "taints": [{"key": "nvidia.com/gpu", "value": "true", "effect": "NO_SCHEDULE"}],
            "launchTemplate": {"id": template.id, "version": str(template["latestVersion"])},
        },
    )
    addon = {"clusterName": cluster.id, "addonName": "vpc-cni", "configurationValues": '{"env":{"A":"b"}}'}
    account = {"roleArn": role["arn"], "serviceAccount": "aws-node"}
    life("eks.Addon", "cni", {**addon, "resolveConflictsOnCreate": "OVERWRITE", "podIdentityAssociations": [account]})
    who = {"clusterName": cluster.id, "principalArn": person["arn"]}
    life("eks.AccessEntry", "e", {**who, "kubernetesGroups": ["viewers"]})
    admin = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
    life("eks.AccessPolicyAssociation", "admin", {**who, "policyArn": admin, "accessScope": {"type": "cluster"}})
    life(
        "eks.PodIdentityAssociation",
        "pod",
        {"clusterName": cluster.id, "namespace": "n", "serviceAccount": "s", "roleArn": role["arn"]},
        identity=lambda made: f"{cluster.id},{made.id}",
    )
    asg = group["resources"][0]["autoscalingGroups"][0]["name"]
    hours = {"recurrence": "0 7 * * MON-FRI", "timeZone": "Europe/Berlin", "minSize": 1, "maxSize": 2}
    life(
        "autoscaling.Schedule",
        "morning",
        {"scheduledActionName": "morning", "autoscalingGroupName": asg, **hours},
        identity=lambda made: f"{asg}/{made.id}",
    )
    life(
        "autoscaling.Tag",
        "t",
        {"autoscalingGroupName": asg, "tag": {"key": "k", "value": "v", "propagateAtLaunch": True}},
    )
    life.end()


def test_storage_and_registry_types_live_their_whole_life(life: Life) -> None:
    key = life("kms.Key", "k", {"description": "k"})
    bucket = life("s3.Bucket", "locked", {"objectLockEnabled": True, "forceDestroy": True})
    plain = life("s3.Bucket", "plain", {})
    life("s3.BucketVersioning", "v", {"bucket": plain.id, "versioningConfiguration": {"status": "Enabled"}})
    by_default = {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": key["arn"]}
    rule = {"applyServerSideEncryptionByDefault": by_default, "bucketKeyEnabled": True}
    life("s3.BucketServerSideEncryptionConfiguration", "e", {"bucket": bucket.id, "rules": [rule]})
    life(
        "s3.BucketPublicAccessBlock", "b", {"bucket": bucket.id, "blockPublicAcls": True, "restrictPublicBuckets": True}
    )
    life("s3.BucketOwnershipControls", "o", {"bucket": bucket.id, "rule": {"objectOwnership": "BucketOwnerEnforced"}})
    retention = {"defaultRetention": {"mode": "COMPLIANCE", "days": 30}}
    life("s3.BucketObjectLockConfiguration", "l", {"bucket": bucket.id, "rule": retention})
    expire = {"abortIncompleteMultipartUpload": {"daysAfterInitiation": 7}, "filter": {"prefix": "x/"}}
    life(
        "s3.BucketLifecycleConfiguration",
        "c",
        {"bucket": bucket.id, "rules": [{"id": "r", "status": "Enabled", **expire}]},
    )
    life("s3.BucketPolicy", "p", {"bucket": bucket.id, "policy": policy("s3:GetObject", f"{bucket['arn']}/*")})
    encryption = [{"encryptionType": "KMS", "kmsKey": key["arn"]}]
    immutable = {"imageTagMutability": "IMMUTABLE", "encryptionConfigurations": encryption}
    repository = life("ecr.Repository", "r", {**immutable, "imageScanningConfiguration": {"scanOnPush": True}})
    selection = {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 1}
    keep = json.dumps({"rules": [{"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}]})
    life("ecr.LifecyclePolicy", "l", {"repository": repository.id, "policy": keep})
    pull = {"Sid": "x", "Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage"}
    text = json.dumps({"Version": "2008-10-17", "Statement": [pull]})
    life("ecr.RepositoryPolicy", "p", {"repository": repository.id, "policy": text})
    life("ecr.PullThroughCacheRule", "c", {"ecrRepositoryPrefix": "quay", "upstreamRegistryUrl": "quay.io"})
    life(
        "ecr.RepositoryCreationTemplate",
        "t",
        {"prefix": "quay", "appliedFors": ["PULL_THROUGH_CACHE"], "description": "d"},
    )
    scan = {"scanFrequency": "SCAN_ON_PUSH", "repositoryFilters": [{"filter": "*", "filterType": "WILDCARD"}]}
    life("ecr.RegistryScanningConfiguration", "s", {"scanType": "BASIC", "rules": [scan]})
    secret = life("secretsmanager.Secret", "s", {"description": "d", "recoveryWindowInDays": 0})
    life("secretsmanager.SecretVersion", "v", {"secretId": secret.id, "secretString": "hunter22"})
    life.end()


def test_data_stores_live_their_whole_life(life: Life) -> None:
    vpc = life("ec2.Vpc", "data", {"cidrBlock": "10.77.0.0/16"})
    subnets = [
        life(
            "ec2.Subnet",
            f"data-{letter}",
            {"vpcId": vpc.id, "cidrBlock": f"10.77.{at}.0/24", "availabilityZone": f"us-east-1{letter}"},
        ).id
        for at, letter in enumerate("ab")
    ]
    group = life("ec2.SecurityGroup", "data", {"vpcId": vpc.id, "description": "d"})
    key = life("kms.Key", "data", {"deletionWindowInDays": 7})
    cache_subnets = life("elasticache.SubnetGroup", "cache", {"subnetIds": subnets})
    setting = {"family": "valkey8", "parameters": [{"name": "maxmemory-policy", "value": "noeviction"}]}
    parameters = life("elasticache.ParameterGroup", "cache", setting)
    parameters.update({**setting, "parameters": [{"name": "timeout", "value": "300"}]})
    assert parameters["parameters"] == [{"name": "timeout", "value": "300"}], "what is no longer named is reset"
    wanted = {
        "description": "d",
        "engine": "valkey",
        "engineVersion": "8.0",
        "nodeType": "cache.t4g.small",
        "numCacheClusters": 2,
        "automaticFailoverEnabled": True,
        "multiAzEnabled": True,
        "atRestEncryptionEnabled": True,
        "transitEncryptionEnabled": True,
        "kmsKeyId": key["arn"],
        "authToken": "sixteen-letters-or-more",
        "parameterGroupName": parameters.id,
        "subnetGroupName": cache_subnets.id,
        "securityGroupIds": [group.id],
    }
    cache = life("elasticache.ReplicationGroup", "cache", wanted)
    assert cache["primaryEndpointAddress"].endswith(".cache.amazonaws.com")
    assert len(cache["memberClusters"]) == 2
    cache.update({**wanted, "numCacheClusters": 3, "snapshotRetentionLimit": 2})
    assert (len(cache["memberClusters"]), cache["snapshotRetentionLimit"]) == (3, 2), "it grows in place"
    changes = cache.changes({**wanted, "numCacheClusters": 3, "snapshotRetentionLimit": 2, "kmsKeyId": "arn:other"})
    assert changes == {"kmsKeyId": True}, "another key needs another group"
    database_subnets = life("rds.SubnetGroup", "db", {"subnetIds": subnets})
    ssl = {"family": "postgres17", "parameters": [{"name": "rds.force_ssl", "value": "1", "applyMethod": "immediate"}]}
    database_parameters = life("rds.ParameterGroup", "db", ssl)
    wanted = {
        "engine": "postgres",
        "engineVersion": "17",
        "instanceClass": "db.t4g.micro",
        "allocatedStorage": 20,
        "maxAllocatedStorage": 100,
        "storageType": "gp3",
        "storageEncrypted": True,
        "kmsKeyId": key["arn"],
        "dbName": "headrace",
        "username": "master",
        "manageMasterUserPassword": True,
        "masterUserSecretKmsKeyId": key["arn"],
        "multiAz": True,
        "backupRetentionPeriod": 7,
        "dbSubnetGroupName": database_subnets.id,
        "parameterGroupName": database_parameters.id,
        "vpcSecurityGroupIds": [group.id],
        "enabledCloudwatchLogsExports": ["postgresql"],
        "skipFinalSnapshot": True,
    }
    database = life("rds.Instance", "db", wanted, identity=lambda made: str(made["identifier"]))
    assert database["endpoint"] == f"{database['address']}:{database['port']}"
    assert database["masterUserSecrets"][0]["secretArn"].startswith("arn:aws:secretsmanager:")
    database.update({**wanted, "backupRetentionPeriod": 14, "enabledCloudwatchLogsExports": ["postgresql", "upgrade"]})
    assert database["backupRetentionPeriod"] == 14
    assert database["enabledCloudwatchLogsExports"] == ["postgresql", "upgrade"]
    life.end()


def test_message_watch_and_spend_types_live_their_whole_life(life: Life) -> None:
    topic = life("sns.Topic", "t", {"displayName": "d"})
    life("sns.Topic", "fifo", {"fifoTopic": True, "contentBasedDeduplication": True})
    life("sns.TopicPolicy", "p", {"arn": topic["arn"], "policy": policy("sns:Publish", topic["arn"])})
    queue = life("sqs.Queue", "q", {"messageRetentionSeconds": 300})
    life("sqs.QueuePolicy", "p", {"queueUrl": queue["url"], "policy": policy("sqs:SendMessage", queue["arn"])})
    life("sns.TopicSubscription", "s", {"topic": topic["arn"], "protocol": "sqs", "endpoint": queue["arn"]})
    rule = life("cloudwatch.EventRule", "r", {"eventPattern": '{"source":["aws.ec2"]}'})
    target = {"rule": rule.id, "arn": queue["arn"]}
    life("cloudwatch.EventTarget", "t", target, identity=lambda made: f"default/{rule.id}/{made['targetId']}")
    metric = {"metricName": "X", "namespace": "N", "period": 60, "statistic": "Sum", "dimensions": {"A": "b"}}
    above = {"comparisonOperator": "GreaterThanThreshold", "evaluationPeriods": 2, "threshold": 1.5}
    life("cloudwatch.MetricAlarm", "m", {**metric, **above, "alarmActions": [topic["arn"]]})
    life("cloudwatch.Dashboard", "d", {"dashboardName": "dash", "dashboardBody": '{"widgets":[]}'})
    notice = {"comparisonOperator": "GREATER_THAN", "threshold": 80, "thresholdType": "PERCENTAGE"}
    to = {"notificationType": "ACTUAL", "subscriberSnsTopicArns": [topic["arn"]]}
    money = {"budgetType": "COST", "limitAmount": "100", "limitUnit": "USD", "timeUnit": "MONTHLY"}
    filters = [{"name": "TagKeyValue", "values": ["user:tenant$a"]}]
    budget = life("budgets.Budget", "b", {**money, "costFilters": filters, "notifications": [notice | to]})
    budget.update({**money, "costFilters": filters, "notifications": [notice | to | {"threshold": 90}]})
    assert budget["notifications"][0]["threshold"] == 90, "a threshold changes in place"
    tags = '{"Tags":{"Key":"env","Values":["x"]}}'
    monitor = life("costexplorer.AnomalyMonitor", "m", {"monitorType": "CUSTOM", "monitorSpecification": tags})
    threshold = {"key": "ANOMALY_TOTAL_IMPACT_ABSOLUTE", "matchOptions": ["GREATER_THAN_OR_EQUAL"], "values": ["100"]}
    life(
        "costexplorer.AnomalySubscription",
        "s",
        {
            "frequency": "IMMEDIATE",
            "monitorArnLists": [monitor["arn"]],
            "subscribers": [{"type": "SNS", "address": topic["arn"]}],
            "thresholdExpression": {"dimension": threshold},
        },
    )
    life("costexplorer.CostAllocationTag", "t", {"tagKey": "tenant", "status": "Active"})
    life("servicequotas.ServiceQuota", "q", {"serviceCode": "ec2", "quotaCode": "L-417A185B", "value": 1152})
    life.end()


def test_a_delete_that_aws_refuses_says_why(driver: Driver) -> None:
    vpc = driver.create("aws:ec2/vpc:Vpc", "v", {"cidrBlock": "10.9.0.0/16"})
    driver.create("aws:ec2/subnet:Subnet", "s", {"vpcId": vpc.id, "cidrBlock": "10.9.1.0/24"})
    request = api.DeleteRequest(**driver.who(vpc.token, vpc.name), id=vpc.id, inputs={}, state=vpc.state, timeout_s=1)
    with pytest.raises(api.ProviderError, match="DependencyViolation"):
        driver.provider.delete(request)


def test_an_account_that_is_ruled_out_is_left_alone(driver: Driver) -> None:
    driver.provider.configure({"region": "us-east-1", "allowedAccountIds": '["999999999999"]'})
    with pytest.raises(api.ProviderError, match="account ID not allowed"):
        driver.create("aws:ec2/vpc:Vpc", "v", {"cidrBlock": "10.7.0.0/16"})


def test_what_is_made_for_a_dead_engine_is_undone(driver: Driver, aws: Callable[..., Any]) -> None:
    before = {v["VpcId"] for v in aws("ec2").describe_vpcs()["Vpcs"]}
    driver.provider._parent = -1  # as if the engine had gone: we are somebody else's child now
    token = "aws:ec2/vpc:Vpc"
    inputs = driver.check(token, "v", {"cidrBlock": "10.8.0.0/16"})
    driver.provider.create(api.CreateRequest(**driver.who(token, "v"), inputs=inputs, preview=False))
    assert {v["VpcId"] for v in aws("ec2").describe_vpcs()["Vpcs"]} == before, "nobody would ever delete it"


def test_the_committed_declarations_are_the_installed_sdks() -> None:
    from headrace_sandbox.aws_provider.sdk_generate import TYPES_FILE, generate, render

    assert render(generate(list(TYPES))) == TYPES_FILE.read_text(), (
        "run python -m headrace_sandbox.aws_provider.sdk_generate"
    )
