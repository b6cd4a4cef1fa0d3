"""The package schema: complete, and never changed by accident."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace_components.provider.components import Components
from headrace_components.provider.functions import FUNCTIONS
from headrace_components.provider.main import version
from headrace_components.provider.table import RESOURCES

SNAPSHOT = Path(__file__).resolve().parents[2] / "schema" / "headrace.json"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The schema that the plugin serves."""
    loaded: dict[str, Any] = json.loads(Components(version(), RESOURCES, FUNCTIONS).schema_text())
    return loaded


def test_the_schema_is_the_one_under_review(schema: dict[str, Any]) -> None:
    kept = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    assert schema == kept, (
        "the package's schema changed, and other languages' programs are built on it; if that is meant: "
        "python components --schema > tests/schema/headrace.json"
    )


def test_everything_has_a_description(schema: dict[str, Any]) -> None:
    def missing(kind: str, table: dict[str, Any]) -> Iterator[str]:
        for token, one in table.items():
            if not one.get("description"):
                yield f"{kind} {token}"
            for group in ("properties", "inputProperties"):
                for name, each in one.get(group, {}).items():
                    if not each.get("description"):
                        yield f"{kind} {token}.{name}"

    assert sorted({*missing("resource", schema["resources"]), *missing("type", schema["types"])}) == []


def test_every_reference_leads_somewhere(schema: dict[str, Any]) -> None:
    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            for one in value.values():
                yield from references(one)
        elif isinstance(value, list):
            for one in value:
                yield from references(one)

    ours = {one for one in references(schema) if one.startswith("#/types/")}
    assert {one for one in ours if one.removeprefix("#/types/") not in schema["types"]} == set()
    assert len(ours) >= 10


def test_credentials_are_secret_and_immutable_properties_say_so(schema: dict[str, Any]) -> None:
    secret = {name for name, one in schema["config"]["variables"].items() if one.get("secret")}
    assert secret >= {"runpodApiKey", "modalTokenId", "modalTokenSecret"}
    auth = schema["resources"]["headrace:runpod:RegistryAuth"]
    assert auth["inputProperties"]["password"]["secret"]
    assert schema["resources"]["headrace:modal:Secret"]["inputProperties"]["values"]["secret"]
    assert schema["resources"]["headrace:runpod:Endpoint"]["inputProperties"]["type"]["replaceOnChanges"]
    assert "timeout" in schema["resources"]["headrace:runpod:Endpoint"]["required"]
