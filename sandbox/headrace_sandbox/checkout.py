"""Where the project lies that a command works on, and what its Pulumi.yaml asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from headrace.errors import refuse

PROJECT_FILE: Final = "Pulumi.yaml"


def root(start: Path | None = None) -> Path:
    """The nearest folder with a Pulumi.yaml, from `start` (the current folder) upwards; else our own."""
    begin = (start or Path.cwd()).resolve()
    ours = Path(__file__).resolve().parents[2]
    for folder in (begin, *begin.parents, ours):
        if (folder / PROJECT_FILE).is_file():
            return folder
    raise refuse(
        PROJECT_FILE,
        str(begin),
        "there is no such file here or in a folder above",
        next_step="run the command inside the project's checkout",
    )


def state_directory(project: Path) -> Path:
    """`.headrace` of a checkout: everything that commands leave behind there."""
    return project / ".headrace"


def required_version(project: Path) -> str:
    """`requiredPulumiVersion` of a project; empty when it names none."""
    file = project / PROJECT_FILE
    try:
        loaded = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    except YAMLError as error:
        reason = " ".join(str(error).split())
        raise refuse(str(file), None, "it is not readable YAML", reason=reason, next_step="correct it") from error
    wanted = loaded.get("requiredPulumiVersion", "") if isinstance(loaded, dict) else ""
    return str(wanted)
