"""Subnet groups and parameter groups, which ElastiCache and RDS have alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from headrace_sandbox.aws_provider.context import Context
from headrace_sandbox.aws_provider.spec import Call, Name, Read, ResourceType, State, Update
from headrace_sandbox.aws_provider.table.parts import resource_name_tags, words

_PARAMETERS_PER_CALL: Final = 20
_PREFIX: Final = "namePrefix"
_DESCRIPTION: Final = "Managed by Pulumi"

Parameter = Mapping[str, Any]


def subnet_group(type_: str, noun: str, *, busy: str, arn: str, prefixed: bool = False) -> ResourceType:
    """A subnet group. `noun` is what the service calls it (`CacheSubnetGroup`), `arn` its member that holds the ARN,
    `busy` the error while something is in it; `prefixed`: the type has the property `namePrefix`."""
    args = {f"{noun}Name": "{name}"}
    return ResourceType(
        type=type_,
        service=_service(type_),
        create=Call(op=f"Create{noun}", props=None),
        id="{name}",
        import_id=("name",),
        read=Read(op=f"Describe{noun}s", args=args, at=f"{noun}s[0]", missing=_missing(noun)),
        updates=(
            Update(op=f"Modify{noun}", args=args, on=("description", "subnetIds"), props=("description", "subnetIds")),
        ),
        delete=Call(op=f"Delete{noun}", args=args),
        busy=(busy,),
        rename={"name": f"{noun}Name", "description": f"{noun}Description", "arn": arn},
        replace=words(f"name {_PREFIX}" if prefixed else "name"),
        computed=words("name"),
        defaults={"description": _DESCRIPTION},
        local=words(_PREFIX if prefixed else ""),
        name=_name(prefixed=prefixed),
        tags=resource_name_tags(),
        amend=_subnet_ids,
    )


def _subnet_ids(_ctx: Context, resource: State, state: State, _known: State) -> None:
    state["subnetIds"] = [subnet["SubnetIdentifier"] for subnet in resource.get("Subnets", [])]


def parameter_group(
    type_: str,
    noun: str,
    *,
    member: str,
    arn: str,
    request: Callable[[Parameter], dict[str, Any]],
    reset: Callable[[Parameter], dict[str, Any]],
    seen: Callable[[Parameter, Parameter], dict[str, Any]],
    prefixed: bool = False,
    defaults: Mapping[str, Any] | None = None,
) -> ResourceType:
    """A parameter group. `member` holds parameters in a call that changes some; `request` and `reset` word one that is
    set or taken back, `seen` one that AWS describes, given what was told of it. `defaults` are of properties that AWS
    never sees."""
    own = dict(defaults or {})

    def change(ctx: Context, operation: str, name: Any, parameters: list[dict[str, Any]]) -> None:
        for at in range(0, len(parameters), _PARAMETERS_PER_CALL):
            some = parameters[at : at + _PARAMETERS_PER_CALL]
            ctx.call(f"{operation}{noun}", {f"{noun}Name": name, member: some})

    def created(ctx: Context, state: State) -> None:
        change(ctx, "Modify", state["name"], [request(one) for one in state.get("parameters") or ()])

    def updated(ctx: Context, old: State, inputs: State, _changed: frozenset[str]) -> None:
        before, after = _by_name(old.get("parameters")), _by_name(inputs.get("parameters"))
        change(ctx, "Reset", old["name"], [reset(one) for name, one in before.items() if name not in after])
        change(ctx, "Modify", old["name"], [request(one) for one in after.values()])

    def amended(ctx: Context, _resource: State, state: State, known: State) -> None:
        params = {f"{noun}Name": state["name"], "Source": "user"}
        told = _by_name(known.get("parameters"))
        found = ctx.pages(f"Describe{noun.removesuffix('Group')}s", params, "Parameters")
        state["parameters"] = [seen(one, told.get(one["ParameterName"], {})) for one in found]

    args = {f"{noun}Name": "{name}"}
    return ResourceType(
        type=type_,
        service=_service(type_),
        create=Call(op=f"Create{noun}", props=None),
        id="{name}",
        import_id=("name",),
        read=Read(op=f"Describe{noun}s", args=args, at=f"{noun}s[0]", missing=_missing(noun)),
        delete=Call(op=f"Delete{noun}", args=args),
        busy=(f"Invalid{noun}State",),
        rename={"name": f"{noun}Name", "family": f"{noun}Family", "arn": arn},
        replace=words(f"description family name {_PREFIX if prefixed else ''}"),
        computed=words("name"),
        defaults={"description": _DESCRIPTION, **own},
        hooked=words("parameters"),
        strict=words("parameters"),
        object_sets=words("parameters"),
        local=words(_PREFIX if prefixed else "") | own.keys(),
        name=_name(prefixed=prefixed),
        tags=resource_name_tags(),
        after_create=created,
        on_update=updated,
        amend=amended,
    )


def _service(type_: str) -> str:
    return type_.split(":")[1].split("/")[0]


def _name(*, prefixed: bool) -> Name:
    return Name(prefix_property=_PREFIX, lower=True, limit=255) if prefixed else Name(lower=True, limit=255)


def _missing(noun: str) -> tuple[str, ...]:
    return f"{noun}NotFound", f"{noun}NotFoundFault"


def _by_name(parameters: Iterable[Parameter] | None) -> dict[str, Parameter]:
    return {str(one["name"]): one for one in parameters or ()}
