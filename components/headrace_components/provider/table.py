"""Every resource type of the package, by token."""

from __future__ import annotations

from collections.abc import Mapping

from headrace_components.modal.app import App
from headrace_components.modal.storage import Secret, Volume
from headrace_components.provider.resource import ResourceType
from headrace_components.runpod.endpoint import Endpoint
from headrace_components.runpod.storage import NetworkVolume, RegistryAuth, Template

RESOURCES: Mapping[str, ResourceType] = {
    one.urn_type: one for one in (Endpoint(), Template(), NetworkVolume(), RegistryAuth(), App(), Secret(), Volume())
}
