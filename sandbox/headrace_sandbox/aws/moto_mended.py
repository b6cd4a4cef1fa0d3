"""Two operations of moto 5.2 that would make a change of the platform fail that AWS takes: adding a zone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def mend(service: str) -> None:
    """Put the operations of a service right that moto gets wrong; nothing for all other services."""
    if service == "rds":
        _keep_changed_subnet_groups()
    if service == "ec2":
        _route_changed_endpoints()


def _keep_changed_subnet_groups() -> None:
    """A database's subnet group that is changed is taken out of moto's table and not put back."""
    from moto.rds.models import RDSBackend

    change: Any = RDSBackend.modify_db_subnet_group
    if getattr(change, "mended", False):
        return

    def modify(backend: RDSBackend, subnet_name: str, *rest: Any, **named: Any) -> Any:
        changed = change(backend, subnet_name, *rest, **named)
        backend.subnet_groups[subnet_name] = changed
        return changed

    vars(modify)["mended"] = True
    setattr(RDSBackend, "modify_db_subnet_group", modify)  # noqa: B010 - mypy lets nobody assign a method


def _route_changed_endpoints() -> None:
    """A route table that is added to a gateway endpoint gets no route in moto, and the endpoint can then not be
    deleted."""
    from moto.ec2.models.vpcs import VPCBackend

    change: Any = VPCBackend.modify_vpc_endpoint
    if getattr(change, "mended", False):
        return

    def modify(
        backend: Any,
        vpc_id: str,
        policy_doc: str,
        add_subnets: Sequence[str] | None = None,
        remove_subnets: Sequence[str] | None = None,
        remove_route_tables: Sequence[str] | None = None,
        add_route_tables: Sequence[str] | None = None,
        *groups: Any,
        **named: Any,
    ) -> None:
        (endpoint,) = backend.describe_vpc_endpoints(vpc_end_point_ids=[vpc_id])
        before = set(endpoint.route_table_ids)
        change(
            backend,
            vpc_id,
            policy_doc,
            add_subnets,
            remove_subnets,
            remove_route_tables,
            add_route_tables,
            *groups,
            **named,
        )
        prefix_list, after = endpoint.destination_prefix_list_id, set(endpoint.route_table_ids)
        for table in sorted(after - before) if prefix_list else ():
            backend.create_route(table, None, gateway_id=endpoint.id, destination_prefix_list_id=prefix_list)
        for table in sorted(before - after) if prefix_list else ():
            backend.delete_route(table, prefix_list)

    vars(modify)["mended"] = True
    setattr(VPCBackend, "modify_vpc_endpoint", modify)  # noqa: B010 - mypy lets nobody assign a method
