"""The engine's message classes without `import pulumi`, which costs most of a second that a run of resources alone need
not pay. The generated modules import each other relatively, so they load under any package that has their folder."""

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
    if _PACKAGE not in sys.modules:
        _spec = importlib.util.find_spec("pulumi")
        if _spec is None or not _spec.submodule_search_locations:
            raise ImportError("the package pulumi is not installed; install the extra: headrace[stack]")
        _package = types.ModuleType(_PACKAGE)
        _package.__path__ = [str(Path(_spec.submodule_search_locations[0]) / "runtime" / "proto")]
        sys.modules[_PACKAGE] = _package
    engine_pb2 = importlib.import_module(f"{_PACKAGE}.engine_pb2")
    engine_pb2_grpc = importlib.import_module(f"{_PACKAGE}.engine_pb2_grpc")
    errors_pb2 = importlib.import_module(f"{_PACKAGE}.errors_pb2")
    plugin_pb2 = importlib.import_module(f"{_PACKAGE}.plugin_pb2")
    provider_pb2 = importlib.import_module(f"{_PACKAGE}.provider_pb2")
    provider_pb2_grpc = importlib.import_module(f"{_PACKAGE}.provider_pb2_grpc")
    status_pb2 = importlib.import_module(f"{_PACKAGE}.status_pb2")

__all__ = [
    "engine_pb2",
    "engine_pb2_grpc",
    "errors_pb2",
    "plugin_pb2",
    "provider_pb2",
    "provider_pb2_grpc",
    "status_pb2",
]
