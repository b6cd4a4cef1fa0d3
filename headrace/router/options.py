"""How a router is started: options, the files that they name, and secrets from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.errors import refuse
from headrace.router.config import RouterConfig, from_json


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a router is started. `redis_url` holds a secret and comes from the environment."""

    config: Path
    keys: Path
    spool: Path
    host: str = "127.0.0.1"
    port: int = 8080
    admin_port: int = 8081
    replica: str = "router-0"
    redis_url: str | None = None
    hash_secret: bytes = b""
    alert_webhook: str | None = None
    audit_bucket: str | None = None


def from_environment() -> dict[str, Any]:
    """Options that come from the environment: addresses that hold secrets, and what the stack made."""
    return {
        "redis_url": os.environ.get("HEADRACE_REDIS_URL") or None,
        "hash_secret": hash_secret(),
        "alert_webhook": os.environ.get("HEADRACE_ALERT_WEBHOOK") or None,
        "audit_bucket": os.environ.get("HEADRACE_AUDIT_BUCKET") or None,
    }


def read_config(path: Path) -> RouterConfig:
    """The configuration file; refused where it can't be read."""
    return from_json(read(path, "--config"))


def read(path: Path, option: str) -> bytes:
    """The bytes of a file that `option` names; refused where it can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise refuse(option, str(path), f"can't be read ({error.strerror})", next_step="check the path") from None


def hash_secret() -> bytes:
    """Secret of keyed hashes, from HEADRACE_HASH_SECRET; refused where it is missing or short."""
    text = os.environ.get("HEADRACE_HASH_SECRET", "")
    if len(text) < 16:
        raise refuse(
            "HEADRACE_HASH_SECRET",
            None,
            "it must be set to 16 characters or more",
            reason="records hold keyed hashes of prompts, and a plain hash could be guessed",
            next_step="set it from a secret store; the same for all replicas",
        )
    return text.encode()
