"""Namespace without quota.

**What.** Every tenant namespace has a resource quota.

**Why.** One tenant's loop takes every GPU of the floor.

**Passes.** An object of the kind in the namespace; namespaces of Kubernetes, and of the platform (`headrace.dev/role`).

**Violates.** A namespace by hand without one.

**Undecidable when** an object's namespace is not known and depends on no namespace of the stack.
"""

from __future__ import annotations

from typing import Final

from headrace.rules.rule import Rule
from headrace.rules.tenancy import namespace_guards

RULE: Final[Rule] = namespace_guards.rule(
    "namespace-without-quota",
    "Namespace without quota",
    "Every tenant namespace has a resource quota.",
    "add a ResourceQuota, or use TenantSpace",
    "kubernetes:core/v1:ResourceQuota",
    "resource quota",
)
