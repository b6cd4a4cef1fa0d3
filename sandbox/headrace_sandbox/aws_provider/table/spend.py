"""Budgets, anomaly detection, cost allocation, quotas, savings plans."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from headrace_sandbox.aws_provider.context import Context
from headrace_sandbox.aws_provider.mapping import object_from_api
from headrace_sandbox.aws_provider.sdk import format_number, object_type
from headrace_sandbox.aws_provider.spec import Call, Name, Read, Ready, ResourceType, State, Tags, Update
from headrace_sandbox.aws_provider.table.parts import words

_HOME = "us-east-1"

# -- Budget ------------------------------------------------------------------------------------------------------------

_TIME_FORMAT = "%Y-%m-%d_%H:%M"
_NOTIFICATION = "#budgets/BudgetNotification"


def _budget(state: State) -> dict[str, Any]:
    """The API's budget for our properties."""
    budget: dict[str, Any] = {
        "BudgetName": state["name"],
        "BudgetType": state["budgetType"],
        "TimeUnit": state["timeUnit"],
    }
    if state.get("limitAmount") is not None:
        budget["BudgetLimit"] = {"Amount": state["limitAmount"], "Unit": state.get("limitUnit", "USD")}
    if state.get("costFilters"):
        budget["CostFilters"] = {f["name"]: list(f["values"]) for f in state["costFilters"]}
    if state.get("costTypes"):
        budget["CostTypes"] = {k[0].upper() + k[1:]: v for k, v in state["costTypes"].items() if v is not None}
    if state.get("plannedLimits"):
        budget["PlannedBudgetLimits"] = {
            _epoch(p["startTime"]): {"Amount": p["amount"], "Unit": p["unit"]} for p in state["plannedLimits"]
        }
    period = {m: _moment(state[n]) for n, m in (("timePeriodStart", "Start"), ("timePeriodEnd", "End")) if state.get(n)}
    return budget | ({"TimePeriod": period} if period else {})


def _moment(text: str) -> Any:

    return dt.datetime.strptime(text, _TIME_FORMAT).replace(tzinfo=dt.UTC)


def _epoch(text: str) -> str:
    return str(int(_moment(text).timestamp()))


def _notices(state: State) -> list[dict[str, Any]]:
    rows = []
    for row in state.get("notifications") or []:
        subscribers = [{"SubscriptionType": "SNS", "Address": a} for a in row.get("subscriberSnsTopicArns") or []]
        subscribers += [{"SubscriptionType": "EMAIL", "Address": a} for a in row.get("subscriberEmailAddresses") or []]
        rows.append({"Notification": _notice(row), "Subscribers": subscribers})
    return rows


def _notice(row: State) -> dict[str, Any]:
    return {
        "NotificationType": row["notificationType"],
        "ComparisonOperator": row["comparisonOperator"],
        "Threshold": float(row["threshold"]),
        "ThresholdType": row["thresholdType"],
    }


def _make_budget(ctx: Context, inputs: State) -> State:
    account = inputs.get("accountId") or ctx.account
    params: dict[str, Any] = {"AccountId": account, "Budget": _budget(inputs)}
    if inputs.get("notifications"):
        params["NotificationsWithSubscribers"] = _notices(inputs)
    if inputs.get("tagsAll"):
        params["ResourceTags"] = [{"Key": k, "Value": v} for k, v in inputs["tagsAll"].items()]
    ctx.call("CreateBudget", params)
    return {"accountId": account}


def _key(state: State) -> dict[str, str]:
    account, _, name = str(state["id"]).partition(":")
    return {"AccountId": account, "BudgetName": name}


def _find_budget(ctx: Context, state: State) -> State | None:
    key = _key(state)
    budget = ctx.call("DescribeBudget", key).get("Budget")
    if not budget:
        return None
    notices = []
    for notice in ctx.pages("DescribeNotificationsForBudget", key, "Notifications"):
        plain = {k: notice[k] for k in ("NotificationType", "ComparisonOperator", "Threshold") if k in notice}
        plain["ThresholdType"] = notice.get("ThresholdType", "PERCENTAGE")
        subscribers = list(
            ctx.pages("DescribeSubscribersForNotification", {**key, "Notification": plain}, "Subscribers")
        )
        notices.append({"Notification": plain, "Subscribers": subscribers})
    return {**budget, "AccountId": key["AccountId"], "Notices": notices}


def _budget_details(ctx: Context, resource: State, state: State, known: State) -> None:
    limit = resource.get("BudgetLimit") or {}
    if limit:
        told = known.get("limitAmount")
        same = told is not None and float(told) == float(limit["Amount"])
        state["limitAmount"] = told if same else _amount(limit["Amount"])
        state["limitUnit"] = limit["Unit"]
    filters = resource.get("CostFilters") or {}
    state["costFilters"] = [{"name": name, "values": list(values)} for name, values in filters.items()]
    if resource.get("CostTypes"):
        state["costTypes"] = object_from_api(
            resource["CostTypes"], object_type("#budgets/BudgetCostTypes").properties, "", {}
        )
    for name, member in (("timePeriodStart", "Start"), ("timePeriodEnd", "End")):
        moment = (resource.get("TimePeriod") or {}).get(member)
        if moment is not None:
            state[name] = moment.astimezone(dt.UTC).strftime(_TIME_FORMAT)
    state["notifications"] = [_notice_as_input(n) for n in resource.get("Notices", [])]
    state["arn"] = f"arn:{ctx.partition}:budgets::{state['accountId']}:budget/{state['name']}"


def _amount(text: str) -> str:
    return format_number(float(text))


def _notice_as_input(row: State) -> State:
    notice, subscribers = row["Notification"], row["Subscribers"]
    result: State = {
        "notificationType": notice["NotificationType"],
        "comparisonOperator": notice["ComparisonOperator"],
        "threshold": notice["Threshold"],
        "thresholdType": notice["ThresholdType"],
    }
    for name, kind in (("subscriberSnsTopicArns", "SNS"), ("subscriberEmailAddresses", "EMAIL")):
        addresses = sorted(s["Address"] for s in subscribers if s["SubscriptionType"] == kind)
        if addresses:
            result[name] = addresses
    return result


def _budget_changed(ctx: Context, old: State, inputs: State, changed: frozenset[str]) -> None:
    key = _key(old)
    if changed - {"notifications"}:
        ctx.call("UpdateBudget", {"AccountId": key["AccountId"], "NewBudget": _budget({**inputs, "name": old["name"]})})
    if "notifications" in changed:
        # Thresholds are their own identity, so a changed one is another notification: drop and make, as officially.
        for row in old.get("notifications") or []:
            ctx.call("DeleteNotification", {**key, "Notification": _notice(row)})
        for row in _notices(inputs):
            ctx.call("CreateNotification", {**key, **row})


_BUDGET_PROPS = words(
    "name budgetType timeUnit accountId costFilters costTypes limitAmount limitUnit notifications plannedLimits"
    " timePeriodEnd timePeriodStart"
)

_BUDGET = ResourceType(
    type="aws:budgets/budget:Budget",
    service="budgets",
    home=_HOME,
    on_create=_make_budget,
    id="{accountId}:{name}",
    import_id=("accountId", "name"),
    on_read=_find_budget,
    read=Read(op="DescribeBudget", missing=("NotFoundException",)),
    on_delete=lambda ctx, state: ctx.call("DeleteBudget", _key(state)),
    rename={"name": "BudgetName"},
    replace=words("accountId name namePrefix"),
    computed=words(
        "accountId name costFilters costTypes limitAmount limitUnit timePeriodStart timePeriodEnd plannedLimits"
    ),
    hooked=_BUDGET_PROPS,
    object_sets=words("costFilters notifications plannedLimits"),
    strict=words("notifications"),
    local=words("namePrefix"),
    refused=words("autoAdjustData billingViewArn filterExpression metrics"),
    name=Name(prefix_property="namePrefix", limit=100),
    tags=Tags(
        tag="TagResource",
        tag_member="ResourceTags",
        untag="UntagResource",
        untag_member="ResourceTagKeys",
        target={"ResourceARN": "arn:{partition}:budgets::{accountId}:budget/{name}"},
        list=Read(
            op="ListTagsForResource",
            args={"ResourceARN": "arn:{partition}:budgets::{accountId}:budget/{name}"},
            at="ResourceTags",
        ),
    ),
    on_update=_budget_changed,
    amend=_budget_details,
)

# -- Anomalies ---------------------------------------------------------------------------------------------------------


def _ce_tags() -> Tags:
    return Tags(
        create="ResourceTags",
        tag="TagResource",
        tag_member="ResourceTags",
        untag="UntagResource",
        untag_member="ResourceTagKeys",
        target={"ResourceArn": "{id}"},
        list=Read(op="ListTagsForResource", args={"ResourceArn": "{id}"}, at="ResourceTags"),
    )


def _specification(params: State, inputs: State, _same: State) -> None:

    if inputs.get("monitorSpecification"):
        params["AnomalyMonitor"]["MonitorSpecification"] = json.loads(inputs["monitorSpecification"])


_MONITOR = ResourceType(
    type="aws:costexplorer/anomalyMonitor:AnomalyMonitor",
    service="ce",
    home=_HOME,
    create=Call(
        op="CreateAnomalyMonitor",
        under="AnomalyMonitor",
        props=("name", "monitorType", "monitorDimension"),
        finish=_specification,
    ),
    created={"id": "MonitorArn"},
    read=Read(
        op="GetAnomalyMonitors",
        args={"MonitorArnList": ["{id}"]},
        at="AnomalyMonitors[0]",
        missing=("UnknownMonitorException",),
    ),
    updates=(Update(op="UpdateAnomalyMonitor", args={"MonitorArn": "{id}"}, on=("name",)),),
    delete=Call(op="DeleteAnomalyMonitor", args={"MonitorArn": "{id}"}),
    rename={"name": "MonitorName", "arn": "MonitorArn"},
    replace=words("monitorDimension monitorSpecification monitorType"),
    computed=words("name"),
    documents=words("monitorSpecification"),
    hooked=words("monitorSpecification"),
    name=Name(limit=1024),
    tags=_ce_tags(),
)


def _expression_to_api(expression: State) -> dict[str, Any]:
    """The provider's nested `and`, `or`, `not`, `dimension`, `tag`, `costCategory` as Cost Explorer's expression."""
    result: dict[str, Any] = {}
    for plural, member in (("ands", "And"), ("ors", "Or")):
        if expression.get(plural):
            result[member] = [_expression_to_api(e) for e in expression[plural]]
    if expression.get("not"):
        result["Not"] = _expression_to_api(expression["not"])
    for name, member in (("dimension", "Dimensions"), ("tags", "Tags"), ("costCategory", "CostCategories")):
        row = expression.get(name)
        if row:
            keys = (("key", "Key"), ("values", "Values"), ("matchOptions", "MatchOptions"))
            result[member] = {m: row[n] for n, m in keys if row.get(n)}
    return result


def _expression_from_api(expression: State) -> State:
    result: State = {}
    for plural, member in (("ands", "And"), ("ors", "Or")):
        if expression.get(member):
            result[plural] = [_expression_from_api(e) for e in expression[member]]
    if expression.get("Not"):
        result["not"] = _expression_from_api(expression["Not"])
    for name, member in (("dimension", "Dimensions"), ("tags", "Tags"), ("costCategory", "CostCategories")):
        row = expression.get(member)
        if row:
            keys = (("key", "Key"), ("values", "Values"), ("matchOptions", "MatchOptions"))
            result[name] = {n: row[m] for n, m in keys if row.get(m)}
    return result


def _threshold(params: State, _state: State, inputs: State) -> None:
    expression = inputs.get("thresholdExpression")
    if expression:
        params.get("AnomalySubscription", params)["ThresholdExpression"] = _expression_to_api(expression)


def _subscription_details(_ctx: Context, resource: State, state: State, _known: State) -> None:
    if resource.get("ThresholdExpression"):
        state["thresholdExpression"] = _expression_from_api(resource["ThresholdExpression"])
    rows = resource.get("Subscribers", [])
    state["subscribers"] = [{"type": r["Type"], "address": r["Address"]} for r in rows]


_SUBSCRIPTION_PROPS = ("frequency", "monitorArnLists", "subscribers", "name")

_SUBSCRIPTION = ResourceType(
    type="aws:costexplorer/anomalySubscription:AnomalySubscription",
    service="ce",
    home=_HOME,
    create=Call(
        op="CreateAnomalySubscription",
        under="AnomalySubscription",
        props=(*_SUBSCRIPTION_PROPS, "accountId"),
        finish=_threshold,
    ),
    created={"id": "SubscriptionArn"},
    read=Read(
        op="GetAnomalySubscriptions",
        args={"SubscriptionArnList": ["{id}"]},
        at="AnomalySubscriptions[0]",
        missing=("UnknownSubscriptionException",),
    ),
    updates=(
        Update(
            op="UpdateAnomalySubscription",
            args={"SubscriptionArn": "{id}"},
            on=(*_SUBSCRIPTION_PROPS, "thresholdExpression"),
            props=("frequency", "monitorArnLists", "subscribers"),
            finish=_threshold,
        ),
    ),
    delete=Call(op="DeleteAnomalySubscription", args={"SubscriptionArn": "{id}"}),
    rename={"name": "SubscriptionName", "arn": "SubscriptionArn", "monitorArnLists": "MonitorArnList"},
    outputs={"thresholdExpression": "`null`", "subscribers": "`null`"},
    replace=words("accountId name"),
    computed=words("accountId name thresholdExpression"),
    hooked=words("thresholdExpression"),
    object_sets=words("subscribers"),
    name=Name(limit=1024),
    tags=_ce_tags(),
    amend=_subscription_details,
)


def _tag_status(ctx: Context, state: State) -> State:
    row = {"TagKey": state["tagKey"], "Status": state["status"]}
    answer = ctx.call("UpdateCostAllocationTagsStatus", {"CostAllocationTagsStatus": [row]})
    requests_failed = answer.get("Errors") or []
    if requests_failed:
        from headrace_sandbox.plugin.provider import ProviderError

        raise ProviderError(f"cost allocation tag {state['tagKey']}: {requests_failed[0].get('Message')}")
    return {"id": state["tagKey"]}


_COST_TAG = ResourceType(
    type="aws:costexplorer/costAllocationTag:CostAllocationTag",
    service="ce",
    home=_HOME,
    on_create=_tag_status,
    id="{tagKey}",
    import_id=("tagKey",),
    read=Read(op="ListCostAllocationTags", args={"TagKeys": ["{tagKey}"]}, at="CostAllocationTags[0]"),
    on_update=lambda ctx, _old, inputs, _changed: _tag_status(ctx, inputs),
    on_delete=lambda ctx, state: _tag_status(ctx, {"tagKey": state["id"], "status": "Inactive"}),
    replace=words("tagKey"),
    hooked=words("tagKey status"),
)

# -- Quotas ------------------------------------------------------------------------------------------------------------

_QUOTA_KEY = {"ServiceCode": "{serviceCode}", "QuotaCode": "{quotaCode}"}


def _find_quota(ctx: Context, state: State) -> State | None:
    from botocore.exceptions import ClientError

    from headrace_sandbox.aws_provider.context import code_of

    key = {"ServiceCode": state["serviceCode"], "QuotaCode": state["quotaCode"]}
    default = ctx.call("GetAWSDefaultServiceQuota", key)["Quota"]
    try:
        live = ctx.call("GetServiceQuota", key)["Quota"]
    except ClientError as error:
        if code_of(error) != "NoSuchResourceException":
            raise
        live = default
    history = {**key, "Status": "PENDING"}
    pending = next(ctx.pages("ListRequestedServiceQuotaChangeHistoryByQuota", history, "RequestedQuotas"), None)
    value = pending["DesiredValue"] if pending else live["Value"]
    more = {"requestId": pending["Id"], "requestStatus": pending["Status"]} if pending else {}
    return {**live, "defaultValue": default["Value"], "Value": value, **more}


def _raise_quota(ctx: Context, inputs: State) -> State:
    live = _find_quota(ctx, inputs)
    if live is not None and float(inputs["value"]) > float(live["Value"]):
        key = {"ServiceCode": inputs["serviceCode"], "QuotaCode": inputs["quotaCode"]}
        ctx.call("RequestServiceQuotaIncrease", {**key, "DesiredValue": float(inputs["value"])})
    return {}


_QUOTA = ResourceType(
    type="aws:servicequotas/serviceQuota:ServiceQuota",
    service="service-quotas",
    on_create=_raise_quota,
    id="{serviceCode}/{quotaCode}",
    import_id=("serviceCode", "quotaCode"),
    separator="/",
    on_read=_find_quota,
    read=Read(op="GetServiceQuota", missing=("NoSuchResourceException",)),
    on_update=lambda ctx, _old, inputs, _changed: _raise_quota(ctx, inputs),
    on_delete=lambda _ctx, _state: None,  # a quota can't be given back, as with the official provider
    rename={"arn": "QuotaArn"},
    replace=words("quotaCode serviceCode"),
    hooked=words("quotaCode serviceCode value"),
)

# -- Savings plan ------------------------------------------------------------------------------------------------------

_PLAN = ResourceType(
    type="aws:savingsplans/savingsPlan:SavingsPlan",
    service="savingsplans",
    home=_HOME,
    create=Call(op="CreateSavingsPlan", props=None),
    created={"id": "savingsPlanId"},
    read=Read(op="DescribeSavingsPlans", args={"savingsPlanIds": ["{id}"]}, at="savingsPlans[0]"),
    ready=Ready(status="state", good=("active", "queued", "pending-return"), bad=("payment-failed",), timeout_s=600),
    # A purchase: only a queued one can be taken back; an active one is forgotten, as with the official provider.
    on_delete=lambda ctx, state: (
        ctx.call("DeleteQueuedSavingsPlan", {"savingsPlanId": state["id"]}) if state.get("state") == "queued" else None
    ),
    rename={"arn": "savingsPlanArn"},
    replace=words("commitment purchaseTime savingsPlanOfferingId upfrontPaymentAmount"),
    computed=words("upfrontPaymentAmount"),
    write_only=words("purchaseTime savingsPlanOfferingId"),
    local=words("timeouts"),
    tags=Tags(
        create="tags",
        tag="TagResource",
        tag_member="tags",
        untag="UntagResource",
        untag_member="tagKeys",
        target={"resourceArn": "{savingsPlanArn}"},
        read="tags",
    ),
)

ROWS = (_BUDGET, _MONITOR, _SUBSCRIPTION, _COST_TAG, _QUOTA, _PLAN)
