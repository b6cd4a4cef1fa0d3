"""LiteLLM's side of the plug-in: custom authentication and callbacks, named in the rendered config.yaml.

They run inside LiteLLM's handling of a request and find what the router knows of it in the context. A LiteLLM that was
started by itself finds nothing there, and every request is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

# LiteLLM lives in an environment of its own, which type checkers of this project don't see.
from fastapi import HTTPException, Request
from litellm.integrations.custom_logger import CustomLogger  # type: ignore[import-not-found] # see above
from litellm.proxy._types import UserAPIKeyAuth  # type: ignore[import-not-found] # see above

from headrace.router.config import RouterConfig
from headrace.router.exchange import MARGIN_S
from headrace.router.litellm.model_list import deployments, group_of
from headrace.router.litellm.passage import CURRENT, Passage
from headrace.router.types import Refusal

# Models outside of the router's pools that the team's own callbacks and guardrails may call. Callers can't: what
# answers them has gone through the transport to the chosen pool, or is dropped.
_KEPT: Final[set[str]] = set()
_OUTSIDE: Final = "start LiteLLM with `headrace router litellm serve`: by itself it admits nothing"


def _passage() -> Passage:
    passage = CURRENT.get()
    if passage is None:
        raise HTTPException(status_code=503, detail=_OUTSIDE)
    if passage.over:
        raise HTTPException(status_code=503, detail="the attempt has ended")
    return passage


async def authenticate(request: Request, api_key: str) -> UserAPIKeyAuth:
    """Whose request it is, for LiteLLM's own metrics and callbacks. The router has checked the key."""
    del request, api_key
    facts = _passage().turn.facts
    team = f"{facts.tenant}/{facts.project}"
    return UserAPIKeyAuth(api_key=team, key_alias=team, team_id=team, team_alias=team, user_id=facts.tenant)


class Hooks(CustomLogger):  # type: ignore[misc] # LiteLLM's class is unknown to type checkers here
    """Places each request, and lets LiteLLM choose nothing."""

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str, **_: Any
    ) -> dict[str, Any]:
        """Waits for a pool, or refuses. The exchange turns the refusal into the answer."""
        passage = _passage()
        placed = passage.turn.admission or await passage.turn.place()  # whoever calls it again holds the same slot
        if isinstance(placed, Refusal):
            passage.refusal = placed
            raise HTTPException(status_code=placed.status, detail=placed.code)
        limit_s = placed.route.time_limit_s
        if passage.deadline is not None:
            passage.deadline.reschedule(asyncio.get_running_loop().time() + max(0.1, limit_s - MARGIN_S))
        data.update(model=group_of(placed.route.pool, passage.endpoint), timeout=limit_s, num_retries=0, max_retries=0)
        data["disable_fallbacks"] = True
        return data

    async def async_filter_deployments(
        self,
        model: str,
        healthy_deployments: list[dict[str, Any]],
        messages: Any,
        request_kwargs: Mapping[str, Any] | None = None,
        parent_otel_span: Any = None,
    ) -> list[dict[str, Any]]:
        """The one deployment of the pool that was decided for; those of a kept model for the team's own calls."""
        if model in _KEPT:
            return [one for one in healthy_deployments if one.get("model_name") == model]
        passage = _passage()
        admission = passage.turn.admission
        if admission is None:
            raise HTTPException(status_code=503, detail=_OUTSIDE)
        group = group_of(admission.route.pool, passage.endpoint)
        return [one for one in healthy_deployments if one.get("model_info", {}).get("id") == group]


hooks: Final = Hooks()


def keep(models: frozenset[str]) -> None:
    """Names the models outside of the pools that stay."""
    _KEPT.update(models)


def last() -> None:
    """Puts our hook behind the team's callbacks and guardrails, in whatever order LiteLLM made them.

    What rejects a request then takes no slot, and what rewrites one can't undo the choice of a pool.
    """
    import litellm  # type: ignore[import-not-found] # see above

    others = [one for one in litellm.callbacks if one is not hooks]
    litellm.callbacks[:] = [*others, hooks]


def guardrails() -> frozenset[str]:
    """The guardrails that LiteLLM runs. It starts without one whose settings it finds wrong."""
    from litellm.proxy.guardrails.guardrail_registry import (  # type: ignore[import-not-found] # see above
        IN_MEMORY_GUARDRAIL_HANDLER,
    )

    made = IN_MEMORY_GUARDRAIL_HANDLER
    found = made.guardrail_id_to_custom_guardrail
    return frozenset(
        str(one["guardrail_name"]) for key, one in made.IN_MEMORY_GUARDRAILS.items() if found.get(key) is not None
    )


def use(policy: RouterConfig, before: RouterConfig) -> None:
    """Tells LiteLLM of a reloaded configuration's pools. Those of `before` stay: a request may be on its way there."""
    from litellm.proxy import proxy_server  # type: ignore[import-not-found] # see above

    listed = deployments(policy)
    names = {one["model_name"] for one in listed}
    _KEPT.difference_update(names)
    kept = [one for one in proxy_server.llm_router.model_list if one["model_name"] in _KEPT]
    old = [one for one in deployments(before) if one["model_name"] not in names]
    proxy_server.llm_router.set_model_list([*listed, *old, *kept])
