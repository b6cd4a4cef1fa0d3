"""The settings part of a stack's configuration, as a program sees it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pulumi.runtime import config as runtime_config

from headrace.settings.load import our_keys


def settings_of_stack(config: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Every key of ours (`inference:*`) with its value, unknown ones included, so that a misspelt one is refused.

    The engine hands structured values over as JSON text. Secrets are decrypted here; the models mark what is one.
    """
    if config is None:
        # The official language host hands configuration over in the environment, others set it in the process.
        config = {**runtime_config.get_config_env(), **runtime_config.CONFIG.get()}
    values = our_keys(config)
    return {key: _structured(value) for key, value in values.items()}


def _structured(value: object) -> object:
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.loads(value)
    return value
