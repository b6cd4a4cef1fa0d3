"""The warm-up of a RunPod endpoint as Kubernetes manifests: a CronJob that keeps the minimum workers on schedule.

It calls the vendor's API over the internet, so it runs on the router's machines: all other subnets have no way out.
"""

from __future__ import annotations

from typing import Any, Final

from headrace_components import devices, router_names, router_network, scripts, serving, tenancy

Manifest = dict[str, Any]

EVERY: Final = "*/5 * * * *"
_SECRET: Final = "runpod"  # noqa: S105 - the name of a Secret
_DEADLINE_S: Final = 120


def namespace_name(pool: str) -> str:
    """The namespace of a pool's warm-up."""
    return f"serverless-{pool}"


def _labels(pool: str) -> dict[str, str]:
    return devices.labels("warm-up", pool)


def namespace(pool: str) -> Manifest:
    """Restricted; it holds a key of the vendor, so nobody else works in it."""
    modes = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return {"metadata": {"name": namespace_name(pool), "labels": {**_labels(pool), **modes}}}


def script_map(pool: str) -> Manifest:
    """The job's script."""
    return scripts.config_map("warm_up.py", namespace_name(pool), _labels(pool), name="warm-up")


def secret(pool: str, key: Any) -> Manifest:
    """The vendor's key."""
    return {
        "metadata": {"name": _SECRET, "namespace": namespace_name(pool), "labels": _labels(pool)},
        "type": "Opaque",
        "stringData": {"apiKey": key},
    }


def network_policies(pool: str) -> dict[str, Manifest]:
    """Nothing in; DNS and HTTPS to public addresses out: the router's machines, on which it runs, reach more."""
    space, marks = namespace_name(pool), _labels(pool)
    return {
        "default-deny": tenancy.default_deny(space, marks),
        "allow-dns": tenancy.allow_dns(space, marks),
        "allow-https": {
            "metadata": {"name": "allow-https", "namespace": space, "labels": marks},
            "spec": {
                "podSelector": {},
                "policyTypes": ["Egress"],
                "egress": [{"to": [router_network.public_addresses()], "ports": [{"protocol": "TCP", "port": 443}]}],
            },
        },
    }


def cron_job(pool: str, image: str, script_name: str, *, rest_url: str, endpoint: Any, schedule: Any) -> Manifest:
    """The job. Runs never overlap, and one that hangs is ended before the next is due."""
    space, marks = namespace_name(pool), _labels(pool)
    container = {
        "name": "warm-up",
        "image": image,
        "command": ["python3", f"{scripts.DIRECTORY}/warm_up.py"],
        "env": [
            {"name": "RUNPOD_REST_URL", "value": rest_url},
            {"name": "ENDPOINT_ID", "value": endpoint},
            {"name": "SCHEDULE", "value": schedule},
            {"name": "RUNPOD_API_KEY", "valueFrom": {"secretKeyRef": {"name": _SECRET, "key": "apiKey"}}},
        ],
        "securityContext": serving.container_security(),
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
        "volumeMounts": [{"name": "script", "mountPath": scripts.DIRECTORY, "readOnly": True}],
    }
    return {
        "metadata": {"name": "warm-up", "namespace": space, "labels": marks},
        "spec": {
            "schedule": EVERY,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": _DEADLINE_S,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {
                "metadata": {"labels": marks},
                "spec": {
                    "backoffLimit": 1,
                    "activeDeadlineSeconds": _DEADLINE_S,
                    "ttlSecondsAfterFinished": 3600,
                    "template": {
                        "metadata": {"labels": marks},
                        "spec": {
                            "restartPolicy": "Never",
                            "automountServiceAccountToken": False,
                            "enableServiceLinks": False,
                            "nodeSelector": dict(router_names.TIER),
                            "tolerations": [dict(router_names.TOLERATION)],
                            "securityContext": serving.pod_security(),
                            "containers": [container],
                            "volumes": [{"name": "script", "configMap": {"name": script_name}}],
                        },
                    },
                },
            },
        },
    }
