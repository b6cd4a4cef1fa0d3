"""Property paths as the engine writes them: `spec.template.spec.containers[0].image`, `data["a.b/c"]`, `tags[*]`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

Step: TypeAlias = str | int
Path: TypeAlias = tuple[Step, ...]

_PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*\Z")
_TOKEN = re.compile(r"""\.?([^.\[\]"]+)|\[(\d+|\*)\]|\["((?:[^"\\]|\\.)*)"\]""")


def show(path: Sequence[Step]) -> str:
    """The engine's text form of a path."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN.match(step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step)}]"
    return text


def parse(text: str) -> Path:
    """The steps of a path; `*` stays a step of its own. A malformed rest ends the path at the last whole step."""
    steps: list[Step] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            break
        name, index, quoted = match.groups()
        if name is not None:
            steps.append(name)
        elif index is not None:
            steps.append(index if index == "*" else int(index))
        else:
            steps.append(str(json.loads(f'"{quoted}"')))
        position = match.end()
    return tuple(steps)


def covers(pattern: Sequence[Step], path: Sequence[Step]) -> bool:
    """Whether `path` is the pattern's place or lies below it; `*` stands for any one step."""
    return len(pattern) <= len(path) and all(p in ("*", s) for p, s in zip(pattern, path, strict=False))


def covered(path: Sequence[Step], patterns: Iterable[str]) -> bool:
    """Whether any of the patterns covers the path."""
    return any(covers(parse(pattern), path) for pattern in patterns)
