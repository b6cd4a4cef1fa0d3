"""Checks a request against its service model, beyond what botocore's own validator covers: unknown parameters,
enumerations, patterns and upper limits, as the service itself would refuse them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from botocore.validate import ParamValidator

from headrace_sandbox.aws.errors import AwsError, bad_parameter, unknown_parameter
from headrace_sandbox.aws.wire import Call

_VALIDATOR = ParamValidator()
_JAVA_CLASSES = (("\\p{L}", "a-zA-Z\u00c0-\uffff"), ("\\p{N}", "0-9"), ("\\p{Z}", "\\s"), ("\\p{ASCII}", "\\x00-\\x7f"))
_ENVELOPE = re.compile(r"^(Action|Version|X-Amz-.*|AWSAccessKeyId|Signature.*|Timestamp|Expires)$")


def check(call: Call) -> None:
    """Raise the service's own error for the first parameter that breaks the model."""
    if unknown := next(unknown_parameters(call), None):
        raise unknown_parameter(call.operation, unknown)
    shape = call.operation.input_shape
    if shape is None:
        return
    report = _VALIDATOR.validate(call.params, shape)
    if report.has_errors():
        raise _from_report(call, report.generate_report())
    for path, problem in _violations(shape, call.params, ""):
        raise bad_parameter(call.operation, f"Value at '{path}' failed to satisfy constraint: {problem}")


def _from_report(call: Call, report: str) -> AwsError:
    if call.operation.service_model.protocol == "ec2" and (
        match := re.search(r'Missing required parameter in input: "(\w+)"', report)
    ):
        return AwsError("MissingParameter", f"The request must contain the parameter {match[1]}", status=400)
    return bad_parameter(call.operation, report)


def unknown_parameters(call: Call) -> Iterator[str]:
    """The names in the request that the model has no member for."""
    shape = call.operation.input_shape
    protocol = str(call.operation.service_model.protocol)
    if protocol in ("query", "ec2") and not call.request.headers.get("X-Amz-Target"):
        prefixes = tuple(_query_names(shape, protocol))
        for name in call.request.values:
            if not _ENVELOPE.match(name) and name.split(".")[0] not in prefixes:
                yield name
    elif protocol in ("json", "rest-json") and call.request.data and shape is not None:
        payload = shape.serialization.get("payload")
        target = shape.members[payload] if payload else shape
        if target.type_name not in ("blob", "string"):
            yield from _unknown_json(target, _json(call.request.data), "")


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError as error:
        raise AwsError("SerializationException", f"The body is not JSON: {error}", status=400) from error


def _query_names(shape: StructureShape | None, protocol: str) -> Iterator[str]:
    for name, member in (shape.members if shape else {}).items():
        serialization = member.serialization
        if "queryName" in serialization:
            yield serialization["queryName"]
            continue
        wire = serialization.get("name", name)
        yield wire[0].upper() + wire[1:] if protocol == "ec2" else wire
        if serialization.get("flattened") and isinstance(member, ListShape):
            yield member.member.serialization.get("name", wire)


def _unknown_json(shape: Shape, value: object, path: str) -> Iterator[str]:
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        if shape.is_document_type:
            return
        known = {member.serialization.get("name", name): member for name, member in shape.members.items()}
        for name, item in value.items():
            where = f"{path}.{name}" if path else name
            if name not in known:
                yield where
            else:
                yield from _unknown_json(known[name], item, where)
    elif isinstance(shape, ListShape) and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown_json(shape.member, item, f"{path}[{index}]")
    elif isinstance(shape, MapShape) and isinstance(value, dict):
        for key, item in value.items():
            yield from _unknown_json(shape.value, item, f"{path}.{key}")


def _violations(shape: Shape, value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Enumerations, patterns and limits (botocore's validator knows types, required members and lower limits)."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        for name, item in value.items():
            if item is not None and name in shape.members:
                yield from _violations(shape.members[name], item, f"{path}.{name}" if path else name)
    elif isinstance(shape, ListShape) and isinstance(value, list):
        if (most := shape.metadata.get("max")) is not None and len(value) > most:
            yield path, f"Member must have length less than or equal to {most}"
        for index, item in enumerate(value):
            yield from _violations(shape.member, item, f"{path}[{index}]")
    elif isinstance(shape, MapShape) and isinstance(value, dict):
        for key, item in value.items():
            yield from _violations(shape.key, key, f"{path}.{key}")
            yield from _violations(shape.value, item, f"{path}.{key}")
    elif isinstance(shape, StringShape) and isinstance(value, str):
        yield from _string_violations(shape, value, path)
    elif isinstance(value, int | float) and value > shape.metadata.get("max", value):
        yield path, f"Member must have value less than or equal to {shape.metadata['max']}"


def _string_violations(shape: StringShape, value: str, path: str) -> Iterator[tuple[str, str]]:
    if shape.enum and value not in shape.enum:
        allowed = list(shape.enum)
        shown = ", ".join(allowed[:40]) + (", …" if len(allowed) > 40 else "")
        yield path, f"Member must satisfy enum value set: [{shown}], not {value!r}"
    if (most := shape.metadata.get("max")) is not None and len(value) > most:
        yield path, f"Member must have length less than or equal to {most}"
    if (pattern := shape.metadata.get("pattern")) is not None and not _matches(pattern, value):
        yield path, f"Member must satisfy regular expression pattern: {pattern}"


def _matches(pattern: str, value: str) -> bool:
    if "\\p{" in re.sub(r"\[[^\]]*\]", "", pattern):
        return True  # a Java class outside brackets: Python's `re` can't say anything about the value
    for java, python in _JAVA_CLASSES:
        pattern = pattern.replace(java, python)
    try:
        # A pattern that anchors neither end is one of the older models', whose services match the whole value.
        match = re.search if pattern.startswith("^") or pattern.endswith("$") else re.fullmatch
        return match(pattern, value) is not None
    except re.error:
        return True
