"""A kubeconfig: which cluster, which user, which namespace, and how to log in."""

from __future__ import annotations

import base64
import datetime
import json
import os
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace_sandbox.plugin.provider import ProviderError

_EXEC_TIMEOUT_S = 60.0
_EARLY_S = 60.0  # renew a token this long before it runs out, so that a slow request doesn't outlive it


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where the API server is. `ca` is PEM text; None means the system's certificate authorities."""

    server: str
    ca: str | None
    insecure: bool
    tls_server_name: str | None


@dataclass(frozen=True, kw_only=True)
class Target:
    """The cluster and user that a context selects. `user` is the raw user entry: it may hold credentials and must not
    be shown."""

    cluster: Cluster
    user: Mapping[str, Any]
    namespace: str


def parse(text: str) -> Mapping[str, Any]:
    """Kubeconfig text (YAML or JSON) as data. Errors never quote the text: it holds credentials."""
    try:
        loaded = json.loads(text)
    except ValueError:
        import yaml  # 50 ms that a JSON kubeconfig doesn't need

        try:
            loaded = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ProviderError("the kubeconfig is neither valid JSON nor valid YAML") from None
    if not isinstance(loaded, dict) or not loaded.get("clusters"):
        raise ProviderError("the kubeconfig names no cluster; pass its contents or the path of the file")
    return loaded


def load(value: str | None) -> tuple[Mapping[str, Any], Path]:
    """The kubeconfig behind the provider's `kubeconfig` property (contents, a path, or None for $KUBECONFIG and then
    ~/.kube/config) and the folder that relative file names in it start from."""
    if value is not None and value.strip().startswith(("{", "apiVersion", "---", "kind", "clusters", "#")):
        return parse(value), Path.cwd()
    named = value or os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    path = Path(named).expanduser() if named else Path.home() / ".kube" / "config"
    if "\n" in named:
        return parse(named), Path.cwd()
    try:
        return parse(path.read_text(encoding="utf-8")), path.parent
    except OSError as fault:
        raise ProviderError(f"the kubeconfig {path} cannot be read ({fault.strerror})") from None


def select(
    config: Mapping[str, Any], folder: Path, *, context: str | None = None, cluster: str | None = None
) -> Target:
    """The target of a context (default: the current one); `cluster` overrides the context's cluster."""
    contexts = {entry["name"]: entry.get("context") or {} for entry in config.get("contexts") or []}
    name = context or config.get("current-context") or (next(iter(contexts)) if len(contexts) == 1 else None)
    if name not in contexts:
        raise ProviderError(f"the kubeconfig has no context {name!r}; it has {sorted(contexts)}")
    chosen = contexts[name]
    cluster_name = cluster or chosen.get("cluster")
    clusters = {entry["name"]: entry.get("cluster") or {} for entry in config["clusters"]}
    users = {entry["name"]: entry.get("user") or {} for entry in config.get("users") or []}
    if cluster_name not in clusters:
        raise ProviderError(f"the kubeconfig has no cluster {cluster_name!r}; it has {sorted(clusters)}")
    raw = clusters[cluster_name]
    return Target(
        cluster=Cluster(
            server=str(raw.get("server", "")),
            ca=_pem(raw, "certificate-authority", folder),
            insecure=bool(raw.get("insecure-skip-tls-verify")),
            tls_server_name=raw.get("tls-server-name"),
        ),
        user=_absolute(users.get(chosen.get("user"), {}), folder),
        namespace=str(chosen.get("namespace") or "default"),
    )


def _pem(entry: Mapping[str, Any], key: str, folder: Path) -> str | None:
    data = entry.get(f"{key}-data")
    if data:
        return base64.b64decode(data).decode()
    file = entry.get(key)
    return (folder / str(file)).read_text(encoding="ascii") if file else None


def _absolute(user: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    resolved = dict(user)
    for key in ("client-certificate", "client-key", "tokenFile"):
        if resolved.get(key):
            resolved[key] = str(folder / str(resolved[key]))
    return resolved


@dataclass(frozen=True, kw_only=True)
class Login:
    """What a request carries. A client certificate is a pair of PEM texts."""

    authorization: str | None = None
    client_cert: tuple[str, str] | None = None


class Credentials:
    """The login of a user entry; runs its exec plugin when needed and keeps the token until it runs out."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._cached: Login | None = None
        self._expires: datetime.datetime | None = None

    def login(self, *, renew: bool = False) -> Login:
        """The login for the next request; `renew` after a 401."""
        with self._lock:
            now = datetime.datetime.now(datetime.UTC)
            fresh = self._expires is None or now < self._expires - datetime.timedelta(seconds=_EARLY_S)
            if self._cached is None or renew or not fresh:
                self._cached, self._expires = self._obtain()
            return self._cached

    def _obtain(self) -> tuple[Login, datetime.datetime | None]:
        user = self._target.user
        if user.get("exec"):
            return self._run(user["exec"])
        pair = None
        certificate, key = _pem(user, "client-certificate", Path("/")), _pem(user, "client-key", Path("/"))
        if certificate and key:
            pair = (certificate, key)
        token = user.get("token")
        if user.get("tokenFile"):
            token = Path(user["tokenFile"]).read_text(encoding="ascii").strip()
        if token:
            return Login(authorization=f"Bearer {token}", client_cert=pair), None
        if user.get("username"):
            basic = base64.b64encode(f"{user['username']}:{user.get('password', '')}".encode()).decode()
            return Login(authorization=f"Basic {basic}", client_cert=pair), None
        return Login(client_cert=pair), None

    def _run(self, spec: Mapping[str, Any]) -> tuple[Login, datetime.datetime | None]:
        version = str(spec.get("apiVersion", "client.authentication.k8s.io/v1"))
        info = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
        environment = dict(os.environ)
        environment.update({str(item["name"]): str(item["value"]) for item in spec.get("env") or []})
        environment["KUBERNETES_EXEC_INFO"] = json.dumps(info)
        command = [str(spec["command"]), *(str(argument) for argument in spec.get("args") or [])]
        try:
            done = subprocess.run(  # noqa: S603  (the kubeconfig is the user's own and names the command on purpose)
                command, env=environment, capture_output=True, text=True, timeout=_EXEC_TIMEOUT_S, check=False
            )
        except FileNotFoundError:
            raise ProviderError(f"the kubeconfig logs in with {command[0]!r}, which is not on PATH") from None
        except subprocess.TimeoutExpired:
            raise ProviderError(f"{command[0]!r} gave no credential within {_EXEC_TIMEOUT_S:.0f} s") from None
        if done.returncode != 0:
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise ProviderError(f"{command[0]!r} could not log in (exit code {done.returncode}): {last[0]}")
        try:
            status = json.loads(done.stdout)["status"]
        except (ValueError, KeyError, TypeError):
            raise ProviderError(f"{command[0]!r} did not print an ExecCredential with a status") from None
        pair = None
        if status.get("clientCertificateData") and status.get("clientKeyData"):
            pair = (status["clientCertificateData"], status["clientKeyData"])
        authorization = f"Bearer {status['token']}" if status.get("token") else None
        expires = status.get("expirationTimestamp")
        until = datetime.datetime.fromisoformat(expires.replace("Z", "+00:00")) if expires else None
        return Login(authorization=authorization, client_cert=pair), until
