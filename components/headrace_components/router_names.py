"""What the router's Kubernetes objects are called, and the ports and labels by which they find each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Manifest = dict[str, Any]

NAMESPACE: Final = "router"
NAME: Final = "router"
REPLICAS_SERVICE: Final = "router-replicas"
BALANCER_SERVICE: Final = "router-balancer"
CONFIG_MAP: Final = "router-config"
CONFIG_KEY: Final = "router.json"
KEYS_SECRET: Final = "router-keys"  # noqa: S105 - names of Secrets, not secrets
KEYS_KEY: Final = "keys.json"
ENVIRONMENT_SECRET: Final = "router-environment"  # noqa: S105
SERVICE_ACCOUNT: Final = "router"
MIGRATION: Final = "router-migration"
MIGRATION_SECRET: Final = "router-migration"  # noqa: S105
# Name label of the jobs that set a pool's nodes by its traffic; they live beside the router.
HOURLY_FLOOR: Final = "hourly-floor"
STORAGE_CLASS: Final = "router-journal"
CHECKSUM: Final = "headrace.dev/configuration-checksum"
API_PORT: Final = 8080
ADMIN_PORT: Final = 8081
HTTP: Final = 80
HTTPS: Final = 443
REDIS_PORT: Final = 6379
POSTGRES_PORT: Final = 5432
# What the load balancer needs to notice that a replica takes no more requests.
DEREGISTRATION_S: Final = 15
# The gauge of requests in flight, per pod, as an adapter of custom metrics serves it (docs/components/router.md).
IN_FLIGHT_METRIC: Final = "headrace_in_flight"
CPU_PERCENT: Final = 70
TIER: Final = {"headrace.dev/tier": "router"}
TAINT: Final[Mapping[str, str]] = {"key": "headrace.dev/tier", "value": "router", "effect": "NO_SCHEDULE"}
# The same taint as pods tolerate it (Kubernetes' spelling of the effect, not EKS's).
TOLERATION: Final[Mapping[str, str]] = {
    "key": TAINT["key"],
    "operator": "Equal",
    "value": TAINT["value"],
    "effect": "NoSchedule",
}


def labels() -> dict[str, str]:
    """Labels of every object."""
    return {"app.kubernetes.io/name": NAME, "app.kubernetes.io/managed-by": "headrace"}


def selector() -> dict[str, str]:
    """What identifies the pods."""
    return {"app.kubernetes.io/name": NAME}


def meta(name: str) -> dict[str, Any]:
    """Metadata of an object in the router's namespace."""
    return {"name": name, "namespace": NAMESPACE, "labels": labels()}


def internal_url() -> str:
    """Where tenants' pods find the API."""
    return f"http://{NAME}.{NAMESPACE}.svc.cluster.local/v1"
