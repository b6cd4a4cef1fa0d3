"""LiteLLM's application in this process: its settings, and its start and stop by ASGI's lifespan."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final

import yaml

from headrace.errors import refuse
from headrace.router.config import RouterConfig
from headrace.router.litellm.exchange import Application
from headrace.router.litellm.model_list import litellm_config

_LOG: Final = logging.getLogger("headrace.router.litellm")
_START_S: Final = 120.0
_STOP_S: Final = 10.0
_SETTINGS: Final[Mapping[str, str]] = {
    # Nothing is fetched and nothing is told to anybody at start.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_TELEMETRY": "False",
    "LITELLM_LOG": "CRITICAL",
    "NO_DOCS": "True",
    "NO_REDOC": "True",
    "DISABLE_ADMIN_UI": "True",
    "LITELLM_DONT_SHOW_FEEDBACK_BOX": "true",
}
# Its loggers print requests and answers with their errors, and those are prompts.
_LOUD: Final = ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router", "openai", "httpx", "httpcore")


def prepare(policy: RouterConfig, folder: Path) -> None:
    """Writes config.yaml and sets LiteLLM's environment; LiteLLM reads both while it is imported."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(litellm_config(policy), sort_keys=False), encoding="utf-8")
    os.environ.update(_SETTINGS)
    os.environ["CONFIG_FILE_PATH"] = str(file)
    # LiteLLM doesn't start without one. Nobody knows it, and no path that asks for it can be reached.
    os.environ["LITELLM_MASTER_KEY"] = f"sk-{secrets.token_urlsafe(48)}"
    for name in ("DATABASE_URL", "WORKER_CONFIG", "LITELLM_CONFIG_BUCKET_NAME"):
        os.environ.pop(name, None)
    quiet()


def quiet() -> None:
    """Silences LiteLLM's own loggers; ours say what went wrong without the request's text."""
    for name in _LOUD:
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL)
        logger.handlers.clear()


class Lifespan:
    """Starts and stops an ASGI application."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._to: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        self._from: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        self._task: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Returns when the application is ready. Raises `Refused` where it can't start."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        self._task = asyncio.ensure_future(self._application(scope, self._to.get, self._from.put))
        said = await self._ask("lifespan.startup", _START_S)
        if said != "lifespan.startup.complete":
            raise refuse("litellm", None, "it could not start", reason=said, next_step="read the log above")

    async def stop(self) -> None:
        """Lets the application clean up, for a moment."""
        if self._task is None:
            return
        said = await self._ask("lifespan.shutdown", _STOP_S)
        if said != "lifespan.shutdown.complete":
            _LOG.warning("LiteLLM did not stop by itself", extra={"fields": {"reason": said}})
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _ask(self, kind: str, seconds: float) -> str:
        assert self._task is not None  # noqa: S101 - made before anything is asked
        await self._to.put({"type": kind})
        answer = asyncio.create_task(self._from.get())
        ends: set[asyncio.Future[Any]] = {answer, self._task}
        await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return str(answer.result()["type"])
        answer.cancel()
        if self._task.done() and not self._task.cancelled() and self._task.exception() is not None:
            return type(self._task.exception()).__name__
        return "it did not answer"
