"""Tables and rights of the hourly floor's own role, beside the ledger's."""

from __future__ import annotations

from importlib.resources import files

from headrace.audit.sinks.base import identifier


def schema() -> str:
    """The tables and the view; they come after the ledger's."""
    return (files("headrace.audit.sinks") / "floor.sql").read_text(encoding="utf-8")


def grants(role: str) -> str:
    """What the role may do: read when requests held a model server, keep windows, and note down its decisions. It sees
    no entry of the ledger, and of a decision it may change later only whether it was carried out."""
    name = identifier(role)
    return (
        f"GRANT USAGE ON SCHEMA headrace TO {name}; "
        f"GRANT SELECT ON headrace.work TO {name}; "
        f"GRANT SELECT, INSERT, DELETE ON headrace.demand_windows TO {name}; "
        f"GRANT SELECT, INSERT ON headrace.floor_decisions TO {name}; "
        f"GRANT UPDATE (nodes_before, applied_at) ON headrace.floor_decisions TO {name};"
    )
