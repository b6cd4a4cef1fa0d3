"""Facts: the plain, always-known values that each component registers, so that a rule decides at preview.

A record is made from settings and the catalogue, never from what a cloud answers. `to_props()` gives plain camelCase
JSON, which a component passes as the property `facts` of its inputs and of its outputs; `facts_from_props()` reads it
back. Times are in the unit of the name, money in US dollars, sizes in GiB.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

# Raised when a field changes its meaning or goes away; a reader refuses a version that it doesn't know.
FACTS_VERSION = 1

# What a fact may be made of. Everything else would not survive the engine's wire format unchanged.
Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]


class FactsError(ValueError):
    """Properties that are not a facts record: what is wrong and where."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What every record says: where and how much at stake the component is. `jurisdiction` is the catalogue's."""

    kind: ClassVar[str] = ""

    organization: str
    environment: str
    stage: str
    region: str
    jurisdiction: str

    def to_props(self) -> dict[str, Plain]:
        """Plain camelCase JSON with `kind` and `factsVersion`."""
        return {"kind": self.kind, "factsVersion": FACTS_VERSION, **_fields_to_plain(self)}


@dataclass(frozen=True, kw_only=True)
class ReleaseFacts:
    """A model release as a pool runs it. `image` is what settings name, before it is mapped to our registry."""

    name: str
    artifact_uri: str
    artifact_digest: str
    image: str
    cuda_version: str
    minimum_compute_capability: str
    quantization: str | None
    weights_gib: float
    kv_cache_kib_per_token: float
    max_context_tokens: int
    tensor_parallel: int
    serving_args: tuple[str, ...]
    forward_compatibility_package: bool


@dataclass(frozen=True, kw_only=True)
class WorkloadFacts:
    """A workload as settings describe it."""

    name: str
    workload_class: str
    data_classification: str
    residency: tuple[str, ...]
    context_tokens: int
    time_to_first_token_ms: int | None
    time_to_first_token_percentile: float | None


@dataclass(frozen=True, kw_only=True)
class ScheduleFacts:
    """Scaling bounds from a time on."""

    name: str
    cron: str
    time_zone: str
    floor_nodes: int
    ceiling_nodes: int


@dataclass(frozen=True, kw_only=True)
class QuotaFacts:
    """What a namespace may ask for at once."""

    gpus: int
    cpu_cores: float
    memory_gib: float
    pods: int
    objects: int


@dataclass(frozen=True, kw_only=True)
class BudgetFacts:
    """One budget: for whom, how much, at which percentages somebody is told."""

    scope: str
    tenant: str | None
    project: str | None
    usd_per_month: float
    alert_thresholds_percent: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class NetworkFacts(Facts):
    """`PrivateNetwork`. `egress` is the router's; private and intra subnets never have any.

    `adopted_private_subnet_ids`: subnets of a VPC that existed already; the component has looked at their routes.
    """

    kind: ClassVar[str] = "network"

    name: str
    cidr: str
    zones: tuple[str, ...]
    egress: str
    adopted: bool
    adopted_private_subnet_ids: tuple[str, ...]
    private_subnets_have_internet_route: bool
    private_subnets_map_public_ip: bool
    route_table_per_zone: bool
    endpoints: tuple[str, ...]
    default_security_group_closed: bool
    flow_logs: bool
    flow_logs_encrypted: bool
    flow_log_retention_days: int


@dataclass(frozen=True, kw_only=True)
class ClusterFacts(Facts):
    """`GpuCluster`. `end_of_standard_support` is an ISO date, None where the catalogue doesn't know the version."""

    kind: ClassVar[str] = "cluster"

    name: str
    version: str
    end_of_standard_support: str | None
    endpoint_private: bool
    endpoint_public: bool
    public_access_cidrs: tuple[str, ...]
    secrets_encrypted: bool
    key_rotation: bool
    authentication_mode: str
    log_types: tuple[str, ...]
    log_retention_days: int
    logs_encrypted: bool
    deletion_protection: bool
    admin_principal_arns: tuple[str, ...]
    addon_versions: dict[str, str]
    system_instance_type: str
    system_nodes: int
    zones: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DedicatedPoolFacts(Facts):
    """`DedicatedPool`. `drivers` are those that the node image may boot with; empty means the catalogue can't tell.

    `subnets_private` holds for subnets of `PrivateNetwork`; for subnets given by hand the rule on raw resources looks.
    `gpus_per_node`, `gpu_memory_gib` (one GPU) and `compute_capability` come from the catalogue's row of the type.
    """

    kind: ClassVar[str] = "dedicatedPool"

    name: str
    instance_type: str
    gpu: str
    gpu_class: str
    gpus_per_node: int
    gpu_memory_gib: float
    compute_capability: str
    vcpus_per_node: int
    efa_interfaces: int
    capacity_type: str
    reservation_id: str | None
    zones: tuple[str, ...]
    floor_nodes: int
    ceiling_nodes: int
    schedules: tuple[ScheduleFacts, ...]
    replicas: int
    slots_per_replica: int
    node_image: str
    node_release_version: str | None
    kubernetes_version: str
    drivers: tuple[str, ...]
    driver_chosen_at_boot: bool
    subnets_private: bool
    public_ip: bool
    root_volume_gib: int
    root_volume_encrypted: bool
    imds_v2_required: bool
    imds_hop_limit: int
    node_repair: bool
    namespace: str
    disruption_budget: bool
    release: ReleaseFacts
    workload: WorkloadFacts


@dataclass(frozen=True, kw_only=True)
class WarmUpFacts:
    """Least instances in hours of the week (0 is Monday 00:00 in `time_zone`)."""

    hours: tuple[int, ...]
    min_instances: int
    time_zone: str


@dataclass(frozen=True, kw_only=True)
class ServerlessPoolFacts(Facts):
    """`ServerlessEndpoint`. `jurisdictions` are those of `regions` by the catalogue; empty where no region is named,
    and then it may run anywhere. `placement_guaranteed` is False where the vendor only prefers the regions.
    `ingress_jurisdiction` is where requests enter, None where the vendor doesn't say. `gpus` are all that an instance
    may get."""

    kind: ClassVar[str] = "serverlessPool"

    name: str
    provider: str
    gpus: tuple[str, ...]
    gpu_count: int
    min_instances: int
    max_instances: int
    concurrency_per_instance: int
    idle_timeout_s: int
    execution_timeout_s: int
    regions: tuple[str, ...]
    jurisdictions: tuple[str, ...]
    placement_guaranteed: bool
    ingress_region: str | None
    ingress_jurisdiction: str | None
    authenticated: bool
    warm_up: tuple[WarmUpFacts, ...]
    warm_up_lead_time_s: int
    release: ReleaseFacts
    workload: WorkloadFacts


@dataclass(frozen=True, kw_only=True)
class TenantSpaceFacts(Facts):
    """`TenantSpace`: one tenant x project x environment."""

    kind: ClassVar[str] = "tenantSpace"

    tenant: str
    project: str
    namespace: str
    pod_security: str
    quota: QuotaFacts
    limit_range: bool
    network_default_deny: bool
    rbac_roles: tuple[str, ...]
    rbac_wildcards: bool
    admin_principal_arns: tuple[str, ...]
    deployer_principal_arns: tuple[str, ...]
    viewer_principal_arns: tuple[str, ...]
    budget_usd_per_month: float
    tenant_budget_usd_per_month: float


@dataclass(frozen=True, kw_only=True)
class ModelStoreFacts(Facts):
    """`ModelStore`. `registries` are the hosts that images may come from once they are mapped."""

    kind: ClassVar[str] = "modelStore"

    bucket: str
    versioned: bool
    encrypted: bool
    key_rotation: bool
    object_lock_mode: str
    retention_days: int
    public_access_blocked: bool
    restricted_to_endpoint: bool
    reader_role_arns: tuple[str, ...]
    registries: tuple[str, ...]
    immutable_tags: bool
    scan_on_push: bool
    pull_through_upstreams: tuple[str, ...]
    repositories: tuple[str, ...]
    replication_regions: tuple[str, ...]
    releases: tuple[ReleaseFacts, ...]


@dataclass(frozen=True, kw_only=True)
class SpendFacts(Facts):
    """`SpendGuard`: every cloud budget, and the tags that they count by."""

    kind: ClassVar[str] = "spend"

    budgets: tuple[BudgetFacts, ...]
    alerts_encrypted: bool
    alert_emails: tuple[str, ...]
    anomaly_threshold_usd: float
    cost_allocation_tags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RouterFacts(Facts):
    """`Router`. `egress_to` are the only destinations that its network policies allow: pools by name, `data-stores`,
    `serverless-ingress`. `egress_to_internet`: whether its subnets have a route out and a pool needs it.
    `journal_durable`: each replica's journal lies on a volume of its own that survives the pod and the node.
    """

    kind: ClassVar[str] = "router"

    name: str
    engine: str
    image: str
    min_replicas: int
    max_replicas: int
    zones: tuple[str, ...]
    nodes: int
    instance_type: str
    disruption_budget: bool
    spread_over_zones: bool
    autoscaled: bool
    runs_as_root: bool
    read_only_root: bool
    load_balancer_internal: bool
    load_balancer_tls: bool
    network_default_deny: bool
    egress_to: tuple[str, ...]
    egress_to_internet: bool
    journal_durable: bool
    journal_encrypted: bool
    journal_outlives_stack: bool
    drain_timeout_s: int
    pools: tuple[str, ...]
    prices_of: str
    api_keys: int


@dataclass(frozen=True, kw_only=True)
class DataStoresFacts(Facts):
    """`DataStores`: the cache (ElastiCache) and the database (RDS) that the router's replicas share.

    `subnets_private`: they lie in subnets without a route to the internet. `admits`: whom their security groups let in.
    """

    kind: ClassVar[str] = "dataStores"

    name: str
    zones: tuple[str, ...]
    subnets_private: bool
    publicly_accessible: bool
    admits: tuple[str, ...]
    key_rotation: bool
    cache_engine: str
    cache_version: str
    cache_nodes: int
    cache_multi_zone: bool
    cache_encrypted_at_rest: bool
    cache_encrypted_in_transit: bool
    cache_authenticated: bool
    database_engine: str
    database_version: str
    database_multi_zone: bool
    database_encrypted_at_rest: bool
    database_tls_required: bool
    database_password_managed: bool
    database_deletion_protection: bool
    database_backup_retention_days: int
    database_logs_exported: tuple[str, ...]
    database_log_retention_days: int
    credentials_in_secrets_manager: bool


@dataclass(frozen=True, kw_only=True)
class AuditTrailFacts(Facts):
    """`AuditTrail`: the bucket that holds checkpoints and exports of the router's records."""

    kind: ClassVar[str] = "auditTrail"

    name: str
    bucket: str
    object_lock_mode: str
    retention_days: int
    versioned: bool
    encrypted: bool
    key_rotation: bool
    key_rotation_days: int
    public_access_blocked: bool
    tls_required: bool
    checkpoint_interval_s: int


@dataclass(frozen=True, kw_only=True)
class HourlyFloorFacts(Facts):
    """`HourlyFloor`: the job that sets a pool's nodes from its traffic. `egress_to` are the only destinations that its
    network policy allows."""

    kind: ClassVar[str] = "hourlyFloor"

    name: str
    pool: str
    workload: str
    image: str
    floor_nodes: int
    ceiling_nodes: int
    replicas_per_node: int
    schedule: str
    runs_as_root: bool
    read_only_root: bool
    egress_to: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PlatformFacts(Facts):
    """`HybridPlatform`: what it is composed of, by name, and the sums that rules hold against limits."""

    kind: ClassVar[str] = "platform"

    name: str
    dedicated_pools: tuple[str, ...]
    serverless_pools: tuple[str, ...]
    tenant_spaces: tuple[str, ...]
    workloads: tuple[WorkloadFacts, ...]
    releases: tuple[ReleaseFacts, ...]
    floor_gpus: int
    ceiling_gpus: int
    tenant_quota_gpus: int
    environment_budget_usd_per_month: float


KINDS: dict[str, type[Facts]] = {
    record.kind: record
    for record in (
        NetworkFacts,
        ClusterFacts,
        DedicatedPoolFacts,
        ServerlessPoolFacts,
        TenantSpaceFacts,
        ModelStoreFacts,
        SpendFacts,
        RouterFacts,
        DataStoresFacts,
        AuditTrailFacts,
        HourlyFloorFacts,
        PlatformFacts,
    )
}


def facts_from_props(props: Mapping[str, Any]) -> Facts:
    """The record that `props` (what `to_props` gave) describes. Raises `FactsError` where it is not one.

    Integers may arrive as floats (the engine has one number type); fields that this version doesn't know are refused,
    because a rule that ignores them could pass what a newer component says is unsafe.
    """
    version = props.get("factsVersion")
    if version != FACTS_VERSION:
        raise FactsError(f"factsVersion is {version!r}, this reader knows {FACTS_VERSION}")
    kind = props.get("kind")
    record = KINDS.get(kind) if isinstance(kind, str) else None
    if record is None:
        raise FactsError(f"kind is {kind!r}, known are {', '.join(KINDS)}")
    fields = {key: value for key, value in props.items() if key not in ("kind", "factsVersion")}
    return typing.cast("Facts", _record(record, fields, str(kind)))


def camel(name: str) -> str:
    """`floor_nodes` as `floorNodes`."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _fields_to_plain(record: object) -> dict[str, Plain]:
    fields = dataclasses.fields(typing.cast("Any", record))
    return {camel(field.name): _plain(getattr(record, field.name)) for field in fields}


def _plain(value: object) -> Plain:
    if isinstance(value, Enum):
        return _plain(value.value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        return _fields_to_plain(value)
    raise FactsError(f"a fact must be a plain value, not {type(value).__name__}: {value!r}")


def _record(record: type[Any], props: Mapping[str, Any], where: str) -> object:
    hints = _hints(typing.cast("Any", record))  # mypy takes a type for unhashable
    names = {camel(field.name): field.name for field in dataclasses.fields(record)}
    unknown = sorted(set(props) - set(names))
    # The engine drops properties that are null, so an absent optional field is one that is None.
    missing = sorted(wire for wire, name in names.items() if wire not in props and not _optional(hints[name]))
    if unknown or missing:
        raise FactsError(f"{where}: unknown fields {unknown}, missing fields {missing}")
    return record(**{name: _value(hints[name], props.get(wire), f"{where}.{wire}") for wire, name in names.items()})


@functools.cache
def _hints(record: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(record)


def _optional(hint: Any) -> bool:
    return type(None) in typing.get_args(hint)


def _value(hint: Any, value: Any, where: str) -> object:
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _value(next(option for option in arguments if option is not type(None)), value, where)
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise FactsError(f"{where}: expected a list, got {value!r}")
        return tuple(_value(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise FactsError(f"{where}: expected a map, got {value!r}")
        return {str(key): _value(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise FactsError(f"{where}: expected a record, got {value!r}")
        return _record(typing.cast("type[Any]", hint), value, where)
    return _scalar(hint, value, where)


def _scalar(hint: Any, value: Any, where: str) -> object:
    if hint is bool or isinstance(value, bool):
        if hint is bool and isinstance(value, bool):
            return value
    elif hint is int:
        if isinstance(value, int | float) and value == int(value):
            return int(value)
    elif hint is float:
        if isinstance(value, int | float):
            return float(value)
    elif isinstance(value, str):
        return value
    raise FactsError(f"{where}: expected {hint.__name__}, got {value!r}")
