"""Read YAML the way Pulumi reads it: YAML 1.2 scalars, every key once, and a plain sentence when it can't be read.

libyaml does the parsing, because a stack file is read on every preview and the pure Python parsers take most of a tenth
of a second for one. Files that are edited go through ruamel.yaml instead, which keeps comments.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any, Final, cast

import yaml

try:
    from yaml import CSafeLoader as _BaseLoader
except ImportError:  # a PyYAML built without libyaml: slower, same result
    from yaml import SafeLoader as _BaseLoader  # type: ignore[assignment] # same interface, other base class


class YamlProblem(ValueError):
    """Text that isn't usable YAML. `line` counts from 1 and is 0 where unknown."""

    def __init__(self, reason: str, *, line: int = 0) -> None:
        super().__init__(f"line {line}: {reason}" if line else reason)
        self.reason = reason
        self.line = line


class _Loader(_BaseLoader):
    """Safe loader with YAML 1.2 core scalars (`yes`, `1:30` and dates are text) that refuses a key given twice."""


_MERGE: Final = "tag:yaml.org,2002:merge"
# YAML 1.2.2 section 10.3.2 (core schema). PyYAML's own table is YAML 1.1, where `no` is false and 012 is ten.
_CORE: Final = (
    ("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"),
        "-+.0123456789",
    ),
    ("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), "~nN\0"),
    (_MERGE, re.compile(r"^<<$"), "<"),
)
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _CORE:
    for _character in _first:
        key = "" if _character == "\0" else _character
        _Loader.yaml_implicit_resolvers.setdefault(key, []).append((_tag, _pattern))


def _mapping(loader: Any, node: yaml.MappingNode) -> dict[Hashable, Any]:
    seen: set[Hashable] = set()
    for key_node, _ in node.value:
        if key_node.tag == _MERGE:
            continue
        key = loader.construct_object(key_node, deep=True)
        line = key_node.start_mark.line + 1
        if not isinstance(key, Hashable):
            raise YamlProblem("a key is a list or a mapping", line=line)
        if key in seen:
            raise YamlProblem(f"the key {key!r} stands twice in one mapping", line=line)
        seen.add(key)
    loader.flatten_mapping(node)
    return {
        loader.construct_object(key_node, deep=True): loader.construct_object(value_node, deep=True)
        for key_node, value_node in node.value
    }


def _float(loader: Any, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node))


def _int(loader: Any, node: yaml.ScalarNode) -> int:
    try:
        return int(loader.construct_scalar(node))
    except ValueError as error:  # more digits than the interpreter converts
        raise YamlProblem("a number has too many digits", line=node.start_mark.line + 1) from error


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)
_Loader.add_constructor("tag:yaml.org,2002:int", _int)


# No file of ours nests deeper than ten. libyaml's composer is recursive C and kills the process at some ten thousands.
_DEEPEST: Final = 500
_OPENING: Final = (yaml.events.SequenceStartEvent, yaml.events.MappingStartEvent)
_CLOSING: Final = (yaml.events.SequenceEndEvent, yaml.events.MappingEndEvent)


def _require_shallow(text: str) -> None:
    """Refuse text that nests too deeply. Only text that could is scanned: each level takes a bracket or a column."""
    widest = max(map(len, text.splitlines()), default=0)
    if text.count("[") + text.count("{") + widest <= _DEEPEST:
        return
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, _OPENING) - isinstance(event, _CLOSING)
        if depth > _DEEPEST:
            raise YamlProblem("it is nested too deeply", line=event.start_mark.line + 1 if event.start_mark else 0)


def parse(text: str) -> object:
    """The value of a YAML text. Raises `YamlProblem` with the line."""
    try:
        _require_shallow(text)
        return cast(object, yaml.load(text, Loader=_Loader))  # noqa: S506 - _Loader is a safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or "it is not YAML"
        line = mark.line + 1 if mark else 0
        if mark is not None and line <= text.count("\n") + 1 and "\t" in text.split("\n")[line - 1]:
            reason = "a tab stands where YAML wants spaces"
        raise YamlProblem(reason, line=line) from error
    except yaml.YAMLError as error:
        raise YamlProblem(str(error).splitlines()[0]) from error
    except RecursionError as error:
        raise YamlProblem("it is nested too deeply") from error
