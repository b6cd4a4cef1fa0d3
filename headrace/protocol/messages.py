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

_PACKAGE = f"{__name__}_proto"


def load(name: str) -> types.ModuleType:
    """A generated module of the protocol, for instance `provider_pb2`. Raises ImportError without `pulumi`."""
    if _PACKAGE not in sys.modules:
        spec = importlib.util.find_spec("pulumi")
        if spec is None or not spec.submodule_search_locations:
            raise ImportError("the package pulumi is not installed; install the extra: headrace[stack]")
        package = types.ModuleType(_PACKAGE)
        package.__path__ = [str(Path(spec.submodule_search_locations[0]) / "runtime" / "proto")]
        sys.modules[_PACKAGE] = package
    return importlib.import_module(f"{_PACKAGE}.{name}")


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
    engine_pb2 = load("engine_pb2")
    engine_pb2_grpc = load("engine_pb2_grpc")
    errors_pb2 = load("errors_pb2")
    plugin_pb2 = load("plugin_pb2")
    provider_pb2 = load("provider_pb2")
    provider_pb2_grpc = load("provider_pb2_grpc")
    status_pb2 = load("status_pb2")

__all__ = [
    "engine_pb2",
    "engine_pb2_grpc",
    "errors_pb2",
    "load",
    "plugin_pb2",
    "provider_pb2",
    "provider_pb2_grpc",
    "status_pb2",
]
