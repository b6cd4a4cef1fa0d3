"""What exists in the sandbox's account and cluster, asked of both directly and not of the engine.

`aws_ids` are pairs of a type as the engine calls it and an id as its state has it, so that the two can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from headrace_sandbox.kubernetes_provider.client import ApiError, Client

Pair = tuple[str, str]
Boto = Callable[[str], Any]
ACCOUNT: Final = "123456789012"

_EC2: Final = {
    "ec2/vpc:Vpc": ("describe_vpcs", "Vpcs", "VpcId"),
    "ec2/subnet:Subnet": ("describe_subnets", "Subnets", "SubnetId"),
    "ec2/internetGateway:InternetGateway": ("describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
    "ec2/eip:Eip": ("describe_addresses", "Addresses", "AllocationId"),
    "ec2/launchTemplate:LaunchTemplate": ("describe_launch_templates", "LaunchTemplates", "LaunchTemplateId"),
    "ec2/flowLog:FlowLog": ("describe_flow_logs", "FlowLogs", "FlowLogId"),
}
# The control plane's own: written by components of the cluster, or derived from what is compared already.
_DERIVED: Final = frozenset(
    {
        "Event",
        "Lease",
        "Pod",
        "ReplicaSet",
        "ControllerRevision",
        "Endpoints",
        "EndpointSlice",
        "PodMetrics",
        "NodeMetrics",
        "ComponentStatus",
    }
)


def aws_ids(boto: Boto) -> set[Pair]:
    """What somebody asked for: every resource in the client's region, of each type that the platform uses."""
    found = [*_ec2(boto("ec2")), *_cluster(boto("eks")), *_registry(boto("ecr")), *_keys(boto("kms"))]
    return {(f"aws:{kind}", identity) for kind, identity in [*found, *_watching(boto), *_others(boto)]}


def aws_made(boto: Boto) -> set[Pair]:
    """What AWS makes on its own as a part of something that was asked for, and takes away with it."""
    ec2 = boto("ec2")
    found = {("interface", one["NetworkInterfaceId"]) for one in ec2.describe_network_interfaces()["NetworkInterfaces"]}
    found |= {("security group", one["GroupId"]) for one in ec2.describe_security_groups()["SecurityGroups"]}
    found |= {("route table", one["RouteTableId"]) for one in ec2.describe_route_tables()["RouteTables"]}
    groups = boto("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    balancers = boto("elbv2").describe_load_balancers()["LoadBalancers"]
    found |= {("load balancer", one["LoadBalancerName"]) for one in balancers}
    found |= {("secret of a database", name) for name in _secrets(boto) if name.startswith("rds!")}
    found |= {("scaling group", one["AutoScalingGroupName"]) for one in groups}
    for reservation in ec2.describe_instances()["Reservations"]:
        for machine in reservation["Instances"]:
            if machine["State"]["Name"] != "terminated":
                found.add(("instance", machine["InstanceId"]))
    return found


def _ec2(ec2: Any) -> Iterator[Pair]:
    for kind, (operation, listed, key) in _EC2.items():
        yield from ((kind, str(item[key])) for item in getattr(ec2, operation)()[listed])
    for table in ec2.describe_route_tables()["RouteTables"]:
        if not any(one.get("Main") for one in table["Associations"]):
            yield "ec2/routeTable:RouteTable", table["RouteTableId"]
    for group in ec2.describe_security_groups()["SecurityGroups"]:
        if group["GroupName"] != "default" and not group["GroupName"].startswith("eks-cluster-sg-"):
            yield "ec2/securityGroup:SecurityGroup", group["GroupId"]
    for gateway in ec2.describe_nat_gateways()["NatGateways"]:
        if gateway["State"] != "deleted":
            yield "ec2/natGateway:NatGateway", gateway["NatGatewayId"]
    for endpoint in ec2.describe_vpc_endpoints()["VpcEndpoints"]:
        if endpoint["State"] != "deleted":
            yield "ec2/vpcEndpoint:VpcEndpoint", endpoint["VpcEndpointId"]


def _cluster(eks: Any) -> Iterator[Pair]:
    for cluster in eks.list_clusters()["clusters"]:
        yield "eks/cluster:Cluster", cluster
        for group in eks.list_nodegroups(clusterName=cluster)["nodegroups"]:
            yield "eks/nodeGroup:NodeGroup", f"{cluster}:{group}"
        for addon in eks.list_addons(clusterName=cluster)["addons"]:
            yield "eks/addon:Addon", f"{cluster}:{addon}"
        for entry in eks.list_access_entries(clusterName=cluster)["accessEntries"]:
            described = eks.describe_access_entry(clusterName=cluster, principalArn=entry)["accessEntry"]
            if described["type"] == "STANDARD":  # EKS makes the one of the nodes' role
                yield "eks/accessEntry:AccessEntry", f"{cluster}:{entry}"
        for one in eks.list_pod_identity_associations(clusterName=cluster)["associations"]:
            if "ownerArn" not in one:  # else an add-on's
                yield "eks/podIdentityAssociation:PodIdentityAssociation", one["associationId"]


def _others(boto: Boto) -> Iterator[Pair]:
    for page in boto("iam").get_paginator("list_roles").paginate():
        yield from (("iam/role:Role", role["RoleName"]) for role in page["Roles"])
    yield from (("s3/bucket:Bucket", bucket["Name"]) for bucket in boto("s3").list_buckets()["Buckets"])
    for one in boto("secretsmanager").list_secrets()["SecretList"]:
        if one["Name"].startswith("headrace/"):
            yield "secretsmanager/secret:Secret", one["ARN"]
    caches = boto("elasticache")
    for group in caches.describe_replication_groups()["ReplicationGroups"]:
        yield "elasticache/replicationGroup:ReplicationGroup", group["ReplicationGroupId"]
    for subnets in caches.describe_cache_subnet_groups()["CacheSubnetGroups"]:
        yield "elasticache/subnetGroup:SubnetGroup", subnets["CacheSubnetGroupName"]
    for parameters in caches.describe_cache_parameter_groups()["CacheParameterGroups"]:
        yield "elasticache/parameterGroup:ParameterGroup", parameters["CacheParameterGroupName"]
    databases = boto("rds")
    for database in databases.describe_db_instances()["DBInstances"]:
        yield "rds/instance:Instance", database["DbiResourceId"]
    for subnets in databases.describe_db_subnet_groups()["DBSubnetGroups"]:
        yield "rds/subnetGroup:SubnetGroup", subnets["DBSubnetGroupName"]
    for parameters in databases.describe_db_parameter_groups()["DBParameterGroups"]:
        if not parameters["DBParameterGroupName"].startswith("default."):
            yield "rds/parameterGroup:ParameterGroup", parameters["DBParameterGroupName"]


def _secrets(boto: Boto) -> set[str]:
    return {str(one["Name"]) for one in boto("secretsmanager").list_secrets()["SecretList"]}


def _keys(kms: Any) -> Iterator[Pair]:
    for key in kms.list_keys()["Keys"]:
        described = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
        if described["KeyState"] != "PendingDeletion" and described["KeyManager"] == "CUSTOMER":
            yield "kms/key:Key", key["KeyId"]
    for alias in kms.list_aliases()["Aliases"]:
        if not alias["AliasName"].startswith("alias/aws/"):
            yield "kms/alias:Alias", alias["AliasName"]


def _watching(boto: Boto) -> Iterator[Pair]:
    for page in boto("logs").get_paginator("describe_log_groups").paginate():
        yield from (("cloudwatch/logGroup:LogGroup", group["logGroupName"]) for group in page["logGroups"])
    sns = boto("sns")
    yield from (("sns/topic:Topic", topic["TopicArn"]) for topic in sns.list_topics()["Topics"])
    for subscription in sns.list_subscriptions()["Subscriptions"]:
        yield "sns/topicSubscription:TopicSubscription", subscription["SubscriptionArn"]
    for budget in boto("budgets").describe_budgets(AccountId=ACCOUNT).get("Budgets", []):
        yield "budgets/budget:Budget", f"{ACCOUNT}:{budget['BudgetName']}"
    costs = boto("ce")
    for monitor in costs.get_anomaly_monitors()["AnomalyMonitors"]:
        yield "costexplorer/anomalyMonitor:AnomalyMonitor", monitor["MonitorArn"]
    for watch in costs.get_anomaly_subscriptions()["AnomalySubscriptions"]:
        yield "costexplorer/anomalySubscription:AnomalySubscription", watch["SubscriptionArn"]


def _registry(ecr: Any) -> Iterator[Pair]:
    yield from (
        ("ecr/repository:Repository", one["repositoryName"]) for one in ecr.describe_repositories()["repositories"]
    )
    for rule in ecr.describe_pull_through_cache_rules()["pullThroughCacheRules"]:
        yield "ecr/pullThroughCacheRule:PullThroughCacheRule", rule["ecrRepositoryPrefix"]
    for template in ecr.describe_repository_creation_templates()["repositoryCreationTemplates"]:
        yield "ecr/repositoryCreationTemplate:RepositoryCreationTemplate", template["prefix"]


def kubernetes_objects(client: Client) -> set[str]:
    """Every object of the cluster that somebody asked for, as `kind namespace/name`, custom resources included."""
    found = set()
    for root in _versions(client):
        for resource in client.request("GET", root).get("resources", []):
            if "list" not in resource["verbs"] or "/" in resource["name"] or resource["kind"] in _DERIVED:
                continue
            for item in client.list(f"{root}/{resource['name']}"):
                metadata = item["metadata"]
                found.add(f"{resource['kind']} {metadata.get('namespace', '')}/{metadata['name']}")
    return found


def _versions(client: Client) -> Iterator[str]:
    yield "/api/v1"
    for group in client.request("GET", "/apis")["groups"]:
        yield f"/apis/{group['preferredVersion']['groupVersion']}"


def nodes(client: Client, group: str) -> list[dict[str, Any]]:
    """The nodes of an EKS node group."""
    found: list[dict[str, Any]] = client.list("/api/v1/nodes", labelSelector=f"eks.amazonaws.com/nodegroup={group}")
    return found


def delete(client: Client, path: str) -> None:
    """Delete an object as somebody with kubectl would; one that is gone already is no error."""
    try:
        client.request("DELETE", path)
    except ApiError as refusal:
        if refusal.code != 404:
            raise
