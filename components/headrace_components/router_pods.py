"""The router's pods and the migration that comes before them, as Kubernetes manifests: pure.

A StatefulSet, not a Deployment. Each replica's journal is the truth for records and money until the database has it,
and a replica that starts again posts what its own journal left open. So a replica needs its name and its volume back
after a crash, a drain or the loss of a node; a Deployment's pods have neither, and `emptyDir` goes with the pod.
"""

from __future__ import annotations

from typing import Any, Final

from headrace.settings.router import RouterEngine, RouterSettings
from headrace_components import serving
from headrace_components.router_names import (
    ADMIN_PORT,
    API_PORT,
    CHECKSUM,
    CONFIG_KEY,
    CONFIG_MAP,
    DEREGISTRATION_S,
    ENVIRONMENT_SECRET,
    KEYS_KEY,
    KEYS_SECRET,
    MIGRATION,
    MIGRATION_SECRET,
    NAME,
    REPLICAS_SERVICE,
    SERVICE_ACCOUNT,
    STORAGE_CLASS,
    TIER,
    TOLERATION,
    Manifest,
    labels,
    meta,
    selector,
)
from headrace_components.router_plan import RouterPlan


def stateful_set(plan: RouterPlan, image: str, checksum: Any) -> Manifest:
    """The replicas. `spec.replicas` is only where they start: from then on the autoscaler sets it."""
    return {
        "metadata": meta(NAME),
        "spec": {
            "serviceName": REPLICAS_SERVICE,
            "replicas": plan.router.min_replicas,
            "podManagementPolicy": "Parallel",
            "revisionHistoryLimit": 5,
            "minReadySeconds": 5,
            "selector": {"matchLabels": selector()},
            "updateStrategy": {"type": "RollingUpdate"},
            # A replica that is scaled away has drained its journal; were the database away, its volume still has it.
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "template": {
                "metadata": {
                    "labels": labels(),
                    "annotations": {
                        CHECKSUM: checksum,
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": str(ADMIN_PORT),
                    },
                },
                "spec": _pod(plan, image),
            },
            "volumeClaimTemplates": [
                {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "metadata": {"name": "journal", "labels": selector()},
                    "spec": {
                        "accessModes": ["ReadWriteOncePod"],
                        "storageClassName": STORAGE_CLASS,
                        "volumeMode": "Filesystem",
                        "resources": {"requests": {"storage": f"{plan.router.journal_gib}Gi"}},
                    },
                }
            ],
        },
    }


def place() -> dict[str, Any]:
    """Where pods of ours run, and as whom: on the router's machines, as nobody."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": dict(TIER),
        "tolerations": [dict(TOLERATION)],
        "securityContext": serving.pod_security(),
    }


def _pod(plan: RouterPlan, image: str) -> dict[str, Any]:
    return {
        "serviceAccountName": SERVICE_ACCOUNT,
        **place(),
        "terminationGracePeriodSeconds": plan.router.drain_timeout_s + 2 * DEREGISTRATION_S,
        "topologySpreadConstraints": [
            _spread("topology.kubernetes.io/zone", "DoNotSchedule"),
            _spread("kubernetes.io/hostname", "ScheduleAnyway"),
        ],
        "containers": [_container(image, plan.router)],
        "volumes": [
            {"name": "config", "configMap": {"name": CONFIG_MAP}},
            {"name": "keys", "secret": {"secretName": KEYS_SECRET}},
            {"name": "scratch", "emptyDir": {"sizeLimit": "256Mi"}},
        ],
    }


def _spread(key: str, otherwise: str) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": otherwise,
        "labelSelector": {"matchLabels": selector()},
    }


# Engine -> its program. LiteLLM's image has its own packages beside our library (docs/router/litellm.md); both take the
# same options and the same environment.
_PROGRAMS: Final[dict[RouterEngine, tuple[str, ...]]] = {
    RouterEngine.HEADRACE: ("headrace", "router", "serve"),
    RouterEngine.LITELLM: ("python", "-m", "headrace.router.litellm"),
}


def _container(image: str, router: RouterSettings) -> dict[str, Any]:
    traces = router.otlp_endpoint
    return {
        "name": "router",
        "image": image,
        "command": list(_PROGRAMS[router.engine]),
        "args": [
            f"--config=/etc/headrace/config/{CONFIG_KEY}",
            f"--keys=/etc/headrace/keys/{KEYS_KEY}",
            "--spool=/var/lib/headrace/journal",
            "--host=0.0.0.0",
            f"--port={API_PORT}",
            f"--admin-port={ADMIN_PORT}",
            "--replica=$(POD_NAME)",
        ],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
            {"name": "HOME", "value": "/tmp"},  # noqa: S108 # a mount of the pod, not of this machine
            *([{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": traces}] if traces is not None else []),
        ],
        "envFrom": [{"secretRef": {"name": ENVIRONMENT_SECRET}}],
        "ports": [
            {"name": "http", "containerPort": API_PORT, "protocol": "TCP"},
            {"name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP"},
        ],
        "securityContext": serving.container_security(),
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        # A start replays the journal of the last run; a long one may take minutes.
        "startupProbe": {**_probe("/livez"), "periodSeconds": 2, "failureThreshold": 150},
        "readinessProbe": {**_probe("/readyz"), "periodSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {**_probe("/livez"), "periodSeconds": 10, "failureThreshold": 6},
        # Addresses are taken out of the balancer before the router stops taking connections.
        "lifecycle": {"preStop": {"sleep": {"seconds": DEREGISTRATION_S}}},
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/headrace/config", "readOnly": True},
            {"name": "keys", "mountPath": "/etc/headrace/keys", "readOnly": True},
            {"name": "journal", "mountPath": "/var/lib/headrace"},
            {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108 # a mount of the pod, not of this machine
        ],
    }


def _probe(path: str) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "admin", "scheme": "HTTP"}, "timeoutSeconds": 3}


def migration_secret(variables: Any) -> Manifest:
    """What the migration needs beside its role: where the database is, and the password that the router's role gets."""
    return {"metadata": meta(MIGRATION_SECRET), "type": "Opaque", "stringData": variables}


def migration_account() -> Manifest:
    """The migration's own identity: the router's pods can't read the master's credential."""
    return {"metadata": meta(MIGRATION), "automountServiceAccountToken": False}


def migration(
    image: str, credentials_version: int, login_argument: Any, region: str, floor_role: str | None = None
) -> Manifest:
    """Makes the ledger's tables and the router's role, before the replicas start, and the hourly floor's where there is
    one. Its name carries the image's digest, the credentials' version and that, so another image migrates again, and
    another password is set."""
    run = f"{image.rpartition(':')[2][:8]}-{credentials_version}{'-floor' if floor_role else ''}"
    marks = {**labels(), "app.kubernetes.io/name": MIGRATION}
    container = {
        "name": "migrate",
        "image": image,
        "command": ["headrace", "audit", "migrate"],
        "args": [login_argument, *([f"--floor-role={floor_role}"] if floor_role else [])],
        "env": [
            {"name": "AWS_REGION", "value": region},
            {"name": "HOME", "value": "/tmp"},  # noqa: S108 # a mount of the pod, not of this machine
        ],
        "envFrom": [{"secretRef": {"name": MIGRATION_SECRET}}],
        "securityContext": serving.container_security(),
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],  # noqa: S108 # a mount of the pod
    }
    return {
        "metadata": {**meta(f"{MIGRATION}-{run}"), "labels": marks},
        "spec": {
            "backoffLimit": 4,
            "activeDeadlineSeconds": 600,
            "template": {
                "metadata": {"labels": marks},
                "spec": {
                    "restartPolicy": "Never",
                    "serviceAccountName": MIGRATION,
                    **place(),
                    "containers": [container],
                    "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "64Mi"}}],
                },
            },
        },
    }
