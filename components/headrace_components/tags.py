"""Tags that costs are counted by. Every resource that AWS lets us tag carries all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from headrace.errors import refuse

PREFIX: Final = "headrace:"
COST_TAGS: Final = ("organization", "environment", "tenant", "project", "component")
COST_TAG_KEYS: Final = tuple(PREFIX + name for name in COST_TAGS)
# What belongs to everybody is spent by nobody in particular, and says so instead of lacking a tag.
SHARED: Final = "shared"


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Whom a resource's cost is for.

    The values of `headrace:tenant` and `headrace:project` name the levels above them (`prod-eu/acme/chat`), because an
    AWS budget can count one tag's values but not two tags together, and a tenant has budgets per environment.
    """

    organization: str
    environment: str
    tenant: str = SHARED
    project: str = SHARED

    @property
    def tenant_value(self) -> str:
        """`<environment>/<tenant>`."""
        return f"{self.environment}/{self.tenant}"

    @property
    def project_value(self) -> str:
        """`<environment>/<tenant>/<project>`."""
        return f"{self.tenant_value}/{self.project}"


def cost_tags(owner: Owner, component: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """All cost tags and `extra`, which can't replace one of ours: a budget would miss the resource."""
    tags = {
        "headrace:organization": owner.organization,
        "headrace:environment": owner.environment,
        "headrace:tenant": owner.tenant_value,
        "headrace:project": owner.project_value,
        "headrace:component": component,
    }
    for key in extra or {}:
        if key.startswith((PREFIX, "aws:")):
            raise refuse(
                f"tags.{key}",
                (extra or {})[key],
                f"must not begin with {PREFIX!r} or 'aws:'",
                reason="budgets count by the tags that Headrace writes, and AWS reserves its own",
                next_step="choose another key",
            )
    return {**(extra or {}), **tags}


def named(tags: Mapping[str, str], name: str) -> dict[str, str]:
    """`tags` and the name that AWS consoles show."""
    return {**tags, "Name": name}
