"""Property values between the engine's wire format and plain Python: secrets and unknowns stay visible as such.

A value is None, bool, int, float, str, list, dict, `Secret` or `UNKNOWN`. Whole numbers become `int` (the wire has only
doubles). What the engine sends as an output (with dependencies) becomes its value; dependencies are the engine's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from google.protobuf import struct_pb2

Value: TypeAlias = Any
"""Recursive, so not spelled out for the type checker."""
Props: TypeAlias = dict[str, Any]

# Markers of the wire format (pulumi 3.259.0, sdk/go/common/resource/sig and sdk/python pulumi/runtime/rpc.py).
_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 # a public marker of the protocol
_OUTPUT: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
# One per type that the unknown value would have had (sdk/go/common/resource/plugin/rpc.go).
_UNKNOWNS: Final = frozenset(
    {
        _UNKNOWN,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)
_EXACT_INT: Final = 2**53  # doubles hold every whole number up to here
# Shorter texts ("1", "yes") would blank out half of a message without hiding anything.
_REDACTED_FROM: Final = 4


class Unknown:
    """A value that a preview cannot know yet; `UNKNOWN` is the only one."""

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __copy__(self) -> Unknown:
        return self

    def __deepcopy__(self, _memo: object) -> Unknown:
        return self


UNKNOWN: Final = Unknown()


@dataclass(frozen=True)
class Secret:
    """A value that is never shown or stored in plain text. Its text form hides it."""

    value: Value

    def __repr__(self) -> str:
        return "Secret([hidden])"

    __str__ = __repr__


def bare(value: Value) -> Value:
    """The value under any secret wrappers at the top."""
    while isinstance(value, Secret):
        value = value.value
    return value


def reveal(value: Value) -> Value:
    """The value without secret wrappers at any depth: what a request to a vendor needs."""
    value = bare(value)
    if isinstance(value, dict):
        return {key: reveal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [reveal(item) for item in value]
    return value


def has_unknown(value: Value) -> bool:
    """Whether anything in it is unknown."""
    value = bare(value)
    if isinstance(value, dict):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return isinstance(value, Unknown)


def has_secret(value: Value) -> bool:
    """Whether anything in it is secret."""
    if isinstance(value, Secret):
        return True
    if isinstance(value, dict):
        return any(has_secret(item) for item in value.values())
    return isinstance(value, list) and any(has_secret(item) for item in value)


def conceal(value: Value, like: Value) -> Value:
    """`value`, secret wherever `like` is. A list that holds a secret and changed its length is secret as a whole."""
    if isinstance(like, Secret):
        return value if isinstance(value, Secret) else Secret(value)
    if isinstance(value, Secret):
        return value
    if isinstance(value, dict) and isinstance(like, dict):
        return {key: conceal(item, like[key]) if key in like else item for key, item in value.items()}
    if isinstance(value, list) and isinstance(like, list) and has_secret(like):
        if len(value) != len(like):
            return Secret(value)
        return [conceal(item, other) for item, other in zip(value, like, strict=True)]
    return value


def redact(message: str, *holders: Value) -> str:
    """`message` without any text that is secret in `holders`: a vendor's answer may quote one."""
    texts = {text for holder in holders for text in _secret_texts(holder, inside=False)}
    for text in sorted(texts, key=len, reverse=True):
        message = message.replace(text, "[secret]")
    return message


def _secret_texts(value: Value, *, inside: bool) -> Iterator[str]:
    if isinstance(value, Secret):
        yield from _secret_texts(value.value, inside=True)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _secret_texts(item, inside=inside)
    elif isinstance(value, list):
        for item in value:
            yield from _secret_texts(item, inside=inside)
    elif inside and isinstance(value, str) and len(value) >= _REDACTED_FROM:
        yield value


def decode(struct: struct_pb2.Struct) -> Props:
    """The engine's struct as plain data."""
    return {key: _decode(item) for key, item in struct.fields.items()}


def _decode(value: struct_pb2.Value) -> Value:
    match value.WhichOneof("kind"):
        case "string_value":
            return UNKNOWN if value.string_value in _UNKNOWNS else value.string_value
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) <= _EXACT_INT else number
        case "bool_value":
            return value.bool_value
        case "list_value":
            return [_decode(item) for item in value.list_value.values]
        case "struct_value":
            return _decode_struct(value.struct_value)
    return None


def _decode_struct(struct: struct_pb2.Struct) -> Value:
    signature = struct.fields[_SIGNATURE].string_value if _SIGNATURE in struct.fields else None
    if signature == _SECRET:
        return Secret(_decode(struct.fields["value"]))
    if signature == _OUTPUT:
        inner = _decode(struct.fields["value"]) if "value" in struct.fields else UNKNOWN
        secret = "secret" in struct.fields and struct.fields["secret"].bool_value
        return Secret(inner) if secret else inner
    # Assets and resource references: no property of ours takes one, so check refuses the dict that they are.
    return decode(struct)


def encode(props: Mapping[str, Value]) -> struct_pb2.Struct:
    """Plain data as the engine's struct."""
    return struct_pb2.Struct(fields={key: _encode(item) for key, item in props.items()})


def _encode(value: Value) -> struct_pb2.Value:
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    if isinstance(value, Unknown):
        return struct_pb2.Value(string_value=_UNKNOWN)
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, int | float):
        return struct_pb2.Value(number_value=float(value))
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    if isinstance(value, Secret):
        marked = {_SIGNATURE: struct_pb2.Value(string_value=_SECRET), "value": _encode(value.value)}
        return struct_pb2.Value(struct_value=struct_pb2.Struct(fields=marked))
    if isinstance(value, Mapping):
        return struct_pb2.Value(struct_value=encode(value))
    if isinstance(value, list | tuple):
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[_encode(item) for item in value]))
    raise TypeError(f"the engine has no form for a {type(value).__name__}")
