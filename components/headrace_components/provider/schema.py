"""The package schema of the resources, made from their tables, merged into that of the components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace_components.provider.fields import Field, Kind
from headrace_components.provider.functions import Function
from headrace_components.provider.resource import ResourceType
from headrace_components.provider.vendors import CONFIGURATION

Json = dict[str, Any]


def merged(components: Json, resources: Mapping[str, ResourceType], functions: Mapping[str, Function]) -> Json:
    """`components` with the resources, functions, types and configuration added."""
    types: Json = dict(components.get("types") or {})
    made = {token: _resource(kind, types) for token, kind in sorted(resources.items())}
    return {
        **components,
        "description": "Serverless GPU endpoints of RunPod and Modal, and Headrace's components.",
        "keywords": ["category/infrastructure", "kind/native"],
        "license": "Apache-2.0",
        "config": {"variables": _variables()},
        "provider": {
            "description": "Credentials of the serverless vendors, each needed only where a resource of its vendor is.",
            "inputProperties": _variables(),
            "properties": _variables(),
        },
        "types": types,
        "resources": {**(components.get("resources") or {}), **made},
        "functions": {token: _function(one) for token, one in sorted(functions.items())},
    }


def _variables() -> Json:
    return {name: _property(option.field, "headrace:index:", {}, "") for name, option in CONFIGURATION.items()}


def _resource(kind: ResourceType, types: Json) -> Json:
    module = kind.urn_type.rsplit(":", 1)[0] + ":"
    inputs = {name: _property(spec, module, types, kind.urn_type) for name, spec in kind.fields.items()}
    outputs = {
        **{name: {key: value for key, value in one.items() if key != "default"} for name, one in inputs.items()},
        **{name: _property(spec, module, types, kind.urn_type) for name, spec in kind.outputs.items()},
    }
    always = [name for name, spec in kind.fields.items() if spec.required or spec.default is not None or name == "name"]
    return {
        "description": kind.description,
        "properties": outputs,
        "required": [*always, *kind.outputs],
        "inputProperties": inputs,
        "requiredInputs": [name for name, spec in kind.fields.items() if spec.required],
    }


def _function(function: Function) -> Json:
    types: Json = {}
    inputs = {name: _property(spec, "headrace:index:", types, "") for name, spec in function.inputs.items()}
    return {
        "description": function.description,
        "inputs": {
            "type": "object",
            "properties": inputs,
            "required": [name for name, spec in function.inputs.items() if spec.required],
        },
        "outputs": {
            "type": "object",
            "properties": {
                name: _property(spec, "headrace:index:", types, "") for name, spec in function.outputs.items()
            },
        },
    }


def _property(spec: Field, module: str, types: Json, owner: str) -> Json:
    made: Json = {**_type(spec, module, types, owner), "description": spec.description}
    if spec.secret:
        made["secret"] = True
    if spec.replace:
        made["replaceOnChanges"] = True
        made["willReplaceOnChanges"] = True
    if spec.default is not None and not isinstance(spec.default, dict | list):
        made["default"] = spec.default
    return made


def _type(spec: Field, module: str, types: Json, owner: str) -> Json:
    if spec.enum and spec.type_name:
        types[f"{module}{spec.type_name}"] = {
            "type": "string",
            "description": spec.description,
            "enum": [{"value": value, "description": text} for value, text in spec.enum.items()],
        }
        return {"type": "string", "$ref": f"#/types/{module}{spec.type_name}"}
    if spec.kind is Kind.OBJECT:
        name = f"{module}{spec.type_name}"
        types[name] = {
            "type": "object",
            "description": spec.description,
            "properties": {key: _property(one, module, types, owner) for key, one in spec.fields.items()},
            "required": [key for key, one in spec.fields.items() if one.required],
        }
        return {"type": "object", "$ref": f"#/types/{name}"}
    if spec.kind is Kind.ARRAY and spec.items is not None:
        return {"type": "array", "items": _type(spec.items, module, types, owner)}
    if spec.kind is Kind.MAP and spec.items is not None:
        return {"type": "object", "additionalProperties": _type(spec.items, module, types, owner)}
    return {"type": spec.kind.value}
