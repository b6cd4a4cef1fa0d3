"""Namespace without limits.

**What.** Every tenant namespace has a limit range.

**Why.** A container without limits takes its neighbours' memory.

**Passes.** An object of the kind in the namespace; namespaces of Kubernetes, and of the platform (`headrace.dev/role`).

**Violates.** A namespace by hand without one.

**Undecidable when** an object's namespace is not known and depends on no namespace of the stack.
"""

from __future__ import annotations

from typing import Final

from headrace.rules.rule import Rule
from headrace.rules.tenancy import namespace_guards

RULE: Final[Rule] = namespace_guards.rule(
    "namespace-without-limits",
    "Namespace without limits",
    "Every tenant namespace has a limit range.",
    "add a LimitRange, or use TenantSpace",
    "kubernetes:core/v1:LimitRange",
    "limit range",
)
