"""Service Quotas: the quotas that a GPU platform runs into, with AWS's defaults."""

from __future__ import annotations

from dataclasses import dataclass

from headrace_sandbox.aws.errors import AwsError
from headrace_sandbox.aws.identity import arn, uuid
from headrace_sandbox.aws.principals import caller
from headrace_sandbox.aws.store import Kind
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import Handler, World, page

REQUEST = Kind(service="service-quotas", name="request")
_PAGE = ("MaxResults", "NextToken")


@dataclass(frozen=True, kw_only=True)
class Quota:
    """One quota. `default` is what a new account gets."""

    service: str
    code: str
    name: str
    default: float
    service_name: str = "Amazon Elastic Compute Cloud (Amazon EC2)"


# EC2 User Guide "Amazon EC2 instance type quotas" (defaults in vCPU) and "Amazon VPC quotas", "Amazon EKS endpoints and
# quotas"; read 2026-11. New accounts often get less than the default for P and G.
QUOTAS = (
    Quota(service="ec2", code="L-417A185B", name="Running On-Demand P instances", default=0),
    Quota(service="ec2", code="L-DB2E81BA", name="Running On-Demand G and VT instances", default=0),
    Quota(
        service="ec2",
        code="L-1216C47A",
        name="Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
        default=5,
    ),
    Quota(service="ec2", code="L-7212CCBC", name="All P4, P3 and P2 Spot Instance Requests", default=0),
    Quota(service="ec2", code="L-C4BD4855", name="All P5 Spot Instance Requests", default=0),
    Quota(service="ec2", code="L-3819A6DF", name="All G and VT Spot Instance Requests", default=0),
    Quota(
        service="ec2",
        code="L-34B43A08",
        name="All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests",
        default=5,
    ),
    Quota(service="ec2", code="L-0263D0A3", name="EC2-VPC Elastic IPs", default=5),
    Quota(
        service="vpc",
        code="L-F678F1CE",
        name="VPCs per Region",
        default=5,
        service_name="Amazon Virtual Private Cloud (Amazon VPC)",
    ),
    Quota(
        service="vpc",
        code="L-FE5A380F",
        name="NAT gateways per Availability Zone",
        default=5,
        service_name="Amazon Virtual Private Cloud (Amazon VPC)",
    ),
    Quota(
        service="vpc",
        code="L-29B6F2EB",
        name="Interface VPC endpoints per VPC",
        default=50,
        service_name="Amazon Virtual Private Cloud (Amazon VPC)",
    ),
    Quota(
        service="eks",
        code="L-1194D53C",
        name="Clusters",
        default=100,
        service_name="Amazon Elastic Kubernetes Service (Amazon EKS)",
    ),
    Quota(
        service="eks",
        code="L-6D54EA21",
        name="Managed node groups per cluster",
        default=30,
        service_name="Amazon Elastic Kubernetes Service (Amazon EKS)",
    ),
)


def _find(call: Call) -> Quota:
    for quota in QUOTAS:
        if (quota.service, quota.code) == (call.params["ServiceCode"], call.params["QuotaCode"]):
            return quota
    raise AwsError(
        "NoSuchResourceException",
        f"The request failed because the specified service quota {call.params['QuotaCode']} does not exist.",
    )


def _shown(world: World, region: str, quota: Quota, *, applied: bool) -> Doc:
    value = quota.default
    for request in world.store.list(REQUEST, region, parent=quota.code):
        if applied and request["Status"] == "APPROVED":
            value = request["DesiredValue"]
    return {
        "ServiceCode": quota.service,
        "ServiceName": quota.service_name,
        "QuotaCode": quota.code,
        "QuotaName": quota.name,
        "Value": float(value),
        "QuotaArn": arn("servicequotas", region, f"{quota.service}/{quota.code}"),
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
        "QuotaAppliedAtLevel": "ACCOUNT",
    }


async def get(world: World, call: Call) -> Doc:
    """GetServiceQuota: the applied value."""
    return {"Quota": _shown(world, call.region, _find(call), applied=True)}


async def get_default(world: World, call: Call) -> Doc:
    """GetAWSDefaultServiceQuota."""
    return {"Quota": _shown(world, call.region, _find(call), applied=False)}


async def list_quotas(world: World, call: Call) -> Doc:
    """ListServiceQuotas and ListAWSDefaultServiceQuotas."""
    found = [
        q for q in QUOTAS if q.service == call.params["ServiceCode"] and call.params.get("QuotaCode") in (None, q.code)
    ]
    if not found:
        raise AwsError("NoSuchResourceException", f"The sandbox knows no quotas of {call.params['ServiceCode']}")
    applied = call.name == "ListServiceQuotas"
    items, more = page([_shown(world, call.region, q, applied=applied) for q in found], call.params, members=_PAGE)
    return {"Quotas": items, **more}


async def request_increase(world: World, call: Call) -> Doc:
    """RequestServiceQuotaIncrease: pending. The sandbox approves nothing by itself: on AWS it takes people and days."""
    quota, desired = _find(call), float(call.params["DesiredValue"])
    if desired <= _shown(world, call.region, quota, applied=True)["Value"]:
        raise AwsError("IllegalArgumentException", "The requested value must be greater than the current quota value")
    if any(
        r["Status"] in ("PENDING", "CASE_OPENED") for r in world.store.list(REQUEST, call.region, parent=quota.code)
    ):
        raise AwsError(
            "ResourceAlreadyExistsException",
            f"Only one open service quota increase request is allowed per quota: {quota.code}",
        )
    now = world.now()
    request: Doc = {
        "Id": uuid().replace("-", ""),
        "ServiceCode": quota.service,
        "ServiceName": quota.service_name,
        "QuotaCode": quota.code,
        "QuotaName": quota.name,
        "DesiredValue": desired,
        "Status": "PENDING",
        "Created": now,
        "LastUpdated": now,
        "Requester": (await caller(world, call.access_key)).arn,
        "QuotaArn": arn("servicequotas", call.region, f"{quota.service}/{quota.code}"),
        "GlobalQuota": False,
        "Unit": "None",
        "QuotaRequestedAtLevel": "ACCOUNT",
    }
    world.store.put(REQUEST, call.region, request["Id"], request, parent=quota.code)
    return {"RequestedQuota": request}


async def get_request(world: World, call: Call) -> Doc:
    """GetRequestedServiceQuotaChange."""
    request = world.store.get(REQUEST, call.region, call.params["RequestId"])
    if request is None:
        raise AwsError("NoSuchResourceException", f"No request {call.params['RequestId']}")
    return {"RequestedQuota": request}


async def list_requests(world: World, call: Call) -> Doc:
    """ListRequestedServiceQuotaChangeHistory, of one quota if asked."""
    params = call.params
    found = [
        r
        for r in world.store.list(REQUEST, call.region, parent=params.get("QuotaCode"))
        if all(params.get(k) in (None, r[k]) for k in ("ServiceCode", "Status"))
    ]
    items, more = page(found, params, members=_PAGE)
    return {"RequestedQuotas": items, **more}


HANDLERS: dict[tuple[str, str], Handler] = {
    ("service-quotas", name): handler
    for name, handler in {
        "GetServiceQuota": get,
        "GetAWSDefaultServiceQuota": get_default,
        "ListServiceQuotas": list_quotas,
        "ListAWSDefaultServiceQuotas": list_quotas,
        "RequestServiceQuotaIncrease": request_increase,
        "GetRequestedServiceQuotaChange": get_request,
        "ListRequestedServiceQuotaChangeHistory": list_requests,
        "ListRequestedServiceQuotaChangeHistoryByQuota": list_requests,
    }.items()
}
