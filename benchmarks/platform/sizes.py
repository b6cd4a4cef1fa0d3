"""The stacks that are measured: the default one, and one with twenty pools and twenty tenants."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from typing import Any, Final

POOLS: Final = 20  # dedicated ones; the two serverless pools stay beside them
TENANTS: Final = 20


def large(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the stack `sandbox` (what stands below `config:`) with 20 pools and 20 tenants.

    `chat` and `digest` keep their pools; 18 more workloads like `chat` bring one dedicated pool each. Every tenant has
    one project like `answers`, with one key.
    """
    grown: dict[str, Any] = copy.deepcopy(dict(config))
    workloads, pools = grown["inference:workloads"], grown["inference:dedicatedPools"]
    for place in range(POOLS - len(pools)):
        workloads[f"chat-{place:02}"] = copy.deepcopy(workloads["chat"])
        pools[f"floor-{place:02}"] = {**copy.deepcopy(pools["chat-floor"]), "workload": f"chat-{place:02}"}
    project = grown["inference:tenants"]["support"]["projects"]["answers"]
    tenants = [f"tenant-{place:02}" for place in range(TENANTS)]
    grown["inference:tenants"] = {
        tenant: {"budgetUsdPerMonth": 5000, "projects": {"answers": copy.deepcopy(project)}} for tenant in tenants
    }
    grown["inference:router"]["apiKeys"] = {
        f"{tenant}-key": {
            "sha256": hashlib.sha256(tenant.encode()).hexdigest(),
            "tenant": tenant,
            "project": "answers",
        }
        for tenant in tenants
    }
    grown["inference:budgets"]["environmentUsdPerMonth"] = 5000 * TENANTS
    return grown
