"""API keys: a file of hashes, looked up by the hash of what the caller sent. Pure: text in, table out.

A key is `hr_<id>_<secret>` with 32 random bytes, so a plain SHA-256 can't be guessed back and costs microseconds (a
slow hash is for passwords that people choose). The file never holds a key:

    {"version": 1, "keys": [{"id": "k1", "sha256": "…", "tenant": "search", "project": "assistant"}]}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final, Literal

from pydantic import Field, ValidationError

from headrace.errors import refuse
from headrace.router.classify import Caller
from headrace.router.config import RouterConfig
from headrace.settings.base import Name, SettingsModel
from headrace.settings.releases import WorkloadClass

_LONGEST_KEY: Final = 256


class KeyEntry(SettingsModel):
    """One key: its hash, and whom it belongs to."""

    id: str = Field(pattern=r"^[a-zA-Z0-9-]{1,40}$")
    """Name of the key in records; not secret."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the whole key."""
    tenant: Name
    """Its tenant."""
    project: Name
    """Its project."""
    workloads: frozenset[str] | None = None
    """Workloads it may use; unset means all."""
    workload_class: WorkloadClass | None = None
    """Class of its requests where they don't say."""
    feature: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,64}$")
    """Feature that its requests are for where they don't say."""
    disabled: bool = False
    """Whether it is turned off."""


class KeyFile(SettingsModel):
    """The file."""

    version: Literal[1]
    """Format."""
    keys: tuple[KeyEntry, ...]
    """Keys."""


def digest(key: str) -> str:
    """What the file holds of a key."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def load_keys(text: str | bytes, policy: RouterConfig, *, where: str = "--keys") -> dict[str, Caller]:
    """Hash -> caller. Refuses a key of a tenant, project or workload that the configuration doesn't have."""
    try:
        file = KeyFile.model_validate(json.loads(text), by_alias=True, by_name=False)
    except (ValueError, ValidationError, RecursionError) as error:
        first = error.errors(include_input=False)[0]["msg"] if isinstance(error, ValidationError) else "not JSON"
        raise refuse(where, None, f"it is not a key file ({first})", next_step="see docs/router/keys.md") from None
    found: dict[str, Caller] = {}
    for entry in file.keys:
        tenant = policy.tenants.get(entry.tenant)
        if tenant is None or entry.project not in tenant.projects:
            raise refuse(
                f"{where}: key {entry.id}",
                f"{entry.tenant}/{entry.project}",
                "the configuration has no such tenant and project",
                reason="its requests would count against no budget",
                next_step="add the project to the settings, or remove the key",
            )
        for workload in entry.workloads or ():
            if workload not in policy.workloads:
                raise refuse(f"{where}: key {entry.id}", workload, "there is no such workload", next_step="correct it")
        if entry.sha256 in found:
            raise refuse(f"{where}: key {entry.id}", None, "another entry has its hash", next_step="make a new key")
        if not entry.disabled:
            found[entry.sha256] = Caller(
                key_id=entry.id,
                tenant=entry.tenant,
                project=entry.project,
                environment=policy.environment,
                workloads=entry.workloads,
                workload_class=entry.workload_class,
                feature=entry.feature,
            )
    return found


def authenticate(authorization: str | None, keys: Mapping[str, Caller]) -> Caller | None:
    """The caller of an Authorization header. Looking up a hash tells nothing about keys by its time."""
    if authorization is None or len(authorization) > _LONGEST_KEY:
        return None
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "bearer" or not key:
        return None
    return keys.get(digest(key.strip()))
