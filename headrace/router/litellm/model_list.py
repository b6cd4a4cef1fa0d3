"""LiteLLM's own configuration, made from the router's: one group for each pool, and nothing that LiteLLM may decide."""

from __future__ import annotations

from typing import Any, Final

from headrace.router.config import PoolConfig, RouterConfig

HOOKS: Final = "headrace.router.litellm.hooks"
# LiteLLM insists on a key for a deployment. Ours is never sent: the transport adds the pool's own credentials.
_NO_KEY: Final = "added-by-the-transport"
_COMPLETIONS: Final = "completions"
# RFC 2606: a name below `invalid` leads nowhere, whoever resolves it.
POOL_HOST: Final = ".pool.invalid"


def group_of(pool: str, endpoint: str) -> str:
    """LiteLLM's model group of a pool. Plain completions need another provider of LiteLLM, so a group of their own."""
    return f"{pool}:{_COMPLETIONS}" if endpoint == "completions" else pool


def address_of(pool: str) -> str:
    """What LiteLLM takes for a pool's address. The transport turns it into the real one, which a reload may change."""
    return f"http://{pool}{POOL_HOST}/v1"


def deployments(policy: RouterConfig) -> list[dict[str, Any]]:
    """LiteLLM's model list: two groups of one deployment for each pool."""
    found = []
    for name, pool in policy.pools.items():
        found.append(_deployment(name, "chat.completions", pool, "openai"))
        found.append(_deployment(name, "completions", pool, "text-completion-openai"))
    return found


def litellm_config(policy: RouterConfig) -> dict[str, Any]:
    """The document for LiteLLM's config.yaml. It holds no secret and no address."""
    return {
        "model_list": deployments(policy),
        "router_settings": {
            # Retries, cooldowns and fallbacks are decided by the router's own rules, before a request waits.
            "num_retries": 0,
            "max_fallbacks": 0,
            "disable_cooldowns": True,
            "enable_pre_call_checks": False,
            "routing_strategy": "simple-shuffle",
        },
        "litellm_settings": {
            "callbacks": [f"{HOOKS}.hooks"],
            "num_retries": 0,
            "request_timeout": max((pool.execution_timeout_s for pool in policy.pools.values()), default=600.0),
            "drop_params": False,
            "turn_off_message_logging": True,
        },
        "general_settings": {
            "custom_auth": f"{HOOKS}.authenticate",
            "disable_spend_logs": True,
            "disable_error_logs": True,
            "allow_requests_on_db_unavailable": True,
        },
    }


def _deployment(name: str, endpoint: str, pool: PoolConfig, provider: str) -> dict[str, Any]:
    group = group_of(name, endpoint)
    return {
        "model_name": group,
        "litellm_params": {
            "model": f"{provider}/{pool.served_model}",
            "api_base": address_of(name),
            "api_key": _NO_KEY,
            "max_retries": 0,
            "timeout": pool.execution_timeout_s,
            "stream_timeout": pool.execution_timeout_s,
            # Costs are booked by what a pool's instances cost, not by tokens.
            "input_cost_per_token": 0,
            "output_cost_per_token": 0,
        },
        "model_info": {"id": group, "base_model": None},
    }
