"""The resource types of the sandbox's AWS provider: one row each, by token."""

from __future__ import annotations

from headrace_sandbox.aws_provider.spec import ResourceType
from headrace_sandbox.aws_provider.table import (
    caches,
    compute,
    databases,
    ecr,
    eks,
    endpoints,
    iam,
    keys,
    messages,
    network,
    routes,
    rules,
    s3,
    spend,
    watch,
)

_MODULES = (
    network,
    routes,
    endpoints,
    rules,
    compute,
    eks,
    iam,
    keys,
    s3,
    ecr,
    messages,
    watch,
    spend,
    caches,
    databases,
)

TYPES: dict[str, ResourceType] = {row.type: row for module in _MODULES for row in module.ROWS}
