"""The gateway itself: refusals in each protocol, identities, faults, latency, a world that outlives its processes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, HTTPClientError

from headrace_sandbox.aws.identity import ACCOUNT_ID
from tests.engine.aws_gateway.conftest import REGION, TRUST, Cloud, settle

pytestmark = pytest.mark.engine


def signed(service: str, **headers: str) -> dict[str, str]:
    scope = f"AKIATEST/20261121/{REGION}/{service}/aws4_request"
    return {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0", **headers}


def test_an_unknown_parameter_is_refused_in_every_protocol(cloud: Cloud) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    ec2 = httpx.post(
        cloud.url, headers=signed("ec2", **form), content="Action=DescribeVpcs&Version=2016-11-15&Colour=red"
    )
    assert ec2.status_code == 400 and "<Code>UnknownParameter</Code>" in ec2.text and "Colour" in ec2.text
    iam = httpx.post(cloud.url, headers=signed("iam", **form), content="Action=ListRoles&Version=2010-05-08&Colour=red")
    assert iam.status_code == 400 and "<Code>ValidationError</Code>" in iam.text
    eks = httpx.post(
        f"{cloud.url}/clusters",
        headers=signed("eks", **{"Content-Type": "application/json"}),
        json={"name": "x", "colour": "red"},
    )
    assert (
        eks.status_code == 400
        and eks.headers["X-Amzn-Errortype"] == "InvalidParameterException"
        and "colour" in eks.text
    )
    target = {"X-Amz-Target": "TrentService.CreateKey", "Content-Type": "application/x-amz-json-1.1"}
    kms = httpx.post(cloud.url, headers=signed("kms", **target), json={"Colour": "red"})
    assert kms.status_code == 400 and "ValidationException" in kms.text and "Colour" in kms.text


def test_a_wrong_value_is_refused_by_the_model(cloud: Cloud) -> None:
    with pytest.raises(ClientError, match="enum value set") as enum:
        cloud.client("ec2").create_placement_group(GroupName="x", Strategy="circle")
    assert enum.value.response["Error"]["Code"] == "InvalidParameterValue"
    with pytest.raises(ClientError, match="regular expression") as pattern:
        cloud.client("logs").create_log_group(logGroupName="a b")
    assert pattern.value.response["Error"]["Code"] == "InvalidParameterException"
    missing = httpx.post(
        cloud.url,
        headers=signed("ec2", **{"Content-Type": "application/x-www-form-urlencoded"}),
        content="Action=CreateSubnet&Version=2016-11-15",
    )
    assert "<Code>MissingParameter</Code>" in missing.text and "VpcId" in missing.text


def test_requests_that_name_nothing_known_are_refused(cloud: Cloud) -> None:
    assert httpx.get(cloud.url).status_code == 403, "unsigned"
    assert httpx.post(cloud.url, headers=signed("ec2"), content="Action=Fly").status_code == 404
    assert "UnknownOperation" in httpx.get(f"{cloud.url}/nothing/here", headers=signed("eks")).text


def test_any_credential_is_somebody(cloud: Cloud) -> None:
    assert (
        cloud.client("sts", key="AKIASOMEBODY").get_caller_identity()["Arn"]
        == f"arn:aws:iam::{ACCOUNT_ID}:user/AKIASOMEBODY"
    )
    iam, sts = cloud.client("iam"), cloud.client("sts")
    iam.create_user(UserName="ada")
    key = iam.create_access_key(UserName="ada")["AccessKey"]["AccessKeyId"]
    assert cloud.client("sts", key=key).get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT_ID}:user/ada"
    session = sts.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT_ID}:role/deployer", RoleSessionName="ci")["Credentials"][
        "AccessKeyId"
    ]
    assert (
        cloud.client("sts", key=session).get_caller_identity()["Arn"]
        == f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/deployer/ci"
    )


def test_a_presigned_identity_request_works_as_eks_tokens_need(cloud: Cloud) -> None:
    url = cloud.client("sts", key="AKIATOKEN").generate_presigned_url("get_caller_identity", HttpMethod="GET")
    assert f"arn:aws:iam::{ACCOUNT_ID}:user/AKIATOKEN" in httpx.get(url).text


def test_the_creator_of_a_cluster_administers_it(cloud: Cloud, network: dict[str, Any], cluster: str) -> None:
    eks = cloud.client("eks", key="AKIACREATOR")
    eks.create_cluster(
        name="mine",
        roleArn=f"arn:aws:iam::{ACCOUNT_ID}:role/shared-cluster",
        resourcesVpcConfig={"subnetIds": network["subnets"]},
        accessConfig={"authenticationMode": "API"},
    )
    creator = f"arn:aws:iam::{ACCOUNT_ID}:user/AKIACREATOR"
    assert eks.list_access_entries(clusterName="mine")["accessEntries"] == [creator]
    policies = eks.list_associated_access_policies(clusterName="mine", principalArn=creator)["associatedAccessPolicies"]
    assert policies[0]["policyArn"].endswith("AmazonEKSClusterAdminPolicy")


def test_the_endpoint_of_a_cluster_is_the_sandboxes_api_server(cloud: Cloud, cluster: str) -> None:
    (cloud.directory / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    described = cloud.directory / "kubernetes.json"
    described.write_text('{"url": "https://127.0.0.1:6443", "ca_pem_path": "ca.pem"}')
    try:
        shown = cloud.client("eks").describe_cluster(name=cluster)["cluster"]
    finally:
        described.unlink()
    assert shown["endpoint"] == "https://127.0.0.1:6443"
    assert shown["certificateAuthority"]["data"].startswith("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t")


def test_faults_happen_as_often_as_they_were_ordered(cloud: Cloud) -> None:
    def order(operation: str, fault: str, times: int = 1) -> None:
        body = {"service": "ec2", "operation": operation, "fault": fault, "times": times}
        assert httpx.post(f"{cloud.url}/_sandbox/faults", json=body).status_code == 200

    ec2 = cloud.client("ec2")
    order("DescribeVpcs", "throttle", 2)
    for _ in range(2):
        with pytest.raises(ClientError) as throttled:
            ec2.describe_vpcs()
        assert throttled.value.response["Error"]["Code"] == "RequestLimitExceeded"
    ec2.describe_vpcs()
    order("DescribeVpcs", "error")
    with pytest.raises(ClientError) as broken:
        ec2.describe_vpcs()
    assert broken.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    order("CreatePlacementGroup", "lost-reply")
    with pytest.raises((HTTPClientError, EndpointConnectionError)):
        ec2.create_placement_group(GroupName="lost", Strategy="spread")
    assert ec2.describe_placement_groups(GroupNames=["lost"])["PlacementGroups"], (
        "done, though the caller never learned of it"
    )
    assert httpx.post(f"{cloud.url}/_sandbox/faults", json={"service": "ec2"}).status_code == 400
    assert httpx.get(f"{cloud.url}/_sandbox/calls").json()["ec2:CreatePlacementGroup"] >= 1


def test_a_killed_sandbox_comes_back_with_its_world(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path)
    try:
        cloud.start()
        ec2, iam, eks = cloud.client("ec2"), cloud.client("iam"), cloud.client("eks")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnets = [
            ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{i}.0/24", AvailabilityZone=f"{REGION}{z}")["Subnet"][
                "SubnetId"
            ]
            for i, z in enumerate("ab")
        ]
        role = iam.create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)["Role"]
        eks.create_cluster(
            name="c", roleArn=role["Arn"], resourcesVpcConfig={"subnetIds": subnets}, deletionProtection=True
        )
        cloud.client("s3").create_bucket(Bucket="kept-bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
        cloud.client("s3").put_object(Bucket="kept-bucket", Key="k", Body=b"v")
        before = (
            ec2.describe_vpcs()["Vpcs"],
            ec2.describe_security_groups()["SecurityGroups"],
            ec2.describe_subnets()["Subnets"],
        )
        cloud.kill()
        cloud.start()
        assert (
            ec2.describe_vpcs()["Vpcs"],
            ec2.describe_security_groups()["SecurityGroups"],
            ec2.describe_subnets()["Subnets"],
        ) == before
        assert iam.get_role(RoleName="r")["Role"]["CreateDate"] == role["CreateDate"], (
            "dates are those of the first life"
        )
        settle(lambda: str(eks.describe_cluster(name="c")["cluster"]["status"]), "ACTIVE")
        assert eks.describe_cluster(name="c")["cluster"]["deletionProtection"] is True
        assert cloud.client("s3").get_object(Bucket="kept-bucket", Key="k")["Body"].read() == b"v"
    finally:
        cloud.stop()


def test_a_call_takes_milliseconds(cloud: Cloud, cluster: str) -> None:
    """The aim is 10 ms a call on an idle machine. The limit leaves room for a slower one, and the fastest tenth is what
    the gateway takes while the machine isn't busy with something else."""
    asked: tuple[tuple[str, str, dict[str, str]], ...] = (
        ("eks", "describe_cluster", {"name": cluster}),
        ("ec2", "describe_internet_gateways", {}),
    )
    for service, operation, params in asked:
        call = getattr(cloud.client(service), operation)
        call(**params)
        times = []
        for _ in range(50):
            start = time.perf_counter()
            call(**params)
            times.append(time.perf_counter() - start)
        fast = sorted(times)[len(times) // 10]
        assert fast < 0.1, f"the fastest tenth of {service}: up to {fast * 1000:.1f} ms"
