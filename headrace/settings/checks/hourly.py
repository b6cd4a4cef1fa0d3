"""Checks on floors that follow their traffic."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.errors import Problem
from headrace.settings.dedicated import CapacityType
from headrace.settings.tree import Settings


def hourly_floors_can_follow(settings: Settings) -> Iterator[Problem]:
    """A floor that follows its traffic has nothing else that sizes it, traffic to read, and a price to weigh it by."""
    for name, pool in settings.dedicated_pools.items():
        if pool.hourly_floor is None:
            continue
        path = f"dedicatedPools.{name}"
        if pool.schedules:
            yield Problem(
                path=f"{path}.schedules",
                value=", ".join(one.name for one in pool.schedules),
                rule="a pool with hourlyFloor can't have schedules",
                reason="each would undo what the other set",
                next_step="remove one of the two",
            )
        if pool.capacity.type is not CapacityType.ON_DEMAND:
            yield Problem(
                path=f"{path}.hourlyFloor",
                value=pool.capacity.type.value,
                rule="only an on-demand pool can follow its traffic",
                reason="reserved machines are paid whether they run or not",
                next_step="remove hourlyFloor, or take on-demand capacity",
            )
        if settings.router.image is None:
            yield Problem(
                path=f"{path}.hourlyFloor",
                value=None,
                rule="it needs the stack's own router",
                reason="without router.image there is no ledger to read traffic from, and no image to run the job with",
                next_step="set router.image, or use schedules",
            )
        if not any(one.workload == pool.workload for one in settings.serverless_pools.values()):
            yield Problem(
                path=f"{path}.hourlyFloor",
                value=pool.workload,
                rule="its workload needs a serverless pool",
                reason="without one all of it is dedicated, and there is no price to weigh a node against",
                next_step="add a serverless pool for the workload, or use floorNodes and schedules",
            )
        same = [key for key, one in settings.dedicated_pools.items() if one.workload == pool.workload and key != name]
        if same:
            yield Problem(
                path=f"{path}.hourlyFloor",
                value=", ".join(same),
                rule="its workload must have no other dedicated pool",
                reason="the traffic of the workload would be taken for this pool's alone",
                next_step="give each pool a workload of its own, or remove hourlyFloor",
            )
