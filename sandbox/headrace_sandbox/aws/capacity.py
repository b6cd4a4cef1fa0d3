"""EC2 capacity reservations and capacity blocks, which moto has none of."""

from __future__ import annotations

from headrace_sandbox.aws.store import Kind
from headrace_sandbox.aws.wire import Doc
from headrace_sandbox.aws.world import Handler, World

RESERVATION = Kind(service="ec2", name="capacity-reservation")


def find_reservation(world: World, region: str, reservation_id: str) -> Doc | None:
    """A reservation that is not over."""
    doc = world.store.get(RESERVATION, region, reservation_id)
    return doc if doc and doc["State"] not in ("cancelled", "expired", "failed") else None


HANDLERS: dict[tuple[str, str], Handler] = {}
