"""Reading properties once. The SDK decodes a resource's properties anew for each policy; with sixty policies that is
most of a pack's time. What it decodes is never changed by policies, so the answer for the same message can be given again.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

import pulumi_policy.policy as sdk

_MOST: Final = 50_000


class _Memo:
    """Results by the identity of their argument, which is held so that the identity stays its own."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self._kept: dict[int, tuple[Any, Any]] = {}

    def __call__(self, argument: Any) -> Any:
        kept = self._kept.get(id(argument))
        if kept is None:
            if len(self._kept) > _MOST:
                self._kept.clear()
            kept = self._kept[id(argument)] = (argument, self._function(argument))
        return kept[1]


def read_properties_once() -> None:
    """Installs the memo, if the SDK is built as the one that this was written for (1.21); else nothing changes."""
    decode: Any = getattr(sdk, "deserialize_properties", None)
    protobuf: Any = getattr(sdk, "json_format", None)
    if decode is None or not hasattr(protobuf, "MessageToDict"):
        return
    known = {name: getattr(protobuf, name) for name in dir(protobuf) if not name.startswith("__")}
    to_dict = _Memo(protobuf.MessageToDict)
    sdk.json_format = SimpleNamespace(**{**known, "MessageToDict": to_dict})  # type: ignore[attr-defined]  # its own name
    sdk.deserialize_properties = _Memo(decode)  # type: ignore[attr-defined]  # its own name
