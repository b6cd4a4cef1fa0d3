"""JSON Schema of a whole stack file, so that editors complete and check it while it is written."""

from __future__ import annotations

import json
from typing import Any, Final

from headrace.settings.load import PROJECT
from headrace.settings.tree import Settings

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def stack_schema() -> dict[str, Any]:
    """Schema of `Pulumi.<stack>.yaml`: our keys typed, keys of other namespaces free."""
    model = Settings.model_json_schema(by_alias=True, mode="validation")
    definitions = model.pop("$defs", {})
    definitions["Encrypted"] = {
        "title": "Encrypted value",
        "description": "A value that `pulumi config set --secret` has encrypted.",
        "type": "object",
        "properties": {"secure": {"type": "string"}},
        "required": ["secure"],
        "additionalProperties": False,
    }
    _allow_encrypted(definitions)
    fields = model["properties"]
    for name, field in Settings.model_fields.items():
        fields[field.alias or name].setdefault("description", field.description or "")
    return {
        "$schema": _DIALECT,
        "title": "Headrace stack file",
        "description": "Configuration of one environment. `headrace settings validate` checks what a schema can't.",
        "type": "object",
        "required": ["config"],
        "additionalProperties": False,
        "properties": {
            "config": {
                "description": "Configuration by namespace; ours is `" + PROJECT + ":`.",
                "type": "object",
                "properties": {f"{PROJECT}:{name}": field for name, field in fields.items()},
                "patternProperties": {f"^(?!{PROJECT}:)[^:]+:.+$": {}},
                "required": [f"{PROJECT}:{name}" for name in model["required"]],
                "additionalProperties": False,
            },
            "environment": {"description": "Pulumi ESC environments to import."},
            "encryptionsalt": {"type": "string"},
            "encryptedkey": {"type": "string"},
            "secretsprovider": {"type": "string"},
        },
        "$defs": definitions,
    }


def _allow_encrypted(definitions: dict[str, Any]) -> None:
    """Secret text may stand encrypted. Pydantic marks it with the format `password`."""
    for definition in definitions.values():
        for field in definition.get("properties", {}).values():
            options = field.get("anyOf", [])
            if any(option.get("format") == "password" for option in options):
                options.insert(0, {"$ref": "#/$defs/Encrypted"})


def schema_text() -> str:
    """The schema as it is committed."""
    return json.dumps(stack_schema(), indent=2, ensure_ascii=False) + "\n"
