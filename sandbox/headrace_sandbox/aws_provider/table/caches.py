"""ElastiCache: subnet groups, parameter groups, replication groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace_sandbox.aws_provider.context import Context
from headrace_sandbox.aws_provider.spec import Call, Name, Read, Ready, ResourceType, State, Update
from headrace_sandbox.aws_provider.table.groups import parameter_group, subnet_group
from headrace_sandbox.aws_provider.table.parts import resource_name_tags, words

_SUBNET_GROUP = subnet_group(
    "aws:elasticache/subnetGroup:SubnetGroup", "CacheSubnetGroup", busy="CacheSubnetGroupInUse", arn="ARN"
)


def _request(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"ParameterName": one["name"], "ParameterValue": one["value"]}


_PARAMETER_GROUP = parameter_group(
    "aws:elasticache/parameterGroup:ParameterGroup",
    "CacheParameterGroup",
    member="ParameterNameValues",
    arn="ARN",
    request=_request,
    reset=_request,
    seen=lambda one, _told: {"name": one["ParameterName"], "value": one["ParameterValue"]},
)

_GROUP = {"ReplicationGroupId": "{id}"}


def _group_details(ctx: Context, resource: State, state: State, known: State) -> None:
    """What AWS says of the members and not of the group."""
    state["automaticFailoverEnabled"] = resource.get("AutomaticFailover") in ("enabled", "enabling")
    state["multiAzEnabled"] = resource.get("MultiAZ") == "enabled"
    members = resource.get("MemberClusters") or []
    state["numCacheClusters"] = len(members)
    state["memberClusters"] = members
    for group in (resource.get("NodeGroups") or [])[:1]:
        state["primaryEndpointAddress"] = group.get("PrimaryEndpoint", {}).get("Address")
        state["readerEndpointAddress"] = group.get("ReaderEndpoint", {}).get("Address")
        state["port"] = group.get("PrimaryEndpoint", {}).get("Port")
    state["logDeliveryConfigurations"] = [_log_delivery(one) for one in resource.get("LogDeliveryConfigurations") or ()]
    if not members:
        return
    cluster = ctx.call("DescribeCacheClusters", {"CacheClusterId": members[0]})["CacheClusters"][0]
    actual = str(cluster["EngineVersion"])
    told = str(known.get("engineVersion") or "")
    state["engineVersionActual"] = actual
    # From version 7 on the service takes major.minor alone and says the patch as well.
    state["engineVersion"] = told if told and actual.startswith(f"{told}.") else ".".join(actual.split(".")[:2])
    state["parameterGroupName"] = cluster["CacheParameterGroup"]["CacheParameterGroupName"]
    state["subnetGroupName"] = cluster["CacheSubnetGroupName"]
    state["securityGroupIds"] = [one["SecurityGroupId"] for one in cluster.get("SecurityGroups") or ()]
    state["maintenanceWindow"] = cluster["PreferredMaintenanceWindow"]
    state["notificationTopicArn"] = (cluster.get("NotificationConfiguration") or {}).get("TopicArn")


def _log_delivery(one: Mapping[str, Any]) -> dict[str, Any]:
    details = one.get("DestinationDetails") or {}
    logs, firehose = details.get("CloudWatchLogsDetails"), details.get("KinesisFirehoseDetails")
    return {
        "destination": (logs or {}).get("LogGroup") or (firehose or {}).get("DeliveryStream"),
        "destinationType": one.get("DestinationType"),
        "logFormat": one.get("LogFormat"),
        "logType": one.get("LogType"),
    }


def _log_request(one: Mapping[str, Any]) -> dict[str, Any]:
    to_logs = one["destinationType"] == "cloudwatch-logs"
    details = (
        {"CloudWatchLogsDetails": {"LogGroup": one["destination"]}}
        if to_logs
        else {"KinesisFirehoseDetails": {"DeliveryStream": one["destination"]}}
    )
    return {
        "LogType": one["logType"],
        "DestinationType": one["destinationType"],
        "DestinationDetails": details,
        "LogFormat": one["logFormat"],
        "Enabled": True,
    }


def _new_group(params: dict[str, Any], _state: State, inputs: State) -> None:
    for name, member in (("numCacheClusters", "NumCacheClusters"), ("authToken", "AuthToken")):
        if inputs.get(name) is not None:
            params[member] = inputs[name]
    if inputs.get("logDeliveryConfigurations"):
        params["LogDeliveryConfigurations"] = [_log_request(one) for one in inputs["logDeliveryConfigurations"]]


def _group_changed(ctx: Context, old: State, inputs: State, changed: frozenset[str]) -> None:
    name = {"ReplicationGroupId": old["id"]}
    if "numCacheClusters" in changed and inputs.get("numCacheClusters") is not None:
        wanted, had = int(inputs["numCacheClusters"]), int(old.get("numCacheClusters") or 1)
        operation = "IncreaseReplicaCount" if wanted > had else "DecreaseReplicaCount"
        ctx.call(operation, {**name, "NewReplicaCount": wanted - 1, "ApplyImmediately": True})
        _until_available(ctx, str(old["id"]))
    if "authToken" in changed and inputs.get("authToken"):
        strategy = inputs.get("authTokenUpdateStrategy") or "ROTATE"
        ctx.call(
            "ModifyReplicationGroup",
            {
                **name,
                "AuthToken": inputs["authToken"],
                "AuthTokenUpdateStrategy": strategy,
                "ApplyImmediately": True,
            },
        )
        _until_available(ctx, str(old["id"]))
    if "logDeliveryConfigurations" in changed:
        wanted_logs = {str(one["logType"]): one for one in inputs.get("logDeliveryConfigurations") or ()}
        gone = [
            {"LogType": one["logType"], "Enabled": False}
            for one in old.get("logDeliveryConfigurations") or ()
            if one["logType"] not in wanted_logs
        ]
        requests = [*gone, *(_log_request(one) for one in wanted_logs.values())]
        ctx.call("ModifyReplicationGroup", {**name, "LogDeliveryConfigurations": requests, "ApplyImmediately": True})
        _until_available(ctx, str(old["id"]))


def _until_available(ctx: Context, identity: str) -> None:
    def look() -> bool | None:
        found = ctx.call("DescribeReplicationGroups", {"ReplicationGroupId": identity})["ReplicationGroups"]
        return True if found[0]["Status"] == "available" else None

    ctx.poll(look, timeout_s=2400.0, what="the replication group is not available")


_IN_PLACE = (
    "autoMinorVersionUpgrade",
    "automaticFailoverEnabled",
    "description",
    "engine",
    "engineVersion",
    "ipDiscovery",
    "maintenanceWindow",
    "multiAzEnabled",
    "nodeType",
    "notificationTopicArn",
    "parameterGroupName",
    "securityGroupIds",
    "snapshotRetentionLimit",
    "snapshotWindow",
    "transitEncryptionEnabled",
    "transitEncryptionMode",
)


def _only_changed(params: dict[str, Any], old: State, inputs: State) -> bool:
    params["ApplyImmediately"] = True
    return True


_REPLICATION_GROUP = ResourceType(
    type="aws:elasticache/replicationGroup:ReplicationGroup",
    service="elasticache",
    create=Call(op="CreateReplicationGroup", props=None, finish=_new_group),
    created={"id": "ReplicationGroup.ReplicationGroupId"},
    import_id=("replicationGroupId",),
    read=Read(
        op="DescribeReplicationGroups",
        args=_GROUP,
        at="ReplicationGroups[0]",
        missing=("ReplicationGroupNotFoundFault",),
        status="Status",
    ),
    ready=Ready(status="Status", good=("available",), bad=("create-failed",), timeout_s=3600.0),
    updates=(Update(op="ModifyReplicationGroup", args=_GROUP, on=_IN_PLACE, finish=_only_changed),),
    delete=Call(op="DeleteReplicationGroup", args={**_GROUP, "FinalSnapshotIdentifier": "{finalSnapshotIdentifier}"}),
    busy=("InvalidReplicationGroupState",),
    wait_deleted=True,
    rename={
        "arn": "ARN",
        "description": "ReplicationGroupDescription",
        "maintenanceWindow": "PreferredMaintenanceWindow",
        "nodeType": "CacheNodeType",
        "parameterGroupName": "CacheParameterGroupName",
        "preferredCacheClusterAzs": "PreferredCacheClusterAZs",
        "subnetGroupName": "CacheSubnetGroupName",
    },
    outputs={"description": "Description", "nodeType": "CacheNodeType"},
    replace=words(
        "atRestEncryptionEnabled kmsKeyId networkType port preferredCacheClusterAzs replicationGroupId subnetGroupName"
    ),
    computed=words(
        "atRestEncryptionEnabled autoMinorVersionUpgrade clusterMode engineVersion ipDiscovery kmsKeyId"
        " maintenanceWindow networkType numCacheClusters parameterGroupName port preferredCacheClusterAzs"
        " replicationGroupId securityGroupIds snapshotWindow subnetGroupName transitEncryptionEnabled"
        " transitEncryptionMode"
    ),
    defaults={
        "autoMinorVersionUpgrade": True,
        "automaticFailoverEnabled": False,
        "authTokenUpdateStrategy": "ROTATE",
        "engine": "redis",
        "multiAzEnabled": False,
    },
    hooked=words("authToken logDeliveryConfigurations numCacheClusters"),
    local=words("applyImmediately authTokenUpdateStrategy finalSnapshotIdentifier"),
    write_only=words("authToken preferredCacheClusterAzs"),
    refused=words(
        "authTokenWo authTokenWoVersion clusterMode dataTieringEnabled durability globalReplicationGroupId"
        " nodeGroupConfigurations numNodeGroups replicasPerNodeGroup securityGroupNames snapshotArns snapshotName"
        " userGroupIds"
    ),
    object_sets=words("logDeliveryConfigurations"),
    unknown=words("engineVersionActual memberClusters"),
    name=Name(property="replicationGroupId", lower=True, limit=40),
    tags=resource_name_tags(),
    on_update=_group_changed,
    amend=_group_details,
)

ROWS = (_SUBNET_GROUP, _PARAMETER_GROUP, _REPLICATION_GROUP)
