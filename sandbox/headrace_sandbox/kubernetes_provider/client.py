"""The Kubernetes API over the standard library's HTTP client (the `kubernetes` package takes a second to import)."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace_sandbox.kubernetes_provider.kubeconfig import Credentials, Login, Target
from headrace_sandbox.plugin.provider import ProviderError

Object = dict[str, Any]
_TIMEOUT_S = 60.0
_RETRIES = 4
_BACKOFF_S = 0.25


class Unreachable(ProviderError):
    """No answer from the API server."""


class ApiError(ProviderError):
    """The API server's refusal: its status object, shortened to the sentence it gives."""

    def __init__(self, code: int, status: Mapping[str, Any]) -> None:
        self.code = code
        self.reason = str(status.get("reason", ""))
        self.message = str(status.get("message") or status.get("reason") or f"HTTP {code}")
        details = status.get("details") or {}
        self.details: Mapping[str, Any] = details
        self.causes: tuple[Mapping[str, Any], ...] = tuple(details.get("causes") or ())
        super().__init__(self.message)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What discovery says of a kind."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def root(self) -> str:
        """URL path of the group and version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


class Client:
    """One API server. Safe for many threads: a connection per thread, one login for all."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._credentials = Credentials(target)
        self._url = urllib.parse.urlsplit(target.cluster.server)
        if self._url.scheme not in ("http", "https") or not self._url.hostname:
            raise ProviderError(f"the kubeconfig's server {target.cluster.server!r} is not an http(s) URL")
        self._local = threading.local()
        self._lock = threading.Lock()
        self._kinds: dict[str, dict[str, Kind]] = {}

    # -- objects -------------------------------------------------------------------------------------------------

    def path(self, kind: Kind, namespace: str | None, name: str = "") -> str:
        """The URL path of an object or a collection."""
        place = f"/namespaces/{urllib.parse.quote(namespace)}" if kind.namespaced and namespace else ""
        return f"{kind.root}{place}/{kind.plural}" + (f"/{urllib.parse.quote(name)}" if name else "")

    def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        """The object, or None where there is none."""
        try:
            return self.request("GET", self.path(kind, namespace, name))
        except ApiError as refusal:
            if refusal.code == http.HTTPStatus.NOT_FOUND:
                return None
            raise

    def list(self, path: str, **query: str) -> list[Object]:
        """The items under a collection path (`labelSelector=`, `fieldSelector=`)."""
        return list(self.request("GET", path, query=query).get("items") or [])

    def apply(
        self, kind: Kind, namespace: str | None, body: Object, *, manager: str, force: bool, dry_run: bool
    ) -> Object:
        """Server-side apply; what the object now is (or would be)."""
        query = {"fieldManager": manager, "force": "true" if force else "false", "fieldValidation": "Strict"}
        if dry_run:
            query["dryRun"] = "All"
        name = str(body["metadata"]["name"])
        return self.request(
            "PATCH", self.path(kind, namespace, name), query=query, body=body, content="application/apply-patch+yaml"
        )

    def delete(self, kind: Kind, namespace: str | None, name: str, *, propagation: str, uid: str | None) -> None:
        """Ask for deletion; absent is success. With `uid`, an object of the same name that is another one stays."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            self.request("DELETE", self.path(kind, namespace, name), body=options)
        except ApiError as refusal:
            if refusal.code != http.HTTPStatus.NOT_FOUND and not (uid and refusal.code == http.HTTPStatus.CONFLICT):
                raise

    # -- discovery -----------------------------------------------------------------------------------------------

    def kind(self, api_version: str, kind: str) -> Kind | None:
        """How the server serves a kind; None if it doesn't (a custom resource whose definition isn't there yet)."""
        known = self._kinds.get(api_version)
        if known is None or kind not in known:
            known = self._discover(api_version)
            with self._lock:
                self._kinds[api_version] = known
        return known.get(kind)

    def forget_kinds(self) -> None:
        """After a custom resource definition came, changed or went."""
        with self._lock:
            self._kinds.clear()

    def _discover(self, api_version: str) -> dict[str, Kind]:
        group, _, version = api_version.rpartition("/")
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            answer = self.request("GET", root)
        except ApiError as refusal:
            if refusal.code == http.HTTPStatus.NOT_FOUND:
                return {}
            raise
        return {
            str(item["kind"]): Kind(
                group=group,
                version=version,
                kind=item["kind"],
                plural=item["name"],
                namespaced=bool(item["namespaced"]),
            )
            for item in answer.get("resources") or []
            if "/" not in item["name"]
        }

    # -- requests ------------------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content: str = "application/json",
    ) -> Object:
        """One call; retried where the server asks for it (429, 503) or the kept-alive connection had gone stale.

        Raises ApiError for a refusal and Unreachable where there is no answer. Every call here may be repeated: GET,
        apply and delete are idempotent.
        """
        target = f"{self._url.path.rstrip('/')}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        payload = json.dumps(body).encode() if body is not None else None
        renewed = renew = False
        for attempt in range(_RETRIES):
            login = self._credentials.login(renew=renew)
            renew = False
            try:
                code, headers, text = self._exchange(method, target, payload, content, login)
            except (http.client.HTTPException, ConnectionError) as fault:
                self._drop()
                if attempt + 1 == _RETRIES or isinstance(fault, ConnectionRefusedError):
                    raise self._unreachable(fault) from None
                continue
            except OSError as fault:
                self._drop()
                raise self._unreachable(fault) from None
            if code == http.HTTPStatus.UNAUTHORIZED and not renewed and self.target.user.get("exec"):
                renewed = renew = True
                self._drop()
                continue
            if code in (429, 503) and attempt + 1 < _RETRIES:
                time.sleep(float(headers.get("Retry-After") or _BACKOFF_S * 2**attempt))
                continue
            return self._answer(code, text)
        raise AssertionError("the last attempt answers or raises")

    @staticmethod
    def _answer(code: int, text: bytes) -> Object:
        try:
            data = json.loads(text) if text else {}
        except ValueError:
            data = {"message": text.decode(errors="replace")[:500]}
        if code >= http.HTTPStatus.BAD_REQUEST:
            raise ApiError(code, data if isinstance(data, dict) else {})
        return dict(data)

    def _exchange(
        self, method: str, target: str, payload: bytes | None, content: str, login: Login
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = self._connection(login)
        headers = {"Accept": "application/json", "User-Agent": "pulumi-resource-kubernetes (headrace sandbox)"}
        if payload is not None:
            headers["Content-Type"] = content
        if login.authorization:
            headers["Authorization"] = login.authorization
        connection.request(method, target, body=payload, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()

    def _connection(self, login: Login) -> http.client.HTTPConnection:
        kept: tuple[Login, http.client.HTTPConnection] | None = getattr(self._local, "connection", None)
        if kept is not None and kept[0].client_cert == login.client_cert:
            return kept[1]
        host = str(self._url.hostname)
        if self._url.scheme == "http":
            connection = http.client.HTTPConnection(host, self._url.port or 80, timeout=_TIMEOUT_S)
        else:
            connection = _Https(
                host, self._url.port or 443, self._tls(login), self.target.cluster.tls_server_name or host
            )
        self._local.connection = (login, connection)
        return connection

    def _drop(self) -> None:
        kept = getattr(self._local, "connection", None)
        if kept is not None:
            kept[1].close()
            self._local.connection = None

    def _tls(self, login: Login) -> ssl.SSLContext:
        cluster = self.target.cluster
        context = ssl.create_default_context(cadata=cluster.ca)
        if cluster.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if login.client_cert:
            _load_pair(context, *login.client_cert)
        return context

    def _unreachable(self, fault: Exception) -> Unreachable:
        return Unreachable(
            f"the Kubernetes API server {self.target.cluster.server} gives no answer ({fault or type(fault).__name__})"
        )


class _Https(http.client.HTTPSConnection):
    """HTTPS whose certificate is checked for `server_name`, which may differ from the address that is dialled."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, server_name: str) -> None:
        super().__init__(host, port, timeout=_TIMEOUT_S)
        self._tls_context = context
        self._server_name = server_name

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls_context.wrap_socket(self.sock, server_hostname=self._server_name)


def _load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    # The ssl module reads a client certificate from files only: private, and gone right after.
    handle, name = tempfile.mkstemp(prefix="headrace-client-")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(f"{certificate}\n{key}\n")
        context.load_cert_chain(name)
    finally:
        Path(name).unlink()
