"""RDS: subnet groups, parameter groups, instances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace_sandbox.aws_provider.context import Context
from headrace_sandbox.aws_provider.spec import Call, Name, Read, Ready, ResourceType, State, Update
from headrace_sandbox.aws_provider.table.parts import by_name, resource_name_tags, slices, words

_DB_SUBNETS = {"DBSubnetGroupName": "{name}"}


def _db_subnet_ids(_ctx: Context, resource: State, state: State, _known: State) -> None:
    state["subnetIds"] = [subnet["SubnetIdentifier"] for subnet in resource.get("Subnets", [])]


_DB_SUBNET_GROUP = ResourceType(
    type="aws:rds/subnetGroup:SubnetGroup",
    service="rds",
    create=Call(op="CreateDBSubnetGroup", props=None),
    id="{name}",
    import_id=("name",),
    read=Read(
        op="DescribeDBSubnetGroups",
        args=_DB_SUBNETS,
        at="DBSubnetGroups[0]",
        missing=("DBSubnetGroupNotFoundFault", "DBSubnetGroupNotFound"),
    ),
    updates=(
        Update(
            op="ModifyDBSubnetGroup",
            args=_DB_SUBNETS,
            on=("description", "subnetIds"),
            props=("description", "subnetIds"),
        ),
    ),
    delete=Call(op="DeleteDBSubnetGroup", args=_DB_SUBNETS),
    busy=("InvalidDBSubnetGroupStateFault",),
    rename={"name": "DBSubnetGroupName", "description": "DBSubnetGroupDescription", "arn": "DBSubnetGroupArn"},
    replace=words("name namePrefix"),
    computed=words("name"),
    defaults={"description": "Managed by Pulumi"},
    local=words("namePrefix"),
    name=Name(prefix_property="namePrefix", lower=True, limit=255),
    tags=resource_name_tags(),
    amend=_db_subnet_ids,
)

_DB_PARAMETERS = {"DBParameterGroupName": "{name}"}


def _db_request(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "ParameterName": one["name"],
        "ParameterValue": one["value"],
        "ApplyMethod": one.get("applyMethod") or "immediate",
    }


def _set_db_parameters(ctx: Context, state: State) -> None:
    for some in slices([_db_request(one) for one in state.get("parameters") or ()]):
        ctx.call("ModifyDBParameterGroup", {"DBParameterGroupName": state["name"], "Parameters": some})


def _db_parameters_changed(ctx: Context, old: State, inputs: State, _changed: frozenset[str]) -> None:
    before, after = by_name(old.get("parameters")), by_name(inputs.get("parameters"))
    gone = [
        {"ParameterName": name, "ApplyMethod": one.get("applyMethod") or "immediate"}
        for name, one in before.items()
        if name not in after
    ]
    for some in slices(gone):
        ctx.call("ResetDBParameterGroup", {"DBParameterGroupName": old["name"], "Parameters": some})
    _set_db_parameters(ctx, {"name": old["name"], "parameters": list(after.values())})


def _db_parameters(ctx: Context, _resource: State, state: State, known: State) -> None:
    params = {"DBParameterGroupName": state["name"], "Source": "user"}
    told = by_name(known.get("parameters"))
    found = []
    for one in ctx.pages("DescribeDBParameters", params, "Parameters"):
        method = told.get(one["ParameterName"], {}).get("applyMethod") or one.get("ApplyMethod") or "immediate"
        found.append({"name": one["ParameterName"], "value": one["ParameterValue"], "applyMethod": method})
    state["parameters"] = found


_DB_PARAMETER_GROUP = ResourceType(
    type="aws:rds/parameterGroup:ParameterGroup",
    service="rds",
    create=Call(op="CreateDBParameterGroup", props=None),
    id="{name}",
    import_id=("name",),
    read=Read(
        op="DescribeDBParameterGroups",
        args=_DB_PARAMETERS,
        at="DBParameterGroups[0]",
        missing=("DBParameterGroupNotFound", "DBParameterGroupNotFoundFault"),
    ),
    delete=Call(op="DeleteDBParameterGroup", args=_DB_PARAMETERS),
    busy=("InvalidDBParameterGroupState",),
    rename={"name": "DBParameterGroupName", "family": "DBParameterGroupFamily", "arn": "DBParameterGroupArn"},
    replace=words("description family name namePrefix"),
    computed=words("name"),
    defaults={"description": "Managed by Pulumi", "skipDestroy": False},
    hooked=words("parameters"),
    strict=words("parameters"),
    object_sets=words("parameters"),
    local=words("namePrefix skipDestroy"),
    name=Name(prefix_property="namePrefix", lower=True, limit=255),
    tags=resource_name_tags(),
    after_create=_set_db_parameters,
    on_update=_db_parameters_changed,
    amend=_db_parameters,
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

ROWS = (_DB_SUBNET_GROUP, _DB_PARAMETER_GROUP, _INSTANCE)
