"""LiteLLM's application in this process: its settings, and its start and stop by ASGI's lifespan."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import secrets
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final

from headrace.errors import refuse
from headrace.router.litellm import base
from headrace.router.litellm.exchange import Application

_LOG: Final = logging.getLogger("headrace.router.litellm")
_START_S: Final = 120.0
_STOP_S: Final = 10.0
_LONGEST: Final = 300
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
# With one of these LiteLLM would take settings from elsewhere, or share state that nobody checked.
_STORES: Final = (
    *("DATABASE_URL", "DIRECT_URL", "WORKER_CONFIG", "LITELLM_CONFIG_BUCKET_NAME", "LITELLM_LICENSE"),
    *("REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD"),
)
# Its loggers print requests and answers with their errors, and those are prompts.
_LOUD: Final = (
    *("LiteLLM", "LiteLLM Proxy", "LiteLLM Router", "openai", "httpx", "httpcore"),
    *("apscheduler", "apscheduler.scheduler", "apscheduler.executors.default"),
)


def prepare(merged: base.Merged, folder: Path) -> None:
    """Writes config.yaml and sets LiteLLM's environment; LiteLLM reads both while it is imported."""
    os.environ.update(_SETTINGS)
    os.environ["CONFIG_FILE_PATH"] = str(base.place(merged, folder))
    if merged.modules:
        sys.path.append(str(merged.folder))  # what the team's modules import from beside them
    # LiteLLM doesn't start without one. Nobody knows it, and no path that asks for it can be reached.
    os.environ["LITELLM_MASTER_KEY"] = f"sk-{secrets.token_urlsafe(48)}"
    for name in _STORES:
        os.environ.pop(name, None)
    quiet()


def refuse_missing(modules: tuple[str, ...], folder: Path) -> None:
    """Refuses callbacks and guardrails whose module is neither beside the team's file nor installed."""
    for name in modules:
        path = name.split(".")[:-1]
        if folder.joinpath(*path).with_suffix(".py").exists() or importlib.util.find_spec(path[0]) is not None:
            continue
        raise refuse(
            "--base",
            name,
            "there is no such module",
            reason="LiteLLM's environment holds what requirements-litellm.lock pins, and nothing else",
            next_step="put the module beside the file",
        )


def quiet() -> None:
    """Silences LiteLLM's own loggers; ours say what went wrong without the request's text."""
    for name in _LOUD:
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL)
        logger.handlers.clear()


def log_kinds_only(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The event loop's handler of failures that nobody waited for, in tasks of LiteLLM's and of the team's callbacks:
    where and of which kind. Their words may hold a request's text, and asyncio would log them."""
    fault = context.get("exception")
    frames = traceback.extract_tb(fault.__traceback__) if fault is not None else []
    at = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    _LOG.error("a task in LiteLLM failed", extra={"fields": {"error": type(fault).__name__, "at": at}})


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
            raise refuse(
                "litellm", None, "it could not start", reason=said, next_step="correct what --base names, or the lock"
            )

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
            told = answer.result()
            last = str(told.get("message", "")).strip().rpartition("\n")[2]
            return last[:_LONGEST] if last and str(told["type"]).endswith(".failed") else str(told["type"])
        answer.cancel()
        if self._task.done() and not self._task.cancelled() and self._task.exception() is not None:
            return type(self._task.exception()).__name__
        return "it did not answer"
