"""The SDK's component servicer, with our refusals as property errors instead of tracebacks."""

from __future__ import annotations

from typing import Any

from pulumi.errors import InputPropertiesError, InputPropertyErrorDetails
from pulumi.provider.server import ComponentInitError, ProviderServicer

from headrace.errors import Refused


class ComponentServicer(ProviderServicer):
    """As its base; what a component refuses reaches the user as one sentence per input."""

    async def _construct(self, request: Any, context: Any) -> Any:
        try:
            return await super()._construct(request, context)
        except ComponentInitError as error:
            if not isinstance(error.inner, Refused):
                raise
            listed = [
                InputPropertyErrorDetails(property_path=problem.path, reason=str(problem))
                for problem in error.inner.problems
            ]
            raise InputPropertiesError("the component refused its inputs", listed) from None
