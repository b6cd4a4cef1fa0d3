"""Reading properties once. The SDK decodes a resource's properties anew for each policy, and wraps them anew into the
proxies that guard unknown values; with sixty policies that is most of a pack's time. Neither is ever changed by
policies, so the same message can have the same answer.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

import pulumi_policy.policy as sdk

_MOST: Final = 50_000


class _Memo:
    """Results by the identity of their argument, which is held so that the identity stays its own."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._kept: dict[int, tuple[Any, Any]] = {}

    def __call__(self, argument: Any, *more: Any) -> Any:
        if more:  # the SDK calling itself on what is inside
            return self._function(argument, *more)
        kept = self._kept.get(id(argument))
        if kept is None:
            if len(self._kept) > _MOST:
                self._kept.clear()
            kept = self._kept[id(argument)] = (argument, self._function(argument))
        return kept[1]


def read_properties_once() -> None:
    """Installs the memo, if the SDK is built as the one that this was written for (1.21); else nothing changes."""
    module: Any = sdk
    decode: Any = getattr(module, "deserialize_properties", None)
    protobuf: Any = getattr(module, "json_format", None)
    guard: Any = getattr(module, "unknown_checking_proxy", None)
    if decode is None or guard is None or not hasattr(protobuf, "MessageToDict"):
        return
    known = {name: getattr(protobuf, name) for name in dir(protobuf) if not name.startswith("__")}
    module.json_format = SimpleNamespace(**{**known, "MessageToDict": _Memo(protobuf.MessageToDict)})
    module.deserialize_properties = _Memo(decode)
    module.unknown_checking_proxy = _Memo(guard)
