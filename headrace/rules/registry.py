"""Every rule, written out. Nothing registers itself on import."""

from __future__ import annotations

from typing import Final

from headrace.rules.availability import (
    data_store_can_be_lost,
    deployment_without_disruption_budget,
    router_not_redundant,
    single_point_of_capacity,
    warm_up_after_the_peak,
)
from headrace.rules.ceilings import (
    over_account_limit,
    peak_not_absorbed,
)
from headrace.rules.commitments import (
    commitment_above_floor,
    commitment_expires_soon,
    commitment_term_too_long,
    exit_too_expensive,
    generation_lock_in,
    purchase_without_approval,
    too_much_promised,
)
from headrace.rules.cost import (
    cost_over_budget,
)
from headrace.rules.network import (
    data_store_exposed,
    egress_beside_the_router,
    gpu_nodes_only_in_private_subnets,
    open_security_group,
    public_cluster_endpoint,
    vpc_without_flow_logs,
)
from headrace.rules.parity import (
    compat_package_on_consumer_gpu,
    driver_too_old,
    gpu_too_old,
    model_does_not_fit,
    release_differs_between_pools,
)
from headrace.rules.records import (
    audit_trail_incomplete,
    bucket_without_object_lock,
    key_without_rotation,
    lineage_missing,
    retention_too_short,
)
from headrace.rules.residency import (
    compute_outside_jurisdiction,
    ingress_outside_jurisdiction,
    keys_outside_jurisdiction,
    logs_outside_jurisdiction,
    model_artifact_from_elsewhere,
    restricted_data_on_serverless,
    serverless_outside_jurisdiction,
    storage_outside_jurisdiction,
)
from headrace.rules.rule import Rule
from headrace.rules.security import (
    compromised_release,
    connection_in_plain_text,
    image_from_foreign_registry,
    image_without_digest,
    imds_v1,
    plaintext_secret,
    unencrypted_storage,
    unscoped_iam,
)
from headrace.rules.serverless import (
    cold_for_latency_sensitive,
    idle_timeout_out_of_bounds,
    no_execution_timeout,
    preemptible_without_checkpoint,
    serverless_without_maximum,
    serverless_without_price,
)
from headrace.rules.tenancy import (
    budget_missing,
    namespace_without_limits,
    namespace_without_network_policy,
    namespace_without_pod_security,
    namespace_without_quota,
    quotas_exceed_pools,
    rbac_wildcard,
)

RULES: Final[tuple[Rule, ...]] = (
    data_store_can_be_lost.RULE,
    deployment_without_disruption_budget.RULE,
    router_not_redundant.RULE,
    single_point_of_capacity.RULE,
    warm_up_after_the_peak.RULE,
    over_account_limit.RULE,
    peak_not_absorbed.RULE,
    commitment_above_floor.RULE,
    commitment_expires_soon.RULE,
    commitment_term_too_long.RULE,
    exit_too_expensive.RULE,
    generation_lock_in.RULE,
    purchase_without_approval.RULE,
    too_much_promised.RULE,
    cost_over_budget.RULE,
    data_store_exposed.RULE,
    egress_beside_the_router.RULE,
    gpu_nodes_only_in_private_subnets.RULE,
    open_security_group.RULE,
    public_cluster_endpoint.RULE,
    vpc_without_flow_logs.RULE,
    compat_package_on_consumer_gpu.RULE,
    driver_too_old.RULE,
    gpu_too_old.RULE,
    model_does_not_fit.RULE,
    release_differs_between_pools.RULE,
    audit_trail_incomplete.RULE,
    bucket_without_object_lock.RULE,
    key_without_rotation.RULE,
    lineage_missing.RULE,
    retention_too_short.RULE,
    compute_outside_jurisdiction.RULE,
    ingress_outside_jurisdiction.RULE,
    keys_outside_jurisdiction.RULE,
    logs_outside_jurisdiction.RULE,
    model_artifact_from_elsewhere.RULE,
    restricted_data_on_serverless.RULE,
    serverless_outside_jurisdiction.RULE,
    storage_outside_jurisdiction.RULE,
    compromised_release.RULE,
    connection_in_plain_text.RULE,
    image_from_foreign_registry.RULE,
    image_without_digest.RULE,
    imds_v1.RULE,
    plaintext_secret.RULE,
    unencrypted_storage.RULE,
    unscoped_iam.RULE,
    cold_for_latency_sensitive.RULE,
    idle_timeout_out_of_bounds.RULE,
    no_execution_timeout.RULE,
    preemptible_without_checkpoint.RULE,
    serverless_without_maximum.RULE,
    serverless_without_price.RULE,
    budget_missing.RULE,
    namespace_without_limits.RULE,
    namespace_without_network_policy.RULE,
    namespace_without_pod_security.RULE,
    namespace_without_quota.RULE,
    quotas_exceed_pools.RULE,
    rbac_wildcard.RULE,
)
