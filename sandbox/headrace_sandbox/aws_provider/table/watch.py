"""CloudWatch: log groups, alarms, dashboards."""

from __future__ import annotations

from botocore.exceptions import ClientError

from headrace_sandbox.aws_provider.context import Context, code_of
from headrace_sandbox.aws_provider.spec import Call, Name, Read, ResourceType, State, Update
from headrace_sandbox.aws_provider.table.parts import arn_tags, upper_arn_tags, words

# -- Log group ---------------------------------------------------------------------------------------------------------


def _retain(ctx: Context, state: State) -> None:
    if state.get("retentionInDays"):
        params = {"logGroupName": state["name"], "retentionInDays": state["retentionInDays"]}
        ctx.call("PutRetentionPolicy", params)


def _find_group(ctx: Context, state: State) -> State | None:
    for group in ctx.pages("DescribeLogGroups", {"logGroupNamePrefix": state["name"]}, "logGroups"):
        if group["logGroupName"] == state["name"]:
            return {**group, "arn": group["arn"].removesuffix(":*")}
    return None


def _group_changed(ctx: Context, old: State, inputs: State, changed: frozenset[str]) -> None:
    group = {"logGroupName": old["name"]}
    if "retentionInDays" in changed:
        if inputs.get("retentionInDays"):
            _retain(ctx, {**inputs, "name": old["name"]})
        else:
            ctx.call("DeleteRetentionPolicy", group)
    if "kmsKeyId" in changed:
        if inputs.get("kmsKeyId"):
            ctx.call("AssociateKmsKey", {**group, "kmsKeyId": inputs["kmsKeyId"]})
        else:
            ctx.call("DisassociateKmsKey", group)
    if "deletionProtectionEnabled" in changed:
        protect = bool(inputs.get("deletionProtectionEnabled"))
        params = {"logGroupIdentifier": old["name"], "deletionProtectionEnabled": protect}
        ctx.call("PutLogGroupDeletionProtection", params)


def _group_details(_ctx: Context, _resource: State, state: State, _known: State) -> None:
    state.setdefault("retentionInDays", 0)


def _drop_group(ctx: Context, state: State) -> None:
    if not state.get("skipDestroy"):
        ctx.call("DeleteLogGroup", {"logGroupName": state["name"]})


_LOG_GROUP = ResourceType(
    type="aws:cloudwatch/logGroup:LogGroup",
    service="logs",
    create=Call(op="CreateLogGroup", props=None),
    id="{name}",
    import_id=("name",),
    on_read=_find_group,
    read=Read(op="DescribeLogGroups", missing=("ResourceNotFoundException",)),
    on_delete=_drop_group,
    rename={"name": "logGroupName"},
    replace=words("logGroupClass name namePrefix"),
    computed=words("logGroupClass name deletionProtectionEnabled"),
    defaults={"retentionInDays": 0, "skipDestroy": False},
    hooked=words("retentionInDays"),
    hook_updates=words("retentionInDays kmsKeyId deletionProtectionEnabled"),
    local=words("namePrefix skipDestroy"),
    name=Name(prefix_property="namePrefix", limit=512),
    tags=arn_tags(listed=True),
    after_create=_retain,
    on_update=_group_changed,
    amend=_group_details,
)

# -- Alarms ------------------------------------------------------------------------------------------------------------

_ALARM_PROPS = (
    "actionsEnabled",
    "alarmActions",
    "alarmDescription",
    "comparisonOperator",
    "datapointsToAlarm",
    "dimensions",
    "evaluateLowSampleCountPercentiles",
    "evaluationPeriods",
    "extendedStatistic",
    "insufficientDataActions",
    "metricName",
    "metricQueries",
    "namespace",
    "okActions",
    "period",
    "statistic",
    "threshold",
    "thresholdMetricId",
    "treatMissingData",
    "unit",
)


def _dimension_pairs(params: State, _state: State, inputs: State) -> None:
    if inputs.get("dimensions"):
        params["Dimensions"] = [{"Name": k, "Value": v} for k, v in sorted(inputs["dimensions"].items())]


def _dimension_map(_ctx: Context, resource: State, state: State, _known: State) -> None:
    state["dimensions"] = {d["Name"]: d["Value"] for d in resource.get("Dimensions") or []}


_SENT = tuple(p for p in _ALARM_PROPS if p != "dimensions")

_METRIC_ALARM = ResourceType(
    type="aws:cloudwatch/metricAlarm:MetricAlarm",
    service="cloudwatch",
    create=Call(op="PutMetricAlarm", args={"AlarmName": "{name}"}, props=_SENT, finish=_dimension_pairs),
    id="{name}",
    import_id=("name",),
    read=Read(
        op="DescribeAlarms",
        args={"AlarmNames": ["{name}"], "AlarmTypes": ["MetricAlarm"]},
        at="MetricAlarms[0]",
        missing=("ResourceNotFound",),
    ),
    updates=(
        Update(
            op="PutMetricAlarm", args={"AlarmName": "{name}"}, on=_ALARM_PROPS, props=_SENT, finish=_dimension_pairs
        ),
    ),
    delete=Call(op="DeleteAlarms", args={"AlarmNames": ["{name}"]}),
    rename={
        "name": "AlarmName",
        "arn": "AlarmArn",
        "metricQueries": "Metrics",
        "evaluateLowSampleCountPercentiles": "EvaluateLowSampleCountPercentile",
        "okActions": "OKActions",
    },
    outputs={"dimensions": "`null`"},
    replace=words("name"),
    computed=words("name evaluateLowSampleCountPercentiles"),
    defaults={"actionsEnabled": True, "treatMissingData": "missing"},
    hooked=words("name dimensions"),
    object_sets=words("metricQueries"),
    refused=words("evaluationCriteria evaluationInterval evaluationWindow warmUpConfiguration"),
    name=Name(),
    tags=upper_arn_tags(target="ResourceARN"),
    amend=_dimension_map,
)

_COMPOSITE_PROPS = (
    "actionsEnabled",
    "actionsSuppressor",
    "alarmActions",
    "alarmDescription",
    "alarmRule",
    "insufficientDataActions",
    "okActions",
)


def _flat_suppressor(params: State, _state: State, inputs: State) -> None:
    suppressor = inputs.get("actionsSuppressor")
    if suppressor:
        params["ActionsSuppressor"] = suppressor["alarm"]
        params["ActionsSuppressorExtensionPeriod"] = suppressor["extensionPeriod"]
        params["ActionsSuppressorWaitPeriod"] = suppressor["waitPeriod"]


def _suppressor(_ctx: Context, resource: State, state: State, _known: State) -> None:
    state.pop("actionsSuppressor", None)
    if resource.get("ActionsSuppressor"):
        state["actionsSuppressor"] = {
            "alarm": resource["ActionsSuppressor"],
            "extensionPeriod": resource.get("ActionsSuppressorExtensionPeriod"),
            "waitPeriod": resource.get("ActionsSuppressorWaitPeriod"),
        }


_PLAIN = tuple(p for p in _COMPOSITE_PROPS if p != "actionsSuppressor")

_COMPOSITE_ALARM = ResourceType(
    type="aws:cloudwatch/compositeAlarm:CompositeAlarm",
    service="cloudwatch",
    create=Call(op="PutCompositeAlarm", args={"AlarmName": "{alarmName}"}, props=_PLAIN, finish=_flat_suppressor),
    id="{alarmName}",
    import_id=("alarmName",),
    read=Read(
        op="DescribeAlarms",
        args={"AlarmNames": ["{alarmName}"], "AlarmTypes": ["CompositeAlarm"]},
        at="CompositeAlarms[0]",
        missing=("ResourceNotFound",),
    ),
    updates=(
        Update(
            op="PutCompositeAlarm",
            args={"AlarmName": "{alarmName}"},
            on=_COMPOSITE_PROPS,
            props=_PLAIN,
            finish=_flat_suppressor,
        ),
    ),
    delete=Call(op="DeleteAlarms", args={"AlarmNames": ["{alarmName}"]}),
    rename={"arn": "AlarmArn", "okActions": "OKActions"},
    outputs={"actionsSuppressor": "`null`"},
    replace=words("actionsEnabled alarmName"),
    defaults={"actionsEnabled": True},
    hooked=words("alarmName actionsSuppressor"),
    tags=upper_arn_tags(target="ResourceARN"),
    amend=_suppressor,
)


def _find_dashboard(ctx: Context, state: State) -> State | None:
    try:
        return ctx.call("GetDashboard", {"DashboardName": state["dashboardName"]})
    except ClientError as error:
        if code_of(error) in ("ResourceNotFound", "DashboardNotFoundError"):
            return None
        raise


_DASHBOARD = ResourceType(
    type="aws:cloudwatch/dashboard:Dashboard",
    service="cloudwatch",
    create=Call(op="PutDashboard", props=None),
    id="{dashboardName}",
    import_id=("dashboardName",),
    on_read=_find_dashboard,
    updates=(Update(op="PutDashboard", args={"DashboardName": "{dashboardName}"}, on=("dashboardBody",)),),
    delete=Call(op="DeleteDashboards", args={"DashboardNames": ["{dashboardName}"]}),
    absent=("ResourceNotFound", "DashboardNotFoundError"),
    rename={"dashboardArn": "DashboardArn"},
    replace=words("dashboardName"),
    documents=words("dashboardBody"),
)

ROWS = (_LOG_GROUP, _METRIC_ALARM, _COMPOSITE_ALARM, _DASHBOARD)
