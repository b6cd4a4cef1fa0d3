"""The GPU software of a pool's nodes as Kubernetes manifests: NVIDIA's device plugin and DCGM exporter, nothing else.

The driver and the container toolkit are inside the node image. Nobody may install a second one: the nodes' labels tell
a GPU operator, should somebody install it, to keep its driver, toolkit, device plugin and exporter off them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Manifest = dict[str, Any]

GPU_RESOURCE: Final = "nvidia.com/gpu"
POOL_LABEL: Final = "headrace.dev/pool"
SYSTEM_NAMESPACE: Final = "gpu-system"

# Versions by digest, checked 2026-11-21. Device plugin v0.20.0: image id of a running pod in a public bug report of
# 11 September 2026. DCGM exporter 4.6.0-4.8.3: the digest that three public deployments pin beside that version.
DEVICE_PLUGIN_IMAGE: Final = (
    "nvcr.io/nvidia/k8s-device-plugin@sha256:a61ba9fd8efb82f3a79f877f7580e02c1e8e7593f62473644bc9c79e315c3312"
)
DCGM_EXPORTER_IMAGE: Final = (
    "nvcr.io/nvidia/k8s/dcgm-exporter@sha256:b4df763de9558e5b3f1f1d79bc65b772fcf65b8a9c3664ea7173e47153112b4a"
)
SYSTEM_IMAGES: Final = (DEVICE_PLUGIN_IMAGE, DCGM_EXPORTER_IMAGE)

# Labels by which NVIDIA's GPU operator is told, per node, which of its operands stay away.
OPERATOR_OFF_LABELS: Final[Mapping[str, str]] = {
    "nvidia.com/gpu.deploy.driver": "false",
    "nvidia.com/gpu.deploy.container-toolkit": "false",
    "nvidia.com/gpu.deploy.device-plugin": "false",
    "nvidia.com/gpu.deploy.dcgm-exporter": "false",
}

GPU_TOLERATION: Final[Mapping[str, str]] = {"key": GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"}
METRICS_PORT: Final = 9400


def labels(name: str, pool: str) -> dict[str, str]:
    """Labels of one part of one pool."""
    return {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/instance": pool,
        "app.kubernetes.io/managed-by": "headrace",
        POOL_LABEL: pool,
    }


def _daemon_set(name: str, pool: str, pod: Mapping[str, Any], annotations: Mapping[str, str] | None = None) -> Manifest:
    marks = labels(name, pool)
    return {
        "metadata": {"name": f"{name}-{pool}", "namespace": SYSTEM_NAMESPACE, "labels": marks},
        "spec": {
            "selector": {"matchLabels": {key: marks[key] for key in ("app.kubernetes.io/name", POOL_LABEL)}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "template": {
                "metadata": {"labels": marks, "annotations": dict(annotations or {})},
                "spec": {
                    "nodeSelector": {POOL_LABEL: pool},
                    "tolerations": [dict(GPU_TOLERATION)],
                    "priorityClassName": "system-node-critical",
                    "automountServiceAccountToken": False,
                    **pod,
                },
            },
        },
    }


def device_plugin(pool: str, image: str) -> Manifest:
    """The DaemonSet that advertises the pool's GPUs. Not for Bottlerocket, which has one built in: two on one node
    would sell each GPU twice."""
    sockets = "/var/lib/kubelet/device-plugins"
    return _daemon_set(
        "nvidia-device-plugin",
        pool,
        {
            "containers": [
                {
                    "name": "device-plugin",
                    "image": image,
                    "env": [
                        # A node whose GPUs can't be read must show it, not join with none.
                        {"name": "FAIL_ON_INIT_ERROR", "value": "true"},
                        {"name": "MIG_STRATEGY", "value": "none"},
                        {"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"},
                        {"name": "NVIDIA_DRIVER_CAPABILITIES", "value": "compute,utility"},
                    ],
                    "securityContext": {"privileged": True},
                    "resources": {
                        "requests": {"cpu": "50m", "memory": "100Mi"},
                        "limits": {"memory": "300Mi"},
                    },
                    "volumeMounts": [{"name": "device-plugins", "mountPath": sockets}],
                }
            ],
            "volumes": [{"name": "device-plugins", "hostPath": {"path": sockets, "type": "Directory"}}],
        },
    )


def dcgm_exporter(pool: str, image: str) -> Manifest:
    """The DaemonSet that exports the pool's GPU metrics."""
    return _daemon_set(
        "dcgm-exporter",
        pool,
        {
            "containers": [
                {
                    "name": "dcgm-exporter",
                    "image": image,
                    "env": [
                        {"name": "DCGM_EXPORTER_LISTEN", "value": f":{METRICS_PORT}"},
                        {"name": "DCGM_EXPORTER_KUBERNETES", "value": "true"},
                        {
                            "name": "NODE_NAME",
                            "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}},
                        },
                        {"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"},
                        {"name": "NVIDIA_DRIVER_CAPABILITIES", "value": "compute,utility"},
                    ],
                    "ports": [{"name": "metrics", "containerPort": METRICS_PORT}],
                    # Profiling metrics need this capability; everything else runs without privileges.
                    "securityContext": {
                        "runAsUser": 0,
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]},
                    },
                    "readinessProbe": {
                        "httpGet": {"path": "/health", "port": "metrics"},
                        "initialDelaySeconds": 30,
                        "periodSeconds": 15,
                    },
                    "resources": {
                        "requests": {"cpu": "100m", "memory": "256Mi"},
                        "limits": {"memory": "1Gi"},
                    },
                    "volumeMounts": [
                        {
                            "name": "pod-resources",
                            "mountPath": "/var/lib/kubelet/pod-resources",
                            "readOnly": True,
                        }
                    ],
                }
            ],
            "volumes": [
                {
                    "name": "pod-resources",
                    "hostPath": {"path": "/var/lib/kubelet/pod-resources", "type": "Directory"},
                }
            ],
        },
        {"prometheus.io/scrape": "true", "prometheus.io/port": str(METRICS_PORT)},
    )
