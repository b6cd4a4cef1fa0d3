"""Record a model release in a stack file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from headrace.errors import Problem, Refused, refuse
from headrace.settings.load import PROJECT, read_stack_file
from headrace.settings.problems import dotted, from_validation
from headrace.settings.releases import ModelRelease
from headrace.settings.stack_text import open_stack

_KEY: Final = f"{PROJECT}:releases"
# Versions look like numbers; without quotes the next reader would turn 12.10 into 12.1.
_QUOTED: Final = ("cudaVersion", "minimumComputeCapability")


def checked(name: str, values: Mapping[str, Any]) -> ModelRelease:
    """The release, or a `Refused` with every problem. A tag in place of a digest gets its own sentence."""
    image = values.get("image")
    if isinstance(image, str) and "@" not in image:
        raise refuse(
            f"releases.{name}.image",
            image,
            "a release needs its image by digest, repository@sha256:<64 hex digits>",
            reason="a tag can be moved to another image, and then the same release runs different code in the two "
            "halves of the stack and can't be rolled back to",
            next_step=f"resolve it with `docker buildx imagetools inspect {image}` and pass the digest",
        )
    try:
        return ModelRelease.model_validate(values, by_alias=True, by_name=False)
    except ValidationError as error:
        raise Refused(*(_below(name, problem) for problem in from_validation(error, ModelRelease))) from None


def _below(name: str, problem: Problem) -> Problem:
    return Problem(
        path=f"releases.{name}.{problem.path}",
        value=problem.value,
        rule=problem.rule,
        reason=problem.reason,
        next_step=problem.next_step,
    )


def add(path: Path, name: str, values: Mapping[str, Any]) -> bool:
    """Record the release in the stack file. True where the file changed, False where it was there already.

    Raises `Refused` where the name stands for another release or the file would not be valid afterwards.
    """
    release = checked(name, values)
    recorded = read_stack_file(path).get("releases") or {}
    if not isinstance(recorded, Mapping):
        raise refuse(
            f"{path}: {_KEY}", None, "it must be a mapping of releases by name", next_step="correct it by hand first"
        )
    if name in recorded:
        _require_same(name, recorded[name], release)
        return False
    stack = open_stack(path)
    key = "releases" if "releases" in stack.config and _KEY not in stack.config else _KEY
    if not stack.config.get(key):
        stack.config[key] = {}
    stack.config[key][name] = {
        field: DoubleQuotedScalarString(value) if field in _QUOTED else value for field, value in values.items()
    }
    stack.save()
    return True


def _require_same(name: str, recorded: Any, release: ModelRelease) -> None:
    before = checked(name, recorded if isinstance(recorded, Mapping) else {})
    differing = [
        field.alias or key
        for key, field in ModelRelease.model_fields.items()
        if getattr(before, key) != getattr(release, key)
    ]
    if differing:
        raise refuse(
            f"releases.{name}",
            None,
            f"the name is taken by a release that differs in {', '.join(differing)}",
            reason="releases are immutable: audit records and roll-backs refer to them by name",
            next_step="record the new one under another name and point the workload to it",
        )


def recorded_releases(path: Path) -> dict[str, dict[str, Any]]:
    """Releases of a stack file by name, as they stand."""
    releases = read_stack_file(path).get("releases") or {}
    if not isinstance(releases, Mapping):
        raise refuse(f"{path}: {dotted((_KEY,))}", None, "it must be a mapping", next_step="correct it by hand first")
    return {str(name): dict(value) for name, value in releases.items() if isinstance(value, Mapping)}
