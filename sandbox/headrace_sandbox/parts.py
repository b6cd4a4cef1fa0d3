"""The parts a sandbox is made of. Each is imported only when the sandbox starts."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Final, cast

from headrace_sandbox.service import SandboxContext, Service

# module:function, each `(SandboxContext) -> list[Service]`. A part may depend on an earlier one by `Service.after`.
PARTS: Final = (
    "headrace_sandbox.kubernetes.services:services",
    "headrace_sandbox.aws.services:services",
    "headrace_sandbox.runpod.services:services",
    "headrace_sandbox.modal.services:services",
    "headrace_sandbox.redis.services:services",
    "headrace_sandbox.postgres.services:services",
)


def all_services(context: SandboxContext) -> list[Service]:
    """Every process of the sandbox. Builds what a part needs built first, so it can take minutes on a cold cache."""
    services: list[Service] = []
    for part in PARTS:
        module, _, function = part.partition(":")
        listed = cast(Callable[[SandboxContext], list[Service]], getattr(importlib.import_module(module), function))
        services += listed(context)
    return services
