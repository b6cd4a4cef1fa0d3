"""What RunPod answers, as the resources see it (apart from the client, which costs the import of httpx)."""

from __future__ import annotations

from typing import Any

from headrace_components.provider.resource import ProviderError

Json = dict[str, Any]


class VendorError(ProviderError):
    """The vendor refused. `status` is its HTTP status; the message has its title, detail and field errors."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Uncertain(ProviderError):
    """A create may or may not have happened: the connection broke, or the vendor answered 5xx."""
