"""Requests against service models, without any server."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.utils import get_service_model

from headrace_sandbox.aws.catalog import GUARDS, HANDLERS, OVERLAYS
from headrace_sandbox.aws.check import check
from headrace_sandbox.aws.errors import AwsError, unsupported
from headrace_sandbox.aws.identity import ACCOUNT_ID, arn, ec2_id, uuid, word
from headrace_sandbox.aws.wire import Call, encode, operation_model, parse, scope_of

URL = "http://127.0.0.1:1"


def signed(service: str, **headers: str) -> dict[str, str]:
    return {
        "Authorization": f"AWS4-HMAC-SHA256 Credential=AKIA/20261121/eu-west-1/{service}/aws4_request, Signature=0",
        **headers,
    }


def form(service: str, body: str) -> Call:
    headers = signed(service, **{"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(body))})
    return parse(method="POST", url=f"{URL}/", headers=headers, body=body.encode())


def rest(path: str, body: object) -> Call:
    data = json.dumps(body).encode()
    headers = signed("eks", **{"Content-Type": "application/json", "Content-Length": str(len(data))})
    return parse(method="POST", url=f"{URL}{path}", headers=headers, body=data)


def test_the_account_is_the_one_moto_plays() -> None:
    assert ACCOUNT_ID == DEFAULT_ACCOUNT_ID, "ARNs of the store and of moto must name one account"


def test_every_served_operation_exists_in_its_service_model() -> None:
    for service, operation in {*HANDLERS, *GUARDS, *OVERLAYS}:
        assert operation in get_service_model(service).operation_names, f"{service} has no operation {operation}"


@pytest.mark.parametrize("service", ["cloudwatch", "service-quotas", "resourcegroupstaggingapi", "elbv2", "amp"])
def test_a_signing_name_leads_to_its_service(service: str) -> None:
    name = get_service_model(service).signing_name
    assert scope_of(signed(name), {}).service == service


def test_a_presigned_query_names_the_caller_too() -> None:
    scope = scope_of({}, {"X-Amz-Credential": "AKIA/20261121/eu-west-1/sts/aws4_request"})
    assert (scope.access_key, scope.region, scope.service) == ("AKIA", "eu-west-1", "sts")


def test_an_unsigned_request_is_refused() -> None:
    with pytest.raises(AwsError) as error:
        scope_of({}, {})
    assert (error.value.code, error.value.status) == ("MissingAuthenticationToken", 403)


def test_nested_unknown_members_are_named_by_their_path() -> None:
    call = rest("/clusters", {"name": "c", "roleArn": "r", "resourcesVpcConfig": {"subnetIds": ["s"], "zones": []}})
    with pytest.raises(AwsError, match=r"resourcesVpcConfig\.zones"):
        check(call)


def test_a_missing_member_of_a_structure_is_refused() -> None:
    with pytest.raises(AwsError, match="resourcesVpcConfig") as error:
        check(rest("/clusters", {"name": "c", "roleArn": "r"}))
    assert error.value.code == "InvalidParameterException"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("Action=CreateVpc&Version=2016-11-15&CidrBlock=10.0.0.0/16", None),
        ("Action=CreateVpc&Version=2016-11-15&CidrBlock=10.0.0.0/16&InstanceTenancy=default", None),
        ("Action=CreateVpc&Version=2016-11-15&CidrBlock=10.0.0.0/16&InstanceTenancy=often", "InvalidParameterValue"),
        ("Action=CreateVpc&Version=2016-11-15&Cidr=10.0.0.0/16", "UnknownParameter"),
        ("Action=DeleteVpc&Version=2016-11-15", "MissingParameter"),
    ],
)
def test_ec2_requests_are_judged_with_ec2s_codes(body: str, code: str | None) -> None:
    if code is None:
        check(form("ec2", body))
        return
    with pytest.raises(AwsError) as error:
        check(form("ec2", body))
    assert error.value.code == code


def test_lists_and_structures_of_query_requests_are_read() -> None:
    call = form("ec2", "Action=CreateTags&Version=2016-11-15&ResourceId.1=vpc-1&Tag.1.Key=a&Tag.1.Value=b")
    check(call)
    assert call.params == {"Resources": ["vpc-1"], "Tags": [{"Key": "a", "Value": "b"}]}
    assert call.mutates and not form("ec2", "Action=DescribeVpcs&Version=2016-11-15").mutates


@given(st.text(max_size=30))
def test_no_body_makes_the_reader_fail_otherwise_than_with_an_aws_error(text: str) -> None:
    data = text.encode()
    headers = signed("eks", **{"Content-Type": "application/json", "Content-Length": str(len(data))})
    try:
        check(parse(method="POST", url=f"{URL}/clusters", headers=headers, body=data))
    except AwsError:
        return
    raise AssertionError("no text of 30 characters is a whole CreateCluster request")


# As in the gateway's process: moto's serializer warns of codes that a service's model doesn't declare; ours are meant.
@pytest.mark.filterwarnings("ignore:.*does not match an error shape:UserWarning")
def test_errors_are_written_in_the_protocol_of_the_service() -> None:
    error = unsupported("ec2", "Fly")
    xml = encode(operation_model("ec2", "DescribeVpcs"), error, "id-1").body.decode()
    assert "<Code>NotImplemented</Code>" in xml and "id-1" in xml
    reply = encode(operation_model("kms", "CreateKey"), error, "id-2", "application/x-amz-json-1.1")
    assert json.loads(reply.body)["__type"].endswith("NotImplemented") and reply.status == 501


def test_identifiers_have_the_shape_that_aws_gives() -> None:
    assert len(ec2_id("cr")) == len("cr-0123456789abcdef0")
    assert [len(part) for part in uuid().split("-")] == [8, 4, 4, 4, 12]
    assert len(word(17)) == 17 and word(17)[0].isalpha()
    assert arn("budgets", "cn-north-1", "budget/x", regional=False) == f"arn:aws-cn:budgets::{ACCOUNT_ID}:budget/x"
