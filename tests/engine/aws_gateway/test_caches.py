"""ElastiCache as the gateway serves it, what it refuses, and the login that RDS keeps."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from headrace.audit.sinks.migrate import login_of
from headrace.errors import Refused
from tests.engine.aws_gateway.conftest import Cloud, make_network

pytestmark = pytest.mark.engine


def until_available(client: Any, name: str) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while True:
        group: dict[str, Any] = client.describe_replication_groups(ReplicationGroupId=name)["ReplicationGroups"][0]
        if group["Status"] == "available":
            return group
        assert time.monotonic() < deadline, group["Status"]
        time.sleep(0.05)


def test_a_replication_group_lives_in_its_groups_and_keeps_them(cloud: Cloud) -> None:
    cache, network = cloud.client("elasticache"), make_network(cloud, 41)  # nothing else stands in its subnets
    subnets = {"CacheSubnetGroupDescription": "d", "SubnetIds": network["subnets"][:2]}
    cache.create_cache_subnet_group(CacheSubnetGroupName="Stores", **subnets)
    cache.modify_cache_subnet_group(CacheSubnetGroupName="stores", SubnetIds=network["subnets"])
    shown = cache.describe_cache_subnet_groups(CacheSubnetGroupName="stores")["CacheSubnetGroups"][0]
    assert len(shown["Subnets"]) == 3
    assert shown["VpcId"], "the network of its subnets"
    family = {"CacheParameterGroupFamily": "valkey8", "Description": "d"}
    cache.create_cache_parameter_group(CacheParameterGroupName="noeviction", **family)
    policy = {"ParameterName": "maxmemory-policy", "ParameterValue": "noeviction"}
    cache.modify_cache_parameter_group(CacheParameterGroupName="noeviction", ParameterNameValues=[policy])
    assert len(cache.describe_cache_parameter_groups()["CacheParameterGroups"]) == 1
    with pytest.raises(ClientError, match="Could not find parameter"):
        wrong = {"ParameterName": "maxmemory-politics", "ParameterValue": "x"}
        cache.modify_cache_parameter_group(CacheParameterGroupName="noeviction", ParameterNameValues=[wrong])
    values = cache.describe_cache_parameters(CacheParameterGroupName="noeviction", Source="user")["Parameters"]
    assert [(one["ParameterName"], one["ParameterValue"]) for one in values] == [("maxmemory-policy", "noeviction")]
    wanted = {
        "ReplicationGroupId": "leases",
        "ReplicationGroupDescription": "d",
        "Engine": "valkey",
        "EngineVersion": "8.0",
        "CacheSubnetGroupName": "stores",
        "CacheParameterGroupName": "noeviction",
        "NumCacheClusters": 2,
        "AutomaticFailoverEnabled": True,
        "MultiAZEnabled": True,
        "TransitEncryptionEnabled": True,
        "AuthToken": "0123456789abcdef",
    }
    for broken in (
        {"TransitEncryptionEnabled": False},
        {"AuthToken": "short"},
        {"NumCacheClusters": 1},
        {"AutomaticFailoverEnabled": False},
        {"CacheParameterGroupName": "nothing"},
        {"CacheSubnetGroupName": "nothing"},
    ):
        with pytest.raises(ClientError):
            cache.create_replication_group(**{**wanted, **broken})
    made = cache.create_replication_group(**wanted)["ReplicationGroup"]
    assert (made["Status"], made["AuthTokenEnabled"]) == ("creating", True)
    zones = {one["PreferredAvailabilityZone"] for one in made["NodeGroups"][0]["NodeGroupMembers"]}
    assert len(zones) == 2, "its nodes lie in different zones"
    with pytest.raises(ClientError, match="creating"):
        cache.modify_replication_group(ReplicationGroupId="leases", SnapshotRetentionLimit=1)
    until_available(cache, "leases")
    cache.increase_replica_count(ReplicationGroupId="leases", NewReplicaCount=2, ApplyImmediately=True)
    assert len(until_available(cache, "leases")["MemberClusters"]) == 3
    cache.decrease_replica_count(ReplicationGroupId="leases", NewReplicaCount=1, ApplyImmediately=True)
    assert len(until_available(cache, "leases")["MemberClusters"]) == 2
    cache.modify_replication_group(ReplicationGroupId="leases", SnapshotRetentionLimit=3, ApplyImmediately=True)
    group = until_available(cache, "leases")
    assert group["SnapshotRetentionLimit"] == 3
    assert "0123456789abcdef" not in json.dumps(group, default=str), "AWS never shows a token"
    member = cache.describe_cache_clusters(CacheClusterId=group["MemberClusters"][0])["CacheClusters"][0]
    assert member["EngineVersion"] == "8.0.0"
    arn = group["ARN"]
    cache.add_tags_to_resource(ResourceName=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    cache.remove_tags_from_resource(ResourceName=arn, TagKeys=["a"])
    assert cache.list_tags_for_resource(ResourceName=arn)["TagList"] == [{"Key": "b", "Value": "2"}]
    with pytest.raises(ClientError, match="in use"):
        cache.delete_cache_subnet_group(CacheSubnetGroupName="stores")
    with pytest.raises(ClientError, match="still members"):
        cache.delete_cache_parameter_group(CacheParameterGroupName="noeviction")
    with pytest.raises(ClientError, match="used by replication group leases"):
        cloud.client("ec2").delete_subnet(SubnetId=network["subnets"][0])
    cache.delete_replication_group(ReplicationGroupId="leases")
    deadline = time.monotonic() + 120
    while cache.describe_replication_groups()["ReplicationGroups"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    cache.reset_cache_parameter_group(CacheParameterGroupName="noeviction", ResetAllParameters=True)
    assert not cache.describe_cache_parameters(CacheParameterGroupName="noeviction", Source="user")["Parameters"]
    cache.delete_cache_parameter_group(CacheParameterGroupName="noeviction")
    cache.delete_cache_subnet_group(CacheSubnetGroupName="stores")
    with pytest.raises(ClientError, match="not support"):
        cache.create_serverless_cache(ServerlessCacheName="x", Engine="valkey")


def test_the_login_of_the_master_is_read_from_the_secret_that_rds_keeps(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    rds = cloud.client("rds")
    made = rds.create_db_instance(
        DBInstanceIdentifier="records",
        DBInstanceClass="db.t4g.micro",
        Engine="postgres",
        AllocatedStorage=20,
        MasterUsername="headrace_master",
        ManageMasterUserPassword=True,
    )["DBInstance"]
    arn = made["MasterUserSecret"]["SecretArn"]
    vault = cloud.client("secretsmanager")
    kept = json.loads(vault.get_secret_value(SecretId=arn)["SecretString"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    login = login_of(arn)
    assert (login.user, login.password) == (kept["username"], kept["password"])
    for wrong in ("records", arn[:-3] + "xyz"):
        with pytest.raises(Refused, match="--master-login") as refused:
            login_of(wrong)
        assert login.password not in str(refused.value)
    rds.delete_db_instance(DBInstanceIdentifier="records", SkipFinalSnapshot=True)


def test_a_changed_subnet_group_of_a_database_is_still_there(cloud: Cloud, network: dict[str, Any]) -> None:
    rds, subnets = cloud.client("rds"), network["subnets"]
    rds.create_db_subnet_group(DBSubnetGroupName="kept", DBSubnetGroupDescription="d", SubnetIds=subnets[:1])
    rds.modify_db_subnet_group(DBSubnetGroupName="kept", SubnetIds=subnets)
    (found,) = rds.describe_db_subnet_groups(DBSubnetGroupName="kept")["DBSubnetGroups"]
    assert {one["SubnetIdentifier"] for one in found["Subnets"]} == set(subnets)
    rds.delete_db_subnet_group(DBSubnetGroupName="kept")


def test_an_endpoint_routes_the_tables_that_come_later_and_can_be_deleted(
    cloud: Cloud, network: dict[str, Any]
) -> None:
    ec2 = cloud.client("ec2")
    first, second = (ec2.create_route_table(VpcId=network["vpc"])["RouteTable"]["RouteTableId"] for _ in range(2))
    endpoint = ec2.create_vpc_endpoint(
        VpcId=network["vpc"],
        ServiceName="com.amazonaws.eu-central-1.s3",
        RouteTableIds=[first],
        VpcEndpointType="Gateway",
    )["VpcEndpoint"]["VpcEndpointId"]
    ec2.modify_vpc_endpoint(VpcEndpointId=endpoint, AddRouteTableIds=[second], RemoveRouteTableIds=[first])
    described = ec2.describe_route_tables(RouteTableIds=[first, second])["RouteTables"]
    tables = {table["RouteTableId"]: [route.get("GatewayId") for route in table["Routes"]] for table in described}
    assert endpoint in tables[second]
    assert endpoint not in tables[first]
    assert not ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint])["Unsuccessful"]
