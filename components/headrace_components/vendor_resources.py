"""The provider's resources as Python programs use them: thin classes over `headrace:runpod:*` and `headrace:modal:*`.

Inputs are given as a mapping with the schema's own (camelCase) names; check refuses what the schema doesn't know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pulumi


class VendorResource(pulumi.CustomResource):
    """A resource of the plugin `headrace`."""

    urn_type: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, name: str, inputs: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        given = {key: value for key, value in inputs.items() if value is not None}
        super().__init__(self.urn_type, name, {"name": None, **given, **dict.fromkeys(self.outputs)}, opts)

    def output(self, name: str) -> pulumi.Output[Any]:
        """An output by its name in the schema."""
        return pulumi.Output.from_input(pulumi.get(self, name))


class RunPodEndpoint(VendorResource):
    """headrace:runpod:Endpoint."""

    urn_type = "headrace:runpod:Endpoint"
    outputs = ("createdAt", "openaiBaseUrl")


class RunPodNetworkVolume(VendorResource):
    """headrace:runpod:NetworkVolume."""

    urn_type = "headrace:runpod:NetworkVolume"


class ModalApp(VendorResource):
    """headrace:modal:App."""

    urn_type = "headrace:modal:App"
    outputs = ("appId", "imageId", "url", "openaiBaseUrl")


class ModalVolume(VendorResource):
    """headrace:modal:Volume."""

    urn_type = "headrace:modal:Volume"
    outputs = ("volumeId",)
