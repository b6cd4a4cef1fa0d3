"""What keeps a pool's model servers as many as its nodes hold, as Kubernetes manifests (`runtime/follow_nodes.py`)."""

from __future__ import annotations

from typing import Any, Final

from headrace_components import devices, scripts, serving

Manifest = dict[str, Any]

NAME: Final = "node-follower"
_GROUP: Final = "rbac.authorization.k8s.io"


def _meta(pool: str) -> Manifest:
    return {"name": NAME, "namespace": serving.pool_namespace(pool), "labels": _labels(pool)}


def _labels(pool: str) -> dict[str, str]:
    return devices.labels(NAME, pool)


def _selector(pool: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": NAME, devices.POOL_LABEL: pool}


def script_map(pool: str) -> Manifest:
    """The pod's script."""
    return scripts.config_map("follow_nodes.py", serving.pool_namespace(pool), _labels(pool), name=NAME)


def service_account(pool: str) -> Manifest:
    """Its identity in the cluster; none in AWS."""
    return {"metadata": _meta(pool), "automountServiceAccountToken": False}


def role(pool: str) -> Manifest:
    """The number of replicas of one Deployment, and nothing else of it."""
    return {
        "metadata": _meta(pool),
        "rules": [
            {
                "apiGroups": ["apps"],
                "resources": ["deployments/scale"],
                "resourceNames": [serving.DEPLOYMENT],
                "verbs": ["get", "patch"],
            }
        ],
    }


def role_binding(pool: str) -> Manifest:
    """The role to the identity."""
    return {
        "metadata": _meta(pool),
        "roleRef": {"apiGroup": _GROUP, "kind": "Role", "name": NAME},
        "subjects": [_subject(pool)],
    }


def cluster_role(pool: str) -> Manifest:
    """Nodes may be listed. They are in no namespace, so the right is the cluster's; its name holds the pool's."""
    return {
        "metadata": {"name": f"{NAME}-{pool}", "labels": _labels(pool)},
        "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}],
    }


def cluster_role_binding(pool: str) -> Manifest:
    """That to the identity as well."""
    name = f"{NAME}-{pool}"
    return {
        "metadata": {"name": name, "labels": _labels(pool)},
        "roleRef": {"apiGroup": _GROUP, "kind": "ClusterRole", "name": name},
        "subjects": [_subject(pool)],
    }


def _subject(pool: str) -> Manifest:
    return {"kind": "ServiceAccount", "name": NAME, "namespace": serving.pool_namespace(pool)}


def network_policy(pool: str) -> Manifest:
    """The API server has no address that a policy could name; the subnet's routes keep the internet away."""
    return {
        "metadata": {**_meta(pool), "name": f"allow-{NAME}"},
        "spec": {
            "podSelector": {"matchLabels": _selector(pool)},
            "policyTypes": ["Egress"],
            "egress": [{"ports": [{"protocol": "TCP", "port": 443}]}],
        },
    }


def deployment(pool: str, image: str, script_name: str, per_node: int) -> Manifest:
    """The pod. One is enough: while it is away the model servers stay as they are."""
    container = {
        "name": NAME,
        "image": image,
        "command": ["python3", f"{scripts.DIRECTORY}/follow_nodes.py"],
        "env": [
            {"name": "POOL_SELECTOR", "value": f"{devices.POOL_LABEL}={pool}"},
            {"name": "NAMESPACE", "value": serving.pool_namespace(pool)},
            {"name": "DEPLOYMENT", "value": serving.DEPLOYMENT},
            {"name": "REPLICAS_PER_NODE", "value": str(per_node)},
        ],
        "securityContext": serving.container_security(),
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
        "volumeMounts": [{"name": "script", "mountPath": scripts.DIRECTORY, "readOnly": True}],
    }
    return {
        "metadata": _meta(pool),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 5,
            "selector": {"matchLabels": _selector(pool)},
            "strategy": {"type": "Recreate"},
            "template": {
                "metadata": {"labels": _labels(pool)},
                "spec": {
                    "serviceAccountName": NAME,
                    "automountServiceAccountToken": True,
                    "enableServiceLinks": False,
                    "securityContext": serving.pod_security(),
                    "containers": [container],
                    "volumes": [{"name": "script", "configMap": {"name": script_name}}],
                },
            },
        },
    }
