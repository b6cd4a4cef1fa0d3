"""Turn pydantic's errors into our sentences: path, value, rule, reason, next step."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from headrace.errors import Problem
from headrace.settings import base
from headrace.settings.suggest import did_you_mean

# pattern -> (rule, reason, next step): a regular expression helps nobody
_PATTERNS: Final[Mapping[str, tuple[str, str, str]]] = {
    base.NAME_PATTERN: (
        "a name must be 1 to 20 lower-case letters, digits and hyphens, starting with a letter",
        "it becomes part of cloud names and of Kubernetes namespaces of at most 63 characters",
        "choose a shorter or simpler name",
    ),
    base.DIGEST_PATTERN: (
        "a digest must be 'sha256:' and 64 lower-case hexadecimal digits",
        "only a whole digest pins the content",
        "copy the digest from the registry or from `sha256sum`",
    ),
    base.IMAGE_PATTERN: (
        "an image must be given by digest, repository@sha256:<64 hex digits>",
        "a tag can be moved to another image and then the two halves of the stack run different code",
        "resolve the tag with `docker buildx imagetools inspect` or `crane digest` and write the digest",
    ),
    base.ZONE_PATTERN: (
        "it must be an availability zone such as eu-central-1a",
        "a zone is a region and a letter",
        "write the zone's full name",
    ),
    base.REGION_PATTERN: (
        "it must be an AWS region such as eu-central-1",
        "endpoints and zones derive from it",
        "write the region's full name",
    ),
    base.CIDR_PATTERN: (
        "it must be an IPv4 range such as 10.20.0.0/16",
        "subnets are cut out of it",
        "write address and prefix length",
    ),
    base.PRINCIPAL_PATTERN: (
        "it must be the ARN of an IAM role or user, such as arn:aws:iam::123456789012:role/platform",
        "access entries and bucket policies name exactly one principal each",
        "copy the ARN from `aws iam get-role`",
    ),
    base.RESERVATION_PATTERN: (
        "it must be a capacity reservation id such as cr-0123456789abcdef0",
        "launch templates refer to it",
        "copy the id from `aws ec2 describe-capacity-reservations`",
    ),
    base.VERSION_PATTERN: (
        "it must be a version such as '12.8'",
        "versions are compared by their two numbers",
        "write major.minor in quotes",
    ),
    base.KUBERNETES_PATTERN: (
        "it must be a Kubernetes version such as '1.36'",
        "EKS takes a minor version and patches by itself",
        "write 1.<minor> in quotes",
    ),
    base.ARTIFACT_URI_PATTERN: (
        "it must be s3://<bucket>/<prefix>",
        "GPU nodes read releases through the S3 endpoint only",
        "upload the artifact to the model store and write its address",
    ),
    base.EMAIL_PATTERN: (
        "it must be an e-mail address",
        "alerts are sent to it",
        "write name@domain",
    ),
}
_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "int": ("it must be a whole number", "write digits without quotes"),
    "float": ("it must be a number", "write digits without quotes"),
    "decimal": ("it must be a number", "write digits without quotes"),
    "string": ("it must be text", "put it in quotes"),
    "bool": ("it must be true or false", "write true or false without quotes"),
    "dict": ("it must be a mapping of keys to values", "write one `key: value` per line below it"),
    "mapping": ("it must be a mapping of keys to values", "write one `key: value` per line below it"),
    "model": ("it must be a mapping of keys to values", "write one `key: value` per line below it"),
    "list": ("it must be a list", "write one `- value` per line below it"),
    "date": ("it must be a date such as 2026-12-31", "write year-month-day"),
}
_BOUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_SHOWN: Final = 60


def dotted(location: tuple[int | str, ...]) -> str:
    """Path as a person writes it: `dedicatedPools.floor.zones[1]`."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != "[key]":
            text = part if part.isprintable() and len(part) <= _SHOWN else ascii(part[:_SHOWN])
            path += f".{text}" if path else text
    return path or "settings"


def shown(value: object) -> object:
    """A value short enough to print: containers by their kind, long text cut."""
    if isinstance(value, Mapping):
        return f"a mapping with {len(value)} keys" if "secure" not in value else "an encrypted value"
    if isinstance(value, list | tuple):
        return f"a list with {len(value)} entries"
    if isinstance(value, str) and len(value) > _SHOWN:
        return value[: _SHOWN - 1] + "…"
    return value


def from_validation(error: ValidationError, root: type[BaseModel]) -> Iterator[Problem]:
    """One problem for each of pydantic's errors, in their order."""
    for detail in error.errors(include_url=False, include_context=True):
        yield _problem(detail, root)


def _problem(detail: ErrorDetails, root: type[BaseModel]) -> Problem:
    kind = detail["type"]
    location = detail["loc"]
    value = detail["input"]
    context: Mapping[str, Any] = detail.get("ctx", {})
    path = dotted(location)
    if isinstance(value, Mapping) and set(value) == {"secure"} and kind != "extra_forbidden":
        return Problem(
            path=path,
            value="an encrypted value",
            rule="this setting can't be a secret",
            reason="policies and previews must read it",
            next_step="write it in plain, and keep secrets to settings that are marked as such",
        )
    if kind == "extra_forbidden":
        # text below an unknown key may be a secret whose key is misspelt, so it is not quoted
        return Problem(
            path=path,
            value=value if isinstance(value, int | float) else None,
            rule="there is no such setting",
            reason="a misspelt key would be ignored in silence",
            next_step=did_you_mean(location[-1], _keys(_annotation_at(root, location[:-1]))),
        )
    if kind == "missing":
        return Problem(
            path=path,
            value=None,
            rule="it is missing",
            reason="it has no default that would be right for every environment",
            next_step=f"add it; `headrace settings explain {_explainable(location)}` says what it means",
        )
    if kind == "string_pattern_mismatch":
        rule, reason, next_step = _PATTERNS.get(
            str(context.get("pattern")), (f"it must match {context.get('pattern')}", "", "correct it")
        )
        return Problem(path=path, value=shown(value), rule=rule, reason=reason, next_step=next_step)
    if kind in ("enum", "literal_error"):
        annotation = _annotation_at(root, location)
        members = [str(getattr(member, "value", member)) for member in _members(annotation)]
        return Problem(
            path=path,
            value=shown(value),
            rule=f"it must be one of {', '.join(members)}",
            reason="",
            next_step=did_you_mean(value, members),
        )
    return _plain(kind, path, value, context, detail["msg"])


def _plain(kind: str, path: str, value: object, context: Mapping[str, Any], message: str) -> Problem:
    reason = ""
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        rule, next_step = f"it must be {words} {context.get(key)}", "choose a value within the bounds"
    elif kind in ("too_short", "too_long"):
        bound = "at least" if kind == "too_short" else "at most"
        limit = context.get("min_length" if kind == "too_short" else "max_length")
        rule = f"it must have {bound} {limit} entries"
        next_step = "add entries" if kind == "too_short" else "remove entries"
    elif kind == "finite_number":
        rule, next_step = "it must be a finite number", "write digits"
    else:
        word = kind.split("_", 1)[0]
        rule, next_step = _WORDS.get(word, (message[:1].lower() + message[1:], "correct it"))
    return Problem(path=path, value=shown(value), rule=rule, reason=reason, next_step=next_step)


def _explainable(location: tuple[int | str, ...]) -> str:
    return ".".join(part for part in location if isinstance(part, str) and part != "[key]")


def _strip(annotation: object) -> object:
    """The type behind Annotated and `| None`."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in (types.UnionType, typing.Union):
            parts = [part for part in get_args(annotation) if part is not type(None)]
            if len(parts) != 1:
                return annotation
            annotation = parts[0]
        else:
            return annotation


def _annotation_at(root: object, location: tuple[int | str, ...]) -> object:
    """Type of the setting at a path of aliases, dictionary keys and list positions; None where there is none."""
    annotation = _strip(root)
    for part in location:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = next(
                (field for name, field in annotation.model_fields.items() if (field.alias or name) == part), None
            )
            annotation = _strip(field.annotation) if field else None
        elif get_origin(annotation) in (dict, list):
            annotation = _strip(get_args(annotation)[-1])
        else:
            return None
    return annotation


def setting_at(root: type[BaseModel], path: str) -> tuple[object, str] | None:
    """Type and description of the setting at a dotted path; None where there is none.

    Names of entries may stand or be left out: `dedicatedPools.floor.zones` and `dedicatedPools.zones` are the same.
    """
    return _setting(root, (root.__doc__ or "").strip(), path.split(".") if path else [])


def _setting(annotation: object, description: str, parts: list[str]) -> tuple[object, str] | None:
    if not parts:
        return annotation, description
    inner = _strip(annotation)
    if isinstance(inner, type) and issubclass(inner, BaseModel):
        for name, field in inner.model_fields.items():
            if parts[0] in (field.alias, name):
                return _setting(field.annotation, field.description or "", parts[1:])
        return None
    if get_origin(inner) not in (dict, list):
        return None
    entry = get_args(inner)[-1]
    as_field = _setting(entry, description, parts)
    return as_field if as_field or get_origin(inner) is list else _setting(entry, description, parts[1:])


def keys_at(annotation: object) -> list[str]:
    """Keys that a setting of this type can have, looking through lists and mappings of named entries."""
    annotation = _strip(annotation)
    while get_origin(annotation) in (dict, list):
        annotation = _strip(get_args(annotation)[-1])
    return _keys(annotation)


def _keys(annotation: object) -> list[str]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [field.alias or name for name, field in annotation.model_fields.items()]
    return []


def _members(annotation: object) -> list[object]:
    if isinstance(annotation, type):
        return list(typing.cast("typing.Iterable[object]", annotation))
    return list(get_args(annotation))
