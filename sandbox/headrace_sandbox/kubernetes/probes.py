"""Readiness probes, polled by the supervisor: plain TLS requests that trust the sandbox's authority only."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable
from pathlib import Path


def https(
    port: int, path: str, *, ca: Path, certificate: Path | None = None, key: Path | None = None, timeout_s: float = 2.0
) -> Callable[[], bool]:
    """Whether `https://127.0.0.1:<port><path>` answers 200, with a client certificate if one is given."""

    def ready() -> bool:
        try:
            context = ssl.create_default_context(cafile=str(ca))
            if certificate is not None:
                context.load_cert_chain(certificate, key)
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=timeout_s, context=context)
            try:
                connection.request("GET", path)
                return connection.getresponse().status == http.client.OK
            finally:
                connection.close()
        except (OSError, http.client.HTTPException):  # ssl.SSLError is an OSError
            return False

    return ready


def http_ok(port: int, path: str, *, timeout_s: float = 2.0) -> Callable[[], bool]:
    """Whether `http://127.0.0.1:<port><path>` answers 200."""

    def ready() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return ready
