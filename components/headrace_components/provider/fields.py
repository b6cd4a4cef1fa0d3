"""The table of a resource's properties: one row per property, read by the schema, check, diff and the vendor's
client."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from headrace.protocol.values import Props, Unknown, Value, bare


class Kind(Enum):
    """JSON kind of a property."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    ARRAY = "array"
    OBJECT = "object"
    MAP = "map"


@dataclass(frozen=True, kw_only=True)
class Field:
    """One property. `replace`: the vendor can't change it in place. `order_free`: a list that the vendor treats as a
    set. `write_only`: the vendor never gives it back, so drift of it can't be seen. `type_name` names the schema type
    of an object or an enumeration."""

    kind: Kind
    description: str
    required: bool = False
    secret: bool = False
    replace: bool = False
    default: Value = None
    enum: Mapping[str, str] = field(default_factory=dict)
    type_name: str = ""
    pattern: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    min_items: int = 0
    items: Field | None = None
    fields: Mapping[str, Field] = field(default_factory=dict)
    order_free: bool = False
    write_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An input that is not acceptable: its property path in the engine's form ("" for the whole) and why."""

    path: str
    reason: str


_PYTHON_TYPES: Final[dict[Kind, tuple[type, ...]]] = {
    Kind.STRING: (str,),
    Kind.INTEGER: (int,),
    Kind.NUMBER: (int, float),
    Kind.BOOLEAN: (bool,),
    Kind.ARRAY: (list,),
    Kind.OBJECT: (dict,),
    Kind.MAP: (dict,),
}


def with_defaults(fields: Mapping[str, Field], inputs: Props) -> Props:
    """Inputs with defaults filled in (inside objects too) and nulls dropped."""
    filled: Props = {key: value for key, value in inputs.items() if bare(value) is not None}
    for name, spec in fields.items():
        if name not in filled and spec.default is not None:
            filled[name] = spec.default
        elif spec.kind is Kind.OBJECT and isinstance(filled.get(name), dict):
            filled[name] = with_defaults(spec.fields, filled[name])
    return filled


def validate(fields: Mapping[str, Field], inputs: Props, prefix: str = "") -> Iterator[Failure]:
    """What is wrong with inputs by the table alone. Unknown values are taken on trust: they are checked at the
    update."""
    for name in inputs:
        if name not in fields and not name.startswith("__"):
            known = ", ".join(sorted(fields))
            yield Failure(path=prefix + name, reason=f"there is no such property; known are {known}")
    for name, spec in fields.items():
        value = bare(inputs.get(name))
        if value is None:
            if spec.required:
                yield Failure(path=prefix + name, reason=f"is required: {spec.description}")
            continue
        yield from _validate_value(spec, value, prefix + name)


def _validate_value(spec: Field, wrapped: Value, path: str) -> Iterator[Failure]:
    value: Any = bare(wrapped)
    if isinstance(value, Unknown):
        return
    fits = isinstance(value, _PYTHON_TYPES[spec.kind]) and (isinstance(value, bool) == (spec.kind is Kind.BOOLEAN))
    if not fits:
        yield Failure(path=path, reason=f"must be of type {spec.kind.value}")
        return
    if spec.kind is Kind.OBJECT:
        yield from validate(spec.fields, value, f"{path}.")
    elif spec.kind is Kind.MAP and spec.items is not None:
        for key, item in value.items():
            yield from _validate_value(spec.items, item, f'{path}["{key}"]')
    elif spec.kind is Kind.ARRAY:
        yield from _validate_list(spec, value, path)
    else:
        yield from _validate_scalar(spec, value, path)


def _validate_list(spec: Field, value: list[Value], path: str) -> Iterator[Failure]:
    if len(value) < spec.min_items:
        yield Failure(path=path, reason=f"must have at least {spec.min_items} entries")
    if spec.items is not None:
        for index, item in enumerate(value):
            yield from _validate_value(spec.items, item, f"{path}[{index}]")


def _validate_scalar(spec: Field, value: Any, path: str) -> Iterator[Failure]:
    shown = "the value" if spec.secret else repr(value)
    if spec.enum and value not in spec.enum:
        yield Failure(path=path, reason=f"{shown} is none of {', '.join(spec.enum)}")
    if spec.pattern is not None and re.fullmatch(spec.pattern, value) is None:
        yield Failure(path=path, reason=f"{shown} does not match {spec.pattern}: {spec.description}")
    if spec.minimum is not None and value < spec.minimum:
        yield Failure(path=path, reason=f"{shown} is less than {spec.minimum:g}, the least that the vendor takes")
    if spec.maximum is not None and value > spec.maximum:
        yield Failure(path=path, reason=f"{shown} is more than {spec.maximum:g}, the most that the vendor takes")
