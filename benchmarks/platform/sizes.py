"""The stacks that are measured: the default one, and one with twenty pools and twenty tenants."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

POOLS: Final = 20
TENANTS: Final = 20


def large(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the stack `sandbox` (what stands below `config:`) with 20 pools and 20 tenants."""
    grown: dict[str, Any] = copy.deepcopy(dict(config))
    workload = grown["inference:workloads"]["chat"]
    pool = grown["inference:dedicatedPools"]["chat-floor"]
    project = grown["inference:tenants"]["support"]["projects"]["answers"]
    grown["inference:workloads"] = {f"chat-{place:02}": copy.deepcopy(workload) for place in range(POOLS)}
    grown["inference:dedicatedPools"] = {
        f"floor-{place:02}": {**copy.deepcopy(pool), "workload": f"chat-{place:02}"} for place in range(POOLS)
    }
    grown["inference:tenants"] = {
        f"tenant-{place:02}": {
            "budgetUsdPerMonth": 5000,
            "projects": {"answers": copy.deepcopy(project)},
        }
        for place in range(TENANTS)
    }
    grown["inference:budgets"] = {**grown["inference:budgets"], "environmentUsdPerMonth": 5000 * TENANTS}
    return grown
