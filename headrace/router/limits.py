"""What tenants, projects, environments and provider accounts may use, by the names under which it is counted.

Scopes are `environment`, `tenant/<tenant>` and `project/<tenant>/<project>`; a limit's name is scope/kind.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from headrace.settings.base import Name, SettingsModel


class Limits(SettingsModel):
    """What a scope may use. None means no limit of that kind."""

    budget_nano_usd: int | None = Field(default=None, ge=0)
    """Most nano-dollars in a month."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """Most requests in a minute."""
    tokens_per_minute: int | None = Field(default=None, ge=1)
    """Most prompt and answer tokens in a minute."""
    parallel_requests: int | None = Field(default=None, ge=1)
    """Most requests at once."""

    def by_kind(self) -> list[tuple[str, int]]:
        """Those that are set, those that free up soonest first."""
        return _set(
            ("parallel", self.parallel_requests),
            ("requests", self.requests_per_minute),
            ("tokens", self.tokens_per_minute),
            ("money", self.budget_nano_usd),
        )


class TenantConfig(SettingsModel):
    """A tenant and its projects."""

    limits: Limits
    """Of all its projects together."""
    projects: dict[Name, Limits]
    """Of each project."""


class ProviderCap(SettingsModel):
    """Limits of an account over all its pools."""

    gpus: int | None = Field(default=None, ge=0)
    """Most GPUs at once."""
    instances: int | None = Field(default=None, ge=0)
    """Most workers at once."""
    nano_usd_per_hour: int | None = Field(default=None, ge=0)
    """Most spend per hour."""

    def by_kind(self) -> list[tuple[str, int]]:
        """Those that are set."""
        return _set(("gpus", self.gpus), ("instances", self.instances), ("spend", self.nano_usd_per_hour))


def limits_by_scope(environment: Limits, tenants: Mapping[str, TenantConfig]) -> dict[str, Limits]:
    """Scope -> limits, for every scope that exists."""
    scopes = {"environment": environment}
    for tenant, config in tenants.items():
        scopes[f"tenant/{tenant}"] = config.limits
        scopes |= {f"project/{tenant}/{project}": limits for project, limits in config.projects.items()}
    return scopes


def _set(*limits: tuple[str, int | None]) -> list[tuple[str, int]]:
    return [(kind, value) for kind, value in limits if value is not None]
