"""Credentials and addresses of the vendors, and the clients made from them on first use."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from headrace.protocol.values import Props, is_unknown, reveal
from headrace_components.provider.fields import Field, Kind
from headrace_components.provider.resource import ProviderError

if TYPE_CHECKING:
    from headrace_components.modal.client import ModalClient
    from headrace_components.runpod.client import RunPodClient

RUNPOD_REST_URL: Final = "https://api.runpod.io/v2"


@dataclass(frozen=True, kw_only=True)
class Option:
    """A key of the provider's configuration, and the environment variable that stands in for it."""

    field: Field
    variable: str


def _option(description: str, variable: str, *, secret: bool = False) -> Option:
    text = f"{description} Defaults to the environment variable `{variable}`."
    return Option(field=Field(kind=Kind.STRING, description=text, secret=secret), variable=variable)


CONFIGURATION: Final = {
    "runpodApiKey": _option("API key of RunPod.", "RUNPOD_API_KEY", secret=True),
    "runpodRestUrl": _option(f"Base address of RunPod's REST API v2 ({RUNPOD_REST_URL}).", "RUNPOD_REST_URL"),
    "modalTokenId": _option("Token id of Modal.", "MODAL_TOKEN_ID", secret=True),
    "modalTokenSecret": _option("Token secret of Modal.", "MODAL_TOKEN_SECRET", secret=True),
    "modalServerUrl": _option("Address of Modal's control plane.", "MODAL_SERVER_URL"),
    "modalEnvironment": _option("Modal environment to deploy to.", "MODAL_ENVIRONMENT"),
}


@dataclass
class Vendors:
    """The clients of one provider instance. A credential is asked for only when a resource of its vendor needs it."""

    config: Props = field(default_factory=dict)
    _runpod: RunPodClient | None = field(default=None, init=False, repr=False)
    _modal: ModalClient | None = field(default=None, init=False, repr=False)

    def option(self, key: str) -> str | None:
        """A configured value, else its environment variable's. None too where a preview can't know it yet: the variable
        may name another account."""
        value = reveal(self.config.get(key))
        if is_unknown(value):
            return None
        return str(value) if value else os.environ.get(CONFIGURATION[key].variable) or None

    def _credential(self, key: str) -> str:
        value = self.option(key)
        if value is None:
            raise ProviderError(
                f"headrace:{key} is not set (or not known before another resource exists), so the vendor can't be "
                "asked; "
                f"run `pulumi config set --secret headrace:{key}` or set {CONFIGURATION[key].variable}"
            )
        return value

    def runpod(self) -> RunPodClient:
        """The client of RunPod's REST API."""
        if self._runpod is None:
            from headrace_components.runpod.client import RunPodClient

            self._runpod = RunPodClient(
                base_url=self.option("runpodRestUrl") or RUNPOD_REST_URL, api_key=self._credential("runpodApiKey")
            )
        return self._runpod

    def modal(self) -> ModalClient:
        """The client of Modal's SDK."""
        if self._modal is None:
            from headrace_components.modal.client import ModalClient

            self._modal = ModalClient(
                server_url=self.option("modalServerUrl"),
                token_id=self._credential("modalTokenId"),
                token_secret=self._credential("modalTokenSecret"),
                environment=self.option("modalEnvironment"),
            )
        return self._modal

    async def close(self) -> None:
        """Close what was opened."""
        if self._runpod is not None:
            await self._runpod.close()
