"""The engine's message classes, loaded without running `pulumi/__init__.py`.

`import pulumi` costs half a second and 35 MB (facts: it loads the automation API and dill); a plugin needs only the
generated protocol modules. They import each other relatively, so they load under any package whose `__path__` is their
folder. Generated classes belong to their descriptor in protobuf's default pool, so a process that imports both this
module and `pulumi` sees the same classes twice, never two versions of one message.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulumi.runtime.proto import (
        engine_pb2,
        engine_pb2_grpc,
        errors_pb2,
        plugin_pb2,
        provider_pb2,
        provider_pb2_grpc,
        status_pb2,
    )
else:
    _PACKAGE = f"{__name__}_proto"

    def _folder() -> str:
        spec = importlib.util.find_spec("pulumi")
        if spec is None or not spec.submodule_search_locations:
            raise ImportError("the package pulumi is not installed; install the extra: headrace[stack]")
        return str(Path(spec.submodule_search_locations[0]) / "runtime" / "proto")

    if _PACKAGE not in sys.modules:
        _package = types.ModuleType(_PACKAGE)
        _package.__path__ = [_folder()]
        sys.modules[_PACKAGE] = _package

    def _load(name: str) -> types.ModuleType:
        return importlib.import_module(f"{_PACKAGE}.{name}")

    engine_pb2 = _load("engine_pb2")
    engine_pb2_grpc = _load("engine_pb2_grpc")
    errors_pb2 = _load("errors_pb2")
    plugin_pb2 = _load("plugin_pb2")
    provider_pb2 = _load("provider_pb2")
    provider_pb2_grpc = _load("provider_pb2_grpc")
    status_pb2 = _load("status_pb2")

__all__ = [
    "engine_pb2",
    "engine_pb2_grpc",
    "errors_pb2",
    "plugin_pb2",
    "provider_pb2",
    "provider_pb2_grpc",
    "status_pb2",
]
