"""The Kubernetes objects of a tenant space: pure manifests."""

from __future__ import annotations

from typing import Any, Final

from headrace.settings.tenants import PodSecurityLevel, Quota
from headrace_components.devices import GPU_RESOURCE

Manifest = dict[str, Any]

ROLES: Final = ("admin", "deployer", "viewer")

_READ: Final = ["get", "list", "watch"]
_WRITE: Final = ["create", "update", "patch", "delete"]

# Resources by API group, written out: a wildcard would grant what a later Kubernetes or an operator adds.
_WORKLOADS: Final = {
    "apps": ["deployments", "deployments/scale", "statefulsets", "statefulsets/scale"],
    "batch": ["jobs", "cronjobs"],
    "autoscaling": ["horizontalpodautoscalers"],
    "policy": ["poddisruptionbudgets"],
    "": ["services", "configmaps", "serviceaccounts", "persistentvolumeclaims"],
}
_OBSERVED: Final = {
    "apps": ["replicasets", "daemonsets"],
    "": ["pods", "pods/log", "events", "endpoints", "resourcequotas", "limitranges"],
    "networking.k8s.io": ["networkpolicies"],
}


def _rules(table: dict[str, list[str]], verbs: list[str]) -> list[dict[str, list[str]]]:
    return [
        {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
        for group, resources in sorted(table.items())
    ]


def role_rules(role: str) -> list[dict[str, list[str]]]:
    """What each role may do in its namespace. Nobody changes quota, limits or network policy: the platform does.

    Viewers see no secrets and no pod logs' siblings such as exec; deployers run workloads and restart pods; admins also
    manage secrets, grant the namespace's roles to service accounts, and open a shell.
    """
    view = _rules(_WORKLOADS, _READ) + _rules(_OBSERVED, _READ)
    if role == "viewer":
        return view
    deploy = [*view, *_rules(_WORKLOADS, _WRITE), {"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]}]
    if role == "deployer":
        return deploy
    return [
        *deploy,
        {"apiGroups": [""], "resources": ["secrets"], "verbs": [*_READ, *_WRITE]},
        {"apiGroups": [""], "resources": ["pods/exec", "pods/portforward"], "verbs": ["create"]},
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings"], "verbs": [*_READ, *_WRITE]},
    ]


def group(tenant: str, project: str, role: str) -> str:
    """The Kubernetes group of a role; EKS access entries put principals into it. EKS reserves `system:`, `eks:` …"""
    return f"headrace:{tenant}:{project}:{role}"


def namespace_name(tenant: str, project: str, environment: str) -> str:
    """`<tenant>-<project>-<environment>`: at most 62 characters by the lengths of names."""
    return f"{tenant}-{project}-{environment}"


def labels(tenant: str, project: str, environment: str) -> dict[str, str]:
    """Labels of everything in a tenant space."""
    return {
        "app.kubernetes.io/managed-by": "headrace",
        "headrace.dev/tenant": tenant,
        "headrace.dev/project": project,
        "headrace.dev/environment": environment,
    }


def namespace(name: str, marks: dict[str, str], level: PodSecurityLevel) -> Manifest:
    """A namespace whose Pod Security level is enforced, audited and warned about at once."""
    modes = {f"pod-security.kubernetes.io/{mode}": level.value for mode in ("enforce", "audit", "warn")}
    return {"metadata": {"name": name, "labels": {**marks, **modes}}}


def resource_quota(name: str, marks: dict[str, str], quota: Quota) -> Manifest:
    """Upper bounds of the namespace. GPUs can only be requested where they are also the limit."""
    return {
        "metadata": {"name": "quota", "namespace": name, "labels": marks},
        "spec": {
            "hard": {
                f"requests.{GPU_RESOURCE}": str(quota.gpus),
                "requests.cpu": cores(quota.cpu_cores),
                "limits.cpu": cores(quota.cpu_cores),
                "requests.memory": mebibytes(quota.memory_gib),
                "limits.memory": mebibytes(quota.memory_gib),
                "pods": str(quota.pods),
                "count/configmaps": str(quota.objects),
                "count/secrets": str(quota.objects),
                "count/services": str(quota.objects),
                "count/deployments.apps": str(quota.objects),
                "count/jobs.batch": str(quota.objects),
                "services.nodeports": "0",
                "services.loadbalancers": "0",
            }
        },
    }


def limit_range(name: str, marks: dict[str, str], quota: Quota) -> Manifest:
    """Defaults for containers that name none (a quota refuses them otherwise), and no container above the quota."""
    return {
        "metadata": {"name": "limits", "namespace": name, "labels": marks},
        "spec": {
            "limits": [
                {
                    "type": "Container",
                    "default": {
                        "cpu": cores(min(1.0, quota.cpu_cores)),
                        "memory": mebibytes(min(1.0, quota.memory_gib)),
                    },
                    "defaultRequest": {
                        "cpu": cores(min(0.1, quota.cpu_cores)),
                        "memory": mebibytes(min(0.25, quota.memory_gib)),
                    },
                    "max": {"cpu": cores(quota.cpu_cores), "memory": mebibytes(quota.memory_gib)},
                }
            ]
        },
    }


def default_deny(name: str, marks: dict[str, str]) -> Manifest:
    """No traffic in or out of any pod, unless another policy allows it."""
    return {
        "metadata": {"name": "default-deny", "namespace": name, "labels": marks},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    }


def allow_dns(name: str, marks: dict[str, str]) -> Manifest:
    """Name resolution by the cluster's own DNS."""
    return {
        "metadata": {"name": "allow-dns", "namespace": name, "labels": marks},
        "spec": {
            "podSelector": {},
            "policyTypes": ["Egress"],
            "egress": [
                {
                    "to": [
                        {
                            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
                        }
                    ],
                    "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
                }
            ],
        },
    }


def allow_own_namespace(name: str, marks: dict[str, str]) -> Manifest:
    """Pods of one space may talk to each other."""
    peers: list[Manifest] = [{"podSelector": {}}]
    return {
        "metadata": {"name": "allow-own-namespace", "namespace": name, "labels": marks},
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": peers}],
            "egress": [{"to": peers}],
        },
    }


def allow_router(name: str, marks: dict[str, str]) -> Manifest:
    """A tenant's pods may call the platform's router, which is the only way to a model."""
    return {
        "metadata": {"name": "allow-router", "namespace": name, "labels": marks},
        "spec": {
            "podSelector": {},
            "policyTypes": ["Egress"],
            "egress": [{"to": [{"namespaceSelector": {"matchLabels": ROUTER_NAMESPACE_LABEL}}]}],
        },
    }


# The label that marks the router's namespace; NetworkPolicies select by it.
ROUTER_NAMESPACE_LABEL: Final = {"headrace.dev/role": "router"}


def cores(value: float) -> str:
    """A CPU quantity: `2`, `1500m`. Written as the API server stores it, so that no apply shows a change."""
    milli = round(value * 1000)
    return str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"


def mebibytes(gib: float) -> str:
    """A memory quantity: `4Gi`, `256Mi`."""
    mebi = round(gib * 1024)
    return f"{mebi // 1024}Gi" if mebi % 1024 == 0 else f"{mebi}Mi"


def role(space: str, marks: dict[str, str], name: str) -> Manifest:
    """One of `ROLES` in a namespace."""
    return {"metadata": {"name": name, "namespace": space, "labels": marks}, "rules": role_rules(name)}


def role_binding(space: str, marks: dict[str, str], name: str, group_name: str) -> Manifest:
    """Gives a role to a group."""
    return {
        "metadata": {"name": name, "namespace": space, "labels": marks},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group_name}],
    }
