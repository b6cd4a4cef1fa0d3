"""The settings of LiteLLM that a team's own configuration may have, and why the others are refused.

Read from the sources of litellm 1.106.2. A setting that stands nowhere here is refused too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from headrace.router.litellm.versions import TESTED

Why = tuple[str, str, str]
"""Rule, reason, next step."""

KEPT: Final[Mapping[str, frozenset[str]]] = {
    "litellm_settings": frozenset(
        {
            *("json_logs", "suppress_debug_info", "redact_user_api_key_info", "redact_messages_in_exceptions"),
            *(
                "langfuse_default_tags",
                "langfuse_enable_update_trace_keys",
                "langsmith_batch_size",
                "argilla_batch_size",
            ),
            *("datadog_params", "datadog_llm_observability_params", "newrelic_params", "s3_callback_params"),
            *("custom_prometheus_metadata_labels", "custom_prometheus_tags", "prometheus_metrics_config"),
            *("prometheus_latency_buckets", "prometheus_exclude_metrics", "prometheus_exclude_labels"),
            *("require_auth_for_metrics_endpoint", "standard_logging_payload_excluded_fields"),
            *("disable_end_user_cost_tracking", "disable_end_user_cost_tracking_prometheus_only"),
            *("skip_system_message_in_guardrail", "skip_tool_message_in_guardrail"),
            *("output_parse_pii", "presidio_ad_hoc_recognizers"),
        }
    ),
    "general_settings": frozenset(),
    "router_settings": frozenset(),
}
# What must have this value where it is given.
MUST_BE: Final[Mapping[str, object]] = {"cache": False, "set_verbose": False, "store_model_in_db": False}

REPEATS: Final[Why] = (
    "LiteLLM must not repeat a request or send it elsewhere",
    "the router does that before the first byte, within residency, budgets and its retry budget",
    "remove it; pools and retryBudget of the router's configuration say where a request may go",
)
_HEALTH: Final[Why] = (
    "LiteLLM must not judge the health of a pool",
    "the router's circuit breakers do, and a check of LiteLLM's would be a call that nobody admitted",
    "remove it",
)
CHOOSES: Final[Why] = (
    "LiteLLM must not choose where a request goes",
    "the router decides, by residency, load and cost",
    "remove it; workloads and pools of the router's configuration take its place",
)
_STORES: Final[Why] = (
    "LiteLLM must not have a database or a Redis of its own",
    "settings from there would change what was checked at start, and counters there know nothing of the router's",
    "remove it; HEADRACE_REDIS_URL and HEADRACE_POSTGRES_DSN are the router's stores",
)
_CACHE: Final[Why] = (
    "LiteLLM must not answer from a cache",
    "such an answer has no decision, no reservation and no cost, and may be another tenant's",
    "remove it; model servers keep a prefix cache of their own",
)
_LIMITS: Final[Why] = (
    "limits and budgets are the router's",
    "LiteLLM counts in each process, and lets requests pass where it can't count",
    "remove it, and set limits and budgets of tenants and projects in the stack",
)
TEXTS: Final[Why] = (
    "nothing may write a request's text",
    "LiteLLM would put prompts or answers into logs, alerts or traces",
    "remove it; the router's logs, metrics, traces and ledger have everything but the texts",
)
_KEYS: Final[Why] = (
    "keys and callers are checked by the router",
    "whom LiteLLM lets in has no tenant, no project and no budget",
    "remove it, and make keys with headrace router key",
)
_PATHS: Final[Why] = (
    "only the router's paths can be reached",
    "what it serves or calls would have no decision and no record",
    "remove it, and run another LiteLLM for it",
)
_TIMES: Final[Why] = (
    "a request may take as long as was reserved for it",
    "another limit would cut it off early or let it outlive its reservation",
    "remove it, and set the timeouts of the pools",
)
_PARAMETERS: Final[Why] = (
    "parameters reach the model server as they were sent",
    "a request whose parameters are silently dropped or changed is not the caller's",
    "remove it",
)
UNKNOWN: Final[Why] = (
    f"what it does to the router's promises is not known for litellm {TESTED}",
    "LiteLLM takes any name as an order to itself",
    "remove it; docs/router/litellm.md lists what is kept",
)
REASONS: Final[Mapping[str, Why]] = {
    name: why
    for why, names in (
        (REPEATS, "fallbacks default_fallbacks context_window_fallbacks content_policy_fallbacks model_fallbacks"),
        (REPEATS, "num_retries num_retries_per_request max_fallbacks retry retry_after retry_policy"),
        (REPEATS, "model_group_retry_policy enable_weighted_failover"),
        (_HEALTH, "allowed_fails allowed_fails_policy cooldown_time disable_cooldowns enable_health_check_routing"),
        (_HEALTH, "health_check_staleness_threshold health_check_ignore_transient_errors background_health_checks"),
        (_HEALTH, "use_shared_health_check health_check_interval health_check_concurrency health_check_details"),
        (CHOOSES, "routing_strategy routing_strategy_args routing_groups model_group_alias model_alias_map plugins"),
        (CHOOSES, "enable_tag_filtering tag_filtering_match_any tag_routing_prefix optional_pre_call_checks"),
        (CHOOSES, "enable_pre_call_checks provider_budget_config default_priority model_group_affinity_config"),
        (CHOOSES, "deployment_affinity_ttl_seconds completion_model custom_provider_map default_litellm_params"),
        (CHOOSES, "api_base headers organization infer_model_from_keys"),
        (_STORES, "redis_url redis_host redis_port redis_password redis_db cache_kwargs coordination_redis"),
        (_STORES, "database_url database_type database_args database_connection_pool_limit store_model_in_db"),
        (_STORES, "database_connection_timeout enable_redis_auth_cache allow_requests_on_db_unavailable"),
        (_STORES, "disable_spend_logs disable_error_logs proxy_batch_write_at"),
        (_CACHE, "cache cache_params cache_responses caching caching_with_models caching_groups client_ttl"),
        (_LIMITS, "max_budget budget_duration max_user_budget max_internal_user_budget max_end_user_budget"),
        (_LIMITS, "default_max_internal_user_budget default_internal_user_params tag_budget_config"),
        (_LIMITS, "max_parallel_requests global_max_parallel_requests default_max_parallel_requests"),
        (_LIMITS, "priority_reservation priority_reservation_settings max_in_flight_requests_per_worker"),
        (_LIMITS, "max_request_size_mb max_response_size_mb default_team_settings"),
        (TEXTS, "turn_off_message_logging set_verbose debug_level log_raw_request_response input_callback"),
        (TEXTS, "service_callback audit_log_callbacks alerting alert_types alerting_args alerting_threshold"),
        (TEXTS, "alert_to_webhook_url alerting_config store_prompts_in_spend_logs log_client_error_tracebacks otel"),
        (_KEYS, "custom_auth custom_key_generate custom_key_update custom_sso enable_jwt_auth litellm_jwtauth"),
        (_KEYS, "allowed_routes allowed_ips role_permissions key_generation_settings custom_auth_run_common_checks"),
        (_KEYS, "enable_oauth2_auth upperbound_key_generate_params default_key_generate_params user_header_name"),
        (_KEYS, "dangerously_permit_weak_or_unset_master_key"),
        (_PATHS, "pass_through_endpoints mcp_servers mcp_tools files_settings finetune_settings assistant_settings"),
        (_PATHS, "search_tools sandbox_tools agents agent_list vector_store_registry default_vertex_config prompts"),
        (_TIMES, "request_timeout timeout stream_timeout"),
        (_PARAMETERS, "drop_params modify_params"),
    )
    for name in names.split()
}
