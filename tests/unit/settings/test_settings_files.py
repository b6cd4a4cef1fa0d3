"""Stack files: what can be wrong with one before its values are looked at, and the five that ship."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import Refused
from headrace.settings import Settings, from_stack_file, load, read_stack_file, validate
from headrace.settings.schema import schema_text, stack_schema
from headrace.yamlfile import YamlProblem, parse

ROOT = Path(__file__).parents[3]
STACKS = sorted((ROOT / "stacks").glob("Pulumi.*.yaml"))
ENVIRONMENTS = {"sandbox", "dev", "staging", "prod-eu", "prod-us"}


def refusal(path: Path) -> str:
    with pytest.raises(Refused) as refused:
        from_stack_file(path)
    return str(refused.value)


def test_there_are_five_environments() -> None:
    assert {path.name.split(".")[1] for path in STACKS} == ENVIRONMENTS


@pytest.mark.parametrize("path", STACKS, ids=lambda path: path.name)
def test_a_shipped_stack_is_valid_without_a_warning(path: Path) -> None:
    verdict = validate(read_stack_file(path), today=date(2026, 11, 21))
    assert [str(problem) for problem in (*verdict.problems, *verdict.warnings)] == []
    assert verdict.settings is not None
    assert path.name == f"Pulumi.{verdict.settings.environment}.yaml", "a stack's name is its environment"


@pytest.mark.parametrize("path", STACKS, ids=lambda path: path.name)
def test_a_shipped_stack_names_the_schema_and_passes_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=../schemas/stack.schema.json\n")
    jsonschema.Draft202012Validator(stack_schema()).validate(parse(text))


def test_the_committed_schema_is_in_step_with_the_models() -> None:
    committed = (ROOT / "schemas" / "stack.schema.json").read_text(encoding="utf-8")
    assert committed == schema_text(), "run `headrace settings schema --out schemas/stack.schema.json`"
    jsonschema.Draft202012Validator.check_schema(json.loads(committed))


def test_every_setting_is_described_for_editors() -> None:
    schema = stack_schema()
    definitions = [schema["properties"]["config"], *schema["$defs"].values()]
    bare = [
        name
        for definition in definitions
        for name, field in definition.get("properties", {}).items()
        if "description" not in field and name != "secure"
    ]
    assert bare == [], "an editor shows the description while one types"


def test_the_schema_refuses_a_misspelt_key_and_takes_other_namespaces(tree: dict[str, Any]) -> None:
    config = {f"inference:{key}": value for key, value in tree.items()}
    validator = jsonschema.Draft202012Validator(stack_schema())
    validator.validate({"config": {**config, "headrace:runpodApiKey": {"secure": "AAAB"}, "aws:profile": "x"}})
    assert not validator.is_valid({"config": {**config, "inference:netwrk": {}}})


def test_other_namespaces_and_pulumi_keys_are_left_alone(tmp_path: Path, tree: dict[str, Any]) -> None:
    config = {f"inference:{key}": value for key, value in tree.items() if key != "region"}
    config |= {"region": tree["region"], "headrace:runpodApiKey": {"secure": "AAAB"}, "kubernetes:foo": 1}
    path = tmp_path / "Pulumi.x.yaml"
    path.write_text(json.dumps({"encryptionsalt": "v1:x", "config": config}), encoding="utf-8")
    assert from_stack_file(path) == load(tree), "a key without a namespace is the project's own"


def test_a_missing_file_gets_a_sentence_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.dev.yaml").write_text("config: {}", encoding="utf-8")
    assert refusal(tmp_path / "Pulumi.dve.yaml") == (
        f"{tmp_path}/Pulumi.dve.yaml: there is no such file; did you mean 'Pulumi.dev.yaml'? Otherwise choose one of: "
        "Pulumi.dev.yaml."
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("config:\n\tinference:region: x\n", ", line 2: it is not valid YAML, because a tab stands where YAML wants"),
        ("config:\n  a: 1\n  a: 2\n", ", line 3: it is not valid YAML, because the key 'a' stands twice in one"),
        ("config: [1\n", "it is not valid YAML, because"),
        ("- 1\n", ": it must be a mapping with the key config; see stacks/ for examples."),
        ("", ": it must be a mapping with the key config; see stacks/ for examples."),
        ("confg: {}\n", ": confg: there is no such key at the top of a stack file, because Pulumi refuses or ignores"),
        ("config: 1\n", ": config: it must be a mapping of configuration keys, because Pulumi reads a stack's"),
        ("a: &a [*a]\n", ", line 1: it is not valid YAML, because found unconstructable recursive node"),
    ],
)
def test_a_broken_file_gets_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "Pulumi.x.yaml"
    path.write_text(text, encoding="utf-8")
    said = refusal(path)
    assert sentence in said
    assert len(said.splitlines()) == 1


def test_a_folder_and_binary_bytes_get_a_sentence(tmp_path: Path) -> None:
    assert "it is a folder, not a file" in refusal(tmp_path)
    binary = tmp_path / "Pulumi.x.yaml"
    binary.write_bytes(b"\xff\xfe\x00config")
    assert "it is not UTF-8 text" in refusal(binary)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from([f.alias or n for n, f in Settings.model_fields.items()]), VALUES))
def test_random_settings_are_refused_and_never_crash(values: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        load(values)


def _paths(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(found for key, child in children for found in _paths(child, (*path, key)))]


GOOD = read_stack_file(ROOT / "stacks" / "Pulumi.prod-us.yaml")
PLACES = [path for path in _paths(GOOD) if path]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PLACES), VALUES)
def test_one_random_value_in_a_good_tree_never_crashes(path: tuple[Any, ...], value: Any) -> None:
    tree = json.loads(json.dumps(GOOD))
    node = tree
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    verdict = validate(tree)
    for problem in (*verdict.problems, *verdict.warnings):
        assert problem.path
        assert problem.rule
        assert problem.next_step
        assert "\n" not in str(problem).replace(repr(problem.value), "")


@given(st.text(max_size=80))
def test_random_text_is_yaml_or_a_yaml_problem(text: str) -> None:
    try:
        parse(text)
    except YamlProblem as problem:
        assert problem.reason


def test_anchors_and_merge_keys_are_read() -> None:
    assert parse("a: &x {b: 1, d: 2}\nc:\n  <<: *x\n  b: 3\n")["c"] == {"b": 3, "d": 2}  # type: ignore[index] # a dict


@pytest.mark.parametrize("text", ["[" * 200_000 + "]" * 200_000, "{a: " * 200_000, "- " * 20_000 + "x"])
def test_text_nested_too_deeply_is_refused(text: str) -> None:
    with pytest.raises(YamlProblem, match="it is nested too deeply"):
        parse(text)


def test_a_number_too_long_to_convert_is_refused() -> None:
    with pytest.raises(YamlProblem, match="too many digits"):
        parse("a: " + "9" * 5000)


SCALAR_VALUES = {
    "yes": "yes",
    "on": "on",
    "2026-12-31": "2026-12-31",
    "1:30": "1:30",
    "1_000": "1_000",
    "cr-0": "cr-0",
    "true": True,
    "~": None,
    "012": 12,
    "0": 0,
    "-3": -3,
    "1.36": 1.36,
    "'1.36'": "1.36",
    "1e3": 1000.0,
}


@pytest.mark.parametrize(("text", "value"), SCALAR_VALUES.items())
def test_scalars_are_read_as_yaml_1_2(text: str, value: object) -> None:
    assert parse(f"key: {text}") == {"key": value}
