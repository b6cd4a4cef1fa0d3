"""The job that sets a pool's nodes from its traffic, as Kubernetes manifests: pure.

It runs in the router's namespace and on the router's machines, because only these may reach the ledger; its network
policy leaves it less than the router has. docs/planner/hourly.md says what it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from headrace.planner.hourly_clock import minute_of
from headrace_components import devices, router_pods, serving
from headrace_components.router_names import (
    CONFIG_KEY,
    CONFIG_MAP,
    HOURLY_FLOOR,
    HTTPS,
    NAMESPACE,
    POSTGRES_PORT,
    Manifest,
)

DEADLINE_S: Final = 600
_CONFIG: Final = "/etc/headrace/config"
# A run that could not start within this many seconds waits for the next hour: it would hold for half an hour at most.
_LATE_S: Final = 1500


@dataclass(frozen=True, kw_only=True)
class FloorJob:
    """All that the manifests are made of."""

    pool: str
    workload: str
    image: str
    floor_nodes: int
    ceiling_nodes: int
    replicas_per_node: int
    lead_time_s: int
    store_cidrs: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of every object."""
        return f"floor-{self.pool}"

    @property
    def labels(self) -> dict[str, str]:
        """Of every object, and what the pods are known by."""
        return devices.labels(HOURLY_FLOOR, self.pool)

    @property
    def schedule(self) -> str:
        """A minute after the hour of the policy begins, so that what had ended by then has been drained."""
        return f"{minute_of(self.lead_time_s) + 1} * * * *"


def _meta(job: FloorJob) -> dict[str, Any]:
    return {"name": job.name, "namespace": NAMESPACE, "labels": job.labels}


def service_account(job: FloorJob) -> Manifest:
    """What Pod Identity maps to the job's role."""
    return {"metadata": _meta(job), "automountServiceAccountToken": False}


def secret(job: FloorJob, dsn: Any) -> Manifest:
    """Where the ledger is, with the credential of a role that sees no entry of it."""
    return {"metadata": _meta(job), "type": "Opaque", "stringData": {"HEADRACE_FLOOR_DSN": dsn}}


def network_policy(job: FloorJob) -> Manifest:
    """Out to the ledger and to AWS's endpoints in the network; DNS and the identity agent are open to the whole
    namespace. Nothing in."""
    inside = [{"ipBlock": {"cidr": cidr}} for cidr in job.store_cidrs]
    return {
        "metadata": _meta(job),
        "spec": {
            "podSelector": {"matchLabels": job.labels},
            "policyTypes": ["Ingress", "Egress"],
            "egress": [
                {"to": inside, "ports": [{"protocol": "TCP", "port": port} for port in (POSTGRES_PORT, HTTPS)]},
            ],
        },
    }


def cron_job(job: FloorJob, group: Any, region: str) -> Manifest:
    """The job. Runs never overlap; one that fails is tried again within the hour and gives the same answer."""
    return {
        "metadata": _meta(job),
        "spec": {
            "schedule": job.schedule,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": _LATE_S,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {
                "metadata": {"labels": job.labels},
                "spec": {
                    "backoffLimit": 2,
                    "activeDeadlineSeconds": DEADLINE_S,
                    "ttlSecondsAfterFinished": 86400,
                    "template": {"metadata": {"labels": job.labels}, "spec": _pod(job, group, region)},
                },
            },
        },
    }


def _pod(job: FloorJob, group: Any, region: str) -> dict[str, Any]:
    return {
        "restartPolicy": "Never",
        "serviceAccountName": job.name,
        **router_pods.place(),
        "containers": [_container(job, group, region)],
        "volumes": [
            {"name": "config", "configMap": {"name": CONFIG_MAP}},
            {"name": "scratch", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    }


def _container(job: FloorJob, group: Any, region: str) -> dict[str, Any]:
    return {
        "name": HOURLY_FLOOR,
        "image": job.image,
        "command": ["headrace", "plan", "hourly"],
        "args": [
            f"--pool={job.pool}",
            f"--config={_CONFIG}/{CONFIG_KEY}",
            "--group=$(SCALING_GROUP)",
            f"--floor-nodes={job.floor_nodes}",
            f"--ceiling-nodes={job.ceiling_nodes}",
            f"--replicas-per-node={job.replicas_per_node}",
            f"--lead-time-s={job.lead_time_s}",
        ],
        "env": [
            {"name": "SCALING_GROUP", "value": group},
            {"name": "AWS_REGION", "value": region},
            {"name": "HOME", "value": "/tmp"},  # noqa: S108 # a mount of the pod, not of this machine
            {"name": "OPENBLAS_NUM_THREADS", "value": "1"},  # each thread would reserve memory of its own
        ],
        "envFrom": [{"secretRef": {"name": job.name}}],
        "securityContext": serving.container_security(),
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "volumeMounts": [
            {"name": "config", "mountPath": _CONFIG, "readOnly": True},
            {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108 # a mount of the pod, not of this machine
        ],
    }
