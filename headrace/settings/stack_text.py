"""Changing a stack file: comments and all other keys stay as they are, and nothing invalid or half-written is left."""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from headrace.errors import Refused, refuse
from headrace.settings.load import read_stack_file, validate

_ANY_SEQUENCE: Final = re.compile(r"^( *)[^\s#-][^\n]*:\s*(?:#[^\n]*)?\n( *)- ", re.MULTILINE)
# What a report gets that did not exist before; a file that is replaced keeps its own mode.
_NEW_MODE: Final = 0o644


@dataclass(frozen=True, kw_only=True)
class StackText:
    """A stack file as a document that remembers its comments. Change `document`, then `save`."""

    path: Path
    document: Any
    yaml: YAML

    @property
    def config(self) -> MutableMapping[str, Any]:
        """The file's `config`."""
        config: MutableMapping[str, Any] = self.document["config"]
        return config

    def save(self) -> None:
        """Writes the document. Raises `Refused`, and leaves the file alone, where the result is not valid settings."""
        out = io.StringIO()
        self.yaml.dump(self.document, out)
        with tempfile.TemporaryDirectory(prefix="headrace-stack-") as folder:
            candidate = Path(folder) / self.path.name
            candidate.write_text(out.getvalue(), encoding="utf-8")
            problems = validate(read_stack_file(candidate)).problems
        if problems:
            raise Refused(*problems)
        replace_file(self.path, out.getvalue().encode())


def open_stack(path: Path) -> StackText:
    """The stack file at `path`. Raises `Refused` where it is none. Lists keep the indentation of the file's first."""
    read_stack_file(path)
    text = path.read_text(encoding="utf-8")
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 100_000
    sequence = _ANY_SEQUENCE.search(text)
    offset = len(sequence[2]) - len(sequence[1]) if sequence else 2
    yaml.indent(mapping=2, sequence=offset + 2, offset=offset)
    return StackText(path=path, document=yaml.load(text), yaml=yaml)


def replace_file(path: Path, content: bytes, *, option: str | None = None) -> None:
    """Write beside, sync, rename: a reader sees the old file or the new one. Raises `Refused`; `option` is what the
    user called the path."""
    temporary: Path | None = None
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else _NEW_MODE
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise refuse(
            option or str(path),
            str(path) if option else None,
            "it can't be written",
            reason=(error.strerror or str(error)).lower(),
            next_step="check the folder, its space and its permissions",
        ) from None
