"""Clients for the AWS stand-in, as the control plane's own processes use them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.config import Config

if TYPE_CHECKING:
    from botocore.client import BaseClient


class AwsClients:
    """One client per service and region, made when first asked for; clients and this class are safe between threads."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = botocore.session.Session()
        self._lock = threading.Lock()  # botocore's clients are thread-safe, making one is not
        self._clients: dict[tuple[str, str], BaseClient] = {}

    def client(self, service: str, region: str) -> Any:
        """A botocore client. `Any`: its methods are made at run time from the service's model."""
        with self._lock:
            found = self._clients.get((service, region))
            if found is None:
                found = self._clients[service, region] = self._make(service, region)
        return found

    def _make(self, service: str, region: str) -> BaseClient:
        return self._session.create_client(
            service,
            region_name=region,
            endpoint_url=self._url,
            # The control plane acts as AWS itself, not as whoever started the sandbox.
            aws_access_key_id="AKIASANDBOXCONTROLPL",
            aws_secret_access_key="sandbox",  # noqa: S106 - the stand-in checks no secret
            config=Config(proxies={}, connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 2}),
        )
