"""What `pulumi_aws` declares for a type: names, types, what must be given; inputs checked and coerced against it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from headrace.protocol.values import Unknown
from headrace_sandbox.plugin.provider import Failure

_FILE = Path(__file__).with_name("sdk_types.json")


@dataclass(frozen=True, kw_only=True)
class ObjectType:
    """A nested object."""

    properties: Mapping[str, Any]
    required: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """One resource type. Property types are written as in `sdk_generate`."""

    token: str
    inputs: Mapping[str, Any]
    required: frozenset[str]
    outputs: Mapping[str, Any]
    secrets: frozenset[str]


@cache
def _document() -> Any:
    return json.loads(_FILE.read_text())


@cache
def declaration(token: str) -> Declaration:
    """The declaration of a type of the table. Raises KeyError for any other."""
    raw = _document()["types"][token]
    return Declaration(
        token=token,
        inputs=raw["inputs"],
        required=frozenset(raw["required"]),
        outputs=raw["outputs"],
        secrets=frozenset(raw["secrets"]),
    )


@cache
def object_type(reference: str) -> ObjectType:
    """The object behind `#service/Name`."""
    raw = _document()["objects"][reference.removeprefix("#")]
    return ObjectType(properties=raw["properties"], required=frozenset(raw["required"]))


def sdk_version() -> str:
    """The version of pulumi_aws that the declarations were read from."""
    return str(_document()["version"])


def check_inputs(decl: Declaration, inputs: Mapping[str, Any]) -> tuple[dict[str, Any], list[Failure]]:
    """`inputs` with scalars in their declared type, and everything that is wrong with them.

    As the official plugin does: a text where a number is declared counts if it reads as one, and the reverse; an
    unknown name, a missing required property and any other wrong type are failures.
    """
    failures: list[Failure] = []
    # A null means "not given", at the top as in nested objects.
    given = {k: v for k, v in inputs.items() if v is not None}
    checked = _check_object(decl.inputs, decl.required, given, "", failures)
    return checked, failures


def _check_object(
    properties: Mapping[str, Any],
    required: frozenset[str],
    value: Mapping[str, Any],
    path: str,
    failures: list[Failure],
) -> dict[str, Any]:
    prefix = f"{path}." if path else ""
    result: dict[str, Any] = {}
    for name, item in value.items():
        if name.startswith("__"):
            continue  # the engine's own markers (`__defaults`)
        if name not in properties:
            failures.append(Failure(path=f"{prefix}{name}", reason="Invalid or unknown key"))
        elif item is not None:
            result[name] = _check(properties[name], item, f"{prefix}{name}", failures)
    for name in sorted(required - {k for k, v in value.items() if v is not None}):
        reason = f'Missing required argument: the argument "{name}" is required, but no definition was found'
        failures.append(Failure(path=f"{prefix}{name}", reason=reason))
    return result


def _check(declared: Any, value: Any, path: str, failures: list[Failure]) -> Any:
    if isinstance(value, Unknown) or value is None or declared == "any":
        return value
    if isinstance(declared, list):
        return _check_collection(declared, value, path, failures)
    if declared.startswith("#"):
        if isinstance(value, Mapping):
            shape = object_type(declared)
            return _check_object(shape.properties, shape.required, value, path, failures)
        failures.append(Failure(path=path, reason=f"expected an object, got {_kind(value)}"))
        return value
    coerced = _scalar(declared, value)
    if coerced is None:
        failures.append(Failure(path=path, reason=f"expected {_article(declared)}, got {_kind(value)}"))
        return value
    return coerced


def _check_collection(declared: list[Any], value: Any, path: str, failures: list[Failure]) -> Any:
    kind, inner = declared
    if kind == "list" and isinstance(value, list):
        return [_check(inner, item, f"{path}[{i}]", failures) for i, item in enumerate(value)]
    if kind == "map" and isinstance(value, Mapping):
        return {k: _check(inner, v, f"{path}.{k}", failures) for k, v in value.items() if not k.startswith("__")}
    failures.append(Failure(path=path, reason=f"expected {_article(kind)}, got {_kind(value)}"))
    return value


def _scalar(declared: str, value: Any) -> Any:
    """`value` as `declared`, or None if it cannot be read so."""
    match declared:
        case "string" | "json":
            if declared == "json" and isinstance(value, Mapping):
                return json.dumps(value)
            if isinstance(value, bool):
                return "true" if value else "false"
            if isinstance(value, int | float):
                return format_number(value)
            return value if isinstance(value, str) else None
        case "boolean":
            return {"true": True, "false": False}.get(value) if isinstance(value, str) else _only(value, bool)
        case _:
            return _number(value, whole=declared == "integer")


def _only(value: Any, kind: type) -> Any:
    return value if isinstance(value, kind) else None


def _number(value: Any, *, whole: bool) -> float | int | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if not math.isfinite(number):
        return None
    if number.is_integer():
        return int(number)
    return None if whole else number


def format_number(value: float) -> str:
    """A number as text, without the `.0` that a protocol buffer puts behind every integer."""
    return str(int(value)) if float(value).is_integer() else repr(value)


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case Mapping():
            return "an object"
    return type(value).__name__


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
