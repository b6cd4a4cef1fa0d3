"""Property values as plain Python data, with secrets and unknowns as explicit values.

A value is None, bool, int, float, str, list, dict with string keys, `Secret(value)`, `UNKNOWN` or an `Asset` (an asset,
archive or resource reference kept as the engine sent it). Whole numbers arrive as `int` although the wire knows only
doubles, so that `3` never becomes `3.0` in a request to a cloud.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from google.protobuf import struct_pb2

Value: TypeAlias = Any
"""A property value as described above: recursive, so not spelled out for the type checker."""
Props: TypeAlias = dict[str, Any]

# Signatures of the engine's encoding (sdk/go/common/resource/sig, sdk/python pulumi/runtime/rpc.py, 3.259.0).
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105  (a public marker of the protocol, not a credential)
_OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_UNKNOWN_STRING = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
# One marker per type that the unknown value would have had (sdk/go/common/resource/plugin/rpc.go).
_UNKNOWNS = frozenset(
    {
        _UNKNOWN_STRING,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)
_EXACT_INT = 2**53  # beyond it a double no longer holds every whole number
_SHORT_SECRET = 4  # shorter texts ("1", "yes") would blank out half of a message without hiding anything


class Unknown:
    """A value that the preview cannot know yet. There is one instance, `UNKNOWN`; it equals only itself."""

    _instance: Unknown | None = None

    def __new__(cls) -> Unknown:
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __bool__(self) -> bool:
        raise TypeError("an unknown value has no truth; test it with is_unknown()")

    def __copy__(self) -> Unknown:
        return self

    def __deepcopy__(self, _memo: object) -> Unknown:
        return self


UNKNOWN: Final = Unknown()


@dataclass(frozen=True)
class Secret:
    """A value that must never be shown or stored in plain text. Its text form hides it."""

    value: Value

    def __repr__(self) -> str:
        return "Secret([hidden])"

    __str__ = __repr__


@dataclass(frozen=True)
class Asset:
    """An asset, archive or resource reference, as the engine encoded it (signature key included)."""

    fields: Mapping[str, Any]


def bare(value: Value) -> Value:
    """The value under any secret wrappers at the top."""
    while isinstance(value, Secret):
        value = value.value
    return value


def is_unknown(value: Value) -> bool:
    """Whether the value itself, or the secret around it, is unknown (not whether it holds an unknown)."""
    return isinstance(bare(value), Unknown)


def is_empty(value: Value) -> bool:
    """Whether the value, or what the secret hides, says nothing: null, an empty text, list or map. An unknown does."""
    return bare(value) in (None, "", [], {})


def has_unknown(value: Value) -> bool:
    """Whether the value or anything in it is unknown."""
    return any(isinstance(leaf, Unknown) for _path, leaf in walk(value))


def has_secret(value: Value) -> bool:
    """Whether the value or anything in it is secret."""
    if isinstance(value, Secret):
        return True
    if isinstance(value, dict):
        return any(has_secret(item) for item in value.values())
    if isinstance(value, list):
        return any(has_secret(item) for item in value)
    return False


def walk(value: Value, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Value]]:
    """Every leaf with its path; secrets are looked through, empty lists and dicts are leaves."""
    value = bare(value)
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from walk(item, (*path, key))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from walk(item, (*path, index))
    else:
        yield path, value


def reveal(value: Value) -> Value:
    """The value without its secret wrappers at any depth: what a request to the cloud needs. Unknowns stay."""
    value = bare(value)
    if isinstance(value, dict):
        return {key: reveal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [reveal(item) for item in value]
    return value


def conceal(value: Value, like: Value) -> Value:
    """`value` with a secret wrapper wherever `like` has one at the same path; existing wrappers stay.

    Where a list that holds a secret came back with another length, positions no longer correspond and the whole list
    becomes secret; a secret that has no counterpart in `value` has nothing to hide.
    """
    if isinstance(like, Secret):
        return value if isinstance(value, Secret) else Secret(value)
    if isinstance(value, Secret):
        return Secret(conceal(value.value, like))
    if isinstance(value, dict) and isinstance(like, dict):
        return {key: conceal(item, like[key]) if key in like else item for key, item in value.items()}
    if isinstance(value, list) and isinstance(like, list) and has_secret(like):
        if len(value) != len(like):
            return Secret(value)
        return [conceal(item, other) for item, other in zip(value, like, strict=True)]
    return value


def redact(message: str, *holders: Value) -> str:
    """The message with every text that is secret in `holders` replaced; an answer of an API may quote one."""
    for text in sorted({text for holder in holders for text in _secret_texts(holder)}, key=len, reverse=True):
        message = message.replace(text, "[secret]")
    return message


def _secret_texts(value: Value, *, inside: bool = False) -> Iterator[str]:
    if isinstance(value, Secret):
        yield from _secret_texts(value.value, inside=True)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _secret_texts(item, inside=inside)
    elif isinstance(value, list):
        for item in value:
            yield from _secret_texts(item, inside=inside)
    elif inside and isinstance(value, str) and len(value) >= _SHORT_SECRET:
        yield value


def decode(struct: struct_pb2.Struct) -> Props:
    """The engine's struct as plain data."""
    return {key: _decode(item) for key, item in struct.fields.items()}


def _decode(value: struct_pb2.Value) -> Value:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if value.string_value in _UNKNOWNS else value.string_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() and abs(number) <= _EXACT_INT else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "list_value":
        return [_decode(item) for item in value.list_value.values]
    if kind == "struct_value":
        return _decode_struct(value.struct_value)
    return None


def _decode_struct(struct: struct_pb2.Struct) -> Value:
    signature = struct.fields[_SIGNATURE].string_value if _SIGNATURE in struct.fields else None
    if signature is None:
        return decode(struct)
    if signature == _SECRET:
        return Secret(_decode(struct.fields["value"]))
    if signature == _OUTPUT:
        # Without a value the output is unknown; dependencies are the engine's business.
        inner = _decode(struct.fields["value"]) if "value" in struct.fields else UNKNOWN
        secret = "secret" in struct.fields and struct.fields["secret"].bool_value
        return Secret(inner) if secret else inner
    return Asset(decode(struct))


def encode(props: Mapping[str, Value]) -> struct_pb2.Struct:
    """Plain data as the engine's struct. Raises TypeError for a value that is none of the kinds above."""
    return struct_pb2.Struct(fields={key: _encode(item, key) for key, item in props.items()})


def _encode(value: Value, path: str) -> struct_pb2.Value:
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    if isinstance(value, Unknown):
        return struct_pb2.Value(string_value=_UNKNOWN_STRING)
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, int | float):
        return struct_pb2.Value(number_value=float(value))
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    if isinstance(value, Secret):
        marker = {_SIGNATURE: struct_pb2.Value(string_value=_SECRET), "value": _encode(value.value, path)}
        return struct_pb2.Value(struct_value=struct_pb2.Struct(fields=marker))
    if isinstance(value, Asset):
        return struct_pb2.Value(struct_value=encode(value.fields))
    if isinstance(value, Mapping):
        fields = {key: _encode(item, f"{path}.{key}") for key, item in value.items()}
        return struct_pb2.Value(struct_value=struct_pb2.Struct(fields=fields))
    if isinstance(value, list | tuple):
        items = [_encode(item, f"{path}[{index}]") for index, item in enumerate(value)]
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=items))
    raise TypeError(f"{path} holds a {type(value).__name__}, which the engine has no form for")
