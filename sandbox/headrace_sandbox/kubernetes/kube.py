"""A thin client for the API server: JSON over HTTP with a client certificate. The official client would cost each small
process a second of start and 60 MB."""

from __future__ import annotations

import http
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

import httpx

Object = dict[str, Any]
PAGE: Final = 500


class KubeError(Exception):
    """An answer that is not a success: `status` is the HTTP status, the text the server's message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Kube:
    """Requests to one API server as one user."""

    def __init__(self, url: str, *, ca: Path, certificate: Path, key: Path, timeout_s: float = 10.0) -> None:
        context = ssl.create_default_context(cafile=str(ca))
        context.load_cert_chain(certificate, key)
        # trust_env off: a proxy set for the internet must not see a request to loopback.
        self._http = httpx.Client(base_url=url, verify=context, timeout=timeout_s, trust_env=False)

    @classmethod
    def of(cls, url: str, pki: Path, component: str) -> Self:
        """As a component of the sandbox, by its certificate in `pki`."""
        return cls(url, ca=pki / "ca.crt", certificate=pki / f"{component}.crt", key=pki / f"{component}.key")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, path: str) -> Object | None:
        """The object at `path`, or None when there is none."""
        try:
            return self._send("GET", path)
        except KubeError as error:
            if error.status == http.HTTPStatus.NOT_FOUND:
                return None
            raise

    def items(self, path: str, **parameters: str) -> Iterator[Object]:
        """Every object of a collection, page by page."""
        query: dict[str, str] = {**parameters, "limit": str(PAGE)}
        while True:
            page = self._send("GET", path, parameters=query)
            yield from page.get("items") or ()
            following = page["metadata"].get("continue")
            if not following:
                return
            query["continue"] = following

    def create(self, path: str, body: Mapping[str, Any], **parameters: str) -> Object:
        """Create an object in the collection at `path`."""
        return self._send("POST", path, body=body, parameters=parameters)

    def merge(self, path: str, body: Mapping[str, Any]) -> Object:
        """A JSON merge patch: what is given replaces, null removes, lists are replaced whole."""
        return self._send("PATCH", path, body=body, content_type="application/merge-patch+json")

    def apply(self, path: str, body: Mapping[str, Any], *, manager: str) -> Object:
        """A server-side apply that takes over fields of other managers."""
        return self._send(
            "PATCH",
            path,
            body=body,
            content_type="application/apply-patch+yaml",
            parameters={"fieldManager": manager, "force": "true"},
        )

    def delete(self, path: str, *, grace_s: int | None = None) -> bool:
        """Delete an object; False when there was none."""
        body = {} if grace_s is None else {"gracePeriodSeconds": grace_s}
        try:
            self._send("DELETE", path, body=body)
        except KubeError as error:
            if error.status == http.HTTPStatus.NOT_FOUND:
                return False
            raise
        return True

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        parameters: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        headers = {"Content-Type": content_type} if body is not None else {}
        try:
            answer = self._http.request(method, path, json=body, params=dict(parameters or {}), headers=headers)
        except httpx.HTTPError as error:
            raise KubeError(0, f"the API server can't be reached: {error}") from error
        if not answer.is_success:
            raise KubeError(answer.status_code, _message(answer))
        document: Object = answer.json()
        return document


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("message") or answer.text)
    except ValueError:
        return answer.text[:500]
