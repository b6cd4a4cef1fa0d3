"""The component half of the plugin, loaded only when the engine asks for a component or for the schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from headrace_components.provider.functions import Function
from headrace_components.provider.resource import ResourceType
from headrace_components.provider.schema import merged

if TYPE_CHECKING:
    from pulumi.provider.experimental.component import ComponentProvider

PACKAGE = "headrace"


class Components:
    """Headrace's components behind the SDK's own component provider."""

    def __init__(self, version: str, resources: Mapping[str, ResourceType], functions: Mapping[str, Function]) -> None:
        self._version = version
        self._resources = resources
        self._functions = functions
        self._provider: ComponentProvider | None = None
        self._servicer: Any = None

    def schema_text(self) -> str:
        """The whole package as JSON."""
        components = json.loads(self._load().schema or "{}")
        return json.dumps(merged(components, self._resources, self._functions))

    async def construct(self, request: Any, context: Any, engine_address: str) -> Any:
        """Make a component for a program in another language."""
        return await self._delegate(engine_address).Construct(request, context)

    async def call(self, request: Any, context: Any, engine_address: str) -> Any:
        """Call a method of a component."""
        return await self._delegate(engine_address).Call(request, context)

    def _load(self) -> ComponentProvider:
        if self._provider is None:
            from pulumi.provider.experimental.component import ComponentProvider

            import headrace_components

            made = [getattr(headrace_components, name) for name in headrace_components.COMPONENTS]
            self._provider = ComponentProvider(made, PACKAGE, None, self._version)
        return self._provider

    def _delegate(self, engine_address: str) -> Any:
        if self._servicer is None:
            from headrace_components.provider.construct import ComponentServicer

            self._servicer = cast("Any", ComponentServicer)(self._load(), [], engine_address=engine_address)
        return self._servicer
