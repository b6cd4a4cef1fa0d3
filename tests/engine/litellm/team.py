"""What a team has beside its own LiteLLM configuration: callbacks and guardrails. Loaded by the real LiteLLM proxy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

# Only LiteLLM's environment has these; type checkers of this project don't see them.
from fastapi import HTTPException

from litellm.integrations.custom_guardrail import CustomGuardrail  # type: ignore[import-not-found] # see above
from litellm.integrations.custom_logger import CustomLogger  # type: ignore[import-not-found] # see above

_NOTES = Path(os.environ["TEAM_NOTES"])


def _note(line: str) -> None:
    with _NOTES.open("a", encoding="utf-8") as notes:
        notes.write(f"{line}\n")


def _text(data: dict[str, Any]) -> str:
    return str(data["messages"][-1]["content"])


class Masker(CustomLogger):  # type: ignore[misc] # LiteLLM's class is unknown to type checkers here
    """Rewrites and rejects requests, and tries to choose a model."""

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        text = _text(data)
        _note(f"masker sees {data['model']} of {user_api_key_dict.team_id}")
        if "forbidden" in text:
            raise HTTPException(status_code=403, detail=f"not allowed: {text}")
        if "elsewhere" in text:
            data["model"] = "judge"
        data["messages"][-1]["content"] = text.replace("4111-1111", "[card]")
        return data


class Logger(CustomLogger):  # type: ignore[misc] # see above
    """Notes all that it is handed after a success."""

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        _note(f"logger sees {kwargs['model']}: {kwargs['messages']} {response_obj}".replace("\n", " "))


class Judge(CustomGuardrail):  # type: ignore[misc] # see above
    """Asks a model of the team's own about each request, before it is placed."""

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        from litellm.proxy import proxy_server  # type: ignore[import-not-found] # see above

        text = _text(data)
        if "steal" in text:  # a pool's slot that nobody gave it
            await proxy_server.llm_router.acompletion(model="floor", messages=[{"role": "user", "content": "stolen"}])
        answer = await proxy_server.llm_router.acompletion(model="judge", messages=[{"role": "user", "content": text}])
        _note(f"judge said {answer.choices[0].message.content[:5]}")
        if "harmful" in text:
            raise HTTPException(status_code=400, detail=f"harmful: {text}")
        return data


class Watcher(CustomGuardrail):  # type: ignore[misc] # see above
    """Runs beside the call, and rejects while the model server still works."""

    async def async_moderation_hook(self, data: dict[str, Any], user_api_key_dict: Any, call_type: str) -> None:
        if "beside" in _text(data):
            raise HTTPException(status_code=400, detail=f"stopped beside the call: {_text(data)}")


masker = Masker()
logger = Logger()
