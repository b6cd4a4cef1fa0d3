"""Writes `sdk_types.json`: what the installed `pulumi_aws` declares for the types of our table.

`python -m headrace_sandbox.aws_provider.sdk_generate` after a new version of the SDK or a new type in the table. The
provider reads the file (importing the SDK itself costs seconds); a test holds file and SDK together.

Types are written as: a word (`string`, `integer`, `number`, `boolean`, `any`), `["list", T]`, `["map", T]`, or
`"#name"` for an object under `objects`. A text that may be given as
a document becomes `json`.
"""

from __future__ import annotations

import collections.abc
import enum
import importlib
import inspect
import json
import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pulumi import _types

TYPES_FILE = Path(__file__).with_name("sdk_types.json")
_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean"}


def generate(tokens: Sequence[str]) -> dict[str, Any]:
    """The declarations of `tokens`, read from the SDK's own classes."""
    # pulumi_aws imports its service packages lazily, so this loads only the services that the table names.
    objects: dict[str, Any] = {}
    types = {token: _resource(token, objects) for token in sorted(tokens)}
    version = importlib.import_module("importlib.metadata").version("pulumi-aws")
    return {"version": version, "types": types, "objects": dict(sorted(objects.items()))}


def _resource(token: str, objects: dict[str, Any]) -> dict[str, Any]:
    _, module_path, class_name = token.split(":")
    service = module_path.split("/")[0]
    package = importlib.import_module(f"pulumi_aws.{service}")
    resource = getattr(package, class_name)
    module = inspect.getmodule(resource)
    arguments = getattr(module, f"{class_name}InitArgs", None) or getattr(module, f"{class_name}Args")
    state = getattr(module, f"_{class_name}State")
    source = inspect.getsource(resource)
    inputs, required = _properties(arguments, objects)
    outputs, _ = _properties(state, objects)
    secrets = re.search(r"additional_secret_outputs=\[([^\]]*)\]", source)
    return {
        "inputs": inputs,
        "required": required,
        "outputs": outputs,
        "secrets": re.findall(r'"(\w+)"', secrets.group(1)) if secrets else [],
    }


def _properties(cls: Any, objects: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Wire name -> type of an input class, and which of them must be given."""
    package = cls.__module__.rpartition(".")[0] if not cls.__module__.endswith("._inputs") else cls.__module__[:-8]
    namespace = {**vars(importlib.import_module(f"{package}._inputs")), **vars(importlib.import_module(cls.__module__))}
    names = _types.input_type_py_to_pulumi_names(cls)
    annotations = cls.__init__.__annotations__
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        wire = names[name]
        properties[wire] = _type(annotations[name], namespace, objects)
        if parameter.default is inspect.Parameter.empty:
            required.append(wire)
    return dict(sorted(properties.items())), sorted(required)


def _type(hint: Any, namespace: Mapping[str, Any], objects: dict[str, Any]) -> Any:
    if isinstance(hint, str | typing.ForwardRef):
        hint = eval(hint if isinstance(hint, str) else hint.__forward_arg__, dict(namespace))  # noqa: S307 - the text comes from the installed SDK
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin is None:
        if hint in _SCALARS:
            return _SCALARS[hint]
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return "string"
        if isinstance(hint, type) and hint.__module__.startswith("pulumi_aws."):
            return _object(hint, objects)
        return "any"
    if origin in (collections.abc.Sequence, list):
        return ["list", _type(arguments[0], namespace, objects)]
    if origin in (collections.abc.Mapping, dict):
        return ["map", _type(arguments[1], namespace, objects)]
    # What is left is a union: Input[T] is T | Awaitable[T] | Output[T]; an enum's argument is str | TheEnum; an
    # object's is TheArgs | TheArgsDict.
    chosen = [_type(a, namespace, objects) for a in arguments if _counts(a)]
    if any(isinstance(c, str) and c.startswith("#iam/PolicyDocument") for c in chosen):
        return "json"
    if len(chosen) > 1 and "string" in chosen:
        return "string"
    return chosen[0] if chosen else "any"


def _counts(hint: Any) -> bool:
    """Whether a member of a union says what the value is, rather than how it may be wrapped."""
    if hint is type(None) or typing.get_origin(hint) is collections.abc.Awaitable:
        return False
    text = hint.__forward_arg__ if isinstance(hint, typing.ForwardRef) else str(getattr(hint, "__name__", ""))
    return not (text.startswith("Output") or text.endswith("ArgsDict"))


def _object(cls: type, objects: dict[str, Any]) -> str:
    service = cls.__module__.split(".")[1]
    key = f"{service}/{cls.__name__.removesuffix('Args')}"
    if key not in objects:
        objects[key] = {}  # before the descent: some types contain themselves
        properties, required = _properties(cls, objects)
        objects[key] = {"properties": properties, "required": required}
    return f"#{key}"


def render(document: Mapping[str, Any]) -> str:
    """One line per type and object: small, and readable in a diff."""
    lines = ["{", f' "version": {json.dumps(document["version"])},']
    for section in ("types", "objects"):
        lines.append(f' "{section}": {{')
        rows = [f"  {json.dumps(k)}: {json.dumps(v, sort_keys=True)}" for k, v in document[section].items()]
        lines.append(",\n".join(rows))
        lines.append(" }," if section == "types" else " }")
    return "\n".join([*lines, "}", ""])


if __name__ == "__main__":
    from headrace_sandbox.aws_provider.table import TYPES

    TYPES_FILE.write_text(render(generate(list(TYPES))))
