"""What a preview says of a resource: known where it is known, unknown where only AWS can tell. Pure."""

from __future__ import annotations

from typing import Any

from headrace.protocol.values import UNKNOWN
from headrace_sandbox.aws_provider.sdk import Declaration
from headrace_sandbox.aws_provider.spec import ResourceType, State


def planned_create(spec: ResourceType, decl: Declaration, inputs: State, region: str) -> State:
    """The state of a resource that doesn't exist yet: its inputs, and unknown for everything that AWS fills in."""
    state: State = {k: v for k, v in inputs.items() if k in decl.outputs}
    for name in decl.outputs:
        if name in state:
            continue
        if name == "region":
            state[name] = region
        elif name not in decl.inputs or name in spec.computed:
            state[name] = UNKNOWN
    _nested_unknown(spec, state, {})
    return state


def planned_update(spec: ResourceType, decl: Declaration, old: State, inputs: State, changed: frozenset[str]) -> State:
    """The state after an update in place: the old one with the new wishes."""
    state: State = {k: v for k, v in old.items() if k in decl.outputs and (k not in changed or k in inputs)}
    for name, value in inputs.items():
        if name in decl.outputs and (name in changed or name not in state):
            state[name] = value
    if changed - {"tags", "tagsAll"}:
        for name in spec.unknown:
            state[name] = UNKNOWN
    if spec.tags is not None and changed & {"tags", "tagsAll"}:
        state["tagsAll"] = inputs.get("tagsAll")
    _nested_unknown(spec, state, old)
    return state


def _nested_unknown(spec: ResourceType, state: State, old: State) -> None:
    """Members of an object that AWS fills in, such as a cluster's `vpcConfig.clusterSecurityGroupId`."""
    for path in spec.computed:
        head, dot, member = path.partition(".")
        holder: Any = state.get(head)
        if not dot or not isinstance(holder, dict) or member in holder:
            continue
        before = old.get(head)
        known = before.get(member) if isinstance(before, dict) else None
        state[head] = holder = {**holder, member: UNKNOWN if known is None else known}
