"""Read settings: from a mapping, from a stack file, with every problem at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from headrace.errors import Problem, Refused, refuse
from headrace.settings import checks
from headrace.settings.problems import dotted, from_validation
from headrace.settings.suggest import did_you_mean
from headrace.settings.tree import Settings
from headrace.yamlfile import YamlProblem, parse

# Pulumi project whose configuration keys are ours: `inference:network` and so on.
PROJECT: Final = "inference"
# Keys that Pulumi itself writes at the top of a stack file.
_PULUMI_KEYS: Final = frozenset({"config", "environment", "encryptionsalt", "encryptedkey", "secretsprovider"})


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What validation found. `settings` is there only when there is no problem."""

    settings: Settings | None
    problems: Sequence[Problem]
    warnings: Sequence[Problem] = field(default=())


def validate(values: Mapping[str, Any], *, today: date | None = None) -> Verdict:
    """Validate a mapping of our keys (camelCase, without namespace). Finds every problem in one run.

    Where fields are wrong by themselves, the checks over the whole tree still run on the rest, as far as what is left
    out doesn't make them guess.
    """
    today = today or datetime.now(tz=UTC).date()
    try:
        settings = Settings.model_validate(values, by_alias=True, by_name=False)
    except ValidationError as error:
        found = list(from_validation(error, Settings))
        return Verdict(settings=None, problems=[*found, *_problems_of_the_rest(values, error)])
    problems = checks.problems(settings)
    return Verdict(
        settings=None if problems else settings,
        problems=problems,
        warnings=checks.warnings(settings, today),
    )


def _problems_of_the_rest(values: Mapping[str, Any], error: ValidationError) -> list[Problem]:
    """Problems of the tree without its unknown keys. Other faults leave holes, and a check over holes would guess."""
    details = error.errors(include_url=False, include_input=False, include_context=False)
    if any(detail["type"] != "extra_forbidden" for detail in details):
        return []
    rest = _without(values, [detail["loc"] for detail in details])
    try:
        return checks.problems(Settings.model_validate(rest, by_alias=True, by_name=False))
    except ValidationError:
        return []


def _without(value: Any, locations: Sequence[tuple[int | str, ...]]) -> Any:
    """A copy without what stands at the locations."""
    here = {location[0] for location in locations if len(location) == 1}
    if isinstance(value, Mapping):
        return {
            key: _without(item, [location[1:] for location in locations if location[0] == key and len(location) > 1])
            for key, item in value.items()
            if key not in here
        }
    if isinstance(value, list):
        return [
            _without(item, [location[1:] for location in locations if location[0] == index and len(location) > 1])
            for index, item in enumerate(value)
        ]
    return value


def load(source: Mapping[str, Any] | str | Path) -> Settings:
    """Valid settings from a mapping of our keys or from a stack file. Raises `Refused` with every problem."""
    if isinstance(source, str | Path):
        return from_stack_file(source)
    verdict = validate(source)
    if verdict.settings is None:
        raise Refused(*verdict.problems)
    return verdict.settings


def from_stack_file(path: str | Path) -> Settings:
    """Valid settings from a Pulumi stack file. Raises `Refused` with every problem."""
    return load(read_stack_file(path))


def read_stack_file(path: str | Path) -> dict[str, Any]:
    """Our keys of a stack file, without their namespace. Keys of other namespaces are left alone.

    Raises `Refused` where the file can't be read or isn't a stack file; the values are not validated.
    """
    document = read_yaml_file(Path(path))
    if not isinstance(document, Mapping):
        raise refuse(str(path), None, "it must be a mapping with the key config", next_step="see stacks/ for examples")
    stray = [key for key in document if key not in _PULUMI_KEYS]
    if stray:
        raise Refused(*(_stray_key(path, key) for key in stray))
    config = document.get("config")
    if not isinstance(config, Mapping):
        raise refuse(
            f"{path}: config",
            None,
            "it must be a mapping of configuration keys",
            reason="Pulumi reads a stack's configuration from there",
            next_step=f"add config: with keys such as {PROJECT}:region",
        )
    return our_keys(config)


def _stray_key(path: str | Path, key: object) -> Problem:
    text = str(key)
    inside = text.partition(":")[2] if text.startswith(f"{PROJECT}:") else None
    return Problem(
        path=f"{path}: {dotted((text,))}",
        value=None,
        rule="there is no such key at the top of a stack file",
        reason="Pulumi refuses or ignores it",
        next_step="indent it below config:" if inside else did_you_mean(text, _PULUMI_KEYS),
    )


def our_keys(config: Mapping[Any, Any]) -> dict[str, Any]:
    """Values of `inference:<key>` by key; a key without a namespace is the project's own, as Pulumi reads it."""
    ours: dict[str, Any] = {}
    for key, value in config.items():
        text = str(key)
        namespace, colon, name = text.partition(":")
        if not colon:
            ours[text] = value
        elif namespace == PROJECT:
            ours[name] = value
    return ours


def read_yaml_file(path: Path) -> object:
    """The value of a YAML file. Raises `Refused` where it is missing, unreadable or not YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        siblings = [entry.name for entry in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        step = did_you_mean(path.name, siblings) if siblings else "check the path"
        raise refuse(str(path), None, "there is no such file", next_step=step) from None
    except IsADirectoryError:
        raise refuse(str(path), None, "it is a folder, not a file", next_step="name a stack file") from None
    except UnicodeDecodeError:
        raise refuse(str(path), None, "it is not UTF-8 text", next_step="save it as UTF-8") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise refuse(str(path), None, "it can't be read", reason=reason, next_step="check its permissions") from None
    try:
        return parse(text)
    except YamlProblem as problem:
        where = f"{path}, line {problem.line}" if problem.line else str(path)
        raise refuse(
            where, None, "it is not valid YAML", reason=problem.reason, next_step="correct that line"
        ) from None
