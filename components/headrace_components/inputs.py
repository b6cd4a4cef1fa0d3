"""Reading component arguments: plain where a fact or a decision is made of them, refused with a sentence otherwise.

A component called from YAML or TypeScript gets plain dicts whose integers arrive as floats; one called from Python may
get an output where a value must be known. Both are settled here, by the settings model of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import pulumi
from pydantic import BaseModel, ValidationError

from headrace.errors import Refused, refuse
from headrace.settings.problems import from_validation

Model = TypeVar("Model", bound=BaseModel)


def require_plain(value: object, path: str) -> None:
    """Refuses an output anywhere within `value`."""
    if isinstance(value, pulumi.Output):
        raise refuse(
            path,
            None,
            "must be a plain value, not an output of another resource",
            reason="policies decide at preview, when an output may still be unknown",
            next_step="write the value in the settings",
        )
    if isinstance(value, Mapping):
        for key, item in value.items():
            require_plain(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            require_plain(item, f"{path}[{index}]")


def read(model: type[Model], args: Mapping[str, Any], path: str) -> Model:
    """The part of `args` that `model` describes, validated. Keys that are None count as not given."""
    values = {key: args[key] for key in model.model_fields if args.get(key) is not None}
    return read_model(model, values, path)


def read_model(model: type[Model], values: Mapping[str, Any], path: str) -> Model:
    """`values`, all of which `model` must know."""
    require_plain(values, path)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = from_validation(error, model)
        raise Refused(*(replace(problem, path=f"{path}.{problem.path}") for problem in problems)) from error


def plain_args(model: BaseModel) -> dict[str, Any]:
    """A settings model as component arguments: snake_case keys, plain values."""
    return model.model_dump(mode="json", by_alias=False)
