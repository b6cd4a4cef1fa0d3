"""Namespace without network policy.

**What.** Every tenant namespace has a network policy that denies by default.

**Why.** Without one, every pod of every tenant reaches every other.

**Passes.** An object of the kind in the namespace; namespaces of Kubernetes, and of the platform (`headrace.dev/role`).

**Violates.** A namespace by hand without one.

**Undecidable when** an object's namespace is not known and depends on no namespace of the stack.
"""

from __future__ import annotations

from typing import Final

from headrace.rules.rule import Rule
from headrace.rules.tenancy import namespace_guards

RULE: Final[Rule] = namespace_guards.rule(
    "namespace-without-network-policy",
    "Namespace without network policy",
    "Every tenant namespace has a network policy that denies by default.",
    "add a NetworkPolicy that selects all pods and denies both ways, or use TenantSpace",
    "kubernetes:networking.k8s.io/v1:NetworkPolicy",
    "network policy",
)
