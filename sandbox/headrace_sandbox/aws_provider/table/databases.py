"""RDS: subnet groups, parameter groups, instances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace_sandbox.aws_provider.context import Context
from headrace_sandbox.aws_provider.spec import Call, Name, Read, Ready, ResourceType, State, Update
from headrace_sandbox.aws_provider.table.groups import parameter_group, subnet_group
from headrace_sandbox.aws_provider.table.parts import resource_name_tags, words

_SUBNET_GROUP = subnet_group(
    "aws:rds/subnetGroup:SubnetGroup",
    "DBSubnetGroup",
    busy="InvalidDBSubnetGroupStateFault",
    arn="DBSubnetGroupArn",
    prefixed=True,
)


def _request(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"ParameterName": one["name"], "ParameterValue": one["value"], "ApplyMethod": _method(one)}


def _reset(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"ParameterName": one["name"], "ApplyMethod": _method(one)}


def _method(one: Mapping[str, Any]) -> str:
    return str(one.get("applyMethod") or "immediate")


def _seen(one: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    method = told.get("applyMethod") or one.get("ApplyMethod") or "immediate"
    return {"name": one["ParameterName"], "value": one["ParameterValue"], "applyMethod": method}


_PARAMETER_GROUP = parameter_group(
    "aws:rds/parameterGroup:ParameterGroup",
    "DBParameterGroup",
    member="Parameters",
    arn="DBParameterGroupArn",
    request=_request,
    reset=_reset,
    seen=_seen,
    prefixed=True,
    defaults={"skipDestroy": False},
)

_DATABASE = {"DBInstanceIdentifier": "{identifier}"}


def _database_details(_ctx: Context, resource: State, state: State, known: State) -> None:
    state["id"] = resource["DbiResourceId"]  # an import may name the database by its identifier
    endpoint = resource.get("Endpoint") or {}
    state["address"], state["port"] = endpoint.get("Address"), endpoint.get("Port")
    state["hostedZoneId"] = endpoint.get("HostedZoneId")
    if endpoint.get("Address"):
        state["endpoint"] = f"{endpoint['Address']}:{endpoint['Port']}"
    state["dbSubnetGroupName"] = (resource.get("DBSubnetGroup") or {}).get("DBSubnetGroupName")
    groups = resource.get("DBParameterGroups") or []
    state["parameterGroupName"] = groups[0]["DBParameterGroupName"] if groups else None
    options = resource.get("OptionGroupMemberships") or []
    state["optionGroupName"] = options[0]["OptionGroupName"] if options else None
    state["vpcSecurityGroupIds"] = [one["VpcSecurityGroupId"] for one in resource.get("VpcSecurityGroups") or ()]
    state["enabledCloudwatchLogsExports"] = sorted(resource.get("EnabledCloudwatchLogsExports") or ())
    actual, told = str(resource.get("EngineVersion") or ""), str(known.get("engineVersion") or "")
    state["engineVersionActual"] = actual
    # A major version stands for all its minor ones, which RDS moves to by itself.
    state["engineVersion"] = told if told and (actual == told or actual.startswith(f"{told}.")) else actual
    secret = resource.get("MasterUserSecret")
    state["manageMasterUserPassword"] = True if secret else None
    if secret:
        state["masterUserSecrets"] = [
            {
                "kmsKeyId": secret.get("KmsKeyId"),
                "secretArn": secret.get("SecretArn"),
                "secretStatus": secret.get("SecretStatus"),
            }
        ]
        live, told = str(secret.get("KmsKeyId") or ""), str(known.get("masterUserSecretKmsKeyId") or "")
        # A key may be named by its id or by its ARN.
        state["masterUserSecretKmsKeyId"] = told if told.rpartition("/")[2] == live.rpartition("/")[2] else live


def _logs_changed(ctx: Context, old: State, inputs: State, _changed: frozenset[str]) -> None:
    """AWS takes which logs to begin and which to end, not the list."""
    before = set(old.get("enabledCloudwatchLogsExports") or ())
    after = set(inputs.get("enabledCloudwatchLogsExports") or ())
    change = {"EnableLogTypes": sorted(after - before), "DisableLogTypes": sorted(before - after)}
    params = {"DBInstanceIdentifier": old["identifier"], "ApplyImmediately": True}
    ctx.call("ModifyDBInstance", {**params, "CloudwatchLogsExportConfiguration": change})


def _at_once(params: dict[str, Any], _old: State, _inputs: State) -> None:
    params["ApplyImmediately"] = True


def _delete_database(ctx: Context, state: State) -> None:
    params: dict[str, Any] = {"DBInstanceIdentifier": state["identifier"]}
    if state.get("skipFinalSnapshot"):
        params["SkipFinalSnapshot"] = True
    else:
        params |= {"SkipFinalSnapshot": False, "FinalDBSnapshotIdentifier": state.get("finalSnapshotIdentifier")}
    params["DeleteAutomatedBackups"] = state.get("deleteAutomatedBackups", True)
    ctx.call("DeleteDBInstance", params)


def _final_snapshot(inputs: State) -> list[tuple[str, str]]:
    if not inputs.get("skipFinalSnapshot") and not inputs.get("finalSnapshotIdentifier"):
        reason = (
            "finalSnapshotIdentifier is required unless skipFinalSnapshot is true, or the database can't be deleted"
        )
        return [("finalSnapshotIdentifier", reason)]
    return []


_DATABASE_IN_PLACE = (
    "allocatedStorage",
    "autoMinorVersionUpgrade",
    "backupRetentionPeriod",
    "backupWindow",
    "caCertIdentifier",
    "copyTagsToSnapshot",
    "dbSubnetGroupName",
    "deletionProtection",
    "engineVersion",
    "iamDatabaseAuthenticationEnabled",
    "instanceClass",
    "iops",
    "maintenanceWindow",
    "manageMasterUserPassword",
    "masterUserSecretKmsKeyId",
    "maxAllocatedStorage",
    "monitoringInterval",
    "monitoringRoleArn",
    "multiAz",
    "parameterGroupName",
    "password",
    "performanceInsightsEnabled",
    "performanceInsightsKmsKeyId",
    "performanceInsightsRetentionPeriod",
    "publiclyAccessible",
    "storageThroughput",
    "storageType",
    "vpcSecurityGroupIds",
)

_INSTANCE = ResourceType(
    type="aws:rds/instance:Instance",
    service="rds",
    create=Call(op="CreateDBInstance", props=None),
    created={"id": "DBInstance.DbiResourceId", "identifier": "DBInstance.DBInstanceIdentifier"},
    import_id=("identifier",),
    read=Read(
        op="DescribeDBInstances",
        args=_DATABASE,
        at="DBInstances[0]",
        missing=("DBInstanceNotFound", "DBInstanceNotFoundFault"),
        status="DBInstanceStatus",
    ),
    ready=Ready(
        status="DBInstanceStatus",
        good=("available", "storage-optimization"),
        bad=("failed", "incompatible-parameters", "incompatible-network", "storage-full"),
        timeout_s=3600.0,
    ),
    updates=(Update(op="ModifyDBInstance", args=_DATABASE, on=_DATABASE_IN_PLACE, finish=_at_once),),
    on_update=_logs_changed,
    hook_updates=words("enabledCloudwatchLogsExports"),
    on_delete=_delete_database,
    wait_deleted=True,
    absent=("DBInstanceNotFound",),
    busy=("InvalidDBInstanceState~not available",),
    rename={
        "arn": "DBInstanceArn",
        "backupRetentionPeriod": "BackupRetentionPeriod",
        "backupWindow": "PreferredBackupWindow",
        "caCertIdentifier": "CACertificateIdentifier",
        "enabledCloudwatchLogsExports": "EnableCloudwatchLogsExports",
        "iamDatabaseAuthenticationEnabled": "EnableIAMDatabaseAuthentication",
        "identifier": "DBInstanceIdentifier",
        "instanceClass": "DBInstanceClass",
        "maintenanceWindow": "PreferredMaintenanceWindow",
        "parameterGroupName": "DBParameterGroupName",
        "password": "MasterUserPassword",
        "performanceInsightsEnabled": "EnablePerformanceInsights",
        "username": "MasterUsername",
        "dbSubnetGroupName": "DBSubnetGroupName",
    },
    outputs={
        "iamDatabaseAuthenticationEnabled": "IAMDatabaseAuthenticationEnabled",
        "performanceInsightsEnabled": "PerformanceInsightsEnabled",
        "resourceId": "DbiResourceId",
        "status": "DBInstanceStatus",
    },
    replace=words("availabilityZone dbName engine identifier identifierPrefix kmsKeyId port storageEncrypted username"),
    computed=words(
        "allocatedStorage availabilityZone backupRetentionPeriod backupWindow caCertIdentifier dbName dbSubnetGroupName"
        " engine engineVersion identifier iops kmsKeyId licenseModel maintenanceWindow masterUserSecretKmsKeyId"
        " maxAllocatedStorage multiAz networkType optionGroupName parameterGroupName performanceInsightsEnabled"
        " performanceInsightsKmsKeyId performanceInsightsRetentionPeriod port storageThroughput storageType username"
        " vpcSecurityGroupIds"
    ),
    defaults={
        "autoMinorVersionUpgrade": True,
        "copyTagsToSnapshot": False,
        "deleteAutomatedBackups": True,
        "deletionProtection": False,
        "iamDatabaseAuthenticationEnabled": False,
        "monitoringInterval": 0,
        "publiclyAccessible": False,
        "skipFinalSnapshot": False,
        "storageEncrypted": False,
    },
    local=words(
        "allowMajorVersionUpgrade applyImmediately deleteAutomatedBackups finalSnapshotIdentifier identifierPrefix"
        " skipFinalSnapshot"
    ),
    write_only=words("password"),
    refused=words(
        "backupTarget blueGreenUpdate characterSetName customIamInstanceProfile customerOwnedIpEnabled"
        " databaseInsightsMode dedicatedLogVolume domain domainAuthSecretArn domainDnsIps domainFqdn domainIamRoleName"
        " domainOu engineLifecycleSupport licenseModel ncharCharacterSetName networkType optionGroupName passwordWo"
        " passwordWoVersion replicaMode replicateSourceDb restoreToPointInTime s3Import snapshotIdentifier timezone"
        " upgradeStorageConfig warningEventCategories"
    ),
    unknown=words("engineVersionActual status"),
    name=Name(property="identifier", prefix_property="identifierPrefix", lower=True, limit=63),
    tags=resource_name_tags(),
    on_check=_final_snapshot,
    amend=_database_details,
)

ROWS = (_SUBNET_GROUP, _PARAMETER_GROUP, _INSTANCE)
