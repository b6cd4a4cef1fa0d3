"""The router's configuration as it stands in the cluster, read back from the API server: what a router pod is given."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from headrace.errors import refuse
from headrace_sandbox.kubernetes.kube import Kube
from headrace_sandbox.kubernetes.layout import layout
from headrace_sandbox.service import SandboxContext

_NAMESPACE: Final = "/api/v1/namespaces/router"
_ROUTERS: Final = "/apis/apps/v1/namespaces/router/statefulsets/router"
_ADMIN: Final = "admin"
_POOL: Final = "headrace.dev/pool"
_MODEL_SERVERS: Final = "app.kubernetes.io/name=model-server"
# The stack's data stores are stand-ins behind names of AWS; the sandbox's own Redis and Postgres take their place.
_REPLACED: Final = ("HEADRACE_REDIS_URL", "HEADRACE_POSTGRES_DSN", "HEADRACE_HASH_SECRET")


@dataclass(frozen=True, kw_only=True)
class DeployedRouter:
    """What the stack put there: `config` and `keys` byte for byte, `environment` without the data stores' addresses.

    model_servers: how many the Deployment of each dedicated pool asks for now; the configuration may allow more.
    replicas: how many routers the StatefulSet asks for now.
    """

    config: str
    keys: str
    environment: dict[str, str]
    model_servers: Mapping[str, int]
    replicas: int


def read(context: SandboxContext) -> DeployedRouter | None:
    """The router of the cluster, None where the stack has none."""
    at = layout(context)
    with Kube.of(at.api_url, at.pki, _ADMIN) as kube:
        config = kube.get(f"{_NAMESPACE}/configmaps/router-config")
        keys = kube.get(f"{_NAMESPACE}/secrets/router-keys")
        environment = kube.get(f"{_NAMESPACE}/secrets/router-environment") or {}
        servers = dict(_model_servers(kube))
        routers = kube.get(_ROUTERS)
    if config is None:
        return None
    if keys is None:
        raise refuse("Secret router-keys", None, "the cluster has none", next_step="deploy the stack again")
    return DeployedRouter(
        config=str(config["data"]["router.json"]),
        keys=_text(keys["data"]["keys.json"]),
        environment={
            name: _text(value) for name, value in environment.get("data", {}).items() if name not in _REPLACED
        },
        model_servers=servers,
        replicas=int(routers["spec"]["replicas"]) if routers is not None else 1,
    )


def _model_servers(kube: Kube) -> Iterator[tuple[str, int]]:
    for one in kube.items("/apis/apps/v1/deployments", labelSelector=_MODEL_SERVERS):
        yield one["metadata"]["labels"][_POOL], int(one["spec"]["replicas"])


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode("utf-8")
