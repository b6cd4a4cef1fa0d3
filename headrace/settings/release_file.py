"""Record a model release in a stack file: comments and all other keys stay as they are, and nothing is half-written."""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from headrace.errors import Problem, Refused, refuse
from headrace.settings.load import PROJECT, read_stack_file, validate
from headrace.settings.problems import dotted, from_validation
from headrace.settings.releases import ModelRelease

_KEY: Final = f"{PROJECT}:releases"
# Versions look like numbers; without quotes the next reader would turn 12.10 into 12.1.
_QUOTED: Final = ("cudaVersion", "minimumComputeCapability")
_ANY_SEQUENCE: Final = re.compile(r"^( *)[^\s#-][^\n]*:\s*(?:#[^\n]*)?\n( *)- ", re.MULTILINE)


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
    text = _with_release(path, name, values)
    _write(path, text)
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


def _with_release(path: Path, name: str, values: Mapping[str, Any]) -> str:
    """Text of the file with the release in it, valid as a whole."""
    text = path.read_text(encoding="utf-8")
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 100_000
    sequence = _ANY_SEQUENCE.search(text)
    offset = len(sequence[2]) - len(sequence[1]) if sequence else 2
    yaml.indent(mapping=2, sequence=offset + 2, offset=offset)
    document = yaml.load(text)
    config = document["config"]
    key = "releases" if "releases" in config and _KEY not in config else _KEY
    if not config.get(key):
        config[key] = {}
    config[key][name] = {
        field: DoubleQuotedScalarString(value) if field in _QUOTED else value for field, value in values.items()
    }
    out = io.StringIO()
    yaml.dump(document, out)
    _require_valid(path, out.getvalue())
    return out.getvalue()


def _require_valid(path: Path, text: str) -> None:
    with tempfile.TemporaryDirectory(prefix="headrace-release-") as folder:
        candidate = Path(folder) / path.name
        candidate.write_text(text, encoding="utf-8")
        problems = validate(read_stack_file(candidate)).problems
    if problems:
        raise Refused(*problems)


def _write(path: Path, text: str) -> None:
    """Write beside, sync, rename: a reader sees the old file or the new one."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(path.stat().st_mode & 0o777)
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        reason = (error.strerror or str(error)).lower()
        raise refuse(
            str(path), None, "it can't be written", reason=reason, next_step="check space and permissions"
        ) from None


def recorded_releases(path: Path) -> dict[str, dict[str, Any]]:
    """Releases of a stack file by name, as they stand."""
    releases = read_stack_file(path).get("releases") or {}
    if not isinstance(releases, Mapping):
        raise refuse(f"{path}: {dotted((_KEY,))}", None, "it must be a mapping", next_step="correct it by hand first")
    return {str(name): dict(value) for name, value in releases.items() if isinstance(value, Mapping)}
