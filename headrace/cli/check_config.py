"""The pack's configuration: read and refused before the engine starts, which would only say that it doesn't fit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from headrace.errors import Problem, Refused, refuse
from headrace.rules.registry import RULES
from headrace.rules.rule import Parameter
from headrace.settings.suggest import did_you_mean

LEVELS: Final = ("advisory", "mandatory", "disabled")
_LEVEL: Final = "enforcementLevel"


def checked(file: Path) -> Path:
    """The file, if its content is a configuration of this pack; raises `Refused` with every problem."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise refuse(str(file), None, f"it can't be read ({error})", next_step="check the path") from None
    except ValueError as error:
        raise refuse(str(file), None, f"it is not JSON ({error})", next_step="correct it") from None
    found = list(problems(document, str(file)))
    if found:
        raise Refused(*found)
    return file


def problems(document: object, where: str) -> Iterator[Problem]:
    """Unknown policies, levels and parameters, and values out of their bounds."""
    if not isinstance(document, Mapping):
        yield _problem(where, None, "it must be a mapping of policies", 'write {"imds-v1": {"maxHops": 2}}')
        return
    rules = {rule.id: rule for rule in RULES}
    for policy, given in document.items():
        at = f"{where}: {policy}"
        if isinstance(given, str):
            given = {_LEVEL: given}
        if policy != "all" and policy not in rules:
            yield _problem(at, None, "there is no policy of that name", did_you_mean(policy, list(rules)))
        elif not isinstance(given, Mapping):
            yield _problem(
                at, given, "it must be a level or a mapping of parameters", f"write one of {', '.join(LEVELS)}"
            )
        else:
            known = {one.name: one for one in rules[policy].parameters} if policy in rules else {}
            for name, value in given.items():
                yield from _one(f"{at}.{name}", name, value, known)


def _one(at: str, name: str, value: Any, known: Mapping[str, Parameter]) -> Iterator[Problem]:
    if name == _LEVEL:
        if value not in LEVELS:
            yield _problem(at, value, f"it must be one of {', '.join(LEVELS)}", "correct it")
    elif name == "exempt":
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            yield _problem(at, value, "it must be a list of resource names", "write a list")
    elif name not in known:
        yield _problem(at, None, "there is no such parameter", did_you_mean(name, [*known, _LEVEL, "exempt"]))
    elif isinstance(known[name].default, tuple):
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            yield _problem(at, value, "it must be a list of words", "write a list")
    elif isinstance(value, bool) or not isinstance(value, int | float):
        yield _problem(at, value, "it must be a number", "write digits without quotes")
    else:
        least, most = known[name].minimum, known[name].maximum
        if (least is not None and value < least) or (most is not None and value > most):
            bounds = f"between {least if least is not None else '-'} and {most if most is not None else '-'}"
            yield _problem(at, value, f"it must be {bounds}", "choose a value within the bounds")


def _problem(path: str, value: object, rule: str, next_step: str) -> Problem:
    return Problem(path=path, value=value, rule=rule, reason="", next_step=next_step.rstrip("."))
